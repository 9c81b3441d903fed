"""Prompts for training the grounder: phrases of a scene, shortened ones, and absent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import vocabulary

NEGATIVES = (0.1, 0.2, 0.3, 0.2, 0.2)
"""Chance of 0, 1, 2, ... phrases that are not in the picture."""
SWAPPED = {"pattern": 0.45, "colour": 0.2, "kind": 0.2, "all": 0.15}
"""What a negative changes of a phrase in the picture; patterns are the hardest to tell."""
SHORTENED = 0.15
"""Chance that a phrase loses its pattern, its colour, or both."""


@dataclass(frozen=True)
class Prompt:
    """A prompt and which of its phrases mean which instance."""

    phrases: list[str]
    means: NDArray[np.bool_]
    """(instances, phrases)"""


def swap(phrase: str, attribute: str, rng: np.random.Generator) -> str:
    """A phrase with one attribute (or all) drawn anew, for another one."""
    pattern, colour, kind = phrase.split()
    if attribute in ("pattern", "all"):
        pattern = str(rng.choice([p for p in vocabulary.PATTERNS if p != pattern]))
    if attribute in ("colour", "all"):
        colour = str(rng.choice([c for c in vocabulary.COLOURS if c != colour]))
    if attribute in ("kind", "all"):
        kind = str(rng.choice([k for k in vocabulary.KINDS if k != kind]))
    return f"{pattern} {colour} {kind}"


def hard_negatives(
    phrases: Sequence[str], count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """(phrase, swapped attribute), absent from the scene whose phrases are given."""
    found: dict[str, str] = {}
    while len(found) < count:
        attribute = str(rng.choice(list(SWAPPED), p=list(SWAPPED.values())))
        candidate = swap(str(rng.choice(list(phrases))), attribute, rng)
        if candidate not in phrases:
            found[candidate] = attribute
    return list(found.items())


def sample_prompt(phrases: Sequence[str], rng: np.random.Generator) -> Prompt:
    """A training prompt for a scene with these phrases (pattern, colour, kind)."""
    asked = [p for p in phrases if rng.random() < 0.75] if rng.random() < 0.4 else list(phrases)
    texts = [_shorten(phrase, rng) if rng.random() < SHORTENED else phrase for phrase in asked]
    count = int(rng.choice(len(NEGATIVES), p=NEGATIVES))
    texts += [phrase for phrase, _ in hard_negatives(phrases, max(count, not texts), rng)]
    texts = sorted(set(texts))
    rng.shuffle(texts)
    words = [set(phrase.split()) for phrase in phrases]
    means = np.array([[set(text.split()) <= word for text in texts] for word in words], bool)
    return Prompt(phrases=texts, means=means)


def _shorten(phrase: str, rng: np.random.Generator) -> str:
    pattern, colour, kind = phrase.split()
    return str(rng.choice([f"{colour} {kind}", f"{pattern} {kind}", kind]))
