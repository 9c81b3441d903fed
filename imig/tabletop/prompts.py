"""Pictures that a text asks for: scenes from prompts, views from edit instructions."""

from __future__ import annotations

import numpy as np

from imig.tabletop import vocabulary
from imig.tabletop.alone import asks_for_one_alone, draw_alone
from imig.tabletop.captions import parse_prompt
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.records import Image, Mask, RenderedScene
from imig.tabletop.scene import build_scene, render_scene, sample_identities
from imig.tabletop.views import FOUND_AGAIN, View, render_identity, scenery_of_prompt
from imig.tabletop.wording import azimuth_in, background_in, mood_in, motion_in


def draw_prompt(prompt: str, *, width: int, height: int, seed: int) -> RenderedScene:
    """Text to image: a scene with the things that a text names.

    Missing attributes are filled at random; a mood and a table named in the text are used; a text
    that names no thing gives random ones. At most the first eight things are drawn. A single
    thing that shall be alone ("a red mug alone on a plain background") stands in the middle, see
    `imig.tabletop.alone`.
    """
    if asks_for_one_alone(prompt):
        return draw_alone(prompt, width=width, height=height, seed=seed)
    wanted = parse_prompt(prompt)[:8]
    rng = np.random.default_rng((seed, 5))
    scenery = scenery_of_prompt(rng, prompt, width=width, height=height)
    if not wanted:
        count = int(rng.integers(2, 6))
        identities = sample_identities(rng, count, "all")
    else:
        taken: set[vocabulary.Combination] = set()
        identities = []
        for kind, colour, pattern in wanted:
            identity = sample_identity(rng, kind, colour, pattern)
            for _ in range(20):
                if identity.combination not in taken:
                    break
                identity = sample_identity(rng, kind, colour, pattern)
            taken.add(identity.combination)
            identities.append(identity)
    return render_scene(build_scene(rng, seed, identities, scenery))


def redraw_identity(
    identity: Identity,
    *,
    instruction: str,
    width: int,
    height: int,
    seed: int,
    seen_from: float | None = None,
) -> tuple[Image, Mask]:
    """The same thing drawn anew as an edit instruction asks: image and mask.

    Reads turns ("camera turned by 45 degrees", "from behind", "from the left side"), moods ("in
    the golden hour light"), motion ("in motion", "jumping", "tilted") and backgrounds ("on the
    grass"); what the instruction leaves open is chosen by the seed. With `seen_from`, the side
    from which the thing was seen before (degrees; the placement's yaw), turns start there, and
    without a turn it stays.
    """
    rng = np.random.default_rng((seed, 6))
    azimuth = float(rng.uniform(0, 360))
    mood = vocabulary.MOODS[int(rng.integers(len(vocabulary.MOODS)))]
    asked = azimuth_in(instruction, seen_from or 0.0)
    if asked is not None:
        azimuth = asked
    elif seen_from is not None:
        azimuth = seen_from
    view = View(
        azimuth_degrees=azimuth,
        mood=mood_in(instruction) or mood,
        motion=motion_in(instruction),
        background=background_in(instruction),
        size=FOUND_AGAIN,
    )
    image, mask, _ = render_identity(identity, width=width, height=height, view=view, seed=seed)
    return image, mask
