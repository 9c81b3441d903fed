"""The table of model families: what each is for, which checkpoints fit, where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Task = Literal[
    "caption", "ground", "segment", "embed images", "score image and text", "draw layouts"
]

_TRANSFORMERS_WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """Published weights that a family loads."""

    weights: str
    """What to put into the recipe's `weights`."""
    megabytes: int
    """Approximate size of the download."""
    licence: str
    config: str | None = None
    """What to put into the recipe's `config`, where the weights need it."""
    companions: tuple[str, ...] = ()
    """Hub repositories whose tokenizer and configuration are needed too (not their weights)."""


@dataclass(frozen=True)
class Family:
    """One kind of real model."""

    name: str
    task: Task
    module: str | None
    """Module of the adapter below `imig.models`, imported only when a model is loaded; None for a
    family that no stage calls."""
    class_name: str | None
    library: str
    tiny: bool
    """Whether a tiny checkpoint ships with the package."""
    tiny_substitute: str | None
    """The family to take `tiny` from, where this one has none."""
    weight_files: tuple[str, ...]
    """File name patterns of the weights in a folder, most wanted first; safetensors before others,
    which are only ever read with `weights_only=True`."""
    needs: tuple[str, ...]
    """Other files that a folder must hold."""
    takes_file: bool
    """Whether `weights` may be the weight file itself."""
    checkpoints: tuple[Checkpoint, ...]
    """Published weights, the default of `imig models pull` first."""


def _families() -> tuple[Family, ...]:
    sam_hub = "ybelkada/segment-anything/checkpoints"
    return (
        Family(
            name="grounding-dino",
            task="ground",
            module="grounding_dino",
            class_name="GroundingDino",
            library="transformers",
            tiny=True,
            tiny_substitute=None,
            weight_files=_TRANSFORMERS_WEIGHTS,
            needs=("config.json", "preprocessor_config.json|processor_config.json"),
            takes_file=False,
            checkpoints=(
                Checkpoint("IDEA-Research/grounding-dino-tiny", 690, "Apache-2.0"),
                Checkpoint("IDEA-Research/grounding-dino-base", 935, "Apache-2.0"),
            ),
        ),
        Family(
            name="groundingdino",
            task="ground",
            module="groundingdino",
            class_name="GroundingDinoPackage",
            library="groundingdino-py",
            tiny=False,
            tiny_substitute="grounding-dino",
            weight_files=("groundingdino*.pth", "*.pth"),
            needs=(),
            takes_file=True,
            checkpoints=(
                Checkpoint(
                    "ShilongLiu/GroundingDINO/groundingdino_swint_ogc.pth",
                    695,
                    "Apache-2.0",
                    companions=("google-bert/bert-base-uncased",),
                ),
                Checkpoint(
                    "ShilongLiu/GroundingDINO/groundingdino_swinb_cogcoor.pth",
                    940,
                    "Apache-2.0",
                    companions=("google-bert/bert-base-uncased",),
                ),
            ),
        ),
        Family(
            name="segment-anything",
            task="segment",
            module="segment_anything",
            class_name="SegmentAnything",
            library="segment-anything",
            tiny=True,
            tiny_substitute=None,
            weight_files=("model.safetensors", "sam_vit_*.pth", "*.pth"),
            needs=(),
            takes_file=True,
            checkpoints=(
                Checkpoint(f"{sam_hub}/sam_vit_h_4b8939.pth", 2560, "Apache-2.0"),
                Checkpoint(f"{sam_hub}/sam_vit_l_0b3195.pth", 1250, "Apache-2.0"),
                Checkpoint(f"{sam_hub}/sam_vit_b_01ec64.pth", 375, "Apache-2.0"),
            ),
        ),
        Family(
            name="sam2",
            task="segment",
            module="sam2",
            class_name="Sam2",
            library="transformers",
            tiny=False,
            tiny_substitute="segment-anything",
            weight_files=_TRANSFORMERS_WEIGHTS,
            needs=("config.json", "preprocessor_config.json|processor_config.json"),
            takes_file=False,
            checkpoints=(
                Checkpoint("facebook/sam2.1-hiera-large", 900, "Apache-2.0"),
                Checkpoint("facebook/sam2.1-hiera-tiny", 156, "Apache-2.0"),
            ),
        ),
        Family(
            name="open-clip",
            task="score image and text",
            module="open_clip",
            class_name="OpenClip",
            library="open_clip_torch",
            tiny=True,
            tiny_substitute=None,
            # The order in which open_clip itself looks into a folder.
            weight_files=(
                "open_clip_model.safetensors",
                "open_clip_pytorch_model.safetensors",
                "open_clip_pytorch_model.bin",
                "*.safetensors",
                "*.pt",
            ),
            needs=("open_clip_config.json",),
            takes_file=True,
            checkpoints=(
                Checkpoint("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 605, "MIT"),
                Checkpoint("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 3940, "MIT"),
            ),
        ),
        Family(
            name="dinov2",
            task="embed images",
            module="dinov2",
            class_name="DinoV2",
            library="transformers",
            tiny=True,
            tiny_substitute=None,
            weight_files=_TRANSFORMERS_WEIGHTS,
            needs=("config.json", "preprocessor_config.json|processor_config.json"),
            takes_file=False,
            checkpoints=(
                Checkpoint("facebook/dinov2-base", 346, "Apache-2.0"),
                Checkpoint("facebook/dinov2-small", 88, "Apache-2.0"),
                Checkpoint("facebook/dinov2-large", 1220, "Apache-2.0"),
            ),
        ),
        Family(
            name="blip",
            task="caption",
            module="blip",
            class_name="Blip",
            library="transformers",
            tiny=True,
            tiny_substitute=None,
            weight_files=_TRANSFORMERS_WEIGHTS,
            needs=("config.json", "preprocessor_config.json|processor_config.json"),
            takes_file=False,
            checkpoints=(
                Checkpoint("Salesforce/blip-image-captioning-base", 990, "BSD-3-Clause"),
                Checkpoint("Salesforce/blip-image-captioning-large", 1880, "BSD-3-Clause"),
            ),
        ),
        Family(
            name="contextgen",
            task="draw layouts",
            # loaded part by part, by imig.contextgen.components
            module=None,
            class_name=None,
            library="diffusers",
            tiny=True,
            tiny_substitute=None,
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
            takes_file=False,
            checkpoints=(
                Checkpoint(
                    "black-forest-labs/FLUX.1-Kontext-dev",
                    33_700,
                    "FLUX.1 [dev] non-commercial",
                ),
            ),
        ),
    )


FAMILIES: Final[dict[str, Family]] = {family.name: family for family in _families()}
"""Every family by its name in the recipe."""
