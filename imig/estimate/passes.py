"""How often each network runs for a scene, and on what: from a recipe at full size.

Networks are those of `imig.estimate.networks`. Where a recipe names another checkpoint, the network
that has the same task there can stand in for it (`Pass.stands_in`): its activations are a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from imig.estimate import networks
from imig.estimate.networks import Sizes
from imig.models.weights import TINY, find_family
from imig.recipe.parts import ModelConfig, Resources, StageConfig
from imig.recipe.root import Recipe
from imig.stages.base import model_uses
from imig.stages.order import stage_order

FLUX: Final = "black-forest-labs/FLUX.1-dev"
KONTEXT: Final = "black-forest-labs/FLUX.1-Kontext-dev"
QWEN_EDIT: Final = "Qwen/Qwen-Image-Edit-2509"
GROUNDING: Final = "IDEA-Research/grounding-dino-base"
SAM: Final = "ybelkada/segment-anything/checkpoints/sam_vit_h_4b8939.pth"
DINOV2: Final = "facebook/dinov2-base"
CLIP_H: Final = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
CHECKPOINTS: Final[dict[str, tuple[str, ...]]] = {
    FLUX: ("FLUX.1 transformer", "T5-XXL encoder", "CLIP-L text", "FLUX.1 VAE"),
    KONTEXT: ("FLUX.1 transformer", "T5-XXL encoder", "CLIP-L text", "FLUX.1 VAE"),
    QWEN_EDIT: ("Qwen-Image transformer", "Qwen2.5-VL-7B", "Qwen-Image VAE"),
    GROUNDING: ("Grounding DINO base",),
    SAM: ("SAM ViT-H",),
    DINOV2: ("DINOv2 base",),
    CLIP_H: ("CLIP ViT-H-14",),
}
"""Weights whose networks are counted."""

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
UNKNOWN_SIDE: Final = 1024
"""Assumed: pixels of a side of pictures that are only known when they are read."""
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
    model: ModelConfig
    """Of the recipe."""
    stands_in: bool = False
    """The recipe's model has another architecture than the network that is counted."""

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
    batch_size: int
    """That the stage begins with."""
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


@dataclass(frozen=True)
class Counting:
    """What is counted of a recipe, and for how many instances of a scene."""

    recipe: Recipe
    instances: int
    stand_ins: bool
    """Whether a network of another architecture is counted in place of one that is not known."""

    def batch(self, config: StageConfig) -> int:
        return config.resources.first_batch_size(self.recipe.engine.block_size)

    def cost(self, stage: str, config: StageConfig, passes: Sequence[Pass]) -> StageCost:
        return StageCost(stage, config.resources, self.batch(config), tuple(passes))

    def stands_in(self, model: ModelConfig, weights: str) -> bool:
        """Whether the network of these weights is not the model's own.

        Raises ValueError when that may not be.
        """
        if model.weights == weights:
            return False
        if self.stand_ins:
            return True
        raise ValueError(
            f"{model.family}: {model.weights} is not {weights}, the only architecture counted here"
        )


def stage_costs(recipe: Recipe, *, instances: int, stand_ins: bool = False) -> list[StageCost]:
    """The stages of a recipe that have models, in the order in which they run.

    Raises
    ------
    ValueError
        Without `stand_ins`: a model is none of those that are counted.
    """
    counting = Counting(recipe, instances, stand_ins)
    return [
        _STAGES[name](counting, block) if name in _STAGES else _not_counted(counting, name, block)
        for name in stage_order(recipe.subset)
        if (block := getattr(recipe, name)) is not None
        and (name in _STAGES or any(model_uses(block)))
    ]


def is_counted(model: ModelConfig) -> bool:
    """Whether a model runs networks of full size, as those are that can be counted."""
    return model.weights != TINY and find_family(model.family).layout != "program"


def _not_counted(counting: Counting, name: str, block: StageConfig) -> StageCost:
    return replace(counting.cost(name, block, ()), skipped="not counted")


def _draw(counting: Counting, config: Any) -> StageCost:
    pictures = counting.instances if counting.recipe.subset == "flexible" else 1
    size = (config.width, config.height)
    tokens = (_tokens(*size), FLUX_TEXT)
    return _flux(counting, "draw", config, FLUX, pictures=pictures, tokens=tokens, size=size)


