"""Scenes of the procedural world as cases: exact boxes, references from another side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from imig.evaluation.case import Case, CaseInstance, CaseReference, Mask
from imig.evaluation.pictures import stem_to_case
from imig.layout.masks import mask_to_box
from imig.stages.pixels import CUT_MARGIN, crop_mask, grow_box
from imig.tabletop import Identity, redraw_identity, sample_identity
from imig.tabletop.records import InstanceTruth, RenderedScene, TabletopScene
from imig.tabletop.scene import build_scene, render_scene, sample_identities
from imig.tabletop.scenery import sample_scenery
from imig.tabletop.vocabulary import COLOURS

SIDE = 256
"""Pixels of a scene; the tiny models were trained at this size."""
REFERENCE_SIDE = 128
TURN = "Turn the camera by 30 degrees, in bright daylight, on a plain background."
"""How references differ from what the scene shows."""


@dataclass(frozen=True)
class TrueScene:
    """A scene, how it truly looks, and the references that a model would be given."""

    id: str
    scene: TabletopScene
    rendered: RenderedScene
    references: tuple[tuple[Image.Image, Mask], ...]
    """Of each instance, in the order of `rendered.instances`: RGB, and the subject's mask."""


def make_scene(number: int) -> TrueScene:
    """Scene of that number: 3 or 4 things, two of them of one kind and unlike in colour."""
    rng = np.random.default_rng((number, 16))
    scenery = sample_scenery(rng, SIDE, SIDE)
    identities = sample_identities(rng, int(rng.integers(3, 5)), "trained")
    identities[1] = _look_alike(rng, identities[0])
    scene = build_scene(rng, number, identities, scenery)
    rendered = render_scene(scene)
    references = tuple(
        _reference(truth, seed=number * 10 + n) for n, truth in enumerate(rendered.instances)
    )
    return TrueScene(f"scene-{number:04d}", scene, rendered, references)


def _look_alike(rng: np.random.Generator, identity: Identity) -> Identity:
    """Another thing of the same kind and pattern, in another colour."""
    others = [one for one in COLOURS if one != identity.colour]
    return sample_identity(
        rng, identity.kind, others[int(rng.integers(len(others)))], identity.pattern
    )


def _reference(truth: InstanceTruth, *, seed: int) -> tuple[Image.Image, Mask]:
    image, mask = redraw_identity(
        truth.identity,
        instruction=TURN,
        width=REFERENCE_SIDE,
        height=REFERENCE_SIDE,
        seed=seed,
        seen_from=0.0,
    )
    return Image.fromarray(image), mask


class TrueScenes:
    """Such scenes as what pictures are evaluated against (`imig.evaluation.case.Against`)."""

    kind = "tabletop"

    def __init__(self, scenes: Sequence[TrueScene]) -> None:
        self._scenes = {one.id: one for one in scenes}

    def __len__(self) -> int:
        return len(self._scenes)

    def __iter__(self) -> Iterator[Case]:
        for name, one in sorted(self._scenes.items()):
            yield Case(
                id=name,
                caption=one.rendered.caption,
                size=(SIDE, SIDE),
                instances=tuple(
                    CaseInstance(
                        phrase=truth.phrase,
                        noun=truth.noun,
                        box=truth.box,
                        attributes={"colour": truth.identity.colour},
                        references=(
                            CaseReference(
                                name=f"{name}, reference {n}", read=partial(_given, reference)
                            ),
                        ),
                        read_truth=partial(_cut_out, one.rendered, truth),
                    )
                    for n, (truth, reference) in enumerate(
                        zip(one.rendered.instances, one.references, strict=True)
                    )
                ),
                read_target=partial(Image.fromarray, one.rendered.image),
            )

    def case_of(self, stem: str) -> str | None:
        return stem_to_case(stem, self._scenes)

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "cases": len(self)}


def _given(reference: tuple[Image.Image, Mask]) -> tuple[Image.Image, Mask | None]:
    return reference


def _cut_out(rendered: RenderedScene, truth: InstanceTruth) -> tuple[Image.Image, Mask]:
    image = Image.fromarray(rendered.image)
    tight = mask_to_box(truth.mask)
    assert tight is not None
    box = grow_box(tight, margin=CUT_MARGIN, width=image.width, height=image.height)
    return image.crop(box), crop_mask(truth.mask, box)
