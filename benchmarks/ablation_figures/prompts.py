"""Prompts whose things are easily mistaken for each other: look-alikes, one word apart."""

from __future__ import annotations

import numpy as np

from imig.prompts.record import PromptRecord
from imig.sample import derive_seed
from imig.tabletop.captions import TABLE_WORDS, count_phrase, join_list
from imig.tabletop.vocabulary import (
    ALL_COMBINATIONS,
    COLOURS,
    PATTERNS,
    TABLES,
    Combination,
    phrase_of,
    with_article,
)

INSTANCES = (3, 5)
"""Things of a scene: as many as overlap, and as `filter.max_instances` keeps."""


def write_look_alike_prompt(number: int, *, seed: int) -> PromptRecord:
    """A scene of 3 to 5 things, of which two or more differ in colour or in pattern alone.

    No language model or model of layout can tell such things by their kind: which one stands where
    has to come from the references.
    """
    rng = np.random.default_rng(derive_seed(seed, "complex", "look-alikes", number))
    count = int(rng.integers(INSTANCES[0], INSTANCES[1] + 1))
    alike = int(rng.integers(2, count + 1))
    chosen: list[Combination] = [ALL_COMBINATIONS[int(rng.integers(len(ALL_COMBINATIONS)))]]
    while len(chosen) < count:
        kind, colour, pattern = chosen[0]
        if len(chosen) >= alike:
            kind, colour, pattern = ALL_COMBINATIONS[int(rng.integers(len(ALL_COMBINATIONS)))]
        elif rng.random() < 0.5:
            colour = COLOURS[int(rng.integers(len(COLOURS)))]
        else:
            pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
        if (kind, colour, pattern) not in chosen:
            chosen.append((kind, colour, pattern))
    chosen = [chosen[int(one)] for one in rng.permutation(count)]
    phrases = [phrase_of(*one) for one in chosen]
    table = TABLES[int(rng.integers(len(TABLES)))]
    listed = join_list([with_article(phrase) for phrase in phrases])
    return PromptRecord(
        prompt=f"A picture of {count_phrase(count)} on {TABLE_WORDS[table]}: {listed}.",
        nouns=phrases,
    )
