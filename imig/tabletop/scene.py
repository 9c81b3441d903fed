"""Scenes of the tabletop world: sampled from a seed, drawn with their exact ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from imig.tabletop import captions, vocabulary
from imig.tabletop.arrangement import arrange
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.projection import Posed, projected_extents, yaw_matrix
from imig.tabletop.records import (
    InstanceTruth,
    PlacedThing,
    RenderedScene,
    TabletopScene,
    mask_bounds,
)
from imig.tabletop.render import draw
from imig.tabletop.scenery import Scenery, sample_scenery
from imig.tabletop.shapes import build_thing

Combinations = Literal["all", "trained", "novel"]

COUNT_WEIGHTS: dict[int, float] = {
    1: 0.10, 2: 0.18, 3: 0.22, 4: 0.20, 5: 0.16, 6: 0.10, 7: 0.08, 8: 0.06,
}  # fmt: skip


def sample_scene(
    seed: int,
    *,
    width: int = 256,
    height: int = 256,
    instances: tuple[int, int] = (2, 8),
    combinations: Combinations = "all",
) -> TabletopScene:
    """A random scene; the same arguments always give the same scene.

    `instances` is the least and largest number of things (within 1..8; few things are likelier;
    where they do not fit, things shrink, and at last one is left out). `combinations`: "trained"
    leaves held-out combinations away, "novel" has at least one of them (see
    `vocabulary.is_novel`). Raises ValueError for sizes or numbers out of range.
    """
    least, most = instances
    if not 1 <= least <= most <= 8:
        raise ValueError(f"instances must lie within 1..8, not {instances}")
    if combinations not in ("all", "trained", "novel"):
        raise ValueError(f'combinations is "all", "trained" or "novel", not {combinations!r}')
    rng = np.random.default_rng(seed)
    weights = [COUNT_WEIGHTS[n] for n in range(least, most + 1)]
    threshold = float(rng.random()) * sum(weights)
    count = least
    for n, weight in enumerate(weights, least):
        count = n
        threshold -= weight
        if threshold < 0:
            break
    scenery = sample_scenery(rng, width, height)
    identities = sample_identities(rng, count, combinations)
    if combinations == "novel":  # never the one to be left out
        identities.sort(key=lambda i: not vocabulary.is_novel(*i.combination))
    return build_scene(rng, seed, identities, scenery)


def sample_identities(
    rng: np.random.Generator, count: int, combinations: Combinations
) -> list[Identity]:
    """Identities of `count` different combinations; in half of the scenes two share a word."""
    chosen: list[vocabulary.Combination] = []
    share = rng.random() < 0.5
    share_slot = int(rng.integers(2))  # kind or colour
    novel_at = int(rng.integers(count)) if combinations == "novel" else -1
    for index in range(count):
        pool = vocabulary.ALL_COMBINATIONS
        if combinations == "trained":
            pool = vocabulary.TRAINED_COMBINATIONS
        elif index == novel_at:
            pool = vocabulary.NOVEL_COMBINATIONS
        if share and index == 1:
            wanted = chosen[0][share_slot]
            narrowed = tuple(c for c in pool if c[share_slot] == wanted and c not in chosen)
            pool = narrowed or pool
        while True:
            combination = pool[int(rng.integers(len(pool)))]
            if combination not in chosen:
                break
        chosen.append(combination)
    chosen = [chosen[int(i)] for i in rng.permutation(count)]
    return [sample_identity(rng, *combination) for combination in chosen]


def build_scene(
    rng: np.random.Generator, seed: int, identities: Sequence[Identity], scenery: Scenery
) -> TabletopScene:
    """Arrange the identities; drop the last one when no arrangement is found."""
    placements = arrange(rng, identities, scenery)
    kept = list(identities)
    while placements is None and len(kept) > 1:
        kept.pop()
        placements = arrange(rng, kept, scenery)
    if placements is None:  # a single thing in an extreme format: stand it in the middle
        unit = Posed(build_thing(kept[0]), yaw_matrix(0.0), (0.0, 0.0, 0.0), 1.0)
        extent = max(projected_extents([unit], scenery.camera_elevation)[0])
        placements = (PlacedThing(kept[0], (0.0, -0.7), 0.0, round(1.0 / extent, 4)),)
    return TabletopScene.in_scenery(scenery, placements, seed=seed)


def render_scene(scene: TabletopScene) -> RenderedScene:
    """Draw a scene, with masks, boxes, layers and a caption."""
    placements = sorted(scene.placements, key=lambda p: -p.position[1])
    posed = [
        Posed(build_thing(p.identity), yaw_matrix(p.yaw_degrees), (*p.position, 0.0), p.scale)
        for p in placements
    ]
    drawing = draw(posed, scene.scenery)
    found: list[InstanceTruth] = []
    for layer, (placement, full, visible) in enumerate(
        zip(placements, drawing.full_masks, drawing.visible_masks, strict=True)
    ):
        identity = placement.identity
        full_box = mask_bounds(full)
        x1, y1, x2, y2 = full_box
        full_area = int(np.count_nonzero(full[y1:y2, x1:x2]))
        area = int(np.count_nonzero(visible[y1:y2, x1:x2]))
        found.append(
            InstanceTruth(
                identity=identity,
                phrase=identity.phrase,
                noun=identity.noun,
                box=full_box if area == full_area else mask_bounds(visible),
                full_box=full_box,
                mask=visible,
                full_mask=full,
                layer=layer,
                occluded_fraction=1.0 - area / full_area if full_area else 0.0,
            )
        )
    return RenderedScene(
        scene=scene,
        image=drawing.image,
        instances=found,
        caption=_caption(scene, placements, found),
        style=scene.style,
    )


def _caption(
    scene: TabletopScene, placements: Sequence[PlacedThing], instances: Sequence[InstanceTruth]
) -> str:
    described = []
    for i, (placement, truth) in enumerate(zip(placements, instances, strict=True)):
        covers = tuple(
            j
            for j in range(i)
            if instances[j].occluded_fraction > 0.01 and _share_pixels(truth, instances[j])
        )
        described.append(captions.Described(truth.phrase, truth.box, placement.position[1], covers))
    rng = np.random.default_rng((scene.seed, 3))
    return captions.scene_caption(described, scene.width, scene.backdrop.table, scene.style, rng)


def _share_pixels(one: InstanceTruth, other: InstanceTruth) -> bool:
    a, b = one.full_box, other.full_box
    left, right = max(a[0], b[0]), min(a[2], b[2])
    top, bottom = max(a[1], b[1]), min(a[3], b[3])
    if left >= right or top >= bottom:
        return False
    shared = slice(top, bottom), slice(left, right)
    return bool(np.any(one.full_mask[shared] & other.full_mask[shared]))


def simple_caption(scene: RenderedScene) -> str:
    """The one canonical caption, things from left to right by the centres of their boxes.

    "three things: a plain red mug, a striped blue car and a dotted green ball"
    """
    ordered = sorted(scene.instances, key=lambda i: (i.box[0] + i.box[2], i.box[1]))
    return captions.simple_caption_of([instance.phrase for instance in ordered])
