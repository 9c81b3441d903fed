"""How often each network runs for a scene, and on what: from a recipe at full size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.cost_parts import networks
from benchmarks.cost_parts.networks import Sizes
from imig.recipe.parts import ModelConfig, Resources, StageConfig
from imig.recipe.root import Recipe
from imig.stages.base import model_uses
from imig.stages.order import stage_order

FLUX_TEXT: Final = 512
"""Tokens: `FluxPipeline` pads every prompt to its `max_sequence_length`."""
CLIP_TEXT: Final = 77
PHRASE_TOKENS: Final = 6
"""Assumed: tokens of a phrase in Grounding DINO's caption, its full stop included."""
PROMPT_TOKENS: Final = 100
"""Assumed: tokens of a scene's prompt."""
SENTENCE_TOKENS: Final = 20
"""Assumed: tokens of the sentence that names a reference."""
QWEN_STEPS: Final = 50
"""`QwenImageEditPlusPipeline`'s own, where the recipe gives none."""
FLUX_STEPS: Final = 28
QWEN_SEEN: Final = 384
"""Side of the square that Qwen2.5-VL sees a reference in: the pipeline's CONDITION_IMAGE_SIZE."""
QWEN_ENCODED: Final = 1024
"""And the transformer: its VAE_IMAGE_SIZE."""
QWEN_TEMPLATE: Final = 64
"""Tokens of the pipeline's system prompt, which the transformer does not get."""
QWEN_PICTURE_WORDS: Final = 6
"""Tokens of "Picture 1: " and of the marks around a picture."""
GROUNDING_SIDES: Final = (800, 1333)
"""Pixels: Grounding DINO's processor scales to this shorter side, or to this longer one."""
SAM_SIDE: Final = 1024
FEATURE_SIDE: Final = 224
"""Pixels that CLIP ViT-H-14 and DINOv2 see, after the processor's centre crop."""


@dataclass(frozen=True)
class Pass:
    """A part of a network, and how often a scene needs it."""

    network: str
    part: str
    sizes: Sizes
    times: float
    """For a scene, one picture or text each."""
    batch: int
    """Pictures or texts at once, for the memory."""

    @property
    def operations(self) -> float:
        """Of one run, floating point operations."""
        return networks.operations(self.network, self.part, self.sizes)

    @property
    def operations_a_scene(self) -> float:
        return self.operations * self.times

    @property
    def activation_bytes(self) -> int:
        return networks.activation_bytes(self.network, self.part, self.sizes, self.batch)


@dataclass(frozen=True)
class StageCost:
    """A stage that runs networks on a GPU."""

    stage: str
    resources: Resources
    passes: tuple[Pass, ...]
    generator: bool = False
    """Its model can offload."""
    steps: int = 0
    """Runs of the generator's largest network for a picture."""
    pictures: float = 0.0
    """Pictures that the generator makes for a scene."""
    pictures_at_once: int = 1
    offload: str = "none"
    skipped: str = ""
    """Says that its networks are not counted."""
    uncounted_bytes: int = 0
    """Weights of networks that are not counted."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Each once, in the order of the passes."""
        return tuple(dict.fromkeys(one.network for one in self.passes))

    @property
    def operations(self) -> float:
        """For a scene, floating point operations."""
        return sum(one.operations_a_scene for one in self.passes)


def stage_costs(recipe: Recipe, *, instances: int) -> list[StageCost]:
    """The stages of a recipe that ask for a GPU, in the order in which they run."""
    return [
        _STAGES[name](recipe, instances) if name in _STAGES else _not_counted(name, block)
        for name in stage_order(recipe.subset)
        if (block := getattr(recipe, name)) is not None
        and (name in _STAGES or any(model_uses(block)))
    ]


def _not_counted(name: str, block: StageConfig) -> StageCost:
    return StageCost(name, block.resources, (), skipped="not counted")


