"""The truth of a written scene: drawn again from what the scene says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from imig.models.families.tabletop import compose_truth
from imig.models.protocols import ComposedReference, ComposeRequest, Origin
from imig.sample import derive_seed
from imig.tabletop import RenderedScene, draw_prompt, render_scene, sample_scene

SAME_PICTURE = 3.0
"""Mean difference of grey values below which two pictures are one, but for JPEG's error."""


@dataclass(frozen=True)
class Truth:
    """A target's truth; for the flexible subset also whose identity each instance shows."""

    rendered: RenderedScene
    subjects: tuple[int | None, ...] | None = None
    """For each true instance the subject that it shows, None: nobody's. None: not composed."""


def truth_of(scene: Any, *, recipe: dict[str, Any]) -> Truth | None:
    """Draws the scene's target again; None where that does not give the stored picture."""
    if scene.subset == "flexible":
        return _composed(scene, recipe)
    source = recipe["source"]
    if source["kind"] == "tabletop":
        rendered = render_scene(
            sample_scene(
                scene.source.seed,
                width=source["width"],
                height=source["height"],
                instances=tuple(source["instances"]),
                combinations=source["combinations"],
            )
        )
    else:
        rendered = draw_prompt(
            scene.source.prompt, width=scene.width, height=scene.height, seed=scene.source.seed
        )
    return Truth(rendered) if _is_target(rendered, scene) else None


def _composed(scene: Any, recipe: dict[str, Any]) -> Truth | None:
    """Which references the composer was given is not stored: those without a subject were left out.

    The scenes that the possible choices give are drawn until one is the stored target.
    """
    matched = {one.subject for one in scene.instances}
    for given in _choices(len(scene.subjects), matched):
        request = ComposeRequest(
            references=tuple(_reference(scene, subject, recipe) for subject in given),
            prompt=recipe["compose"]["instruction"].replace("{prompt}", scene.caption),
            seed=scene.source.seed,
            width=scene.width,
            height=scene.height,
        )
        composed = compose_truth(request)
        if _is_target(composed.rendered, scene):
            subjects = tuple(None if one is None else given[one] for one in composed.shown)
            return Truth(composed.rendered, subjects)
    return None


def _choices(subjects: int, needed: set[int]) -> Iterator[tuple[int, ...]]:
    for size in range(subjects, 0, -1):
        for some in combinations(range(subjects), size):
            if needed.issubset(some):
                yield some


def _reference(scene: Any, subject: int, recipe: dict[str, Any]) -> ComposedReference:
    """As the stage `compose` hands it over; tabletop reads only its origin."""
    draw = recipe["draw"]
    stated = scene.subjects[subject]
    return ComposedReference(
        image=scene.target,
        phrase=stated.phrase,
        origin=Origin(
            prompt=draw["subject_template"].replace("{prompt}", stated.prompt),
            seed=derive_seed(scene.seed, "draw", subject),
            width=draw["width"],
            height=draw["height"],
        ),
    )


def _is_target(rendered: RenderedScene, scene: Any) -> bool:
    stored = np.asarray(scene.target, np.float32)
    drawn = rendered.image.astype(np.float32)
    return stored.shape == drawn.shape and float(np.abs(stored - drawn).mean()) < SAME_PICTURE
