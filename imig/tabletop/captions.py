"""Sentences about tabletop scenes, and reading such sentences back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imig.tabletop.vocabulary import (
    COLOURS,
    KIND_PLURALS,
    KINDS,
    NUMBER_WORDS,
    PATTERNS,
    number_word,
    with_article,
)

PartialCombination = tuple[str | None, str | None, str | None]
"""(kind, colour, pattern), None where the text does not say"""


@dataclass(frozen=True)
class Described:
    """What a caption needs to know of one instance; lengths in pixels, depth in scene units."""

    phrase: str
    box: tuple[int, int, int, int]
    depth: float
    covers: tuple[int, ...] = ()
    """indices of the instances that this one partly hides"""


def join_list(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c" """
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def count_phrase(count: int, noun: str = "thing") -> str:
    """ "one thing", "three things" """
    return f"{number_word(count)} {noun}{'' if count == 1 else 's'}"


def simple_caption_of(phrases: Sequence[str]) -> str:
    """ "three things: a plain red mug, a striped blue car and a dotted green ball" """
    listed = join_list([with_article(phrase) for phrase in phrases])
    return f"{count_phrase(len(phrases))}: {listed}"


TABLE_WORDS = {
    "wood": "a wooden table", "cloth": "a checked tablecloth", "marble": "a marble table",
    "sand": "the sand", "grass": "the grass", "tiles": "a tiled floor", "slate": "a slate table",
    "linen": "a linen cloth", "concrete": "a concrete floor", "paper": "a sheet of paper",
}  # fmt: skip
MOOD_WORDS = {
    "daylight": ("in daylight", "on a bright day"),
    "golden hour": ("at golden hour", "in warm evening light"),
    "overcast": ("under an overcast sky", "in soft light"),
    "night lamp": ("by lamplight at night", "on a dark evening"),
    "studio": ("in the studio", "in studio light"),
    "neon": ("in neon light", "under neon signs"),
    "moonlight": ("in the moonlight", "on a moonlit night"),
    "morning": ("in the morning", "in the early morning"),
}


def _places(described: Sequence[Described], width: int) -> list[str]:
    depths = [d.depth for d in described]
    low, high = min(depths), max(depths)
    result = []
    for d in described:
        centre = (d.box[0] + d.box[2]) / 2 / width
        side = "on the left" if centre < 0.36 else "on the right" if centre > 0.64 else ""
        far = (d.depth - low) / (high - low) if high > low + 0.25 else 0.5
        row = "at the front" if far < 0.15 else "at the back" if far > 0.85 else ""
        if side and row:
            result.append(f"{row} {side}")
        else:
            result.append(side or row or "in the middle")
    return result


def _relation(a: Described, b: Described, index_a: int, index_b: int) -> str:
    """How a stands to b."""
    if index_b in a.covers:
        return "in front of"
    if index_a in b.covers:
        return "behind"
    ax, bx = (a.box[0] + a.box[2]) / 2, (b.box[0] + b.box[2]) / 2
    overlap = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    if overlap > 0.35 * min(a.box[2] - a.box[0], b.box[2] - b.box[0]):
        return "in front of" if a.depth < b.depth else "behind"
    wide = (a.box[2] - a.box[0] + b.box[2] - b.box[0]) / 2
    level = abs(a.box[3] - b.box[3]) < 0.25 * wide
    if level and abs(ax - bx) < 1.4 * wide and (a.box[0] + b.box[2]) % 3 == 0:
        return "next to"
    return "left of" if ax < bx else "right of"


def _beside_nearest(
    described: Sequence[Described], i: int, named: Sequence[int], rng: np.random.Generator
) -> str:
    """ "a red mug behind the blue car": how a thing stands to the nearest one named before."""
    one = described[i]
    near = min(
        named,
        key=lambda j: abs(one.box[0] - described[j].box[0]) + abs(one.box[3] - described[j].box[3]),
    )
    other = described[near]
    word = _relation(one, other, i, near)
    if (near in one.covers or i in other.covers) and rng.random() < 0.3:
        word = "overlapping"
    return f"{with_article(one.phrase)} {word} the {other.phrase}"


