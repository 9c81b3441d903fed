"""What a stage asks its tiny model, beside the library called directly at its best batch size.

The same pictures go through both, on one thread; models are loaded before. The library's calls are
those of its own pages: a processor for the whole batch, the network, what it offers to read the
answer. Of several batch sizes the library's best counts, and ours gets the same: it is a setting of
the recipe. New texts go through our network one by one, so that no stored value depends on what was
asked for with it: their row shows what that costs; texts that come again cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch

from benchmarks.suite.parts import _direct_models as direct
from benchmarks.suite.parts._direct_models import Call, Pictures
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig

_numbers = count()
BAR = Bar(at_least=0.95)
BATCH_SIZES = (1, 4, 8, 16)


@dataclass(frozen=True)
class _Case:
    """A question of a stage, asked of the family and of the library."""

    name: str
    family: str
    ask: Callable[[Any, Pictures], object]
    peer: Callable[[Pictures], Call]


CASES = (
    _Case("caption: blip", "blip", lambda model, p: model.caption(p.images), direct.blip),
    _Case(
        "ground: grounding-dino",
        "grounding-dino",
        lambda model, p: model.ground(p.images, p.phrases, box_threshold=0.35, text_threshold=0.25),
        direct.grounding_dino,
    ),
    _Case(
        "segment: segment-anything",
        "segment-anything",
        lambda model, p: model.segment(p.images, p.boxes),
        direct.segment_anything,
    ),
    _Case(
        "score: open-clip, pictures",
        "open-clip",
        lambda model, p: model.embed_images(p.images),
        direct.clip_images,
    ),
    _Case(
        "score: open-clip, new texts",
        "open-clip",
        lambda model, p: model.embed_texts(_new(p.captions)),
        direct.clip_texts,
    ),
    _Case(
        "quality, match: dinov2, whole pictures",
        "dinov2",
        lambda model, p: model.embed(p.images),
        direct.dinov2,
    ),
    _Case(
        "score: dinov2, under masks",
        "dinov2",
        lambda model, p: model.embed(p.images, p.masks),
        direct.dinov2_masked,
    ),
)


def measure(*, small: bool) -> list[Row]:
    """A row for each question; speeds in pictures (or texts) a second."""
    torch.set_num_threads(1)
    pictures = direct.draw_pictures(2 if small else 16)
    with torch.inference_mode():
        return [_row(case, pictures, repeats=1 if small else 5) for case in CASES]


def _new(texts: list[str]) -> list[str]:
    """Texts that were never asked for before: the family remembers the others."""
    return [f"{one} {next(_numbers)}" for one in texts]


def _row(case: _Case, pictures: Pictures, *, repeats: int) -> Row:
    peer = case.peer(pictures)
    total = len(pictures)
    batch_size = _best_batch_size(peer, total)
    config = ModelConfig(family=case.family, weights="tiny")
    model = load_model(config, batch_size=batch_size)
    seconds = seconds_in_turn(
        {
            "ours": lambda: case.ask(model, pictures),
            "theirs": lambda: _in_batches(peer, total, batch_size),
        },
        repeats=repeats,
        clock=time.process_time,
    )
    return Row(
        part="model_stages",
        case=case.name,
        unit="a second",
        ours=total / seconds["ours"],
        theirs=total / seconds["theirs"],
        against=f"peer: {case.family}'s library, batch size {batch_size}",
        ratio=seconds["theirs"] / seconds["ours"],
        bar=BAR,
    )


def _best_batch_size(peer: Call, count: int) -> int:
    sizes = [one for one in BATCH_SIZES if one <= count]
    ways = {str(one): partial(_in_batches, peer, count, one) for one in sizes}
    seconds = seconds_in_turn(ways, repeats=2, clock=time.process_time)
    return int(min(seconds, key=lambda name: seconds[name]))


def _in_batches(peer: Call, count: int, batch_size: int) -> None:
    for start in range(0, count, batch_size):
        peer(start, min(start + batch_size, count))
