"""Family `contextgen`: the model that imig trains and draws with; no stage calls it."""

from __future__ import annotations

from typing import ClassVar

from imig.models.family import Checkpoint, Family


class ContextGen:
    """Its weights only: `imig.contextgen.components` loads them, a part at a time."""

    family: ClassVar[Family] = Family(
        name="contextgen",
        tasks=("draw layouts",),
        library="diffusers",
        tiny=True,
        # The transformer's make the revision; the others are for `imig models pull`.
        weight_files=(
            "transformer/diffusion_pytorch_model.safetensors",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            "transformer/*.safetensors",
            "vae/*.safetensors",
            "text_encoder/*.safetensors",
            "text_encoder_2/*.safetensors",
        ),
        needs=(
            "model_index.json",
            "transformer/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "text_encoder_2/config.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer_2/tokenizer_config.json",
        ),
        checkpoints=(
            Checkpoint(
                "black-forest-labs/FLUX.1-Kontext-dev",
                33_700,
                "FLUX.1 [dev] non-commercial",
            ),
        ),
    )
