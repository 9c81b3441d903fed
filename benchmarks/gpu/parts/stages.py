"""Models of stages at full size, random weights: images a second, as stages call them.

Beside imig's family stands the library used as its page shows it: one picture at a time, float32.
The bound is what the card's own matrix product would need for the network's operations, counted
while the network runs; what is missing to it is reading, scaling and waiting.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.parts import _checkpoints
from benchmarks.gpu.parts.card import matrix_flops
from benchmarks.gpu.timing import peak_memory, seconds_of
from imig.models.pretrained import load_processor
from imig.models.registry import load_model
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig

Run = Callable[[Sequence[Image.Image]], object]

SIDE: Final = 768
"""Pixels of a picture."""
PHRASES: Final = ("red cube", "blue ball", "wooden chair", "green bottle")
BOXES: Final = np.array(
    [(0.02, 0.04, 0.5, 0.5), (0.5, 0.05, 0.95, 0.5), (0.1, 0.5, 0.5, 0.95), (0.5, 0.5, 0.9, 0.9)],
    np.float32,
)
"""Shares of the picture."""


@dataclass(frozen=True)
class Stage:
    """A model and how it is called."""

    name: str
    batches: tuple[int, ...]
    """Pictures at once, of the recipes; then what is tried where they do not fit."""
    ours: Callable[[Any], Run]
    """The call of a loaded family."""
    naive: Callable[[ModelConfig, torch.device], Run]
    """The library's own way with the same checkpoint."""
    seconds: float
    """About how long it takes on a GPU, its checkpoint's making included."""


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    for stage in STAGES:
        run = partial(_measure, journal, stage, small=small, device=device)
        journal.attempt(stage.name, run, seconds=0 if small else stage.seconds)


