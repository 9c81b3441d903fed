"""What a person sees while prompts are written: one line, redrawn or now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from imig.models.endpoint import Usage

LINE_SECONDS = 10.0
REDRAW_SECONDS = 0.25


@dataclass
class Figures:
    """What the line says."""

    wanted: int
    done: int
    before: int
    """Written by earlier runs."""
    invalid: int = 0
    duplicates: int = 0

    @property
    def fresh(self) -> int:
        return self.done - self.before


def figures_to_text(figures: Figures, usage: Usage, *, cost: float | None, seconds: float) -> str:
    """`12/100 prompts, 1.5/s, 3500 tokens, cost 0.0021, 2 retries, about 59 s left`."""
    from imig.engine.progress import rate_to_text
    from imig.engine.report import seconds_to_text

    parts = [f"{figures.done}/{figures.wanted} prompts"]
    rate = figures.fresh / seconds if seconds > 0 else 0.0
    if rate > 0:
        parts.append(f"{rate_to_text(rate)}/s")
    if usage.input_tokens + usage.output_tokens:
        parts.append(f"{usage.input_tokens} + {usage.output_tokens} tokens")
    if cost is not None:
        parts.append(f"cost {cost:.4f}" if cost < 1 else f"cost {cost:.2f}")
    for count, one, several in (
        (usage.retries, "retry", "retries"),
        (figures.invalid, "invalid answer", "invalid answers"),
        (figures.duplicates, "duplicate", "duplicates"),
    ):
        if count:
            parts.append(f"{count} {one if count == 1 else several}")
    if rate > 0 and figures.done < figures.wanted:
        left = (figures.wanted - figures.done) / rate
        parts.append(f"about {seconds_to_text(left)} left")
    return ", ".join(parts)


class ProgressLine:
    """Redrawn in place on a terminal; elsewhere a line about every ten seconds."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._shown = clock()
        self._live: Live | None = None

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: Callable[[], str]) -> None:
        """Show the line that `text` makes, when it is time for one."""
        now = self._clock()
        if now - self._shown < (LINE_SECONDS if self._live is None else REDRAW_SECONDS):
            return
        self._shown = now
        if self._live is not None:
            self._live.update(Text(text()), refresh=True)
        else:
            self._console.print(text(), highlight=False, soft_wrap=True)