def _edit(counting: Counting, config: Any) -> StageCost:
    size = (config.side, config.side)
    tokens = (2 * _tokens(*size), FLUX_TEXT)
    return _flux(
        counting, "edit", config, KONTEXT, pictures=counting.instances, tokens=tokens, size=size
    )


def _flux(
    counting: Counting,
    stage: str,
    config: Any,
    weights: str,
    *,
    pictures: int,
    tokens: Sizes,
    size: Sizes,
) -> StageCost:
    cost, model = counting.cost(stage, config, ()), config.model
    if not is_counted(model):
        return cost
    batch, steps = cost.batch_size, config.sampling.steps or FLUX_STEPS
    own = {"batch": batch, "model": model, "stands_in": counting.stands_in(model, weights)}
    seen = [Pass("FLUX.1 VAE", "encode", size, pictures, **own)] if stage == "edit" else []
    passes = (
        Pass("T5-XXL encoder", "read", (FLUX_TEXT,), pictures, **own),
        Pass("CLIP-L text", "read", (CLIP_TEXT,), pictures, **own),
        *seen,
        Pass("FLUX.1 transformer", "step", tokens, pictures * steps, **own),
        Pass("FLUX.1 VAE", "decode", size, pictures, **own),
    )
    return replace(
        cost,
        passes=passes,
        generator=True,
        steps=steps,
        pictures=pictures,
        pictures_at_once=batch,
        offload=model.offload,
    )


