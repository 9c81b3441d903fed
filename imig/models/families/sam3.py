"""Family `sam3`: SAM 3 for still images, as transformers has it: boxes and masks for phrases.

A checkpoint holds two models on one image encoder. The *detector* looks for a phrase and answers
with a box and a mask for each thing that it names; the *tracker* answers a box with a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
from PIL.Image import Image

from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.grounding import merge_boxes
from imig.models.images import as_rgb
from imig.models.libraries import inference_mode, torch, transformers
from imig.models.pretrained import load_pretrained, load_processor
from imig.models.protocols import GroundedBoxes
from imig.models.segmenting import BoxSegmenter
from imig.text import text_to_plain

MAX_TOKENS: Final = 32
"""Of a phrase, its begin and its end included; the text encoder has no more places."""
MASK_THRESHOLD: Final = 0.5
"""Probability above which a pixel belongs to the thing: transformers' default."""


class Sam3(BoxSegmenter):
    """A `Grounder` that gives a mask with each box, and a `Segmenter`.

    Phrases are looked for one by one on one image embedding; a box's score is its own times that of
    the phrase being in the picture at all. `text_threshold` means nothing to it: a box belongs to
    the phrase that was asked for. It says nothing of how good a mask is. Weights stay float32; a
    lower dtype is used by autocast.
    """

    family: ClassVar[Family] = Family(
        name="sam3",
        tasks=("ground", "segment"),
        library="transformers",
        grounds_masks=True,
        keeps_float32=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(Checkpoint("facebook/sam3", 3440, "SAM License"),),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._detector = self._load(transformers.Sam3Model, weights, runtime)
        self._detector_processor = load_processor(transformers.Sam3Processor, weights)
        self._mask_model = self._load(transformers.Sam3TrackerModel, weights, runtime)
        self._mask_processor = load_processor(transformers.Sam3TrackerProcessor, weights)
        # Half of all weights, loaded twice: the one copy goes.
        self._mask_model.vision_encoder.backbone = self._detector.vision_encoder.backbone

    def ground(
        self,
        images: Sequence[Image],
        phrases: Sequence[Sequence[str]],
        *,
        box_threshold: float,
        text_threshold: float,
    ) -> list[GroundedBoxes]:
        """Find each image's phrases; see `imig.models.protocols.Grounder`."""
        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} images but {len(phrases)} lists of phrases")
        wanted = [_phrases_by_text(some) for some in phrases]
        found: list[list[GroundedBoxes]] = [[] for _ in images]
        asked = [index for index, some in enumerate(wanted) if some]
        for start in range(0, len(asked), self._batch_size):
            batch = asked[start : start + self._batch_size]
            seen = self._see([images[index] for index in batch])
            requests = [
                _Request(index, place, images[index].size, text, phrase)
                for place, index in enumerate(batch)
                for text, phrase in wanted[index].items()
            ]
            for begin in range(0, len(requests), self._batch_size):
                some = requests[begin : begin + self._batch_size]
                answers = self._detect(seen, some, box_threshold=box_threshold)
                for request, answer in zip(some, answers, strict=True):
                    found[request.image].append(answer)
        return [
            replace(merge_boxes(some), unread=_unread(own))
            for some, own in zip(found, phrases, strict=True)
        ]

    def _load(self, model_class: Any, weights: ResolvedWeights, runtime: Runtime) -> Any:
        return load_pretrained(
            model_class,
            weights,
            # The published checkpoint is that of the video model; images need two parts of it.
            model_types=("sam3_video",),
            device=runtime.device,
            # transformers (5.23) adds up and squashes boxes in the weights' own format: in bfloat16
            # they would lie on a raster of up to 4 pixels.
            dtype=torch.float32,
        )

    @inference_mode
    def _see(self, images: Sequence[Image]) -> Any:
        """The detector's feature pyramid of some images."""
        pixels = self._detector_processor(images=as_rgb(images), return_tensors="pt")
        with self._precision():
            return self._detector.get_vision_features(pixels["pixel_values"].to(self._device))

    @inference_mode
    def _detect(
        self, seen: Any, requests: Sequence[_Request], *, box_threshold: float
    ) -> list[GroundedBoxes]:
        """What is found of each request in the images that `_see` has seen; in no order."""
        places = torch.tensor([one.place for one in requests], device=self._device)
        text = self._detector_processor.tokenizer(
            [one.text for one in requests],
            padding="max_length",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        ).to(self._device)
        with self._precision():
            outputs = self._detector(
                vision_embeds=type(seen)(
                    fpn_hidden_states=tuple(one[places] for one in seen.fpn_hidden_states),
                    fpn_position_encoding=tuple(one[places] for one in seen.fpn_position_encoding),
                ),
                input_ids=text["input_ids"],
                attention_mask=text["attention_mask"],
            )
        for name in ("pred_logits", "pred_boxes", "pred_masks", "presence_logits"):
            outputs[name] = outputs[name].float()
        answers = self._detector_processor.post_process_instance_segmentation(
            outputs,
            threshold=box_threshold,
            mask_threshold=MASK_THRESHOLD,
            target_sizes=[(one.size[1], one.size[0]) for one in requests],
        )
        return [_to_boxes(*pair) for pair in zip(answers, requests, strict=True)]


@dataclass(frozen=True)
class _Request:
    """A phrase to be looked for in an image."""

    image: int
    """The image's number among all."""
    place: int
    """Its place in its batch."""
    size: tuple[int, int]
    """(width, height)."""
    text: str
    """What the text encoder reads."""
    phrase: str
    """As the caller wrote it."""


def _phrases_by_text(phrases: Sequence[str]) -> dict[str, str]:
    """What the text encoder reads -> the phrase as the caller wrote it, each once.

    Quotes, hyphens and invisible characters are as `imig.text.text_to_plain` has them; what is too
    long loses its end. Phrases of which nothing is left are not among them.
    """
    texts: dict[str, str] = {}
    for phrase in phrases:
        if text := _text(phrase):
            texts.setdefault(text, phrase)
    return texts


def _unread(phrases: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrase for phrase in dict.fromkeys(phrases) if not _text(phrase))


def _text(phrase: str) -> str:
    return " ".join(text_to_plain(phrase).lower().split())


def _to_boxes(answer: dict[str, torch.Tensor], request: _Request) -> GroundedBoxes:
    """What was found of one phrase, clipped to the image."""
    width, height = request.size
    boxes = answer["boxes"].cpu().numpy().clip(0, np.array([width, height] * 2, np.float32))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    masks = answer["masks"].bool().cpu().numpy()[inside]
    return GroundedBoxes(
        boxes=boxes[inside],
        scores=answer["scores"].cpu().numpy()[inside],
        phrases=[request.phrase] * len(masks),
        # Where nothing was found, the library leaves "masks" at the network's size.
        masks=masks.reshape(-1, height, width),
    )
