"""Load what `save_pretrained` of transformers wrote: offline, complete, without foreign code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights
from imig.models.images import equal_batches
from imig.models.libraries import torch, transformers
from imig.models.unloadable import require_all_weights, unloadable_reason


def load_pretrained(
    model_class: Any,
    weights: ResolvedWeights,
    *,
    model_types: tuple[str, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """A transformers model in evaluation mode, all of whose weights came from the folder.

    Parameters
    ----------
    model_class:
        A transformers class with `from_pretrained`.
    model_types:
        What `model_type` in `config.json` may say.

    Raises
    ------
    UsageError
        The folder holds another architecture, or not all of its weights. (transformers would draw
        the missing ones at random and go on.)
    """
    check_model_type(weights, model_types)
    # Its progress bar counts tensors; a build has its own progress.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    verbosity = transformers.utils.logging.get_verbosity()
    # What it warns of, a part of a larger model and weights that are missing, is checked here.
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        model, info = model_class.from_pretrained(
            weights.path,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"{weights.family}: {weights.path} does not load: {unloadable_reason(error)}",
            cure="is the copy complete? `imig models list` names checkpoints that fit",
        ) from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    require_all_weights(info, where=f"{weights.family}: {weights.path}")
    return model.to(device).eval()


def load_processor(processor_class: Any, weights: ResolvedWeights) -> Any:
    """The processor saved beside the weights: it knows sizes, means and the tokenizer."""
    try:
        return processor_class.from_pretrained(
            weights.path, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{weights.family}: no usable processor in {weights.path}: {error}",
            cure="copy the whole folder of the checkpoint, tokenizer files included",
        ) from error


def preprocess_images(
    processor: Any, images: Sequence[Image], **options: Any
) -> list[torch.Tensor]:
    """Pixel values of each image, (3, height, width), whatever sizes they come to.

    Images of one size go through the processor together, which spares half of its overhead and
    changes no bit.

    Parameters
    ----------
    processor:
        An image processor of transformers.
    options:
        For the processor, such as ``do_normalize=False``.
    """
    pixels: dict[int, torch.Tensor] = {}
    for group in equal_batches([one.size for one in images], batch_size=max(len(images), 1)):
        some = [images[index] for index in group]
        values = processor(images=some, return_tensors="pt", **options)["pixel_values"]
        pixels.update(zip(group, values, strict=True))
    return [pixels[index] for index in range(len(images))]


def check_model_type(weights: ResolvedWeights, model_types: tuple[str, ...]) -> None:
    """UsageError when the folder's `config.json` is of another architecture."""
    config = json.loads((Path(weights.path) / "config.json").read_text(encoding="utf-8"))
    model_type = config.get("model_type")
    if model_type not in model_types:
        raise UsageError(
            f"{weights.family}: {weights.path} holds a {model_type!r} model, "
            f"not {' or '.join(map(repr, model_types))}",
            cure="`imig models list` names checkpoints that fit",
        )
