"""Pipelines of diffusers with random weights of a few kilobytes, saved in the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    LlamaTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from support.contextgen_folder import write_contextgen_folder

DIFFUSERS: Any = diffusers  # whose classes mypy takes for untyped
QWEN_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
_CHAT_OF_PARTS = (
    "{% for message in messages %}{{ message.role }}: {% for part in message.content %}"
    "{{ part.text }}{% endfor %}\n{% endfor %}"
)


def write_kontext(folder: Path, *, seed: int = 0) -> Path:
    """A FluxKontextPipeline; returns the folder."""
    return write_contextgen_folder(folder, seed=seed)


def write_flux(folder: Path, kontext: Path, *, distilled: bool = False) -> Path:
    """A FluxPipeline of the parts of a FluxKontextPipeline; distilled: as schnell is."""
    parts = DIFFUSERS.FluxKontextPipeline.from_pretrained(kontext).components
    parts = {name: part for name, part in parts.items() if part is not None}
    if distilled:
        config = {**parts["transformer"].config, "guidance_embeds": False}
        torch.manual_seed(1)
        parts["transformer"] = DIFFUSERS.FluxTransformer2DModel.from_config(config)
    DIFFUSERS.FluxPipeline(**parts).save_pretrained(folder)
    return folder


def write_qwen(folder: Path, *, seed: int = 0) -> Path:
    """A QwenImageEditPlusPipeline; returns the folder."""
    torch.manual_seed(seed)
    tokenizer = _qwen_tokenizer()
    numbers = {token: tokenizer.convert_tokens_to_ids(token) for token in QWEN_TOKENS}
    make_processor: Any = Qwen2VLProcessor
    processor = make_processor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=_CHAT,
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [1, 1, 2],
            },
            "bos_token_id": numbers["<|endoftext|>"],
            "eos_token_id": numbers["<|im_end|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        image_token_id=numbers["<|image_pad|>"],
        video_token_id=numbers["<|video_pad|>"],
        vision_start_token_id=numbers["<|vision_start|>"],
        vision_end_token_id=numbers["<|vision_end|>"],
    )
    DIFFUSERS.QwenImageEditPlusPipeline(
        scheduler=DIFFUSERS.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=DIFFUSERS.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=4,
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        processor=processor,
        transformer=DIFFUSERS.QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
    ).save_pretrained(folder)
    return folder


def write_klein(folder: Path, *, seed: int = 0, distilled: bool = True) -> Path:
    """A Flux2KleinPipeline; returns the folder."""
    torch.manual_seed(seed)
    tokenizer = _qwen_tokenizer()
    width = 8
    DIFFUSERS.Flux2KleinPipeline(
        scheduler=DIFFUSERS.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_flux2_autoencoder(),
        # what it reads are the states after layers 9, 18 and 27
        text_encoder=Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=16,
                num_hidden_layers=27,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=4,
            )
        ),
        tokenizer=tokenizer,
        transformer=_flux2_transformer(3 * width, guidance_embeds=False),
        is_distilled=distilled,
    ).save_pretrained(folder)
    return folder


def write_flux2(folder: Path, *, seed: int = 0) -> Path:
    """A Flux2Pipeline; returns the folder."""
    torch.manual_seed(seed)
    tokenizer = _qwen_tokenizer()
    make_processor: Any = PixtralProcessor
    width = 8
    # what it reads are the states after layers 10, 20 and 30
    text = {
        "model_type": "mistral",
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 16,
        "num_hidden_layers": 30,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "image_size": 56,
        "patch_size": 14,
    }
    image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=image_token)
    DIFFUSERS.Flux2Pipeline(
        scheduler=DIFFUSERS.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_flux2_autoencoder(),
        text_encoder=Mistral3ForConditionalGeneration(config),
        tokenizer=make_processor(
            image_processor=PixtralImageProcessor(),
            tokenizer=tokenizer,
            chat_template=_CHAT_OF_PARTS,
            image_token="<|image_pad|>",
            image_break_token="<|vision_start|>",
            image_end_token="<|vision_end|>",
        ),
        transformer=_flux2_transformer(3 * width, guidance_embeds=True),
    ).save_pretrained(folder)
    return folder


def write_omnigen(folder: Path, *, seed: int = 0) -> Path:
    """An OmniGenPipeline; returns the folder."""
    torch.manual_seed(seed)
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for letter in ("▁", *map(chr, range(32, 127)), "\n"):
        vocabulary.setdefault(letter, len(vocabulary))
    DIFFUSERS.OmniGenPipeline(
        transformer=DIFFUSERS.OmniGenTransformer2DModel(
            in_channels=4,
            hidden_size=16,
            num_attention_heads=1,
            num_key_value_heads=1,
            intermediate_size=32,
            num_layers=1,
            pad_token_id=0,
            vocab_size=len(vocabulary),
            time_step_dim=4,
            rope_scaling={"long_factor": [1.0] * 8, "short_factor": [1.0] * 8},
        ),
        scheduler=DIFFUSERS.FlowMatchEulerDiscreteScheduler(),
        vae=DIFFUSERS.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            latent_channels=4,
            norm_num_groups=2,
            mid_block_add_attention=False,
        ),
        tokenizer=LlamaTokenizer(vocab=vocabulary, merges=[]),
    ).save_pretrained(folder)
    return folder


def _flux2_autoencoder() -> Any:
    return DIFFUSERS.AutoencoderKLFlux2(
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )


def _flux2_transformer(text_width: int, *, guidance_embeds: bool) -> Any:
    return DIFFUSERS.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=1,
        joint_attention_dim=text_width,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )


def _qwen_tokenizer() -> Any:
    """Byte-level: every byte is a token, so that no merges need to be learnt."""
    return Qwen2Tokenizer(
        vocab={letter: number for number, letter in enumerate(_byte_letters())}
        | {"<|endoftext|>": 256},
        merges=[],
        chat_template=_CHAT,
        extra_special_tokens=list(QWEN_TOKENS),
        model_max_length=512,
    )


def _byte_letters() -> list[str]:
    """The letters that stand for bytes in byte-level BPE, in the order of the bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
