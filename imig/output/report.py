"""What a build did: the funnel on the screen, `report.json` and `report.html`."""

from __future__ import annotations

import base64
import html
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imig.console.lines import say
from imig.console.texts import seconds_to_text
from imig.output.record import Record
from imig.output.tally import StageTally
from imig.schema import Counts, Manifest, Quarantine, Reject
from imig.shards.atomic import atomic_write_bytes
from imig.shards.funnel import REPORT_JSON, FunnelRow
from imig.shards.names import REPORT_HTML


def record_to_funnel(record: Record) -> list[FunnelRow]:
    """The funnel of what a record is of, in the order of the stages."""
    return tallies_to_funnel(record.tallies, rejects=record.rejects, quarantined=record.quarantined)


def tallies_to_funnel(
    tallies: Mapping[str, StageTally],
    *,
    rejects: Iterable[Reject],
    quarantined: Iterable[Quarantine],
) -> list[FunnelRow]:
    """The funnel of a whole build, in the order of the stages."""
    rows = []
    why: dict[str, Counter[str]] = defaultdict(Counter)
    system_faults: Counter[str] = Counter()
    for reject in rejects:
        why[reject.stage][reject.reason] += 1
    for one in quarantined:
        # The class alone: messages name sizes and paths and would not add up.
        why[one.stage][one.error.partition(":")[0]] += 1
        system_faults[one.stage] += one.fault == "system"
    for stage, tally in tallies.items():
        reasons = why[stage]
        rows.append(
            FunnelRow(
                stage=stage,
                seen=tally.seen,
                rejected=tally.rejected,
                quarantined=tally.quarantined,
                passed=tally.passed,
                seconds=round(tally.seconds, 3),
                reasons=dict(reasons.most_common()),
                oddities=tally.oddities,
                system_faults=system_faults[stage],
            )
        )
    return rows


def print_funnel(rows: Sequence[FunnelRow], console: Console) -> None:
    """How many scenes each stage turned down, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("scenes", "rejected", "quarantined", "passed", "s/scene"):
        table.add_column(name, justify="right")
    table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(
            row.stage,
            str(row.seen),
            str(row.rejected or ""),
            str(row.quarantined or ""),
            str(row.passed),
            f"{row.seconds / row.seen:.3f}" if row.seen else "",
            escape(", ".join(f"{reason}: {count}" for reason, count in row.reasons.items())),
        )
    console.print(table, highlight=False)
    for line in oddity_lines(rows):
        say(console, line)


def oddity_lines(rows: Sequence[FunnelRow]) -> list[str]:
    """``source: undecodable caption: 3, the first: basic-00000007: a.txt: byte 5 (0x81) ..``."""
    return [
        f"{row.stage}: {kind}: {one.count}, the first: {one.first[0]}"
        for row in rows
        for kind, one in row.oddities.items()
    ]


def write_reports(
    folder: Path,
    manifest: Manifest,
    rows: Sequence[FunnelRow],
    *,
    seconds: float,
    pictures: Sequence[Path],
    remarks: Sequence[str] = (),
) -> None:
    """Write `report.json` and the self-contained `report.html`.

    `remarks` say what was odd about the source.
    """
    values: dict[str, Any] = {
        "name": manifest.name,
        "recipe_sha256": manifest.recipe_sha256,
        "counts": manifest.counts.model_dump(),
        "shards": len(manifest.shards),
        "last_run_seconds": round(seconds, 3),
        "stages": [asdict(row) for row in rows],
    }
    if manifest.counts.quarantined:
        values["quarantined_by_fault"] = faults(manifest.counts, rows)
    if remarks:
        values["source"] = list(remarks)
    atomic_write_bytes(
        folder / REPORT_JSON, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()
    )
    page = _page(manifest, rows, seconds=seconds, pictures=pictures, remarks=remarks)
    atomic_write_bytes(folder / REPORT_HTML, page.encode())


def faults(counts: Counts, rows: Sequence[FunnelRow]) -> dict[str, int]:
    """Quarantined scenes by who is at fault, the `data` or the `system`."""
    system = sum(row.system_faults for row in rows)
    return {"data": counts.quarantined - system, "system": system}


def faults_to_text(counts: Counts, rows: Sequence[FunnelRow]) -> str | None:
    """Who is at fault, in a sentence; None where nothing is in quarantine."""
    if not counts.quarantined:
        return None
    by_fault = faults(counts, rows)
    return (
        f"quarantined: {by_fault['data']} by faults of the data (a stage cannot bear the scene), "
        f"{by_fault['system']} by faults of the system (disk, network, server)"
    )


def counts_to_text(counts: Counts) -> str:
    return f"{counts.rejected} rejected, {counts.quarantined} quarantined"


def _page(
    manifest: Manifest,
    rows: Sequence[FunnelRow],
    *,
    seconds: float,
    pictures: Sequence[Path],
    remarks: Sequence[str],
) -> str:
    counts = manifest.counts
    body = "".join(_html_row(row, counts.input) for row in rows)
    shown = "".join(
        f'<img alt="{html.escape(path.stem)}" src="data:image/{_kind(path)};base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">'
        for path in pictures
    )
    said = faults_to_text(counts, rows)
    lines = [*([] if said is None else [said]), *oddity_lines(rows)]
    odd = "".join(f"<p>{html.escape(line)}</p>\n" for line in lines)
    name = html.escape(manifest.name)
    items = "".join(f"<li>{html.escape(remark)}" for remark in remarks)
    listed = f"<h2>The source</h2>\n<ul>{items}</ul>\n" if remarks else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem }}
body {{ padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd }}
td:first-child, th:first-child, td:last-child, th:last-child {{ text-align: left }}
.bar {{ background: #0072b2; height: .7rem; min-width: 1px }}
img {{ max-width: 100%; margin: 1rem 0; border: 1px solid #ddd }}
</style>
<h1>{name}</h1>
<p>{counts.input} scenes in; {counts.written} written into {len(manifest.shards)} shards,
{counts_to_text(counts)}. Last run: {seconds_to_text(seconds)}.</p>
<table><tr><th>stage<th>scenes<th>rejected<th>quarantined<th>passed<th>s/scene<th>why</tr>
{body}</table>
{listed}{odd}{shown}
</html>
"""


def _html_row(row: FunnelRow, scenes: int) -> str:
    why = ", ".join(f"{html.escape(reason)}: {count}" for reason, count in row.reasons.items())
    share = 100 * row.passed / scenes if scenes else 0
    pace = f"{row.seconds / row.seen:.3f}" if row.seen else ""
    return (
        f"<tr><td>{html.escape(row.stage)}"
        f'<div class="bar" style="width:{share:.1f}%"></div>'
        f"<td>{row.seen}<td>{row.rejected}<td>{row.quarantined}<td>{row.passed}"
        f"<td>{pace}<td>{why}</tr>\n"
    )


def _kind(path: Path) -> str:
    return "png" if path.suffix == ".png" else "jpeg"
