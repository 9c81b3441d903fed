"""Writes the figures of the last `make bench` into docs/performance.md.

    python -m benchmarks.suite.page [--json benchmarks/results/suite.json]

Each part has a section of the page with two marker lines, ``<!-- PART: begin -->`` and
``<!-- PART: end -->``; what stands between them is replaced by the part's table. Figures are never
typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "performance.md"
FIGURES = REPOSITORY / "benchmarks" / "results" / "suite.json"
MACHINE = "machine"
"""The section that says where and when it was measured."""
_MARKED = re.compile(
    r"(?P<begin><!-- (?P<name>[a-z_]+): begin -->\n).*?(?P<end><!-- (?P=name): end -->)", re.DOTALL
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=FIGURES, metavar="FILE")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    given = parser.parse_args(arguments)
    report = json.loads(given.json.read_text(encoding="utf-8"))
    text = fill_page(given.page.read_text(encoding="utf-8"), report)
    given.page.write_text(text, encoding="utf-8")
    return 0


def fill_page(page: str, report: Mapping[str, Any]) -> str:
    """The page with the figures of a report that `benchmarks.suite` wrote.

    A part that the report lacks says so in its place: figures of an older run do not stay.

    Raises
    ------
    ValueError
        The report has a part for which the page has no markers.
    """
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        parts.setdefault(row["part"].replace(" ", "_"), []).append(row)
    missing = sorted(set(parts) - set(marked_parts(page)))
    if missing:
        raise ValueError(f"the page has no markers for {', '.join(missing)}")

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        text = machine_line(report) if name == MACHINE else part_table(parts.get(name, []))
        return f"{match['begin']}{text}\n{match['end']}"

    return _MARKED.sub(filled, page)


def marked_parts(page: str) -> list[str]:
    """The names of the markers, but for that of the machine, in the page's order."""
    return [match["name"] for match in _MARKED.finditer(page) if match["name"] != MACHINE]


def machine_line(report: Mapping[str, Any]) -> str:
    """Where and when the report was measured."""
    machine = report["machine"]
    small = "; `--small`: the figures mean nothing" if report["small"] else ""
    return (
        f"Measured on {report['date']} with imig {report['imig']} on {machine['cores']} cores "
        f"({machine['processor']}), Python {machine['python']}{small}."
    )


def part_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of a part's rows."""
    if not rows:
        return "Not measured in the last run."
    lines = [
        "| case | ours | theirs | unit | against | ratio | bar | |",
        "|---|---:|---:|---|---|---:|---|---|",
    ]
    lines += [
        f"| {row['case']} | {_rounded(row['ours'])} | {_rounded(row['theirs'])} | {row['unit']} "
        f"| {row['against']} | {row['ratio']:.2f} | {_bar(row['bar'])} | {row['verdict']} |"
        for row in rows
    ]
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar(bar: Mapping[str, float | None] | None) -> str:
    if bar is None:
        return ""
    at_least, at_most = bar["at_least"], bar["at_most"]
    return f"≥ {at_least:g}" if at_least is not None else f"≤ {at_most:g}"


if __name__ == "__main__":
    raise SystemExit(main())
