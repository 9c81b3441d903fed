"""The tiny models called as their libraries' own pages show it, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor
from torch.nn import functional
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    BlipForConditionalGeneration,
    GroundingDinoForObjectDetection,
)

from imig.models.families.segment_anything import load_sam
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig
from imig.tabletop import render_scene, sample_scene

FLOAT = torch.float32
"""The checkpoints are half as precise, which a CPU computes slowly."""
MAX_NEW_TOKENS = 60
Call = Callable[[int, int], object]
"""Sends pictures `start` to `stop` through the model."""


@dataclass(frozen=True)
class Pictures:
    """Tabletop scenes with what the models are asked about them."""

    images: list[Image.Image]
    captions: list[str]
    phrases: list[list[str]]
    """Of each picture."""
    boxes: list[NDArray[np.float32]]
    """(instances, 4) of each picture."""
    masks: list[NDArray[np.bool_]]
    """(height, width) of an instance of each picture."""

    def __len__(self) -> int:
        return len(self.images)


def draw_pictures(count: int) -> Pictures:
    """Scenes of 256 px with their truth: what a model does with them does not depend on others."""
    scenes = [render_scene(sample_scene(seed, width=256, height=256)) for seed in range(count)]
    return Pictures(
        images=[Image.fromarray(one.image) for one in scenes],
        captions=[one.caption for one in scenes],
        phrases=[[each.phrase for each in one.instances] for one in scenes],
        boxes=[np.array([each.box for each in one.instances], np.float32) for one in scenes],
        masks=[one.instances[0].mask for one in scenes],
    )


def blip(given: Pictures) -> Call:
    """Captions."""
    folder = _folder("blip")
    processor = _pretrained(AutoProcessor, folder)
    model = _pretrained(BlipForConditionalGeneration, folder, dtype=FLOAT).eval()

    def call(start: int, stop: int) -> Sequence[str]:
        inputs = processor(images=given.images[start:stop], return_tensors="pt")
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        texts: list[str] = processor.batch_decode(tokens, skip_special_tokens=True)
        return texts

    return call


def grounding_dino(given: Pictures) -> Call:
    """Boxes of the phrases."""
    folder = _folder("grounding-dino")
    processor = _pretrained(AutoProcessor, folder)
    model = _pretrained(GroundingDinoForObjectDetection, folder, dtype=FLOAT).eval()

    def call(start: int, stop: int) -> object:
        images = given.images[start:stop]
        texts = [" . ".join(dict.fromkeys(one)) + " ." for one in given.phrases[start:stop]]
        inputs = processor(images=images, text=texts, padding=True, return_tensors="pt")
        return processor.post_process_grounded_object_detection(
            model(**inputs),
            inputs.input_ids,
            threshold=0.35,
            text_threshold=0.25,
            target_sizes=[one.size[::-1] for one in images],
        )

    return call


def segment_anything(given: Pictures) -> Call:
    """A mask for each box, by the package's own predictor, which takes a picture at a time."""
    weights = resolve_weights(ModelConfig(family="segment-anything", weights="tiny"))
    predictor = SamPredictor(load_sam(weights.files[0]))

    def call(start: int, stop: int) -> object:
        answers = []
        for index in range(start, stop):
            image = np.asarray(given.images[index])
            predictor.set_image(image)
            boxes = predictor.transform.apply_boxes_torch(
                torch.as_tensor(given.boxes[index]), image.shape[:2]
            )
            masks, scores, _ = predictor.predict_torch(
                point_coords=None, point_labels=None, boxes=boxes, multimask_output=False
            )
            answers.append((masks.numpy(), scores.numpy()))
        return answers

    return call


def clip_images(given: Pictures) -> Call:
    """Features of pictures."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{_folder('open-clip')}")
    model.eval()

    def call(start: int, stop: int) -> object:
        pixels = torch.stack([transform(one) for one in given.images[start:stop]])
        return functional.normalize(model.encode_image(pixels), dim=-1).numpy()

    return call


def clip_texts(given: Pictures) -> Call:
    """Features of captions."""
    name = f"local-dir:{_folder('open-clip')}"
    model, _, _ = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()

    def call(start: int, stop: int) -> object:
        tokens = tokenizer(given.captions[start:stop])
        return functional.normalize(model.encode_text(tokens), dim=-1).numpy()

    return call


def dinov2(given: Pictures) -> Call:
    """Features of whole pictures."""
    folder = _folder("dinov2")
    processor = _pretrained(AutoImageProcessor, folder)
    model = _pretrained(AutoModel, folder, dtype=FLOAT).eval()

    def call(start: int, stop: int) -> object:
        pixels = processor(images=given.images[start:stop], return_tensors="pt")
        hidden = model(**pixels).last_hidden_state
        return functional.normalize(hidden[:, 0], dim=-1).numpy()

    return call


def dinov2_masked(given: Pictures) -> Call:
    """Features of the instances under masks: the mean of the patches that they cover by half."""
    folder = _folder("dinov2")
    processor = _pretrained(AutoImageProcessor, folder)
    model = _pretrained(AutoModel, folder, dtype=FLOAT).eval()
    patch: int = model.config.patch_size

    def call(start: int, stop: int) -> object:
        pixels = processor(images=given.images[start:stop], return_tensors="pt")["pixel_values"]
        tokens = model(pixel_values=pixels).last_hidden_state[:, 1:]
        # the masks go the way of their pictures, or patches and masks would not lie together
        masks = processor(
            images=[Image.fromarray(one.astype(np.uint8) * 255) for one in given.masks[start:stop]],
            do_convert_rgb=False,
            do_rescale=False,
            do_normalize=False,
            return_tensors="pt",
        )["pixel_values"]
        covered = functional.avg_pool2d(masks.float() / 255, patch).flatten(1) >= 0.5
        weight = covered[..., None].float()
        features = (tokens * weight).sum(dim=1) / weight.sum(dim=1)
        return functional.normalize(features, dim=-1).numpy()

    return call


def _pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    return kind.from_pretrained(folder, **options)


def _folder(family: str) -> Path:
    return resolve_weights(ModelConfig(family=family, weights="tiny")).path
