"""Plain lines for a person."""

from __future__ import annotations

from rich.console import Console

from imig.printable import to_printable


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a line as it is: names in it are no markup, and only a terminal breaks it.

    What would paint on a terminal stands as its escape.
    """
    console.print(
        to_printable(text, lines=True), style=style, highlight=False, markup=False, soft_wrap=True
    )
