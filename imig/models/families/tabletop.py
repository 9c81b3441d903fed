"""Family `tabletop`: a generator without weights, whose every picture has a known truth.

It draws, edits and composes pictures of the procedural world. It does not look at pictures: it
reads how they were drawn (`Origin`) and draws the same things again. What it knows of the result
beside the pixels (which instance shows which identity) is there for benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from PIL import Image

from imig.layout.boxes import area, iou
from imig.models.batched import ResolvedWeights
from imig.models.family import Family
from imig.models.protocols import (
    ComposedReference,
    ComposeRequest,
    DrawRequest,
    EditRequest,
    GeneratorSettings,
    Origin,
)
from imig.schema import Box
from imig.tabletop import Identity, draw_prompt, parse_prompt, redraw_identity, sample_identity
from imig.tabletop.composition import Composed, compose_identities
from imig.tabletop.records import Image as Pixels
from imig.tabletop.records import Mask
from imig.tabletop.revision import REVISION

_SAME = 0.5
"""IoU of a box with an instance's, from which on the box means that instance."""


class Tabletop:
    """A `Drawer`, an `Editor` and a `Composer`; settings mean nothing to it."""

    family: ClassVar[Family] = Family(
        name="tabletop",
        tasks=("draw pictures", "edit pictures", "compose pictures"),
        library="imig",
        tiny=True,
        layout="program",
        weight_files=("*.py",),
        revision=REVISION,
        # there is nothing to offload; it stands in for families that do
        takes_offload=True,
    )

    def __init__(self, weights: ResolvedWeights) -> None:
        self.name = weights.name

    def draw(
        self, requests: Sequence[DrawRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        """The scene that each prompt names; see `imig.tabletop.draw_prompt`."""
        return [
            Image.fromarray(
                draw_prompt(one.prompt, width=one.width, height=one.height, seed=one.seed).image
            )
            for one in requests
        ]

    def edit(
        self, requests: Sequence[EditRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        """The subject of each request alone, as its instruction wants it; see `edit_truth`."""
        return [Image.fromarray(edit_truth(one)[1]) for one in requests]

    def compose(
        self, requests: Sequence[ComposeRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        """The subjects of each request on one table, with errors; see `compose_truth`."""
        return [Image.fromarray(compose_truth(one).rendered.image) for one in requests]


def edit_truth(request: EditRequest) -> tuple[Identity, Pixels, Mask]:
    """What `Tabletop.edit` draws: the identity, the picture (height x width x 3) and its mask.

    The identity is the one at the request's box in its origin. Where there is no origin, or nothing
    at that place, it is some thing of which the phrase is true: what a bad editor would draw.
    """
    found = _found(request.origin, request.box)
    identity, yaw = found or (_imagined(request.phrase, request.seed), None)
    image, mask = redraw_identity(
        identity,
        instruction=request.instruction,
        width=request.width,
        height=request.height,
        seed=request.seed,
        seen_from=yaw,
    )
    return identity, image, mask


def compose_truth(request: ComposeRequest) -> Composed:
    """What `Tabletop.compose` draws, and which instance shows which reference.

    A reference's identity is the largest thing of its origin, or, without one, some thing of which
    its phrase is true.
    """
    identities = [_identity_of(one, request.seed + n) for n, one in enumerate(request.references)]
    return compose_identities(
        identities, request.prompt, width=request.width, height=request.height, seed=request.seed
    )


def _found(origin: Origin | None, box: Box | None) -> tuple[Identity, float] | None:
    """The thing that stands at a box of a picture, and its yaw in degrees."""
    if origin is None or box is None:
        return None
    things = _things(origin)
    overlaps = np.maximum(
        iou([box], [full for _, _, full, _ in things]),
        iou([box], [visible for _, _, _, visible in things]),
    )[0]
    best = int(overlaps.argmax())
    if overlaps[best] < _SAME:
        return None
    return things[best][:2]


def _identity_of(reference: ComposedReference, seed: int) -> Identity:
    if reference.origin is None:
        return _imagined(reference.phrase, seed)
    things = _things(reference.origin)
    return things[int(area([full for _, _, full, _ in things]).argmax())][0]


# The instances of a scene are asked for one after the other.
@lru_cache(maxsize=32)
def _things(origin: Origin) -> tuple[tuple[Identity, float, Box, Box], ...]:
    """(identity, yaw, full box, visible box) of the things in a picture; at least one."""
    # a cropped view may be tiny; the things in it do not depend on the size
    width, height = max(origin.width, 16), max(origin.height, 16)
    drawn = draw_prompt(origin.prompt, width=width, height=height, seed=origin.seed)
    # instances are sorted from far to near
    placements = sorted(drawn.scene.placements, key=lambda placement: -placement.position[1])
    return tuple(
        (truth.identity, placement.yaw_degrees, truth.full_box, truth.box)
        for placement, truth in zip(placements, drawn.instances, strict=True)
    )


def _imagined(phrase: str, seed: int) -> Identity:
    kind, colour, pattern = next(iter(parse_prompt(phrase)), (None, None, None))
    return sample_identity(np.random.default_rng((seed, 10)), kind, colour, pattern)
