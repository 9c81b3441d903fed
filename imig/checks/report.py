"""Show a validation report: for people a table by kind of fault, for programs JSON."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imig.checks.dataset import ValidationReport
from imig.checks.faults import KINDS, Fault
from imig.printable import to_printable


def print_report(report: ValidationReport, console: Console, *, examples: int = 3) -> None:
    """Print the table of faults with up to `examples` sample ids each, or that all is well.

    Example messages and ids come from the data: they are escaped, never read as markup.
    """
    if not report.ok:
        console.print(faults_to_table(report, examples=examples))
    where = escape(to_printable(str(report.path)))
    if report.ok:
        console.print(f"[green]ok[/]  {where}: no fault in {_checked(report)}", highlight=False)
    else:
        console.print(
            f"[red]faults[/]  {where}: {len(report.faults)} in {_checked(report)}", highlight=False
        )


def faults_to_table(report: ValidationReport, *, examples: int = 3) -> Table:
    """One row a kind of fault, the most frequent first."""
    table = Table(show_lines=True)
    table.add_column("fault", no_wrap=True)
    table.add_column("count", justify="right")
    table.add_column("where", overflow="fold")
    table.add_column("what, and the first one", overflow="fold")
    for kind, faults in report.by_kind().items():
        table.add_row(
            kind,
            str(len(faults)),
            escape(_places(faults, examples=examples)),
            f"{KINDS[kind]}\n[dim]{escape(to_printable(faults[0].message))}[/]",
        )
    return table


def report_to_json(report: ValidationReport) -> dict[str, Any]:
    """The report as JSON values: what was checked, counts by kind, and every fault."""
    return {
        "path": str(report.path),
        "ok": report.ok,
        "shards": report.shards,
        "samples": report.samples,
        "images": report.images,
        "masks": report.masks,
        "seconds": round(report.seconds, 3),
        "counts": {kind: len(faults) for kind, faults in report.by_kind().items()},
        "faults": [asdict(fault) for fault in report.faults],
    }


def _checked(report: ValidationReport) -> str:
    return (
        f"{report.shards} shards, {report.samples} samples, {report.images} images, "
        f"{report.masks} masks ({report.seconds:.1f} s)"
    )


def _places(faults: list[Fault], *, examples: int) -> str:
    """The first few different places: each shard once, its samples below it."""
    places = dict.fromkeys((one.shard, one.sample) for one in faults if one.shard is not None)
    shown = sorted(list(places)[:examples], key=lambda place: place[0])
    lines = []
    for shard, group in groupby(shown, key=lambda place: place[0]):
        lines.append(to_printable(shard))
        lines += [f"  {to_printable(sample)}" for _, sample in group if sample is not None]
    more = len(places) - len(shown)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])])
