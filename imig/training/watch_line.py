"""The figures of a step as one line."""

from __future__ import annotations

from collections.abc import Mapping

from imig.console.texts import count_to_text

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


def figures_to_text(figures: Mapping[str, float]) -> str:
    """``loss 0.4312, 3.2 samples/s, 29.1k tokens/s, rate 1.00e-04, ..``."""
    known = [_FORMATS[name].format(figures[name]) for name in _FORMATS if name in figures]
    others = [
        f"{name} {value:.4g}"
        for name, value in figures.items()
        if name not in _FORMATS and name not in _NOT_SHOWN
    ]
    if "tokens_per_second" in figures:
        known.insert(2, f"{count_to_text(figures['tokens_per_second'])} tokens/s")
    return ", ".join(known + others)
