"""A picture in which given identities are seen: what a subject-driven model makes, errors included.

A real composer changes a subject, forgets one, or adds what nobody asked for. So does this one, by
its seed, and says where: a benchmark can ask how much of that a matching stage finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from imig.tabletop import vocabulary
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.prompts import draw_prompt
from imig.tabletop.records import RenderedScene
from imig.tabletop.scene import build_scene, render_scene
from imig.tabletop.views import scenery_of_prompt

REPLACED: Final = 0.08
"""Chance of an identity to be shown as another thing of its kind: with other proportions, in
another colour, or with another pattern, each as likely as the others."""
LEFT_OUT: Final = 0.03
"""Chance of an identity not to be shown at all."""
EXTRA: Final = 0.10
"""Chance of a picture to show a thing that nobody asked for."""
MOST: Final = 8
"""Things in a picture; of more identities the first ones are shown."""


@dataclass(frozen=True)
class Composed:
    """A composed picture and its truth."""

    rendered: RenderedScene
    shown: tuple[int | None, ...]
    """For each instance of `rendered`: the index of the identity that it truly shows, or None."""
    replaced: tuple[int | None, ...]
    """For each instance of `rendered`: the index of the identity that it stands for but does not
    show, or None."""


@dataclass(frozen=True)
class _Thing:
    identity: Identity
    asked: int | None
    """Index of the identity that it shows or stands for."""
    faithful: bool


def compose_identities(
    identities: Sequence[Identity], prompt: str, *, width: int, height: int, seed: int
) -> Composed:
    """A scene of the identities, with the mood and on the table that the prompt names.

    Errs as `REPLACED`, `LEFT_OUT` and `EXTRA` say, and where things do not fit, the last one is
    left out too. Never empty: a composer that was given nothing draws the prompt, and of things
    that would all be left out, the first stays.
    """
    if not identities:
        drawn = draw_prompt(prompt, width=width, height=height, seed=seed)
        nothing = (None,) * len(drawn.instances)
        return Composed(drawn, shown=nothing, replaced=nothing)
    rng = np.random.default_rng((seed, 9))
    scenery = scenery_of_prompt(rng, prompt, width=width, height=height)
    things = _things(identities[:MOST], rng)
    scene = build_scene(rng, seed, [thing.identity for thing in things], scenery)
    # the placements are in the order of the things; `render_scene` sorts them from far to near
    far_to_near = sorted(
        range(len(scene.placements)), key=lambda index: -scene.placements[index].position[1]
    )
    seen = [things[index] for index in far_to_near]
    return Composed(
        render_scene(scene),
        shown=tuple(thing.asked if thing.faithful else None for thing in seen),
        replaced=tuple(None if thing.faithful else thing.asked for thing in seen),
    )


def _things(identities: Sequence[Identity], rng: np.random.Generator) -> list[_Thing]:
    things = []
    for index, identity in enumerate(identities):
        # always the same number of draws, so that one error does not shift the others
        left_out, is_replaced = rng.random(2) < (LEFT_OUT, REPLACED)
        other = _other_of_its_kind(identity, rng)
        if not left_out:
            things.append(_Thing(other if is_replaced else identity, index, not is_replaced))
    extra, is_extra = sample_identity(rng), rng.random() < EXTRA
    if not things:
        things.append(_Thing(identities[0], 0, True))
    if is_extra and len(things) < MOST:
        things.append(_Thing(extra, None, False))
    return things


def _other_of_its_kind(identity: Identity, rng: np.random.Generator) -> Identity:
    """Another thing of the same kind: the same words, or all but the colour or the pattern."""
    reshaped = sample_identity(rng, *identity.combination)
    colours = [colour for colour in vocabulary.COLOURS if colour != identity.colour]
    patterns = [pattern for pattern in vocabulary.PATTERNS if pattern != identity.pattern]
    colour = colours[int(rng.integers(len(colours)))]
    pattern = patterns[int(rng.integers(len(patterns)))]
    return (
        reshaped,
        replace(identity, colour=colour),
        replace(identity, pattern=pattern),
    )[int(rng.integers(3))]
