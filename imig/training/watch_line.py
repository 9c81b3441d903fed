"""The line of progress: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

_FORMATS = {
    "loss": "loss {:.4f}",
    "samples_per_second": "{:.3g} samples/s",
    "learning_rate": "rate {:.2e}",
    "gradient_norm": "gradient {:.3g}",
    "padding": "padding {:.1%}",
    "memory_gib": "{:.1f} GiB",
    "mfu": "MFU {:.0%}",
}
_NOT_SHOWN = ("tokens_per_second", "seconds_per_step")
"""The first is shown in thousands, the second is the time that is left."""


class LineOfProgress:
    """Shows steps and figures; `start` and `stop` stand around it."""

    def __init__(self, title: str, *, total: int, done: int, console: Console) -> None:
        self._title = title
        self._total = total
        self._console = console
        self._bar: RichProgress | None = None
        if console.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, figures="")

    def start(self) -> None:
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """A step without new figures."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def show(self, step: int, figures: Mapping[str, float], *, seconds_left: float) -> None:
        text = figures_to_text(figures)
        left = f"{time_to_text(seconds_left)} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, figures=f"{text}, {left}")
        else:
            self.print(f"{self._title}: {step}/{self._total}, {text}, {left}")

    def print(self, text: str) -> None:
        """A line that stays, above the bar where there is one."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def figures_to_text(figures: Mapping[str, float]) -> str:
    """``loss 0.4312, 3.2 samples/s, 29.1k tokens/s, rate 1.00e-04, ..``."""
    known = [_FORMATS[name].format(figures[name]) for name in _FORMATS if name in figures]
    others = [
        f"{name} {value:.4g}"
        for name, value in figures.items()
        if name not in _FORMATS and name not in _NOT_SHOWN
    ]
    if "tokens_per_second" in figures:
        known.insert(2, f"{_thousands(figures['tokens_per_second'])} tokens/s")
    return ", ".join(known + others)


def time_to_text(seconds: float) -> str:
    """``0:42``, ``12:05``, ``3:05:10``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _thousands(value: float) -> str:
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"
