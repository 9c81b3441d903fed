"""Families that make pictures: from layouts, prompts, pictures and instructions, references."""

from __future__ import annotations

from typing import Final

from imig.models.family import Checkpoint, Family

GENERATORS: Final = (
    Family(
        name="tabletop",
        tasks=("draw pictures", "edit pictures", "compose pictures"),
        module="tabletop",
        class_name="Tabletop",
        library="imig",
        tiny=True,
        layout="program",
        weight_files=("*.py",),
        # there is nothing to offload; it stands in for families that do
        takes_offload=True,
    ),
    Family(
        name="flux",
        tasks=("draw pictures",),
        module="flux",
        class_name="Flux",
        library="diffusers",
        tiny_substitute="tabletop",
        layout="pipeline",
        pipelines=("FluxPipeline",),
        takes_offload=True,
        checkpoints=(
            Checkpoint("black-forest-labs/FLUX.1-dev", 33_700, "FLUX.1 [dev] non-commercial"),
            Checkpoint("black-forest-labs/FLUX.1-schnell", 33_700, "Apache-2.0"),
        ),
    ),
    Family(
        name="flux-kontext",
        tasks=("edit pictures",),
        module="flux_kontext",
        class_name="FluxKontext",
        library="diffusers",
        tiny_substitute="tabletop",
        layout="pipeline",
        pipelines=("FluxKontextPipeline",),
        takes_offload=True,
        checkpoints=(
            Checkpoint(
                "black-forest-labs/FLUX.1-Kontext-dev", 33_700, "FLUX.1 [dev] non-commercial"
            ),
        ),
    ),
    Family(
        name="multi-reference",
        tasks=("compose pictures",),
        module="multi_reference",
        class_name="MultiReference",
        library="diffusers",
        tiny_substitute="tabletop",
        layout="pipeline",
        # what imig.models.multi_reference.CALLS knows
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
    ),
    Family(
        name="contextgen",
        tasks=("draw layouts",),
        # loaded part by part, by imig.contextgen.components
        module=None,
        class_name=None,
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
    ),
)
