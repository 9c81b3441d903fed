"""What the grounding families share: prompts of Grounding DINO, and from scores to boxes.

The released post-processing strings together the tokens above the text threshold, which mixes the
phrases of a prompt ("red cube ball"). Here a token belongs to one phrase of the prompt, and a box
gets the phrase whose tokens score best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.models.batched import Batched
from imig.models.images import as_rgb, equal_batches
from imig.models.libraries import torch
from imig.models.protocols import GroundedBoxes
from imig.text import text_to_plain

# Grounding DINO splits the caption into sub-sentences at these.
_SEPARATORS = str.maketrans(".?", "  ")


@dataclass(frozen=True)
class Prompt:
    """A caption for the detector, and which of its tokens belong to which phrase."""

    caption: str
    phrases: tuple[str, ...]
    """As the caller wrote them."""
    tokens: tuple[tuple[int, ...], ...]
    """For each phrase the places of its tokens in the tokenised caption."""


@dataclass(frozen=True)
class Detector:
    """A Grounding DINO, whatever library it comes from."""

    tokenizer: Any
    """A fast transformers tokenizer of the BERT kind."""
    max_tokens: int
    """Tokens of a caption that the network reads, [CLS] and [SEP] included."""
    preprocess: Callable[[Image], torch.Tensor]
    """RGB image -> (3, height, width), resized and normalised."""
    forward: Callable[[torch.Tensor, list[str]], tuple[torch.Tensor, torch.Tensor]]
    """(batch, 3, height, width) and captions -> logits (batch, queries, tokens), -inf for padding,
    and boxes (batch, queries, 4) as relative centre x, centre y, width, height."""


class DetectorGrounder(Batched):
    """A `Grounder` on a `Detector`, which the family makes."""

    _detector: Detector

    def ground(
        self,
        images: Sequence[Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        """Find each image's phrases; see `imig.models.protocols.Grounder`."""
        return ground_images(
            self._detector,
            images,
            phrases,
            box_threshold=box_threshold,
            text_threshold=text_threshold,
            batch_size=self._batch_size,
        )


def ground_images(
    detector: Detector,
    images: Sequence[Image],
    phrases: Sequence[Sequence[str]],
    *,
    box_threshold: float,
    text_threshold: float,
    batch_size: int,
) -> list[GroundedBoxes]:
    """Ground each image's phrases; what `imig.models.protocols.Grounder.ground` promises.

    Phrases that do not fit into one caption are spread over several, whose boxes are merged.
    """
    if len(images) != len(phrases):
        raise ValueError(f"{len(images)} images but {len(phrases)} lists of phrases")
    found: list[list[GroundedBoxes]] = [[] for _ in images]
    requests = [
        (index, prompt)
        for index, wanted in enumerate(phrases)
        for prompt in phrases_to_prompts(wanted, detector.tokenizer, max_tokens=detector.max_tokens)
    ]
    pixels: dict[int, torch.Tensor] = {}
    for index, _ in requests:
        if index not in pixels:
            pixels[index] = detector.preprocess(as_rgb([images[index]])[0])
    for batch in equal_batches(
        [tuple(pixels[index].shape) for index, _ in requests], batch_size=batch_size
    ):
        chosen = [requests[place] for place in batch]
        logits, boxes = detector.forward(
            torch.stack([pixels[index] for index, _ in chosen]),
            [prompt.caption for _, prompt in chosen],
        )
        scores = logits.float().sigmoid().cpu().numpy()
        relative = boxes.float().cpu().numpy()
        for (index, prompt), token_scores, some in zip(chosen, scores, relative, strict=True):
            found[index].append(
                select_boxes(
                    token_scores,
                    some,
                    prompt,
                    size=images[index].size,
                    box_threshold=box_threshold,
                    text_threshold=text_threshold,
                )
            )
    return [
        replace(
            merge_boxes(some),
            unread=unread_phrases(wanted, detector.tokenizer, max_tokens=detector.max_tokens),
        )
        for some, wanted in zip(found, phrases, strict=True)
    ]


def unread_phrases(phrases: Sequence[str], tokenizer: Any, *, max_tokens: int) -> tuple[str, ...]:
    """Those that no caption can hold or say: see `imig.models.protocols.GroundedBoxes.unread`."""
    return tuple(
        phrase
        for phrase in dict.fromkeys(phrases)
        if not _phrase_to_text(phrase, tokenizer, max_tokens=max_tokens - 3)
    )


