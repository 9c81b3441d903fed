"""What makes a thing itself: kind, colour, pattern and a few continuous parameters."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imig.tabletop import vocabulary


@dataclass(frozen=True)
class Identity:
    """One particular thing, the same from every side and in every light.

    `proportions` are four numbers in [-1, 1] whose meaning depends on the kind (height, width,
    sizes of parts); `hue_shift` is in turns; `pattern_scale` multiplies bands and dots,
    `pattern_phase` in [0, 1) shifts them.
    """

    kind: str
    colour: str
    pattern: str
    proportions: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    hue_shift: float = 0.0
    pattern_scale: float = 1.0
    pattern_phase: float = 0.0

    def __post_init__(self) -> None:
        vocabulary.is_novel(self.kind, self.colour, self.pattern)  # raises for unknown words

    def __hash__(self) -> int:
        return int(self.identity_id, 16)  # cheap, and the same in every process

    @property
    def combination(self) -> vocabulary.Combination:
        """(kind, colour, pattern)"""
        return self.kind, self.colour, self.pattern

    @property
    def noun(self) -> str:
        """The kind as a noun: "mug"."""
        return self.kind

    @property
    def phrase(self) -> str:
        """The full phrase: "striped red mug"."""
        return vocabulary.phrase_of(self.kind, self.colour, self.pattern)

    @cached_property
    def identity_id(self) -> str:
        """A short stable name: twelve hexadecimal digits of a hash of all fields."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; `from_json` gives an equal identity back."""
        return {**asdict(self), "proportions": list(self.proportions)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Identity:
        """The identity that `to_json` wrote; raises ValueError or TypeError for bad data."""
        return cls(**{**data, "proportions": tuple(data["proportions"])})


def sample_identity(
    rng: np.random.Generator,
    kind: str | None = None,
    colour: str | None = None,
    pattern: str | None = None,
) -> Identity:
    """A random identity; the words given are kept, the others are drawn uniformly."""
    numbers = rng.random(7)
    rounded = [round(float(x), 4) for x in numbers * 2 - 1]
    return Identity(
        kind=kind or vocabulary.KINDS[int(rng.integers(len(vocabulary.KINDS)))],
        colour=colour or vocabulary.COLOURS[int(rng.integers(len(vocabulary.COLOURS)))],
        pattern=pattern or vocabulary.PATTERNS[int(rng.integers(len(vocabulary.PATTERNS)))],
        proportions=(rounded[0], rounded[1], rounded[2], rounded[3]),
        hue_shift=round(rounded[4] * 0.008, 5),
        pattern_scale=round(1.0 + 0.12 * rounded[5], 4),
        pattern_phase=round(float(numbers[6]), 4),
    )