def _measure(journal: Journal, stage: Stage, *, small: bool, device: torch.device) -> None:
    folder = journal.folder / stage.name.replace(" ", "-")
    started = time.perf_counter()
    config = (
        _checkpoints.TINY[stage.name] if small else _checkpoints.FULL[stage.name](folder, device)
    )
    made = time.perf_counter()
    # loading keeps a GPU's float32 products exact, as the families do in a build
    sizes = (2, 1) if small else stage.batches
    try:
        fits = journal.first_that_fits(
            stage.name, sizes, partial(_time_ours, journal, stage, config, device)
        )
        ours = None if fits is None else fits[1]
        pictures = _pictures(2 if small else 4)
        run = stage.naive(config, device)
        naive = seconds_of(partial(run, pictures), device=device, repeats=2, warm_up=1)
        each = naive.median / len(pictures)
        journal.figure(
            f"{stage.name}, naive",
            images_per_second=1 / each,
            checkpoint_made_seconds=made - started,
            ours_to_naive=None if ours is None else ours * each,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _time_ours(
    journal: Journal, stage: Stage, config: ModelConfig, device: torch.device, batch: int
) -> float:
    """Images a second of ours."""
    started = time.perf_counter()
    run = stage.ours(load_model(config, batch_size=batch))
    loaded = time.perf_counter() - started
    pictures = _pictures(2 * batch)
    flops = count_operations(partial(run, pictures)) / len(pictures)
    processor = time.process_time()
    with peak_memory(device) as peak:
        taken = seconds_of(partial(run, pictures), device=device, repeats=3, warm_up=1)
    processor = (time.process_time() - processor) / (4 * len(pictures))
    each = taken.median / len(pictures)
    matrix = matrix_flops(journal) if device.type == "cuda" else None
    journal.figure(
        f"{stage.name}, ours",
        batch=batch,
        images_per_second=1 / each,
        bound_images_per_second=None if matrix is None else matrix / flops,
        of_bound=None if matrix is None else flops / each / matrix,
        gflop_an_image=flops / 1e9,
        processor_ms_an_image=processor * 1e3,
        load_seconds=loaded,
        peak_gib=peak.gib,
    )
    return 1 / each


def count_operations(run: Callable[[], object]) -> int:
    """Of matrix products and convolutions, two a multiply-add."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # PyTorch's fused encoder layers are one operation, which the counter does not know
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())


def _pictures(count: int) -> list[Image.Image]:
    """Smooth random ones, as large as a recipe draws them."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in coarse]


def _boxes(picture: Image.Image) -> NDArray[np.float32]:
    scale = np.array([picture.width, picture.height] * 2, np.float32)
    boxes: NDArray[np.float32] = BOXES * scale
    return boxes


def _ground(model: Any) -> Run:
    return lambda pictures: model.ground(
        pictures, [PHRASES] * len(pictures), box_threshold=0.3, text_threshold=0.25
    )


def _segment(model: Any) -> Run:
    return lambda pictures: model.segment(pictures, [_boxes(one) for one in pictures])


def _embed_images(model: Any) -> Run:
    return lambda pictures: model.embed_images(pictures)


def _embed(model: Any) -> Run:
    return lambda pictures: model.embed(pictures)


def _naive_grounding(config: ModelConfig, device: torch.device) -> Run:
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    model: Any = GroundingDinoForObjectDetection.from_pretrained(resolve_weights(config).path)
    model = model.to(device).eval()
    processor = load_processor(AutoProcessor, resolve_weights(config))
    text = " . ".join(PHRASES) + " ."

    @torch.no_grad()
    def run(pictures: Sequence[Image.Image]) -> object:
        answers = []
        for one in pictures:
            inputs = processor(images=one, text=text, return_tensors="pt").to(device)
            answers += processor.post_process_grounded_object_detection(
                model(**inputs),
                inputs.input_ids,
                threshold=0.3,
                text_threshold=0.25,
                target_sizes=[(one.height, one.width)],
            )
        return answers

    return run


def _naive_segmenting(config: ModelConfig, device: torch.device) -> Run:
    from segment_anything import SamPredictor

    from imig.models.families.segment_anything import load_sam

    predictor = SamPredictor(load_sam(resolve_weights(config).files[0]).to(device))

    def run(pictures: Sequence[Image.Image]) -> object:
        answers = []
        for one in pictures:
            predictor.set_image(np.asarray(one))
            answers += [predictor.predict(box=box, multimask_output=False) for box in _boxes(one)]
        return answers

    return run


def _naive_clip(config: ModelConfig, device: torch.device) -> Run:
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(
        f"local-dir:{resolve_weights(config).path}", device=device
    )
    model.eval()

    @torch.no_grad()
    def run(pictures: Sequence[Image.Image]) -> object:
        seen = [model.encode_image(transform(one)[None].to(device)) for one in pictures]
        return [one.cpu() for one in seen]

    return run


def _naive_dinov2(config: ModelConfig, device: torch.device) -> Run:
    from transformers import AutoImageProcessor, AutoModel

    model: Any = AutoModel.from_pretrained(resolve_weights(config).path)
    model = model.to(device).eval()
    processor = load_processor(AutoImageProcessor, resolve_weights(config))

    @torch.no_grad()
    def run(pictures: Sequence[Image.Image]) -> object:
        seen = [model(**processor(images=one, return_tensors="pt").to(device)) for one in pictures]
        return [one.pooler_output.cpu() for one in seen]

    return run


STAGES: Final = (
    Stage("grounding-dino Swin-B", (8, 4, 2), _ground, _naive_grounding, 15),
    Stage("segment-anything ViT-H", (4, 2, 1), _segment, _naive_segmenting, 20),
    Stage("dinov2 base", (8, 4), _embed, _naive_dinov2, 6),
    Stage("dinov2 large", (8, 4), _embed, _naive_dinov2, 8),
    Stage("open-clip ViT-H-14", (8, 4), _embed_images, _naive_clip, 25),
)
"""Batches are those of the recipes for large GPUs."""