def _draw(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.draw
    assert config is not None
    _expect(config.model, "black-forest-labs/FLUX.1-dev")
    pictures = instances if recipe.subset == "flexible" else 1
    batch, steps = config.resources.batch_size, config.sampling.steps or FLUX_STEPS
    size = (config.width, config.height)
    return StageCost(
        "draw",
        config.resources,
        (
            *_flux_text(pictures, batch),
            Pass(
                "FLUX.1 transformer",
                "step",
                (_tokens(*size), FLUX_TEXT),
                pictures * steps,
                batch,
            ),
            Pass("FLUX.1 VAE", "decode", size, pictures, batch),
        ),
        generator=True,
        steps=steps,
        pictures=pictures,
        pictures_at_once=batch,
        offload=config.model.offload,
    )


def _edit(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.edit
    assert config is not None
    _expect(config.model, "black-forest-labs/FLUX.1-Kontext-dev")
    batch, steps = config.resources.batch_size, config.sampling.steps or FLUX_STEPS
    size = (config.side, config.side)
    return StageCost(
        "edit",
        config.resources,
        (
            *_flux_text(instances, batch),
            Pass("FLUX.1 VAE", "encode", size, instances, batch),
            Pass(
                "FLUX.1 transformer",
                "step",
                (2 * _tokens(*size), FLUX_TEXT),
                instances * steps,
                batch,
            ),
            Pass("FLUX.1 VAE", "decode", size, instances, batch),
        ),
        generator=True,
        steps=steps,
        pictures=instances,
        pictures_at_once=batch,
        offload=config.model.offload,
    )


def _compose(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.compose
    assert config is not None
    _expect(config.model, "Qwen/Qwen-Image-Edit-2509")
    guidance = 4.0 if config.sampling.guidance is None else config.sampling.guidance
    both = 2 if guidance > 1 else 1
    steps = (config.sampling.steps or QWEN_STEPS) * both
    patches = 2 * round(QWEN_SEEN / 28)
    side = QWEN_ENCODED // 16
    pictures = instances * ((patches // 2) ** 2 + QWEN_PICTURE_WORDS)
    text = pictures + PROMPT_TOKENS + SENTENCE_TOKENS * instances
    size = (config.width, config.height)
    grids = (size[1] // 16, size[0] // 16, *((side, side) * instances))
    return StageCost(
        "compose",
        config.resources,
        (
            Pass("Qwen2.5-VL-7B", "see", (patches, patches), instances * both, 1),
            Pass("Qwen2.5-VL-7B", "read", (QWEN_TEMPLATE + text,), both, 1),
            Pass("Qwen-Image VAE", "encode", (QWEN_ENCODED, QWEN_ENCODED), instances, 1),
            Pass("Qwen-Image transformer", "step", (text, *grids), steps, 1),
            Pass("Qwen-Image VAE", "decode", size, 1, 1),
        ),
        generator=True,
        steps=steps,
        pictures=1,
        offload=config.model.offload,
    )


def _ground(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.ground
    assert config is not None
    size = _target_size(recipe)
    detect = _detect(config.model, size, instances, times=1, batch=config.resources.batch_size)
    return StageCost("ground", config.resources, (detect,))


def _segment(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.segment
    assert config is not None
    assert config.model is not None, "only the shipped subsets are counted"
    masks = _masks(config.model, instances, times=1, batch=config.resources.batch_size)
    return StageCost("segment", config.resources, masks)


def _reground(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.reground
    assert config is not None
    batch = config.resources.batch_size
    size = _view_size(recipe)
    return StageCost(
        "reground",
        config.resources,
        (
            _detect(config.ground_model, size, 1, times=instances, batch=batch),
            *_masks(config.segment_model, 1, times=instances, batch=batch),
        ),
    )


def _faces(recipe: Recipe, _: int) -> StageCost:
    config = recipe.faces
    assert config is not None
    return StageCost(
        "faces",
        config.resources,
        (),
        skipped="not counted",
        uncounted_bytes=326_000_000,
    )


def _match(recipe: Recipe, instances: int) -> StageCost:
    config = recipe.match
    assert config is not None
    # every view, and as many candidates cut out of the target
    passes = _embed(config.image_model, 2 * instances, batch=config.resources.batch_size)
    return StageCost("match", config.resources, passes)


def _score(recipe: Recipe, instances: int) -> StageCost:
    """As `imig.stages.score` calls its models."""
    config = recipe.score
    assert config is not None
    batch = config.resources.batch_size
    passes: list[Pass] = []
    drawn = recipe.subset in ("complex", "flexible")
    if config.text_model is not None:
        # the target and each instance; each view that was drawn, beside its instance
        pictures = 1 + instances + (2 * instances if drawn else 0)
        passes += _clip(config.text_model, pictures, 1 + instances, batch=batch)
    if config.image_model is not None:
        # each reference; the target under the mask for crops, the cut-out for drawn views
        shown = {"complex": 4, "flexible": 2}.get(recipe.subset, 2) * instances
        passes += _embed(config.image_model, shown, batch=batch)
    return StageCost("score", config.resources, tuple(passes))


def _quality(recipe: Recipe, _: int) -> StageCost:
    config = recipe.quality
    assert config is not None
    for key in ("aesthetics", "preference", "watermark"):
        if getattr(config, key) is not None:
            raise ValueError(f"quality.{key}: its network is not among those counted here")
    passes: list[Pass] = []
    if config.features is not None:
        passes = _clip(config.features, 1, 0, batch=config.resources.batch_size)
    return StageCost("quality", config.resources, tuple(passes))


_STAGES: Final[dict[str, Callable[[Recipe, int], StageCost]]] = {
    "draw": _draw,
    "edit": _edit,
    "compose": _compose,
    "ground": _ground,
    "segment": _segment,
    "reground": _reground,
    "faces": _faces,
    "match": _match,
    "score": _score,
    "quality": _quality,
}


def _flux_text(pictures: int, batch: int) -> tuple[Pass, Pass]:
    return (
        Pass("T5-XXL encoder", "read", (FLUX_TEXT,), pictures, batch),
        Pass("CLIP-L text", "read", (CLIP_TEXT,), pictures, batch),
    )


def _detect(
    model: ModelConfig, size: tuple[int, int], phrases: int, *, times: int, batch: int
) -> Pass:
    _expect(model, "IDEA-Research/grounding-dino-base")
    text = 2 + PHRASE_TOKENS * phrases
    return Pass("Grounding DINO base", "detect", (*grounding_size(size), text), times, batch)


def _masks(model: ModelConfig, boxes: int, *, times: int, batch: int) -> tuple[Pass, Pass]:
    _expect(model, "ybelkada/segment-anything/checkpoints/sam_vit_h_4b8939.pth")
    return (
        Pass("SAM ViT-H", "encode", (SAM_SIDE,), times, batch),
        Pass("SAM ViT-H", "masks", (boxes,), times, 1),
    )


def _embed(model: ModelConfig, pictures: int, *, batch: int) -> tuple[Pass, ...]:
    _expect(model, "facebook/dinov2-base")
    return (Pass("DINOv2 base", "embed", (FEATURE_SIDE,), pictures, batch),)


def _clip(model: ModelConfig, pictures: int, texts: int, *, batch: int) -> list[Pass]:
    _expect(model, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    name = "CLIP ViT-H-14"
    see = Pass(name, "see", (FEATURE_SIDE,), pictures, batch)
    return [see, Pass(name, "read", (CLIP_TEXT,), texts, batch)] if texts else [see]


def _expect(model: ModelConfig, weights: str) -> None:
    if model.weights != weights:
        raise ValueError(
            f"{model.family}: {model.weights} is not {weights}, the only architecture counted here"
        )


def _target_size(recipe: Recipe) -> tuple[int, int]:
    config: Any = recipe.compose if recipe.subset == "flexible" else recipe.draw
    return config.width, config.height


def _view_size(recipe: Recipe) -> tuple[int, int]:
    if recipe.edit is not None:
        return recipe.edit.side, recipe.edit.side
    assert recipe.draw is not None
    return recipe.draw.width, recipe.draw.height


def _tokens(width: int, height: int) -> int:
    """FLUX's tokens of a picture: one for 16 x 16 pixels."""
    return (width // 16) * (height // 16)


def grounding_size(size: Sequence[int]) -> tuple[int, int]:
    """(width, height) in pixels at which Grounding DINO sees a picture of a (width, height)."""
    shorter, longer = GROUNDING_SIDES
    factor = min(shorter / min(size), longer / max(size))
    return math.floor(size[0] * factor + 0.5), math.floor(size[1] * factor + 0.5)
