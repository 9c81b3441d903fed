"""Whether encoded shards are what a training would encode itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from imig.errors import UsageError
from imig.models.weights import sha256_prefix
from imig.schema import EncodingRecord, HowOften
from imig.training.recipe import TrainRecipe

ENCODING_PARTS: Final = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae")
"""Of a pipeline folder; the transformer encodes nothing."""
_DECISIVE: Final = (".safetensors", ".json", ".model", ".txt")

_SETTINGS: Final = {
    "dtype": "model.dtype",
    "target_width": "data.target_width",
    "reference_side": "data.reference_side",
    "max_references": "data.max_references",
    "instruction": "data.instruction",
    "text_length": "attention.text_length",
}
"""Field of the record -> key of a recipe."""
_WORDS: Final[dict[HowOften, str]] = {
    "never": "without {}",
    "sometimes": "with and without {}",
    "always": "with {} only",
}


def encoding_record(recipe: TrainRecipe, *, components: Path, dtype: torch.dtype) -> EncodingRecord:
    """What a training with this recipe would encode.

    Its probabilities count only in so far as they leave out a variant altogether.

    Parameters
    ----------
    components:
        The pipeline folder.
    dtype:
        Of the networks.
    """
    data = recipe.data
    return EncodingRecord.model_validate(
        {
            "weights": recipe.model.weights,
            "revision": encoder_revision(components),
            "dtype": str(dtype).removeprefix("torch."),
            "target_width": data.target_width,
            "reference_side": data.reference_side,
            "max_references": data.max_references,
            "instruction": data.instruction,
            "text_length": recipe.attention.text_length,
            "edits": _how_often(data.edit_probability),
            "faces": _how_often(data.face_probability),
        }
    )


def encoder_revision(components: Path) -> str:
    """First 12 digits of the sha256 of what encodes: weights, configurations, tokenizers.

    Of the files and not of a hub's commit or of the whole pipeline: a local copy equals its
    original, and another transformer beside the same autoencoder makes no shards stale.
    """
    files = [
        path
        for part in ENCODING_PARTS
        for path in sorted((components / part).iterdir())
        if path.suffix in _DECISIVE
    ]
    return sha256_prefix(tuple(files))


def require_fit(there: EncodingRecord, here: EncodingRecord, *, place: str) -> None:
    """Refuse a dataset that was encoded otherwise than the training would.

    Raises
    ------
    UsageError
        Says which settings differ, and how to cure it.
    """
    different = list(differences(there, here))
    if different:
        raise UsageError(
            f"{place} was encoded with other settings than this training has: "
            + "; ".join(different),
            cure="`imig encode` the plain shards with the recipe and the --set of this training, "
            "or train on the plain shards, or with the settings of the encoded ones",
        )


def differences(
    there: EncodingRecord, here: EncodingRecord, *, exact: bool = False
) -> Iterator[str]:
    """What keeps shards encoded as `there` from serving `here`, in words; nothing where they do.

    Shards that have both edits and crops serve a training that always, or never, shows edits; with
    `exact` they differ from its own.
    """
    if there.revision != here.revision:
        yield (
            f"model.weights are {there.weights} ({there.revision}) there and {here.weights} "
            f"({here.revision}) here"
        )
    for field, key in _SETTINGS.items():
        old, new = getattr(there, field), getattr(here, field)
        if old != new:
            yield f"{key} is {old!r} there and {new!r} here"
    for field, key, word in (
        ("edits", "data.edit_probability", "edits"),
        ("faces", "data.face_probability", "faces"),
    ):
        old, new = getattr(there, field), getattr(here, field)
        if old != new and (exact or old != "sometimes"):
            said = [_WORDS[one].format(word) for one in (old, new)]
            yield f"{key}: samples {said[0]} there, {said[1]} here"


def _how_often(probability: float) -> HowOften:
    if probability <= 0:
        return "never"
    return "always" if probability >= 1 else "sometimes"
