"""Plain lines for a person."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a line as it is: names in it are no markup, and only a terminal breaks it."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
