"""The good datasets that faults are planted into: plain, encoded, and one to merge with each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from imig.sample import Sample
from imig.shards.features import FEATURES_MEMBER, features_to_bytes
from support.derived_datasets import FILTER, make_scene, write_dataset

SCENES: Final = 6
RECIPE: Final = {
    "name": "small",
    "source": {"kind": "tabletop"},
    "filter": FILTER,
    "duplicates": {"hash_distance": 4, "similarity": 0.999},
}
"""With duplicates by features, so that `refilter` and `split` read them."""


def write_good_datasets(root: Path, *, encoded: bool = True) -> None:
    """`plain` and `other`; `encoded` and `other-encoded`, for which torch is imported."""
    write_dataset(root / "plain", _samples(0, SCENES), recipe=RECIPE)
    write_dataset(root / "other", _samples(100, 2), recipe=RECIPE)
    if not encoded:
        return
    from support.encoded_samples import ENCODING, encode

    for name, first, count in (("encoded", 0, SCENES), ("other-encoded", 100, 2)):
        samples = _samples(first, count)
        for sample in samples:
            encode(sample)
        write_dataset(root / name, samples, recipe=RECIPE, encoding=ENCODING)


def _samples(first: int, count: int) -> list[Sample]:
    samples = [make_scene(number) for number in range(first, first + count)]
    for number, sample in enumerate(samples, first):
        feature = np.random.default_rng(number).normal(size=8)
        sample.files[FEATURES_MEMBER] = features_to_bytes(feature)
    return samples
