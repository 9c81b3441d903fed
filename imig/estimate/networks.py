"""The networks of the full-size recipes: published architectures, and how each is run.

Sizes are those of the checkpoints' published configuration files; where the class's own defaults
are that configuration, they are left alone. `published` is what counting must give: the number that
the authors state, or the size of the published weight file divided by the bytes of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from imig.estimate import counting

Sizes = tuple[int, ...]
Part = Callable[[Any, int, Sizes], object]
"""Runs a part of a network on `meta`: (network, pictures or texts at once, sizes)."""


@dataclass(frozen=True)
class Network:
    """An architecture."""

    name: str
    published: float
    """Parameters."""
    source: str
    """Where `published` comes from."""
    make: Callable[[], Any]
    parts: Mapping[str, Part]
    """What is run of it, by name."""
    dtype: torch.dtype = torch.bfloat16
    """How imig keeps its weights on a GPU (docs/models.md)."""


@dataclass(frozen=True)
class Counted:
    """What building a network says."""

    parameters: int
    largest_layer: int
    """Parameters of the largest module without modules inside."""
    bytes_each: int
    """Of a weight, as imig keeps it on a GPU."""

    @property
    def weight_bytes(self) -> int:
        return self.parameters * self.bytes_each


def _empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _ids(*shape: int) -> Tensor:
    return _empty(*shape, dtype=torch.long)


def _make_flux() -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(guidance_embeds=True)


def _run_flux(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: picture tokens (target, then those of the picture to edit), text tokens."""
    picture, text = sizes
    return model(
        hidden_states=_empty(batch, picture, 64),
        encoder_hidden_states=_empty(batch, text, 4096),
        pooled_projections=_empty(batch, 768),
        timestep=_empty(batch),
        guidance=_empty(batch),
        img_ids=_empty(picture, 3),
        txt_ids=_empty(text, 3),
    )


