"""What the line says that a person sees while prompts are written."""

from __future__ import annotations

from dataclasses import dataclass

from imig.console.texts import rate_to_text, seconds_to_text
from imig.endpoint.endpoint import Usage

REDRAW_SECONDS = 0.25
"""Requests end many times a second."""


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
