"""What the tests of the model families share: pictures, a BERT tokenizer made here, loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig

# Every letter is in the vocabulary too, so that no word is unknown.
WORDS = ("a", "and", "bicycle", "blue", "cat", "cube", "dog", "house", "of", "red", "small", "the")
VOCABULARY_SIZE = 30522
"""Of bert-base-uncased, whose special tokens stand at 0, 100 to 103, and "." at 1012."""


def picture(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Smooth noise with an edge in it: no two regions look the same."""
    draw = np.random.default_rng(seed)
    small = Image.fromarray(draw.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).copy()
    pixels[: height // 2, : width // 3] = draw.integers(0, 256, 3)
    return Image.fromarray(pixels)


def bert_vocabulary() -> list[str]:
    words = [f"[unused{index}]" for index in range(VOCABULARY_SIZE)]
    words[0], words[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words[1012], words[1029] = ".", "?"
    words[2000 : 2000 + len(WORDS)] = WORDS
    for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz"):
        if letter not in WORDS:
            words[3000 + index] = letter
        words[3100 + index] = f"##{letter}"
    return words


def bert_tokenizer(folder: Path) -> Any:
    """WordPiece, with the ids of bert-base-uncased where Grounding DINO hard-codes them."""
    from transformers import BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vocab.txt"
    file.write_text("\n".join(bert_vocabulary()), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(file), do_lower_case=True)
    assert tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "."]) == [101, 102, 1012]
    return tokenizer


def load(family: str, path: Path, *, batch_size: int = 2, **options: Any) -> Any:
    return load_model(
        ModelConfig(family=family, weights=str(path), device="cpu", **options),
        batch_size=batch_size,
    )


def boxes_read(segmenter: Any, image: Image.Image, boxes: NDArray[np.float32]) -> torch.Tensor:
    """Of a `BoxSegmenter`: (boxes, 2 corners, 2) in pixels, as the prompt encoder gets them."""
    read: list[torch.Tensor] = []
    encoder = segmenter._mask_model.prompt_encoder
    hook = encoder.shared_embedding.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    segmenter.segment([image], [boxes])
    hook.remove()
    assert len(read) == 1
    # Corners, not their centres, and without the point that the library adds.
    return read[0][0, :, :2] - 0.5
