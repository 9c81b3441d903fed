"""A language model's double: writes what the briefs ask for, and faults where it is told to."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

from support.chat_server import user_text

NOUNS = ("mug", "dog", "lamp", "car", "chair", "kite", "duck", "drum", "boot", "vase")
COLOURS = ("red", "blue", "green", "black", "white", "golden", "pink", "grey", "brown", "orange")
FILLERS = [
    f"{a}{b}" for a in ("north", "sea", "wood", "star", "rain") for b in ("side", "way", "s")
]

_BRIEF = re.compile(r"Brief (\d+): (\d+) subject.*?Where: (.*?)\. How.*?Style: (.*)\.")


def write_answer(request: Mapping[str, Any]) -> str:
    """The JSON that a good model would answer: the same for the same request."""
    text = user_text(request)
    alone = "`alone`" in text
    prompts = [
        _entry(int(number), int(count), where, style, alone=alone)
        for number, count, where, style in _BRIEF.findall(text)
    ]
    assert prompts, text
    return json.dumps({"prompts": prompts})


def _entry(number: int, count: int, where: str, style: str, *, alone: bool) -> dict[str, Any]:
    rng = random.Random(f"{number} {count} {where} {style}")
    nouns = rng.sample(NOUNS, count)
    subjects = [{"phrase": f"{rng.choice(COLOURS)} {noun}", "noun": noun} for noun in nouns]
    named = " and ".join(f"a {one['phrase']}" for one in subjects)
    if alone:
        for one in subjects:
            one["alone"] = f"a {one['phrase']} on a plain background"
    rng.shuffle(subjects)
    told = " ".join(rng.choices(FILLERS, k=8))
    return {"number": number, "prompt": f"{named} in {where}, {told}.", "subjects": subjects}


def entry_count(request: Mapping[str, Any]) -> int:
    """How many briefs a request has."""
    return len(_BRIEF.findall(user_text(request)))