def scene_caption(
    described: Sequence[Described], width: int, table: str, mood: str, rng: np.random.Generator
) -> str:
    """A varied caption: the count first, every phrase at least once, places or relations."""
    count = len(described)
    where = "on " + TABLE_WORDS.get(table, "a table")
    light = str(rng.choice(MOOD_WORDS[mood]))
    order = sorted(range(count), key=lambda i: described[i].box[0] + described[i].box[2])
    noun = str(rng.choice(("thing", "object", "thing")))
    counted = count_phrase(count, noun)
    stand = "stands" if count == 1 else "stand"
    setting = str(rng.choice((where, f"{where} {light}", light, where)))
    openings = (
        f"{counted.capitalize()} {setting}",
        f"A picture of {counted} {setting}",
        f"{counted.capitalize()} {stand} {setting}",
        f"{'There is' if count == 1 else 'There are'} {counted} {setting}",
    )
    opening = openings[int(rng.integers(len(openings)))]
    style = float(rng.random())
    phrases = [d.phrase for d in described]
    if style < 0.3 or count == 1:
        return f"{opening}: {join_list([with_article(phrases[i]) for i in order])}."
    places = _places(described, width)
    if style < 0.6:
        items = [f"{with_article(phrases[i])} {places[i]}" for i in order]
        return f"{opening}: {join_list(items)}."
    if rng.random() < 0.5:
        order = [int(i) for i in rng.permutation(count)]
    clauses = [f"{with_article(phrases[order[0]])} {places[order[0]]}"]
    clauses += [
        _beside_nearest(described, i, order[:position], rng)
        for position, i in enumerate(order)
        if position
    ]
    sentences = [f"{opening}."]
    if len(clauses) <= 3:
        verb = "There is " if rng.random() < 0.5 else ""
        text = join_list(clauses)
        sentences.append((verb + text if verb else text[0].upper() + text[1:]) + ".")
    else:
        for start in range(0, len(clauses), 2):
            text = join_list(clauses[start : start + 2])
            sentences.append(text[0].upper() + text[1:] + ".")
    return " ".join(sentences)


_KIND_WORDS = (
    {kind: kind for kind in KINDS}
    | {plural: kind for kind, plural in KIND_PLURALS.items()}
    | {
        "sphere": "ball", "spheres": "ball", "box": "cube", "boxes": "cube", "torus": "ring",
        "donut": "ring", "donuts": "ring", "cup": "mug", "cups": "mug", "toadstool": "mushroom",
        "sailboat": "boat", "sailboats": "boat", "ship": "boat", "cottage": "house",
        "automobile": "car", "duckling": "duck",
    }
)  # fmt: skip
_PATTERN_WORDS = {pattern: pattern for pattern in PATTERNS} | {
    "stripy": "striped", "stripey": "striped", "stripes": "striped", "spotted": "dotted",
    "dots": "dotted", "dotty": "dotted", "polka": "dotted", "shiny": "metallic",
    "metal": "metallic", "chrome": "metallic", "solid": "plain",
}  # fmt: skip
_COLOUR_WORDS = {colour: colour for colour in COLOURS} | {
    "turquoise": "cyan", "violet": "purple", "magenta": "pink", "golden": "yellow",
}  # fmt: skip
_STOPS = frozenset(
    """a an the on in at of , . : ; with behind front next to left right under near by is are
    stands stand there overlapping above below beside between over from""".split()  # noqa: SIM905
)
_NUMBERS = {word: value for value, word in enumerate(NUMBER_WORDS) if value}
_FALSE_NOUNS = re.compile(r"\b(night|desk|street) lamps?( light)?\b|\blamp ?light\b", re.IGNORECASE)


def parse_prompt(text: str) -> list[PartialCombination]:
    """The things a text names, in order, with None for attributes it leaves open.

    Understands captions of this package and plain phrases ("a red mug next to two striped cars").
    "the" before something already named refers back to it and adds nothing.
    """
    words = re.findall(r"[a-z]+|\d+|[,.:;]", _FALSE_NOUNS.sub("light", text.lower()))
    found: list[PartialCombination] = []
    for position, word in enumerate(words):
        kind = _KIND_WORDS.get(word)
        if kind is None:
            continue
        start = _start_of_phrase(words, position)
        before = words[start + 1 : position][::-1]  # the word next to the noun counts most
        colour = next((_COLOUR_WORDS[one] for one in before if one in _COLOUR_WORDS), None)
        pattern = next((_PATTERN_WORDS[one] for one in before if one in _PATTERN_WORDS), None)
        lead = words[start] if start >= 0 else ""
        item = (kind, colour, pattern)
        if lead == "the" and any(_refers(item, other) for other in found):
            continue
        times = _NUMBERS.get(lead, int(lead) if lead.isdigit() and len(lead) < 3 else 1)
        found.extend([item] * max(1, min(times, 8)))
    return found


def _start_of_phrase(words: Sequence[str], noun: int) -> int:
    """The place before the first of a noun's adjectives; -1 at the text's beginning."""
    start = noun - 1
    while start >= 0 and noun - start <= 6:
        word = words[start]
        if word in ("and", ","):  # "a red and striped mug", "a red, striped mug"
            linked = words[start - 1] if start else ""
            if start == noun - 1 or not (linked in _COLOUR_WORDS or linked in _PATTERN_WORDS):
                break
        elif word.isdigit() or any(word in group for group in (_STOPS, _KIND_WORDS, _NUMBERS)):
            break
        start -= 1
    return start


def _refers(item: PartialCombination, other: PartialCombination) -> bool:
    return all(mine is None or mine == theirs for mine, theirs in zip(item, other, strict=True))
