"""Pictures with one fault each, planted into scenes with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.evaluator_figures.scenes import TrueScene
from imig.layout.boxes import iou
from imig.layout.placement import place
from imig.tabletop.records import PlacedThing, RenderedScene
from imig.tabletop.render import draw
from imig.tabletop.scene import render_scene
from imig.tabletop.vocabulary import COLOURS

Picture = NDArray[np.uint8]

_ELSEWHERE = 0.2
"""IoU below which a thing has moved away."""
_STILL_SEEN = 0.6
"""Of their visible area, what the others keep when one thing moves."""


def true_picture(one: TrueScene) -> Picture:
    """As it is."""
    return one.rendered.image


def moved(one: TrueScene) -> Picture | None:
    """The largest thing stands elsewhere, hiding little; None where there is no room for it."""
    number = _largest(one)
    placement = _placements(one)[number]
    before = one.rendered.instances
    for x, y in _spots(placement):
        shifted = replace(placement, position=(x, y))
        drawn = _drawn_with(one, {number: shifted})
        after = {one.identity.identity_id: one for one in drawn.instances}
        found = [after[truth.identity.identity_id] for truth in before]
        away = float(iou([found[number].box], [before[number].box])[0, 0]) < _ELSEWHERE
        seen = all(
            np.count_nonzero(other.mask) >= _STILL_SEEN * np.count_nonzero(truth.mask)
            for other, truth in zip(found, before, strict=True)
        )
        if away and seen:
            return drawn.image
    return None


def swapped(one: TrueScene) -> Picture | None:
    """Two things of one kind have changed places; None where the scene has no two."""
    placements = _placements(one)
    for first in range(len(placements)):
        for second in range(first):
            mine, other = placements[first], placements[second]
            if mine.identity.kind == other.identity.kind:
                changes = {
                    first: replace(mine, identity=other.identity),
                    second: replace(other, identity=mine.identity),
                }
                return _drawn_with(one, changes).image
    return None


def recoloured(one: TrueScene) -> Picture:
    """The largest thing has the opposite colour."""
    number = _largest(one)
    placement = _placements(one)[number]
    colour = COLOURS[(COLOURS.index(placement.identity.colour) + len(COLOURS) // 2) % len(COLOURS)]
    identity = replace(placement.identity, colour=colour)
    return _drawn_with(one, {number: replace(placement, identity=identity)}).image


def missing(one: TrueScene) -> Picture:
    """The largest thing is not there."""
    return _drawn_with(one, {_largest(one): None}).image


def pasted(one: TrueScene) -> Picture:
    """Every thing is its reference, pasted where it belongs: no new pose, no new light."""
    canvas = Image.fromarray(draw([], one.scene.scenery).image)
    for truth, (image, mask) in zip(one.rendered.instances, one.references, strict=True):
        placed = place(image, mask, box=truth.box, canvas_size=canvas.size, fit="instance-fit")
        canvas.paste(placed.image, (placed.left, placed.top), placed.mask)
    return np.asarray(canvas)


TREATMENTS: Final[Mapping[str, Callable[[TrueScene], Picture | None]]] = {
    "true pictures": true_picture,
    "one thing moved": moved,
    "two look-alikes swapped": swapped,
    "one thing recoloured": recoloured,
    "one thing missing": missing,
    "references pasted in": pasted,
}
"""Row of the table -> the picture, or None where a scene does not allow it."""


def _placements(one: TrueScene) -> list[PlacedThing]:
    """In the order of `rendered.instances`: far to near."""
    return sorted(one.scene.placements, key=lambda placement: -placement.position[1])


def _largest(one: TrueScene) -> int:
    return int(np.argmax([np.count_nonzero(truth.mask) for truth in one.rendered.instances]))


def _drawn_with(one: TrueScene, changes: Mapping[int, PlacedThing | None]) -> RenderedScene:
    """The scene with some placements replaced, or taken away."""
    changed = [changes.get(n, placement) for n, placement in enumerate(_placements(one))]
    kept = tuple(placement for placement in changed if placement is not None)
    return render_scene(replace(one.scene, placements=kept))


def _spots(placement: PlacedThing) -> Iterator[tuple[float, float]]:
    """Places on the table at other distances to the left and right."""
    for x in (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75):
        yield x, placement.position[1]
