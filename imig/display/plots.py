"""Plots of a dataset's statistics: one PNG, six panels."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from imig.display import palette
from imig.display.stats import DatasetStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP = 12
_BAR, _ACCENT = palette.INSTANCE_COLOURS[1], palette.INSTANCE_COLOURS[0]
_UNIT_SCORES = (
    "grounding",
    "mask",
    "phrase similarity",
    "phrase margin",
    "caption similarity",
    "view DINO",
    "view CLIP",
    "view face",
    "coverage",
    "occluded",
)
"""Scores that share an axis: shares and cosines."""


def draw_plots(stats: DatasetStats, *, title: str = "") -> bytes:
    """PNG bytes: styles, instances per scene, nouns, box areas, scores, reference kinds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(15, 8.5), dpi=110, layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12)
    )
    FigureCanvasAgg(figure)
    heading = f"{stats.scenes:,} scenes, {stats.instances:,} instances"
    figure.suptitle(f"{title}: {heading}" if title else heading, fontsize=15)
    axes = figure.subplots(2, 3).ravel()
    by_style = len(stats.subsets) <= 1
    _name_bars(
        axes[0],
        stats.styles if by_style else stats.subsets,
        title="Scenes by style" if by_style else "Scenes by subset",
    )
    _count_bars(axes[1], stats.instances_per_scene)
    _name_bars(axes[2], stats.nouns, title=f"Nouns ({min(TOP, len(stats.nouns))} most frequent)")
    _areas(axes[3], stats)
    _scores(axes[4], stats)
    _name_bars(axes[5], stats.reference_kinds, title="References by kind")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as empty frames; nobody can act on the warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _hex(colour: palette.Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _prepare(axes: Axes, title: str, *, empty: bool) -> None:
    axes.set_title(title, loc="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    if empty:
        axes.text(0.5, 0.5, "nothing to show", ha="center", transform=axes.transAxes)
        axes.set_axis_off()


def _name_bars(axes: Axes, counter: Counter[str], *, title: str) -> None:
    """Horizontal bars with the count written at their ends, most frequent on top."""
    _prepare(axes, title, empty=not counter)
    if not counter:
        return
    names, counts = zip(*reversed(counter.most_common(TOP)), strict=True)
    bars = axes.barh(range(len(names)), counts, color=_hex(_BAR), height=0.72)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - max(len(names), 4) - 0.6, len(names) - 0.4)
    axes.margins(x=0.12)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])


def _short(name: str, *, length: int = 24) -> str:
    # A dollar sign would start a formula.
    text = name if len(name) <= length else name[: length - 1] + "…"
    return text.replace("$", r"\$")


def _count_bars(axes: Axes, counter: Counter[int]) -> None:
    _prepare(axes, "Instances per scene", empty=not counter)
    if not counter:
        return
    numbers = range(min(counter), max(counter) + 1)
    bars = axes.bar(numbers, [counter[number] for number in numbers], color=_hex(_BAR), width=0.72)
    axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=9)
    axes.set_xticks(numbers)
    axes.margins(y=0.1)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])


def _areas(axes: Axes, stats: DatasetStats) -> None:
    """Box areas in equal steps of side length: a box twice as wide is four times as large."""
    areas = stats.box_area_fractions
    _prepare(axes, "Box area, share of the target", empty=not areas.size)
    if not areas.size:
        return
    largest = float(np.sqrt(areas.max()))
    axes.hist(np.sqrt(areas), bins=np.linspace(0, largest, 25).tolist(), color=_hex(_BAR))
    ticks = np.linspace(0, largest, 6)
    axes.set_xticks(
        ticks, [f"{tick**2:.1%}" if tick < 0.32 else f"{tick**2:.0%}" for tick in ticks]
    )
    axes.set_ylabel("instances")


def _scores(axes: Axes, stats: DatasetStats) -> None:
    """A line from 5 to 95 %, a thick one from 25 to 75 %, a dot at the median."""
    names = [name for name in reversed(_UNIT_SCORES) if name in stats.scores]
    _prepare(axes, "Scores: median, middle half, 5 to 95 %", empty=not names)
    if not names:
        return
    for row, name in enumerate(names):
        _, low, lower, median, upper, high, _ = stats.quantiles(name)
        axes.plot([low, high], [row, row], color=_hex(_BAR), linewidth=1.5)
        axes.plot([lower, upper], [row, row], color=_hex(_BAR), linewidth=7, solid_capstyle="butt")
        axes.plot(median, row, "o", color=_hex(_ACCENT), markeredgecolor="black", markersize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
