"""What a text asks for beside the things themselves: mood, table, side, motion."""

from __future__ import annotations

import re
from typing import Literal

Motion = Literal["still", "tilted", "airborne", "blurred"]

_MOOD_HINTS: tuple[tuple[str, str], ...] = (
    ("golden", "golden hour"), ("sunset", "golden hour"), ("evening", "golden hour"),
    ("overcast", "overcast"), ("cloudy", "overcast"), ("moon", "moonlight"), ("neon", "neon"),
    ("night", "night lamp"), ("lamplight", "night lamp"), ("lamp light", "night lamp"),
    ("studio", "studio"), ("morning", "morning"), ("dawn", "morning"), ("daylight", "daylight"),
    ("sunny", "daylight"), ("noon", "daylight"), ("bright day", "daylight"),
)  # fmt: skip

_TABLE_HINTS: tuple[tuple[str, str], ...] = (
    ("wood", "wood"), ("linen", "linen"), ("cloth", "cloth"), ("marble", "marble"),
    ("sand", "sand"), ("beach", "sand"), ("grass", "grass"), ("lawn", "grass"),
    ("meadow", "grass"), ("tile", "tiles"), ("slate", "slate"), ("concrete", "concrete"),
    ("paper", "paper"), ("blank", "blank"), ("white background", "blank"),
    ("plain background", "blank"),
)  # fmt: skip

_MOTION_HINTS: tuple[tuple[str, Motion], ...] = (
    (r"jump|air\b|airborne|flying|float|thrown|falling|leap", "airborne"),
    (r"tilt|lean|tipp|posture|pose", "tilted"),
    (r"motion|moving|speed|racing|running|blur", "blurred"),
)  # fmt: skip


def mood_in(text: str) -> str | None:
    """The mood that a text asks for, or None."""
    lowered = text.lower()
    lowered = re.sub(r"golden (?!hour|light|evening|sun)", "", lowered)
    for hint, mood in _MOOD_HINTS:
        if hint in lowered:
            return mood
    return None


def background_in(text: str) -> str | None:
    """The table that a text asks for, "blank" for a plain background, or None."""
    lowered = text.lower()
    return next((name for hint, name in _TABLE_HINTS if hint in lowered), None)


def motion_in(text: str) -> Motion:
    """The motion that a text asks for; a chair or a removal is none."""
    lowered = text.lower()
    found = (motion for words, motion in _MOTION_HINTS if re.search(rf"\b(?:{words})", lowered))
    return next(found, "still")


def azimuth_in(text: str, seen_from: float = 0.0) -> float | None:
    """The side from which a text wants a thing seen (degrees), or None.

    Turns ("turned by 45 degrees to the left") start at `seen_from`.
    """
    lowered = text.lower()
    degrees = re.search(r"(-?\d+(?:\.\d+)?)\s*(?:°|deg)", lowered)
    if degrees:
        turn = float(degrees.group(1))
        if "left" in lowered or re.search(r"(?<!counter)(?<!counter-)clockwise", lowered):
            turn = -turn
        return seen_from + turn
    if "behind" in lowered or "the back" in lowered:
        return 180.0
    if re.search(r"\bside\b|\bprofile\b", lowered):
        return 270.0 if "left" in lowered else 90.0
    if "from the front" in lowered or "front view" in lowered:
        return 0.0
    return None
