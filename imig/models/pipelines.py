"""Load a diffusers pipeline, and let it sample: what all families of generators share."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from PIL.Image import Image
from safetensors import SafetensorError

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import Family
from imig.models.libraries import diffusers, torch, transformers
from imig.models.pipeline_folder import NEVER_LOADED, components, read_index
from imig.models.unloadable import require_all_weights

# Code of other libraries is never looked for: a model index may name any.
_LIBRARIES: Final = ("diffusers", "transformers")


class Sized(Protocol):
    """A request of a picture."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...


def load_pipeline(family: Family, weights: ResolvedWeights, runtime: Runtime) -> Any:
    """The pipeline of a folder, on its device, silent, all of whose weights came from the folder.

    Parameters
    ----------
    family:
        Says which pipelines the folder may hold.
    weights:
        A folder in the layout of `save_pretrained`, checked by `resolve_weights`.
    runtime:
        Of it `offload`, on a GPU: `model` keeps the network at work in its memory, `sequential` the
        layer at work; the rest waits in the machine's memory. On a CPU it changes nothing.

    Raises
    ------
    UsageError
        A component is damaged or lacks weights (diffusers would draw them at random and go on), or
        the GPU's memory is too small.
    """
    _be_silent()
    index = read_index(family, weights.path)
    parts = {
        name: _find_class(weights, name, library, kind)
        for name, (library, kind) in components(index).items()
    }
    models = {
        name: _load_component(weights, name, kind, dtype=runtime.dtype)
        for name, kind in parts.items()
        if (weights.path / name / "config.json").is_file()
        and any((weights.path / name).glob("*.safetensors"))
    }
    skipped = {name: None for name in NEVER_LOADED if name in index}
    with _loading(weights, "the pipeline"):
        pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(
            weights.path,
            local_files_only=True,
            use_safetensors=True,
            dtype=runtime.dtype,
            **models,
            **skipped,
        )
    pipeline.set_progress_bar_config(disable=True)
    with enough_memory(weights.family):
        if runtime.device.type != "cuda" or runtime.offload == "none":
            pipeline.to(runtime.device)
        elif runtime.offload == "model":
            pipeline.enable_model_cpu_offload(device=runtime.device)
        else:
            pipeline.enable_sequential_cpu_offload(device=runtime.device)
    return pipeline


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """A random generator a request, on the CPU: the same noise on every device and in any batch."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def sample(pipeline: Any, **arguments: Any) -> list[Image]:
    """The pictures that a pipeline makes of its arguments.

    Raises torch.OutOfMemoryError when the GPU's memory is too small: smaller batches may fit.
    """
    try:
        images: list[Image] = pipeline(**arguments).images
    except torch.OutOfMemoryError:
        # what an offloaded network left behind must not stay in the memory for the next call
        pipeline.maybe_free_model_hooks()
        raise
    return images


def check_sizes(pipeline: Any, family: str, requests: Sequence[Sized]) -> None:
    """UsageError when a request's size is none that the pipeline can draw."""
    step = 2 * int(pipeline.vae_scale_factor)
    for one in requests:
        if one.width % step or one.height % step or min(one.width, one.height) < step:
            raise UsageError(
                f"{family}: a picture of {one.width} x {one.height} pixels",
                cure=f"width and height must be multiples of {step}",
            )


@contextmanager
def enough_memory(family: str) -> Iterator[None]:
    """Turns an exhausted GPU memory into a UsageError that says what helps."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(
            f"{family}: the GPU's memory is too small for the model",
            cure="set the model's `offload: model` (or `sequential`: less memory still, much "
            "slower), or run fewer workers on a GPU (`resources.gpus: 1`)",
        ) from error


def _find_class(weights: ResolvedWeights, name: str, library: str, kind: str) -> Any:
    if library not in _LIBRARIES or not hasattr(importlib.import_module(library), kind):
        raise UsageError(
            f"{weights.family}: {weights.path}: component {name} is a {library}.{kind}, which the "
            "installed diffusers and transformers do not have",
            cure="update them, or take a checkpoint that `imig models list` names",
        )
    return getattr(importlib.import_module(library), kind)


def _load_component(
    weights: ResolvedWeights, name: str, model_class: Any, *, dtype: torch.dtype
) -> Any:
    with _loading(weights, name):
        model, info = model_class.from_pretrained(
            weights.path / name,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    require_all_weights(info, where=f"{weights.family}: {weights.path / name}")
    return model.eval()


@contextmanager
def _loading(weights: ResolvedWeights, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        raise UsageError(
            f"{weights.family}: {what} of {weights.path} does not load: {error}",
            cure="is the copy complete? Get it anew; `imig models list` names checkpoints that fit",
        ) from error


def _be_silent() -> None:
    # A build has its own progress; and each long prompt would warn that CLIP reads its start only.
    for library in (diffusers.utils.logging, transformers.utils.logging):
        logging: Any = library
        logging.disable_progress_bar()
        logging.set_verbosity_error()
