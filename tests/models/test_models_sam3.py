"""SAM 3's architecture, small and random, in the layout of the published folder."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import boxes_read, load, picture
from support.sam3_folder import QUERIES, SIDE, save_sam3
from support.tabletop_samples import tabletop_sample
from transformers import Sam3Model, Sam3Processor, Sam3TrackerModel, Sam3TrackerProcessor

from imig.errors import UsageError
from imig.models.protocols import Grounder, Segmenter
from imig.recipe.parts import ModelConfig
from imig.stages.base import BuildContext
from imig.stages.ground import GroundConfig, GroundStage
from imig.stages.segment import SegmentConfig, SegmentStage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
PHRASES = ["red cube", "a small house"]
BOXES = np.array([[3, 4, 60, 50], [20, 10, 90, 70]], np.float32)
ALL: dict[str, float] = {"box_threshold": 0.0, "text_threshold": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam3")
    save_sam3(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load("sam3", folder)


def test_boxes_scores_and_masks_equal_the_library_s_own(folder: Path, model: Any) -> None:
    assert isinstance(model, Grounder)
    image = picture(120, 90)
    direct: Any = Sam3Model.from_pretrained(folder).eval()
    processor = Sam3Processor.from_pretrained(folder)
    (ours,) = model.ground([image], [PHRASES], **ALL)
    assert len(ours.boxes) == len(PHRASES) * QUERIES
    assert ours.masks is not None
    assert ours.masks.shape == (len(ours.boxes), 90, 120)
    assert (np.diff(ours.scores) <= 0).all()
    assert ours.scores[0] - ours.scores[-1] > 0.05
    for phrase in PHRASES:
        inputs = processor(images=image, text=phrase, return_tensors="pt")
        with torch.no_grad():
            outputs = direct(
                **{key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")}
            )
        expected = processor.post_process_instance_segmentation(
            outputs, threshold=0.0, target_sizes=[(90, 120)]
        )[0]
        order = np.argsort(-expected["scores"].numpy(), kind="stable")
        own = [place for place, one in enumerate(ours.phrases) if one == phrase]
        np.testing.assert_allclose(ours.scores[own], expected["scores"].numpy()[order], atol=1e-5)
        boxes = expected["boxes"].numpy()[order].clip(0, [120, 90, 120, 90])
        np.testing.assert_allclose(ours.boxes[own], boxes, atol=1e-2)
        # A pixel whose probability is nearly one half may fall to the other side.
        assert (ours.masks[own] != expected["masks"].numpy()[order]).mean() < 1e-3


def test_batches_of_unequal_images_and_phrases_equal_single_answers(model: Any) -> None:
    images = [picture(120, 90), picture(61, 133, seed=1).convert("L"), picture(50, 50, seed=2)]
    phrases = [["red cube", "Red  cube", "cat", "dog"], [], ["a house"]]
    together = model.with_batch_size(3).ground(images, phrases, **ALL)
    assert [len(one.boxes) for one in together] == [3 * QUERIES, 0, QUERIES]
    for image, wanted, result in zip(images, phrases, together, strict=True):
        single = model.with_batch_size(1).ground([image], [wanted], **ALL)[0]
        assert sorted(result.phrases) == sorted(single.phrases)
        np.testing.assert_allclose(result.scores, single.scores, atol=1e-5)
    # Another picture gives other scores: a mix-up would show.
    mixed = model.ground(images[:1], [phrases[2]], **ALL)[0]
    assert np.abs(mixed.scores - together[2].scores).max() > 1e-3


def test_the_threshold_counts_and_phrases_of_any_length_are_read(model: Any) -> None:
    image = picture(120, 90)
    phrases = ["red cube", "a very long phrase " * 20, " \u200b", "cat"]
    (everything,) = model.ground([image], [phrases], **ALL)
    assert everything.unread == (" \u200b",)
    assert set(everything.phrases) == {phrases[0], phrases[1], phrases[3]}
    threshold = float(np.median(everything.scores))
    (some,) = model.ground([image], [phrases], box_threshold=threshold, text_threshold=1.0)
    np.testing.assert_allclose(some.scores, everything.scores[everything.scores > threshold])
    assert some.masks is not None
    assert len(some.masks) == len(some.boxes)


def test_masks_of_boxes_are_those_of_the_tracker(folder: Path, model: Any) -> None:
    assert isinstance(model, Segmenter)
    image = picture(120, 90)
    direct: Any = Sam3TrackerModel.from_pretrained(folder).eval()
    processor = Sam3TrackerProcessor.from_pretrained(folder)
    inputs = processor(images=image, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.no_grad():
        outputs = direct(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"],
            multimask_output=False,
        )
    masks = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"])[0][:, 0]
    odd = picture(61, 133, seed=1).convert("L")
    ours, other, none = model.segment([image, odd, odd], [BOXES, BOXES[:1], BOXES[:0]])
    np.testing.assert_allclose(
        ours.scores, outputs.iou_scores[0, :, 0].clamp(0, 1).numpy(), atol=1e-5
    )
    assert (ours.masks != masks.numpy()).mean() < 1e-3
    assert other.masks.shape == (1, 133, 61)
    assert none.masks.shape == (0, 133, 61)


def test_boxes_lie_on_no_raster_in_a_lower_format(folder: Path, model: Any) -> None:
    """As on a GPU, where `dtype: auto` is bfloat16, which has steps of 4 pixels beyond 512."""
    image = picture(1200, 900)
    lower = load("sam3", folder, dtype="bfloat16")
    (exact,), (found,) = (one.ground([image], [PHRASES[:1]], **ALL) for one in (model, lower))
    assert 0 < np.abs(found.scores - exact.scores).max() < 0.05
    shares = torch.from_numpy(found.boxes / np.array([1200, 900] * 2, np.float32))
    inside = (shares > 0) & (shares < 1)
    assert inside.any()
    assert (shares != shares.bfloat16())[inside].float().mean() > 0.9
    boxes = np.array([[510.5, 20.25, 1001.3, 700.7]], np.float32)
    sides = torch.tensor([1200 / SIDE, 900 / SIDE])
    read = boxes_read(lower, image, boxes) * sides
    np.testing.assert_allclose(read.reshape(1, 4).float().numpy(), boxes, atol=1e-3)


def test_ground_and_segment_load_and_ask_it_once(folder: Path) -> None:
    sample = tabletop_sample(0)
    sample.scene.nouns = list(PHRASES)
    config = GroundConfig(
        model=ModelConfig(family="sam3", weights=str(folder), device="cpu"),
        box_threshold=0.0,
        min_area_fraction=0.0,
    )
    ground = GroundStage(config, CONTEXT)
    segment = SegmentStage(SegmentConfig(model=None, clip_to_box=False), CONTEXT)
    ground.setup()
    segment.setup()
    assert segment.loaded == {}
    segment(ground([sample]))
    assert sample.reject is None
    for one in sample.scene.instances:
        assert one.segmentation == one.grounding
        assert one.area


def test_detector_and_tracker_share_one_image_encoder(model: Any) -> None:
    detector, tracker = model._detector, model._mask_model
    assert tracker.vision_encoder.backbone is detector.vision_encoder.backbone
    assert tracker.vision_encoder.neck is not detector.vision_encoder.neck


@pytest.mark.parametrize(
    "lost", ["detector_model.text_projection.weight", "tracker_model.mask_decoder.conv_s0.weight"]
)
def test_a_checkpoint_without_a_part_is_refused(folder: Path, tmp_path: Path, lost: str) -> None:
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(folder / "model.safetensors")
    del state[lost]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=lost.partition(".")[2].replace(".", r"\.")):
        load("sam3", copy)
