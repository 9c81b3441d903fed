"""What strangers have written, on a person's screen."""

from __future__ import annotations


def shortened(text: str) -> str:
    """The first 80 characters, for a message."""
    return text if len(text) <= 80 else text[:80] + ".."


def to_printable(text: str, *, lines: bool = False) -> str:
    r"""A text without effect on a terminal: what no screen shows stands as its escape.

    Names and messages may hold control characters, which colour a terminal, clear it or set its
    title, marks that turn the direction of writing, and halves of encodings (``\udcff``).

    Parameters
    ----------
    lines:
        Whether line ends stay what they are.
    """
    return "".join(
        sign if sign.isprintable() or (lines and sign == "\n") else repr(sign)[1:-1]
        for sign in text
    )
