"""The official ViT-B with random weights in the official file format, and a small Sam."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.build_sam import _build_sam
from segment_anything.modeling import Sam
from support.models_support import load, picture

from imig.errors import UsageError
from imig.models.families.segment_anything import load_sam
from imig.models.segment_anything_tiny import build_sam

SMALL = {
    "image_size": 128,
    "patch_size": 16,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 2,
    "window_size": 4,
    "global_attn_indexes": [1],
    "prompt_embed_dim": 32,
    "decoder_mlp_dim": 64,
    "decoder_num_heads": 4,
    "iou_head_hidden_dim": 32,
}
BOXES = np.array([[3, 4, 60, 50], [20, 10, 90, 70], [0, 0, 30, 30]], np.float32)


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(0)
    state = {key: value.half() for key, value in build_sam(SMALL).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SMALL))
    return folder


@pytest.fixture(
    params=[
        pytest.param({"encoder_depth": 1, "encoder_global_attn_indexes": []}, id="1-block"),
        pytest.param(
            {"encoder_depth": 12, "encoder_global_attn_indexes": [2, 5, 8, 11]},
            id="all-12-blocks",
            marks=pytest.mark.long,
        ),
    ]
)
def official(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sam:
    """What the package's registry builds as `vit_b`, or that with fewer of its equal blocks."""
    build = partial(_build_sam, encoder_embed_dim=768, encoder_num_heads=12, **request.param)
    monkeypatch.setitem(sam_model_registry, "vit_b", build)
    torch.manual_seed(0)
    return build().eval()


def test_official_vit_b_answers_as_sam_predictor(official: Sam, tmp_path: Path) -> None:
    torch.save(official.state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    image = picture(120, 90)
    predictor = SamPredictor(official)
    predictor.set_image(np.asarray(image))
    masks, scores, _ = predictor.predict_torch(
        None,
        None,
        boxes=predictor.transform.apply_boxes_torch(torch.from_numpy(BOXES), (90, 120)),
        multimask_output=False,
    )
    ours = load("segment-anything", tmp_path / "sam_vit_b_01ec64.pth").segment([image], [BOXES])[0]
    assert ours.masks.shape == (3, 90, 120)
    assert 0 < ours.masks.mean() < 1
    np.testing.assert_array_equal(ours.masks, masks[:, 0].numpy())
    np.testing.assert_allclose(ours.scores, scores[:, 0].clamp(0, 1).numpy(), atol=1e-5)


def test_the_whole_official_vit_b_is_loaded_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = sam_model_registry["vit_b"]().state_dict()
    assert "image_encoder.blocks.11.attn.qkv.weight" in expected
    torch.save(expected, tmp_path / "sam_vit_b_01ec64.pth")
    loaded = load_sam(tmp_path / "sam_vit_b_01ec64.pth").state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_small_sam_answers_as_sam_predictor_with_float32_weights(small_folder: Path) -> None:
    from safetensors.torch import load_file

    sam = build_sam(SMALL)
    sam.load_state_dict(load_file(small_folder / "model.safetensors"))
    image = picture(97, 75)
    predictor = SamPredictor(sam)
    predictor.set_image(np.asarray(image))
    ours = load("segment-anything", small_folder).segment([image], [BOXES])[0]
    for place, box in enumerate(BOXES):
        mask, _, _ = predictor.predict(box=box, multimask_output=False)
        np.testing.assert_array_equal(ours.masks[place], mask[0])
    best = load("segment-anything", small_folder).segment_best([image], [BOXES])[0]
    for place, box in enumerate(BOXES):
        proposals, scores, _ = predictor.predict(box=box, multimask_output=True)
        np.testing.assert_array_equal(best.masks[place], proposals[scores.argmax()])


def test_batches_of_unequal_images_and_boxes_equal_single_answers(small_folder: Path) -> None:
    model = load("segment-anything", small_folder, batch_size=3)
    images = [picture(97, 75), picture(40, 200, seed=1).convert("L"), picture(300, 31, seed=2)]
    boxes = [BOXES, BOXES[:0], BOXES[:1]]
    together = model.segment(images, boxes)
    for image, some, result in zip(images, boxes, together, strict=True):
        alone = model.segment([image], [some])[0]
        assert result.masks.shape == (len(some), image.height, image.width)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-4)
        assert (result.masks != alone.masks).mean() < 1e-3 if len(some) else True
    assert model.segment([], []) == []


def test_more_boxes_than_are_decoded_at_once(small_folder: Path) -> None:
    model = load("segment-anything", small_folder)
    many = np.tile(BOXES, (15, 1))
    result = model.segment([picture(97, 75)], [many])[0]
    assert result.masks.shape == (45, 75, 97)
    np.testing.assert_allclose(result.scores[:3], result.scores[-3:], atol=1e-5)


def test_a_foreign_or_damaged_file_is_explained(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"other\.pth does not load"):
        load("segment-anything", tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UsageError, match=r"cut\.pth does not load"):
        load("segment-anything", tmp_path / "cut.pth")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"image_encoder.pos_embed": Touch()}, tmp_path / "evil.pth")
    with pytest.raises(UsageError):
        load("segment-anything", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
