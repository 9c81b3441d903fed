"""Show a sweep: tables for a terminal, JSON for programs, curves as PNG or HTML."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imig.derived.sweep import Curve, Sweep
from imig.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

BAR = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLUMNS = 4


def render_tables(sweep: Sweep) -> RenderableType:
    """A table a threshold; the present value is marked."""
    from rich.console import Group
    from rich.table import Table

    tables: list[RenderableType] = []
    for curve in sweep.curves:
        table = Table(
            title=f"filter.{curve.threshold.key}  {_sense(curve)}, now {_shown(curve.now)}",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        for name in ("value", "scenes", "", "instances", ""):
            table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
        for value, scenes, instances in zip(
            curve.values, curve.scenes, curve.instances, strict=True
        ):
            share = scenes / sweep.scenes if sweep.scenes else 0.0
            table.add_row(
                _shown(value),
                f"{scenes:,}",
                f"{bar(share)} {share:4.0%}",
                f"{instances:,}",
                "◂ now" if value == curve.now else "",
            )
        tables += [table, ""]
    return Group(*tables)


def sweep_to_json(sweep: Sweep) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "scenes": sweep.scenes,
        "instances": sweep.instances,
        "kept_scenes": sweep.kept_scenes,
        "kept_instances": sweep.kept_instances,
        "thresholds": {
            f"filter.{curve.threshold.key}": {
                "now": curve.now,
                "figures": curve.figures,
                "values": [
                    {"value": value, "scenes": scenes, "instances": instances}
                    for value, scenes, instances in zip(
                        curve.values, curve.scenes, curve.instances, strict=True
                    )
                ],
            }
            for curve in sweep.curves
        },
    }


def write_curves(path: Path, sweep: Sweep, *, title: str) -> None:
    """Write a PNG, or a page with it where the name ends in .html."""
    picture = draw_curves(sweep, title=title)
    if path.suffix.lower() not in (".html", ".htm"):
        path.write_bytes(picture)
        return
    rows = "".join(_html_rows(curve) for curve in sweep.curves)
    path.write_text(
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem }}
img {{ max-width: 100% }} td, th {{ padding: .1rem .8rem; text-align: right }}
</style>
<h1>{html.escape(title)}</h1>
<p>{sweep.scenes} scenes with {sweep.instances} instances; the thresholds as they are keep
{sweep.kept_scenes} with {sweep.kept_instances}. Each is varied by itself.</p>
<img alt="Curves" src="data:image/png;base64,{base64.b64encode(picture).decode()}">
<table><tr><th>threshold<th>value<th>scenes<th>instances</tr>
{rows}</table>
</html>
""",
        encoding="utf-8",
    )


def draw_curves(sweep: Sweep, *, title: str) -> bytes:
    """PNG bytes: share of scenes and of instances kept over the value, a panel a threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(sweep.curves) // _COLUMNS))
    figure = Figure(figsize=(15, 0.8 + 2.7 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title.replace('$', chr(92) + '$')}: what other thresholds would keep")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel, curve in zip(axes, sweep.curves, strict=False):
        _draw_curve(panel, curve, sweep)
    for panel in axes[len(sweep.curves) :]:
        panel.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def bar(share: float) -> str:
    """A share as a bar of `BAR` signs."""
    eighths = round(share * BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(BAR)


def _draw_curve(axes: Axes, curve: Curve, sweep: Sweep) -> None:
    colours = ["#{:02x}{:02x}{:02x}".format(*palette.INSTANCE_COLOURS[one]) for one in (1, 0)]
    for kept, whole, colour, name in (
        (curve.scenes, sweep.scenes, colours[0], "scenes"),
        (curve.instances, sweep.instances, colours[1], "instances"),
    ):
        shares = [100 * one / max(whole, 1) for one in kept]
        axes.plot(curve.values, shares, "o-", color=colour, markersize=4, label=name)
    if curve.now is not None and curve.values[0] <= curve.now <= curve.values[-1]:
        axes.axvline(curve.now, color="#888888", linestyle="--", linewidth=1)
    axes.set_title(f"{curve.threshold.key} ({_sense(curve)})", loc="left", fontsize=10)
    axes.set_ylim(-3, 103)
    axes.set_ylabel("% kept")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.legend(fontsize=8, frameon=False)


def _html_rows(curve: Curve) -> str:
    return "".join(
        f"<tr><td>{curve.threshold.key}<td>{_shown(value)}"
        f"{' (now)' if value == curve.now else ''}<td>{scenes}<td>{instances}</tr>\n"
        for value, scenes, instances in zip(
            curve.values, curve.scenes, curve.instances, strict=True
        )
    )


def _sense(curve: Curve) -> str:
    return "at least" if curve.threshold.at_least else "at most"


def _shown(value: float | None) -> str:
    return "off" if value is None else f"{value:.4g}"
