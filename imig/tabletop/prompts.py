"""Pictures that a text asks for: scenes from prompts, views from edit instructions."""

from __future__ import annotations

import re

import numpy as np

from imig.tabletop import vocabulary
from imig.tabletop.captions import parse_prompt
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.records import Image, Mask, RenderedScene
from imig.tabletop.scene import build_scene, render_scene, sample_identities
from imig.tabletop.stage import sample_stage
from imig.tabletop.views import Motion, View, render_identity

_MOOD_HINTS: tuple[tuple[str, str], ...] = (
    ("golden", "golden hour"), ("sunset", "golden hour"), ("evening", "golden hour"),
    ("overcast", "overcast"), ("cloudy", "overcast"), ("moon", "moonlight"), ("neon", "neon"),
    ("night", "night lamp"), ("lamplight", "night lamp"), ("lamp light", "night lamp"),
    ("studio", "studio"), ("morning", "morning"), ("dawn", "morning"), ("daylight", "daylight"),
    ("sunny", "daylight"), ("noon", "daylight"), ("bright day", "daylight"),
)  # fmt: skip

_TABLE_HINTS: tuple[tuple[str, str], ...] = (
    ("wood", "wood"), ("cloth", "cloth"), ("marble", "marble"), ("sand", "sand"),
    ("beach", "sand"), ("grass", "grass"), ("lawn", "grass"), ("meadow", "grass"),
    ("tile", "tiles"), ("slate", "slate"), ("linen", "linen"), ("concrete", "concrete"),
    ("paper", "paper"), ("blank", "blank"), ("white background", "blank"),
    ("plain background", "blank"),
)  # fmt: skip


def draw_prompt(prompt: str, *, width: int, height: int, seed: int) -> RenderedScene:
    """Text to image: a scene with the things that a text names.

    Missing attributes are filled at random; a mood named in the text is used; a text that names
    nothing gives a random scene. At most the first eight things are drawn.
    """
    wanted = parse_prompt(prompt)[:8]
    mood = mood_in(prompt)
    rng = np.random.default_rng((seed, 5))
    stage = sample_stage(rng, width, height, mood)
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
    return render_scene(build_scene(rng, seed, identities, stage))


def redraw_identity(
    identity: Identity, *, instruction: str, width: int, height: int, seed: int
) -> tuple[Image, Mask]:
    """The same thing drawn anew as an edit instruction asks: image and mask.

    Reads turns ("camera turned by 45 degrees", "from behind", "from the left side"), moods ("in
    the golden hour light"), motion ("in motion", "jumping", "tilted") and backgrounds ("on the
    grass"); what the instruction leaves open is chosen by the seed.
    """
    text = instruction.lower()
    rng = np.random.default_rng((seed, 6))
    azimuth = float(rng.uniform(0, 360))
    mood = vocabulary.MOODS[int(rng.integers(len(vocabulary.MOODS)))]
    motion: Motion = "still"
    degrees = re.search(r"(-?\d+(?:\.\d+)?)\s*(?:°|deg)", text)
    if degrees:
        azimuth = float(degrees.group(1))
        if "left" in text or re.search(r"(?<!counter)(?<!counter-)clockwise", text):
            azimuth = -azimuth
    elif "behind" in text or "the back" in text:
        azimuth = 180.0
    elif "side" in text or "profile" in text:
        azimuth = 270.0 if "left" in text else 90.0
    elif "from the front" in text or "front view" in text:
        azimuth = 0.0
    if any(w in text for w in ("jump", "air", "flying", "float", "thrown", "falling", "leap")):
        motion = "airborne"
    elif any(w in text for w in ("tilt", "lean", "tipp", "posture", "pose")):
        motion = "tilted"
    elif any(w in text for w in ("motion", "moving", "speed", "racing", "running", "blur")):
        motion = "blurred"
    background = next((name for hint, name in _TABLE_HINTS if hint in text), None)
    view = View(azimuth, mood_in(text) or mood, motion, background)
    image, mask, _ = render_identity(identity, width=width, height=height, view=view, seed=seed)
    return image, mask


def mood_in(text: str) -> str | None:
    """The mood that a text asks for, or None."""
    lowered = text.lower()
    lowered = re.sub(r"golden (?!hour|light|evening|sun)", "", lowered)
    for hint, mood in _MOOD_HINTS:
        if hint in lowered:
            return mood
    return None
