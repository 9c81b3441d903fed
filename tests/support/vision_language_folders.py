"""Tiny vision-language checkpoints in the official layout: real architectures, random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
}
_PARTS = (
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}"
)


def save_llava(folder: Path) -> Path:
    """As `llava-hf/llava-1.5-7b-hf`: a CLIP tower in front of a Llama."""
    tokenizer = _letters(["<pad>", "<s>", "</s>", "<image>"], pad="<pad>", end="</s>")
    tokenizer.image_token = "<image>"
    LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template="{% for m in messages %}USER: "
        + _PARTS.replace("IMAGE", "<image>\n")
        + " {% endfor %}ASSISTANT:",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **_TEXT,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_qwen2_vl(folder: Path) -> Path:
    """As `Qwen/Qwen2-VL-2B-Instruct`: pictures of any size, positions in three dimensions."""
    tokenizer, ids = _qwen_tokenizer()
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=14, merge_size=2, min_pixels=56 * 56, max_pixels=84 * 84
        ),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=_QWEN_TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": None,
            **_TEXT,
        },
        **_qwen_places(ids),
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def save_qwen3_vl(folder: Path) -> Path:
    """As `Qwen/Qwen3-VL-4B-Instruct`: features of early layers of the tower enter the text's."""
    tokenizer, ids = _qwen_tokenizer()
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=16,
            merge_size=2,
            min_pixels=64 * 64,
            max_pixels=96 * 96,
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=_QWEN_TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        text_config={
            "vocab_size": len(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5_000_000,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
            "head_dim": 16,
            "pad_token_id": ids["<|endoftext|>"],
            **_TEXT,
        },
        tie_word_embeddings=True,
        **_qwen_places(ids),
    )
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.save_pretrained(folder)
    return folder


_QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    + _PARTS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    + "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def _qwen_tokenizer() -> tuple[Any, dict[str, int]]:
    """The tokenizer, and the ids of its special tokens."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>",
               "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    tokenizer = _letters(special, pad="<|endoftext|>", end="<|im_end|>")
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    return tokenizer, {name: tokenizer.convert_tokens_to_ids(name) for name in special}


def _qwen_places(ids: dict[str, int]) -> dict[str, Any]:
    """The tokens of a configuration that say where a picture stands."""
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _letters(special: list[str], *, pad: str, end: str) -> Any:
    """A tokenizer with one token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    whole = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=whole, pad_token=pad, eos_token=end, additional_special_tokens=special
    )
    return tokenizer
