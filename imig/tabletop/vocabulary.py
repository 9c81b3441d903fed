"""The words of the tabletop world: kinds, colours, patterns, moods, surfaces, phrases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np

KINDS: tuple[str, ...] = (
    "ball", "cube", "cone", "duck", "ring", "mug", "bottle", "house",
    "car", "tree", "mushroom", "chair", "lamp", "boat",
)  # fmt: skip
COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink",
)  # fmt: skip
PATTERNS: tuple[str, ...] = ("plain", "striped", "dotted", "metallic")

MOODS: tuple[str, ...] = (
    "daylight", "golden hour", "overcast", "night lamp", "studio", "neon", "moonlight", "morning",
)  # fmt: skip

TABLES: tuple[str, ...] = (
    "wood", "cloth", "marble", "sand", "grass", "tiles", "slate", "linen", "concrete", "paper",
)  # fmt: skip
WALLS: tuple[str, ...] = ("gradient", "bokeh", "panels", "plaster", "bricks", "hills", "none")

NUMBER_WORDS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
)  # fmt: skip
KIND_PLURALS: dict[str, str] = {kind: kind + "s" for kind in KINDS}

Combination = tuple[str, str, str]
"""(kind, colour, pattern)"""


@cache
def is_novel(kind: str, colour: str, pattern: str) -> bool:
    """Whether a combination is held out of training (about one in ten, by a stable hash).

    Raises ValueError for a word outside the vocabulary.
    """
    if kind not in KINDS or colour not in COLOURS or pattern not in PATTERNS:
        raise ValueError(f"not in the tabletop vocabulary: {pattern} {colour} {kind}")
    digest = hashlib.sha256(f"tabletop/{kind}/{colour}/{pattern}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0


ALL_COMBINATIONS: tuple[Combination, ...] = tuple(
    (kind, colour, pattern) for kind in KINDS for colour in COLOURS for pattern in PATTERNS
)
NOVEL_COMBINATIONS: tuple[Combination, ...] = tuple(c for c in ALL_COMBINATIONS if is_novel(*c))
TRAINED_COMBINATIONS: tuple[Combination, ...] = tuple(
    c for c in ALL_COMBINATIONS if not is_novel(*c)
)


def phrase_of(kind: str, colour: str, pattern: str) -> str:
    """The full phrase, pattern colour noun: "striped red mug"."""
    return f"{pattern} {colour} {kind}"


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def number_word(count: int) -> str:
    """The number as a word for 0..8, as digits above."""
    return NUMBER_WORDS[count] if 0 <= count < len(NUMBER_WORDS) else str(count)


def split_phrase(phrase: str) -> Combination:
    """The (kind, colour, pattern) of a full phrase; raises ValueError for anything else."""
    words = phrase.split()
    if len(words) == 3 and words[0] in PATTERNS and words[1] in COLOURS and words[2] in KINDS:
        return words[2], words[1], words[0]
    raise ValueError(f"not a tabletop phrase: {phrase!r}")


def hard_negative(phrase: str, scene_phrases: Sequence[str], rng: np.random.Generator) -> str:
    """A full phrase that is absent from the scene, close to `phrase`.

    Four times in five one attribute of `phrase` is swapped; else all three are drawn at random.
    Raises ValueError when `phrase` is not a full tabletop phrase.
    """
    kind, colour, pattern = split_phrase(phrase)
    present = set(scene_phrases) | {phrase}
    for _ in range(200):
        words = [kind, colour, pattern]
        if rng.random() < 0.8:
            slot = int(rng.integers(3))
            words[slot] = str(rng.choice((KINDS, COLOURS, PATTERNS)[slot]))
        else:
            words = [str(rng.choice(group)) for group in (KINDS, COLOURS, PATTERNS)]
        candidate = phrase_of(*words)
        if candidate not in present:
            return candidate
    return next(p for c in ALL_COMBINATIONS if (p := phrase_of(*c)) not in present)
