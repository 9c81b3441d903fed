"""What a stage asks its tiny model, beside the library called directly at its best batch size.

The same pictures go through both, on one thread; models are loaded before. The library's calls are
those of its own pages: a processor for the whole batch, the network, what it offers to read the
answer. The best of several batch sizes counts. Ours has the batch size of the tiny recipes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.suite.parts import _direct_models as direct
from benchmarks.suite.parts._direct_models import Call, Pictures
from benchmarks.suite.rows import Bar, Row
from benchmarks.suite.turns import seconds_in_turn
from imig.models.registry import load_model
from imig.recipe import ModelConfig

BAR = Bar(at_least=0.95)
BATCH_SIZES = (1, 4, 16)


@dataclass(frozen=True)
class _Case:
    """A question of a stage, asked of the family and of the library."""

    name: str
    family: str
    batch_size: int
    ask: Callable[[Any, Pictures], object]
    peer: Callable[[Pictures], Call]


CASES = (
    _Case("caption: blip", "blip", 8, lambda model, p: model.caption(p.images), direct.blip),
    _Case(
        "ground: grounding-dino",
        "grounding-dino",
        8,
        lambda model, p: model.ground(p.images, p.phrases, box_threshold=0.35, text_threshold=0.25),
        direct.grounding_dino,
    ),
    _Case(
        "segment: segment-anything",
        "segment-anything",
        4,
        lambda model, p: model.segment(p.images, p.boxes),
        direct.segment_anything,
    ),
    _Case(
        "score: open-clip, pictures",
        "open-clip",
        8,
        lambda model, p: model.embed_images(p.images),
        direct.clip_images,
    ),
    _Case(
        "score: open-clip, texts",
        "open-clip",
        8,
        lambda model, p: model.embed_texts(p.captions),
        direct.clip_texts,
    ),
    _Case(
        "quality, match: dinov2, whole pictures",
        "dinov2",
        8,
        lambda model, p: model.embed(p.images),
        direct.dinov2,
    ),
    _Case(
        "score: dinov2, under masks",
        "dinov2",
        8,
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


def _row(case: _Case, pictures: Pictures, *, repeats: int) -> Row:
    config = ModelConfig(family=case.family, weights="tiny")
    model = load_model(config, batch_size=case.batch_size)
    peer = case.peer(pictures)
    count = len(pictures)
    batch_size = _best_batch_size(peer, count)
    seconds = seconds_in_turn(
        {
            "ours": lambda: case.ask(model, pictures),
            "theirs": lambda: _in_batches(peer, count, batch_size),
        },
        repeats=repeats,
        clock=time.process_time,
    )
    return Row(
        part="model_stages",
        case=case.name,
        unit="a second",
        ours=count / seconds["ours"],
        theirs=count / seconds["theirs"],
        against=f"peer: {case.family}'s library, batch size {batch_size}",
        ratio=seconds["theirs"] / seconds["ours"],
        bar=BAR,
    )


def _best_batch_size(peer: Call, count: int) -> int:
    sizes = [one for one in BATCH_SIZES if one <= count]
    ways = {str(one): lambda one=one: _in_batches(peer, count, one) for one in sizes}
    seconds = seconds_in_turn(ways, repeats=2, clock=time.process_time)
    return int(min(seconds, key=lambda name: seconds[name]))


def _in_batches(peer: Call, count: int, batch_size: int) -> None:
    for start in range(0, count, batch_size):
        peer(start, min(start + batch_size, count))
