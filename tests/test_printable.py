"""What strangers have written does nothing to a terminal."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from imig.cli import main
from imig.display.stats import DatasetStats, render_table
from imig.printable import to_printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\0b", "a\\x00b"),
        ("one\ntwo", "one\\ntwo"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \udcff", "half \\udcff"),
        ("café 猫 🐈", "café 猫 🐈"),
    ],
)
def test_to_printable(text: str, shown: str) -> None:
    assert to_printable(text) == shown


def test_lines_may_stay() -> None:
    assert to_printable("one\n\rtwo", lines=True) == "one\n\\rtwo"


def test_errors_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_statistics_show_phrases_as_they_are_written() -> None:
    stats = DatasetStats(phrases=Counter({"x[/blue] \x1b[31m": 3, "[bold]mug": 2}))
    screen = io.StringIO()
    Console(file=screen, width=100).print(render_table(stats))
    assert "x[/blue] \\x1b[31m 3, [bold]mug 2" in screen.getvalue()
