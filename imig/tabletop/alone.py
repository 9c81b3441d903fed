"""A subject alone: one thing before nothing that distracts from it."""

from __future__ import annotations

import re

import numpy as np

from imig.tabletop.captions import parse_prompt
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.records import Image, Mask, PlacedThing, RenderedScene, TabletopScene
from imig.tabletop.scene import render_scene
from imig.tabletop.views import FOUND_AGAIN, View, pose_alone
from imig.tabletop.wording import background_in, mood_in

_ALONE = re.compile(r"\b(alone|on its own|by itself|nothing else)\b", re.IGNORECASE)
_TURN = 60.0
"""Degrees to either side: the subject is seen from its front, more or less."""


def asks_for_one_alone(prompt: str) -> bool:
    """Whether a text wants a single thing and nothing else: "a red mug alone on the grass"."""
    return _ALONE.search(prompt) is not None and len(parse_prompt(prompt)) <= 1


def draw_alone(prompt: str, *, width: int, height: int, seed: int) -> RenderedScene:
    """The first thing that a text names, alone, with its ground truth.

    It takes up to half of the picture's width or height (`views.FOUND_AGAIN`). Attributes that the
    text leaves open are filled by the seed alone, so the identity does not depend on the size; a
    text that names nothing gives a random thing. The mood is "studio" and the background plain,
    unless the text says otherwise.
    """
    identity = identity_alone(prompt, seed=seed)
    rng = np.random.default_rng((seed, 8))
    view = View(
        azimuth_degrees=round(float(rng.uniform(-_TURN, _TURN)), 2) % 360,
        mood=mood_in(prompt) or "studio",
        background=background_in(prompt) or "blank",
        size=FOUND_AGAIN,
    )
    posed, scenery = pose_alone(identity, width=width, height=height, view=view, seed=seed)
    position = (round(posed.position[0], 4), round(posed.position[1], 4))
    scale = round(posed.scale, 4)
    thing = PlacedThing(identity, position, view.azimuth_degrees, scale)
    return render_scene(TabletopScene.in_scenery(scenery, (thing,), seed=seed))


def identity_alone(prompt: str, *, seed: int) -> Identity:
    """Which thing `draw_alone` draws."""
    rng = np.random.default_rng((seed, 7))
    return sample_identity(rng, *next(iter(parse_prompt(prompt)), (None, None, None)))


def subject_alone(
    prompt: str, *, width: int, height: int, seed: int
) -> tuple[Identity, Image, Mask]:
    """What `draw_alone` draws: identity, picture (height x width x 3) and mask."""
    drawn = draw_alone(prompt, width=width, height=height, seed=seed)
    truth = drawn.instances[0]
    return truth.identity, drawn.image, truth.mask
