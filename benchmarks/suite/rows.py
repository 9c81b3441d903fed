"""What a measurement says: ours, beside one peer or limit, and the ratio that was wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """The ratio that is wanted; exactly one of the two is given."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, ratio: float) -> bool:
        if self.at_least is not None:
            return ratio >= self.at_least
        return self.at_most is not None and ratio <= self.at_most

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


@dataclass(frozen=True)
class Row:
    """A line of the table: one figure of ours and one of the other's, from the same run."""

    part: str
    case: str
    """What was measured: how many scenes, which recipe, which sizes."""
    unit: str
    """Of `ours` and `theirs`: ``s``, ``ms``, ``scenes/s``, ``MB``, ..."""
    ours: float
    theirs: float
    against: str
    """Whose figure `theirs` is: "limit: sha256, decode and parse", "peer: webdataset's reader"."""
    ratio: float
    """By the part's own sense: speeds as ours / theirs, times as ours / limit."""
    bar: Bar | None = None

    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "holds" if self.bar.holds(self.ratio) else "missed"
