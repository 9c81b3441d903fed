"""Figures of `dinov2`: does it tell an identity in two views from another identity?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.tiny_figures.common import FIRST_SEED, Figure, Options, load
from imig.models.protocols import ImageEmbedder
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.vocabulary import TRAINED_COMBINATIONS, hard_negative, phrase_of, split_phrase


def measure_identities(options: Options) -> list[Figure]:
    """AUC of the cosine: the same identity in another view, against another identity."""
    from tools.tiny.dinov2 import auc
    from tools.tiny.views import VIEW_SIZE, draw_view

    model: ImageEmbedder = load("dinov2", options)
    rng = np.random.default_rng(FIRST_SEED)
    identities: list[Identity] = []
    for _ in range(max(10, options.scenes // 2)):
        kind, colour, pattern = TRAINED_COMBINATIONS[int(rng.integers(len(TRAINED_COMBINATIONS)))]
        # two things of one phrase that differ in their proportions only, and a third, one word away
        identities.append(sample_identity(rng, kind, colour, pattern))
        identities.append(sample_identity(rng, kind, colour, pattern))
        near = split_phrase(hard_negative(phrase_of(kind, colour, pattern), [], rng))
        identities.append(sample_identity(rng, *near))
    sides = (0.0, 30.0, 60.0, 90.0)
    figures = []
    features: dict[str, list[NDArray[np.float32]]] = {"whole crop": [], "under the mask": []}
    for identity in track(
        identities, description="dinov2", transient=True, console=Console(stderr=True)
    ):
        start = float(rng.uniform(0, 360))
        images, masks = [], []
        for side in sides:
            image, mask, box = draw_view(identity, rng, azimuth=start + side)
            x1, y1, x2, y2 = box
            margin = 0.05 * max(x2 - x1, y2 - y1)
            sides_out = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
            a, b, c, d = (min(VIEW_SIZE, max(0, round(v))) for v in sides_out)
            images.append(Image.fromarray(image[b:d, a:c]))
            masks.append(mask[b:d, a:c])
        features["whole crop"].append(model.embed(images))
        features["under the mask"].append(model.embed(images, masks))
    group = np.repeat(np.arange(len(identities)) // 3, len(sides))
    owner = np.repeat(np.arange(len(identities)), len(sides))
    phrase = np.array([identity.phrase for identity in identities])[owner]
    upper = np.triu(np.ones((len(owner), len(owner)), np.bool_), 1)
    same = owner[:, None] == owner[None]
    kin = group[:, None] == group[None]
    alike = phrase[:, None] == phrase[None]
    others = {
        "another identity": ~kin,
        "another identity one word away": kin & ~alike,
        "another identity of the same phrase": kin & alike & ~same,
    }
    for name, parts in features.items():
        stacked = np.concatenate(parts)
        cosine = stacked @ stacked.T
        for title, negative in others.items():
            value = auc(cosine[same & upper], cosine[negative & upper])
            bar = 0.98 if title == "another identity" else None
            figures.append(Figure("dinov2", f"AUC, {name}, against {title}", value, bar))
    return figures
