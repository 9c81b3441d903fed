"""The line that is shown while prompts are written."""

from __future__ import annotations

import io

from rich.console import Console

from imig.console.live_line import LiveLine
from imig.endpoint.endpoint import Usage
from imig.prompts.progress import REDRAW_SECONDS, Figures, figures_to_text


def test_the_line_has_everything_that_is_known() -> None:
    usage = Usage(requests=5, retries=2, input_tokens=3000, output_tokens=500)
    figures = Figures(wanted=100, done=40, before=20, invalid=1, duplicates=3)
    assert figures_to_text(figures, usage, cost=0.0021, seconds=10) == (
        "40/100 prompts, 2.0/s, 3000 + 500 tokens, cost 0.0021, 2 retries, 1 invalid answer, "
        "3 duplicates, about 30 s left"
    )
    nothing = Figures(wanted=100, done=20, before=20)
    assert figures_to_text(nothing, Usage(), cost=None, seconds=0) == "20/100 prompts"


def test_a_line_now_and_then_where_there_is_no_terminal() -> None:
    now = [0.0]
    screen = io.StringIO()
    with LiveLine(Console(file=screen), clock=lambda: now[0]) as line:
        for second in range(25):
            now[0] = float(second)
            line.show_line(lambda: f"at {now[0]:.0f}")
    assert screen.getvalue() == "at 10\nat 20\n"
    terminal = io.StringIO()
    with LiveLine(
        Console(file=terminal, force_terminal=True, width=80),
        redraw_seconds=REDRAW_SECONDS,
        clock=lambda: now[0],
    ) as line:
        now[0] += 1
        line.show_line(lambda: "[redrawn]")
    assert "[redrawn]" in terminal.getvalue()
