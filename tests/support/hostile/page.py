"""The table in docs/reliability.md: `PYTHONPATH=tests python -m support.hostile.page` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from support.hostile.planted import COMMANDS, Command, PlantedFault
from support.hostile.table import FAULTS, GROUPS

PAGE: Final = Path(__file__).parents[3] / "docs" / "reliability.md"
BEGIN: Final = "<!-- table of hostile faults: begin -->"
END: Final = "<!-- table of hostile faults: end -->"
NAMES_IT: Final = "names it"
AS_GOOD: Final = "·"
_NOT_BOUNDED: Final = """\
One thing is seen too late: tables are bounded by their footers (`imig/shards/parquet.py`), and a
footer may lie about its pages. Where a page unpacks to more than is said there, or a dictionary
repeats one long text in many rows, the library has taken the memory before anybody can count. Read
a stranger's index under a limit (`ulimit -v`).
"""


def page_with_table(page: str) -> str:
    """The page with what stands between its two marks replaced by the table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"the page lacks {BEGIN} or {END}"
    return f"{before}{BEGIN}\n{hostile_table()}{END}{after}"


def hostile_table() -> str:
    """All groups, and what cannot be seen."""
    parts = [_summary()]
    for group in GROUPS:
        lines = [f"### {group.title}\n", f"{group.introduction}\n", *_head()]
        lines += [_row(one) for one in group.faults if one.legal is None]
        parts.append("\n".join(lines) + "\n")
    parts.append("\n".join(_legal()) + "\n")
    return "\n".join(parts)


def cell(fault: PlantedFault, command: Command) -> str:
    """What the command does: it names the fault, or answers as for a good dataset."""
    code = fault.expected(command)
    return AS_GOOD if code is None else NAMES_IT if code == 1 else f"{NAMES_IT} ({code})"


def _summary() -> str:
    named = sum(one.legal is None for one in FAULTS.values())
    return (
        f"{len(FAULTS)} faults by {len(COMMANDS)} commands: {named} are named by `imig validate` "
        f"and by whoever reads the damaged part, {len(FAULTS) - named} are legal or cannot be "
        "seen.\n"
    )


def _head() -> Iterator[str]:
    yield f"| fault | what is planted | {' | '.join(COMMANDS)} |"
    yield f"|---|---|{'---|' * len(COMMANDS)}"


def _row(fault: PlantedFault) -> str:
    cells = " | ".join(cell(fault, command) for command in COMMANDS)
    return f"| {fault.kind} | {_escaped(fault.what)} | {cells} |"


def _legal() -> Iterator[str]:
    yield "### What is legal, or cannot be seen\n"
    yield "No command says anything about these; all answer as for the good dataset.\n"
    yield "| fault | what is planted | why |"
    yield "|---|---|---|"
    for one in FAULTS.values():
        if one.legal is not None:
            yield f"| {one.kind} | {_escaped(one.what)} | {_escaped(one.legal)} |"
    yield f"\n{_NOT_BOUNDED}"


def _escaped(text: str) -> str:
    shown = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return shown.replace("`", "\\`") if shown.count("`") % 2 else shown


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text()))