def _compose(counting: Counting, config: Any) -> StageCost:
    cost, model, instances = counting.cost("compose", config, ()), config.model, counting.instances
    if not is_counted(model):
        return cost
    own = {"batch": 1, "model": model, "stands_in": counting.stands_in(model, QWEN_EDIT)}
    guidance = 4.0 if config.sampling.guidance is None else config.sampling.guidance
    both = 2 if guidance > 1 else 1
    steps = (config.sampling.steps or QWEN_STEPS) * both
    patches = 2 * round(QWEN_SEEN / 28)
    side = QWEN_ENCODED // 16
    pictures = instances * ((patches // 2) ** 2 + QWEN_PICTURE_WORDS)
    text = pictures + PROMPT_TOKENS + SENTENCE_TOKENS * instances
    size = (config.width, config.height)
    grids = (size[1] // 16, size[0] // 16, *((side, side) * instances))
    passes = (
        Pass("Qwen2.5-VL-7B", "see", (patches, patches), instances * both, **own),
        Pass("Qwen2.5-VL-7B", "read", (QWEN_TEMPLATE + text,), both, **own),
        Pass("Qwen-Image VAE", "encode", (QWEN_ENCODED, QWEN_ENCODED), instances, **own),
        Pass("Qwen-Image transformer", "step", (text, *grids), steps, **own),
        Pass("Qwen-Image VAE", "decode", size, 1, **own),
    )
    return replace(
        cost, passes=passes, generator=True, steps=steps, pictures=1, offload=model.offload
    )


def _ground(counting: Counting, config: Any) -> StageCost:
    size = _target_size(counting.recipe)
    found = _detect(counting, config, config.model, size, phrases=counting.instances, times=1)
    return counting.cost("ground", config, found)


def _segment(counting: Counting, config: Any) -> StageCost:
    if config.model is None:  # the masks have come with the boxes
        return counting.cost("segment", config, ())
    masks = _masks(counting, config, config.model, boxes=counting.instances, times=1)
    return counting.cost("segment", config, masks)


def _reground(counting: Counting, config: Any) -> StageCost:
    size, views = _view_size(counting.recipe), counting.instances
    passes = (
        *_detect(counting, config, config.ground_model, size, phrases=1, times=views),
        *_masks(counting, config, config.segment_model, boxes=1, times=views),
    )
    return counting.cost("reground", config, passes)


def _faces(counting: Counting, config: Any) -> StageCost:
    cost = counting.cost("faces", config, ())
    return replace(cost, skipped="not counted", uncounted_bytes=326_000_000)


def _match(counting: Counting, config: Any) -> StageCost:
    # every view, and as many candidates cut out of the target
    passes = _embed(counting, config, config.image_model, 2 * counting.instances)
    return counting.cost("match", config, passes)


def _score(counting: Counting, config: Any) -> StageCost:
    """As `imig.stages.score` calls its models."""
    instances, subset = counting.instances, counting.recipe.subset
    passes: list[Pass] = []
    drawn = subset in ("complex", "flexible")
    if config.text_model is not None:
        # the target and each instance; each view that was drawn, beside its instance
        pictures = 1 + instances + (2 * instances if drawn else 0)
        passes += _clip(counting, config, config.text_model, pictures, texts=1 + instances)
    if config.image_model is not None:
        # each reference; the target under the mask for crops, the cut-out for drawn views
        shown = {"complex": 4, "flexible": 2}.get(subset, 2) * instances
        passes += _embed(counting, config, config.image_model, shown)
    return counting.cost("score", config, passes)


def _quality(counting: Counting, config: Any) -> StageCost:
    for key in ("aesthetics", "preference", "watermark"):
        if getattr(config, key) is not None and not counting.stand_ins:
            raise ValueError(f"quality.{key}: its network is not among those counted here")
    passes: list[Pass] = []
    for key in ("aesthetics", "preference", "watermark", "features"):
        model = getattr(config, key)
        if model is not None:
            passes += _clip(counting, config, model, 1, texts=0)
    return counting.cost("quality", config, passes)


_STAGES: Final[dict[str, Callable[[Counting, Any], StageCost]]] = {
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


def _detect(
    counting: Counting,
    config: StageConfig,
    model: ModelConfig,
    size: tuple[int, int],
    *,
    phrases: int,
    times: int,
) -> tuple[Pass, ...]:
    if not is_counted(model):
        return ()
    sizes = (*grounding_size(size), 2 + PHRASE_TOKENS * phrases)
    stands_in = counting.stands_in(model, GROUNDING)
    batch = counting.batch(config)
    return (Pass("Grounding DINO base", "detect", sizes, times, batch, model, stands_in),)


def _masks(
    counting: Counting, config: StageConfig, model: ModelConfig, *, boxes: int, times: int
) -> tuple[Pass, ...]:
    if not is_counted(model):
        return ()
    own, name = (model, counting.stands_in(model, SAM)), "SAM ViT-H"
    return (
        Pass(name, "encode", (SAM_SIDE,), times, counting.batch(config), *own),
        Pass(name, "masks", (boxes,), times, 1, *own),
    )


def _embed(
    counting: Counting, config: StageConfig, model: ModelConfig, pictures: int
) -> tuple[Pass, ...]:
    if not is_counted(model):
        return ()
    stands_in, batch = counting.stands_in(model, DINOV2), counting.batch(config)
    return (Pass("DINOv2 base", "embed", (FEATURE_SIDE,), pictures, batch, model, stands_in),)


def _clip(
    counting: Counting, config: StageConfig, model: ModelConfig, pictures: int, *, texts: int
) -> tuple[Pass, ...]:
    if not is_counted(model):
        return ()
    own = (counting.batch(config), model, counting.stands_in(model, CLIP_H))
    name = "CLIP ViT-H-14"
    see = Pass(name, "see", (FEATURE_SIDE,), pictures, *own)
    return (see, Pass(name, "read", (CLIP_TEXT,), texts, *own)) if texts else (see,)


def _target_size(recipe: Recipe) -> tuple[int, int]:
    """Pixels; of pictures from a folder nobody knows, and they are taken to be square."""
    config: Any = recipe.compose if recipe.subset == "flexible" else recipe.draw
    return (UNKNOWN_SIDE, UNKNOWN_SIDE) if config is None else (config.width, config.height)


def _view_size(recipe: Recipe) -> tuple[int, int]:
    if recipe.edit is not None:
        return recipe.edit.side, recipe.edit.side
    config: Any = recipe.draw
    return (UNKNOWN_SIDE, UNKNOWN_SIDE) if config is None else (config.width, config.height)


def _tokens(width: int, height: int) -> int:
    """FLUX's tokens of a picture: one for 16 x 16 pixels."""
    return (width // 16) * (height // 16)


def grounding_size(size: Sequence[int]) -> tuple[int, int]:
    """(width, height) in pixels at which Grounding DINO sees a picture of a (width, height)."""
    shorter, longer = GROUNDING_SIDES
    factor = min(shorter / min(size), longer / max(size))
    return math.floor(size[0] * factor + 0.5), math.floor(size[1] * factor + 0.5)