def phrases_to_prompts(phrases: Sequence[str], tokenizer: Any, *, max_tokens: int) -> list[Prompt]:
    """Captions of at most `max_tokens` tokens: lower case, joined by " . ", closed by " .".

    Repetitions and what the model cannot take (`unread_phrases`) are left out; a full stop or
    question mark inside a phrase becomes a space, since it would split the phrase; quotes, hyphens
    and invisible characters are as `imig.text.text_to_plain` has them; a phrase too long for a
    caption loses its last words.
    """
    wanted: dict[str, str] = {}
    for phrase in phrases:
        text = _phrase_to_text(phrase, tokenizer, max_tokens=max_tokens - 3)
        if text:
            wanted.setdefault(text, phrase)
    prompts = []
    group: list[str] = []
    used = 2  # [CLS] and [SEP]
    for text in wanted:
        needed = _count_tokens(text, tokenizer) + 1  # and its full stop
        if group and used + needed > max_tokens:
            prompts.append(_prompt(group, wanted, tokenizer))
            group, used = [], 2
        group.append(text)
        used += needed
    if group:
        prompts.append(_prompt(group, wanted, tokenizer))
    return prompts


def select_boxes(
    token_scores: NDArray[np.float32],
    relative_boxes: NDArray[np.float32],
    prompt: Prompt,
    *,
    size: tuple[int, int],
    box_threshold: float,
    text_threshold: float,
) -> GroundedBoxes:
    """One image's candidates above `box_threshold`, best first.

    Parameters
    ----------
    token_scores:
        (queries, tokens) in [0, 1]. A box's score is its best token's, as in the released
        `groundingdino.util.inference.predict`.
    relative_boxes:
        (queries, 4) centre x, centre y, width, height as shares of the image.
    size:
        (width, height) of the image in pixels.
    text_threshold:
        A box whose best phrase has no token above this gets the phrase "".
    """
    scores = token_scores.max(axis=1)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > box_threshold]
    boxes = _relative_to_pixels(relative_boxes[order], size=size)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order, boxes = order[inside], boxes[inside]
    return GroundedBoxes(
        boxes=boxes,
        scores=scores[order].astype(np.float32),
        phrases=best_phrases(token_scores[order], prompt, text_threshold=text_threshold),
    )


def best_phrases(
    token_scores: NDArray[np.float32], prompt: Prompt, *, text_threshold: float
) -> list[str]:
    """For each row of (n, tokens) the phrase with the highest mean over its tokens.

    The mean, not the best token, tells "red cube" from "blue cube": they share a word, and a
    detector may well fire on it in both places.
    """
    if not len(token_scores):
        return []
    means = np.stack([token_scores[:, list(one)].mean(axis=1) for one in prompt.tokens], axis=1)
    peaks = np.stack([token_scores[:, list(one)].max(axis=1) for one in prompt.tokens], axis=1)
    best = means.argmax(axis=1)
    return [
        prompt.phrases[choice] if peaks[row, choice] > text_threshold else ""
        for row, choice in enumerate(best)
    ]


def merge_boxes(some: Sequence[GroundedBoxes]) -> GroundedBoxes:
    """Several lots of candidates of one image as one, best first; none at all: no boxes."""
    if not some:
        return GroundedBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), [])
    scores = np.concatenate([one.scores for one in some])
    phrases = [phrase for one in some for phrase in one.phrases]
    order = np.argsort(-scores, kind="stable")
    masks = [one.masks for one in some if one.masks is not None]
    return GroundedBoxes(
        boxes=np.concatenate([one.boxes for one in some])[order],
        scores=scores[order],
        phrases=[phrases[place] for place in order],
        masks=np.concatenate(masks)[order] if len(masks) == len(some) else None,
    )


def _relative_to_pixels(
    boxes: NDArray[np.float32], *, size: tuple[int, int]
) -> NDArray[np.float32]:
    """Relative centre, width, height -> x1, y1, x2, y2 in pixels, clipped to the image."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], axis=1)
    scaled: NDArray[np.float32] = (corners.clip(0, 1) * np.tile(size, 2)).astype(np.float32)
    return scaled


def _count_tokens(text: str, tokenizer: Any) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _phrase_to_text(phrase: str, tokenizer: Any, *, max_tokens: int) -> str:
    """A phrase as it stands in a caption; "" where the model cannot take it."""
    text = " ".join(text_to_plain(phrase).lower().translate(_SEPARATORS).split())
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        truncation=True,
        max_length=max_tokens + 1,
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    if len(ids) > max_tokens:
        # Whole words only: the first token that is too many may begin inside one.
        text = text[: offsets[max_tokens][0] + 1].rpartition(" ")[0]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if any(one != tokenizer.unk_token_id for one in ids) else ""


def _prompt(group: Sequence[str], wanted: dict[str, str], tokenizer: Any) -> Prompt:
    caption = " . ".join(group) + " ."
    offsets = tokenizer(caption, return_offsets_mapping=True)["offset_mapping"]
    tokens = []
    start = 0
    for text in group:
        end = start + len(text)
        # Special tokens have the empty span (0, 0).
        tokens.append(tuple(i for i, (a, b) in enumerate(offsets) if a < b and start <= a < end))
        start = end + len(" . ")
    return Prompt(caption, tuple(wanted[text] for text in group), tuple(tokens))
