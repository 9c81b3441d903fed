"""Family `multi-reference`: models that take several pictures and paint their subjects into one.

diffusers has several pipelines for that, and each wants its pictures, its guidance and its prompt
in another way: `CALLS` says how. Which one it is, the folder's `model_index.json` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from PIL import Image

from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb
from imig.models.libraries import torch
from imig.models.pipelines import check_sizes, generators, load_pipeline, sample
from imig.models.protocols import ComposedReference, ComposeRequest, GeneratorSettings

_FEW_STEPS: Final = 4
"""Of checkpoints distilled to few steps, where the recipe says nothing."""
_LEAST_SIDE: Final = 64
_MOST_ASPECT: Final = 8
"""Limits of FLUX.2 for a picture: shorter side in pixels, longer side over shorter side."""
_GREY: Final = (128, 128, 128)

Arguments = dict[str, Any]


class MultiReference:
    """A `Composer`. Pictures are made one by one, whatever `batch_size` says: each has its own
    number of references of their own sizes."""

    family: ClassVar[Family] = Family(
        name="multi-reference",
        tasks=("compose pictures",),
        library="diffusers",
        layout="pipeline",
        # what CALLS knows
        pipelines=(
            "QwenImageEditPlusPipeline",
            "Flux2KleinPipeline",
            "Flux2Pipeline",
            "OmniGenPipeline",
        ),
        takes_offload=True,
        checkpoints=(
            Checkpoint("Qwen/Qwen-Image-Edit-2509", 57_700, "Apache-2.0"),
            Checkpoint("black-forest-labs/FLUX.2-klein-4B", 16_000, "Apache-2.0"),
            Checkpoint("black-forest-labs/FLUX.2-dev", 112_600, "FLUX.2 [dev] non-commercial"),
            Checkpoint("Shitao/OmniGen-v1-diffusers", 15_900, "MIT"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        self.name = weights.name
        self._family = weights.family
        self._device = runtime.device
        self._pipeline = load_pipeline(self.family, weights, runtime)
        kind = type(self._pipeline).__name__
        self._call = CALLS[kind]
        if kind == "QwenImageEditPlusPipeline":
            # A hook, since it also runs where accelerate, to offload, has replaced `forward`.
            self._pipeline.text_encoder.register_forward_pre_hook(_tell_images, with_kwargs=True)

    def compose(
        self, requests: Sequence[ComposeRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        """A picture a request; see `imig.models.protocols.Composer`.

        The prompt is followed by a sentence a reference that says which picture shows which
        subject, by its phrase.
        """
        check_sizes(self._pipeline, self._family, requests)
        return [self._compose(one, settings) for one in requests]

    def _compose(self, request: ComposeRequest, settings: GeneratorSettings) -> Image.Image:
        if not request.references:
            raise ValueError("a picture is composed of references: none was given")
        # OmniGen draws the latents of its references from torch's own state.
        places = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=places):
            torch.manual_seed(request.seed)
            [image] = sample(
                self._pipeline,
                width=request.width,
                height=request.height,
                generator=generators([request.seed])[0],
                **self._call(self._pipeline, request, settings),
            )
        return image


def _qwen(pipeline: Any, request: ComposeRequest, settings: GeneratorSettings) -> Arguments:
    """Qwen-Image-Edit 2509 and later; the pipeline itself numbers pictures as "Picture 1"."""
    guidance = 4.0 if settings.guidance is None else settings.guidance
    arguments: Arguments = {
        "image": _pictures(request),
        "prompt": _prompt(request, "The {phrase} is the one in Picture {number}."),
        "true_cfg_scale": guidance,
        **_steps(settings),
    }
    if guidance > 1:
        arguments["negative_prompt"] = " "
    if pipeline.transformer.config.guidance_embeds:
        arguments["guidance_scale"] = 1.0
    return arguments


def _tell_images(
    encoder: Any, args: tuple[Any, ...], kwargs: Arguments
) -> tuple[tuple[Any, ...], Arguments]:
    """Says which tokens of Qwen's text encoder are those of a picture.

    diffusers 0.42 leaves that out (its issue 14194); transformers 5 needs it to give pictures their
    rows and columns, and without it numbers all tokens in one line, as the network never saw them.
    """
    if kwargs.get("mm_token_type_ids") is None:
        pictures = kwargs["input_ids"] == encoder.config.image_token_id
        kwargs = {**kwargs, "mm_token_type_ids": pictures.int()}
    return args, kwargs


def _flux2(pipeline: Any, request: ComposeRequest, settings: GeneratorSettings) -> Arguments:
    """FLUX.2 dev and klein; distilled klein takes 4 steps and no guidance."""
    arguments: Arguments = {
        "image": _pictures(request),
        "prompt": _prompt(request, "The {phrase} is the one in image {number}."),
        **_steps(settings, few=bool(getattr(pipeline.config, "is_distilled", False))),
    }
    if settings.guidance is not None:
        arguments["guidance_scale"] = settings.guidance
    return arguments


def _omnigen(pipeline: Any, request: ComposeRequest, settings: GeneratorSettings) -> Arguments:
    """OmniGen v1, whose prompt says where among its words the pictures stand."""
    arguments: Arguments = {
        "input_images": [_pictures(request)],
        "prompt": [_prompt(request, "The {phrase} is the one in <img><|image_{number}|></img>.")],
        **_steps(settings),
    }
    if settings.guidance is not None:
        arguments["guidance_scale"] = settings.guidance
    return arguments


CALLS: Final[dict[str, Callable[[Any, ComposeRequest, GeneratorSettings], Arguments]]] = {
    "QwenImageEditPlusPipeline": _qwen,
    "Flux2KleinPipeline": _flux2,
    "Flux2Pipeline": _flux2,
    "OmniGenPipeline": _omnigen,
}
"""Class of the pipeline -> its arguments for a request, but for size and generator."""


def _steps(settings: GeneratorSettings, *, few: bool = False) -> Arguments:
    steps = _FEW_STEPS if settings.steps is None and few else settings.steps
    return {} if steps is None else {"num_inference_steps": steps}


def _prompt(request: ComposeRequest, sentence: str) -> str:
    sentences = [
        sentence.replace("{phrase}", one.phrase).replace("{number}", str(number))
        for number, one in enumerate(request.references, 1)
    ]
    return " ".join([request.prompt, *sentences])


def _pictures(request: ComposeRequest) -> list[Image.Image]:
    return [_within_limits(one) for one in request.references]


def _within_limits(reference: ComposedReference) -> Image.Image:
    """The picture, on a grey ground where it is too long, scaled up where it is too small."""
    [image] = as_rgb([reference.image])
    width, height = image.size
    short = -(-max(width, height) // _MOST_ASPECT)
    if min(width, height) < short:
        ground = Image.new("RGB", (max(width, short), max(height, short)), _GREY)
        ground.paste(image, ((ground.width - width) // 2, (ground.height - height) // 2))
        image = ground
    scale = _LEAST_SIDE / min(image.size)
    if scale > 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image
