"""Durations, rates and counts as a person reads them."""

from __future__ import annotations


def seconds_to_text(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def seconds_to_clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:05:10`: for lines that must stay short."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rate_to_text(rate: float) -> str:
    """`12.8`, or `0.42` where it is slow."""
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"


def count_to_text(count: float) -> str:
    """`312`, or `29.1k`: three digits."""
    return f"{count / 1000:.3g}k" if count >= 1000 else f"{count:.3g}"
