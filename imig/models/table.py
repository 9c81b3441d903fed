"""The table that `imig models list` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from imig.models.registry import ModelRow


def models_table(rows: Sequence[ModelRow]) -> Table:
    """A rich table: family, weights, size, licence, and where it was found or how to get it."""
    table = Table(title="Model families", title_justify="left", show_lines=False)
    table.add_column("family", no_wrap=True)
    table.add_column("for")
    table.add_column("weights", overflow="fold")
    table.add_column("MB", justify="right")
    table.add_column("licence", no_wrap=True)
    table.add_column("found in, or how to get it", overflow="fold")
    family = ""
    for row in rows:
        first = row.family != family
        family = row.family
        table.add_row(
            row.family if first else "",
            row.task if first else "",
            row.weights,
            f"{row.megabytes:g}" if row.megabytes else "",
            row.licence,
            row.where,
            style=None if row.found else "dim",
            end_section=False,
        )
    return table