def _make_flux_vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _decode(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: width and height of the picture, pixels."""
    return model.decode(_empty(batch, 16, sizes[1] // 8, sizes[0] // 8))


def _encode(model: Any, batch: int, sizes: Sizes) -> object:
    return model.encode(_empty(batch, 3, sizes[1], sizes[0]))


def _make_t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=32128,
            d_model=4096,
            d_kv=64,
            d_ff=10240,
            num_layers=24,
            num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )


def _make_clip_l() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            projection_dim=768,
        )
    )


def _read_text(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: tokens."""
    return model(_ids(batch, sizes[0]))


def _make_qwen() -> Any:
    from diffusers import QwenImageTransformer2DModel

    return QwenImageTransformer2DModel()


def _run_qwen(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: text tokens, then (rows, columns) of tokens of the target and of each reference."""
    text, *sides = sizes
    grids = [(1, rows, columns) for rows, columns in zip(sides[::2], sides[1::2], strict=True)]
    return model(
        hidden_states=_empty(batch, sum(rows * columns for _, rows, columns in grids), 64),
        encoder_hidden_states=_empty(batch, text, 3584),
        encoder_hidden_states_mask=None,
        timestep=_empty(batch),
        img_shapes=[grids] * batch,
    )


def _make_qwen_vae() -> Any:
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage()


def _decode_qwen(model: Any, batch: int, sizes: Sizes) -> object:
    return model.decode(_empty(batch, 16, 1, sizes[1] // 8, sizes[0] // 8))


def _encode_qwen(model: Any, batch: int, sizes: Sizes) -> object:
    return model.encode(_empty(batch, 3, 1, sizes[1], sizes[0]))


def _make_qwen_vl() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128000,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    )


def _see_qwen_vl(model: Any, batch: int, sizes: Sizes) -> object:
    """The vision tower. Sizes: rows and columns of patches of 14 pixels."""
    from transformers import vision_utils

    tower, config = model.model.visual, model.config.vision_config
    rows, columns = sizes
    # lengths of windows are values: they stay on the CPU
    with torch.device("cpu"):
        grid = torch.tensor([[1, rows, columns]] * batch)
        whole, _ = vision_utils.get_vision_attention_seqlens(grid, config, kwargs={})
        order, windows = vision_utils.get_vision_window_index(
            grid,
            spatial_merge_size=config.spatial_merge_size,
            window_size=config.window_size,
            patch_size=config.patch_size,
            kwargs={},
        )
    patches = batch * rows * columns
    return tower(
        _empty(patches, 3 * config.temporal_patch_size * config.patch_size**2),
        grid,
        position_ids=_ids(patches, 2),
        cu_seqlens=whole,
        window_index=order.to("meta"),
        cu_window_seqlens=windows,
    )


def _read_qwen_vl(model: Any, batch: int, sizes: Sizes) -> object:
    """The language model and its head. Sizes: tokens, those of pictures included."""
    return model(
        inputs_embeds=_empty(batch, sizes[0], 3584),
        position_ids=_ids(3, batch, sizes[0]),
        use_cache=False,
    )


def _make_grounding_dino() -> Any:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    swin: dict[str, Any] = {
        "image_size": 384,
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    return GroundingDinoForObjectDetection(
        GroundingDinoConfig(backbone_config=SwinConfig(**swin), text_config=BertConfig())
    )


def _run_grounding_dino(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: width and height in pixels, text tokens."""
    width, height, text = sizes
    return model(
        pixel_values=_empty(batch, 3, height, width, dtype=torch.float32),
        input_ids=_ids(batch, text),
        attention_mask=_ids(batch, text),
        token_type_ids=_ids(batch, text),
    )


def _make_sam() -> Any:
    from segment_anything import sam_model_registry

    return sam_model_registry["vit_h"]()


def _encode_sam(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: side in pixels."""
    return model.image_encoder(_empty(batch, 3, sizes[0], sizes[0], dtype=torch.float32))


def _decode_sam(model: Any, _: int, sizes: Sizes) -> object:
    """Sizes: boxes. One picture's boxes at a time."""
    boxes = _empty(sizes[0], 4, dtype=torch.float32)
    sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
    return model.mask_decoder(
        image_embeddings=_empty(1, 256, 64, 64, dtype=torch.float32),
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )


def _make_dinov2() -> Any:
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(image_size=518, patch_size=14))


def _run_dinov2(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: side in pixels."""
    return model(_empty(batch, 3, sizes[0], sizes[0]))


def _make_open_clip() -> Any:
    import open_clip

    return open_clip.CLIP(**open_clip.get_model_config("ViT-H-14"))


def _see_open_clip(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: side in pixels."""
    return model.encode_image(_empty(batch, 3, sizes[0], sizes[0]))


def _read_open_clip(model: Any, batch: int, sizes: Sizes) -> object:
    """Sizes: tokens."""
    return model.encode_text(_ids(batch, sizes[0]))


NETWORKS: Final[dict[str, Network]] = {
    one.name: one
    for one in (
        Network(
            "FLUX.1 transformer",
            11.90e9,
            "11.9 B: weight files of FLUX.1-dev, 23.8 GB in bfloat16",
            _make_flux,
            {"step": _run_flux},
        ),
        Network(
            "T5-XXL encoder",
            4.76e9,
            "4.76 B: weight files of FLUX.1-dev's text_encoder_2, 9.52 GB in bfloat16",
            _make_t5,
            {"read": _read_text},
        ),
        Network(
            "CLIP-L text",
            123.1e6,
            "123 M: weight file of FLUX.1-dev's text_encoder, 246 MB in bfloat16",
            _make_clip_l,
            {"read": _read_text},
        ),
        Network(
            "FLUX.1 VAE",
            83.8e6,
            "83.8 M: weight file of FLUX.1-dev's vae, 168 MB in bfloat16",
            _make_flux_vae,
            {"decode": _decode, "encode": _encode},
        ),
        Network(
            "Qwen-Image transformer",
            20.43e9,
            "20 B (Qwen-Image's report); weight files 40.9 GB in bfloat16",
            _make_qwen,
            {"step": _run_qwen},
        ),
        Network(
            "Qwen2.5-VL-7B",
            8.29e9,
            "8.29 B: weight files 16.6 GB in bfloat16",
            _make_qwen_vl,
            {"see": _see_qwen_vl, "read": _read_qwen_vl},
        ),
        Network(
            "Qwen-Image VAE",
            127e6,
            "127 M (Qwen-Image's report)",
            _make_qwen_vae,
            {"decode": _decode_qwen, "encode": _encode_qwen},
        ),
        Network(
            "Grounding DINO base",
            233e6,
            "233 M: weight file 933 MB in float32, some buffers included",
            _make_grounding_dino,
            {"detect": _run_grounding_dino},
            torch.float32,
        ),
        Network(
            "SAM ViT-H",
            641e6,
            "641 M: sam_vit_h_4b8939.pth, 2564 MB in float32",
            _make_sam,
            {"encode": _encode_sam, "masks": _decode_sam},
            torch.float32,
        ),
        Network(
            "DINOv2 base",
            86.6e6,
            "86.6 M: weight file 346 MB in float32",
            _make_dinov2,
            {"embed": _run_dinov2},
        ),
        Network(
            "CLIP ViT-H-14",
            986.1e6,
            "986.1 M: open_clip's table of model profiles",
            _make_open_clip,
            {"see": _see_open_clip, "read": _read_open_clip},
        ),
    )
}


@cache
def built(name: str) -> Any:
    """The network on `meta`."""
    network = NETWORKS[name]
    return counting.build(network.make, dtype=network.dtype)


@cache
def counted(name: str) -> Counted:
    """Parameters of a network."""
    network = built(name)
    return Counted(
        counting.count_parameters(network),
        counting.largest_layer(network),
        NETWORKS[name].dtype.itemsize,
    )


@cache
def operations(name: str, part: str, sizes: Sizes) -> int:
    """Floating point operations of one run with one picture or text."""
    run = NETWORKS[name].parts[part]
    return counting.count_operations(lambda: run(built(name), 1, sizes))


@cache
def activation_bytes(name: str, part: str, sizes: Sizes, batch: int) -> int:
    """Bytes of intermediate results that live at once in a run, at most; an estimate."""
    run = NETWORKS[name].parts[part]
    return counting.peak_bytes(lambda: run(built(name), batch, sizes))
