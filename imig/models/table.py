"""What `imig models list` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from imig.models.registry import ModelRow


def models_text(rows: Sequence[ModelRow]) -> str:
    """A paragraph a family: its task, then a line for each of its weights.

    Lines instead of a table: hub ids and paths must stay in one piece, to be copied.
    """
    paragraphs = []
    for (family, task), some in groupby(rows, key=lambda row: (row.family, row.task)):
        members = list(some)
        width = max(len(row.weights) for row in members)
        lines = [f"{family}  ({task})"]
        for row in members:
            size = f"{row.megabytes:,.0f} MB" if row.megabytes else ""
            mark = "+" if row.found else "-"
            lines.append(f"  {mark} {row.weights:{width}} {size:>10}  {row.licence}")
            lines.append(f"      {row.where}")
        paragraphs.append("\n".join(lines))
    return "\n\n".join([*paragraphs, "+ on this machine   - not here, and how to get it"])
