"""The groundingdino package with its official Swin-T config and a `.pth` of random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import groundingdino.datasets.transforms as package_transforms
import numpy as np
import pytest
import torch
from groundingdino.models.GroundingDINO.bertwarper import (
    generate_masks_with_special_tokens_and_transfer_map,
)
from support.models_support import bert_tokenizer, load, picture
from transformers import BertConfig, BertModel

from imig.errors import UsageError
from imig.models.families.groundingdino import _config_folder, preprocess, read_config
from imig.models.groundingdino_model import _TextEncoder, build_model

PHRASES = ["red cube", "cat"]


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """As `groundingdino_swint_ogc.pth`: keys with "module.", and some that inference lacks."""
    folder = tmp_path_factory.mktemp("groundingdino")
    bert = folder / "bert-base-uncased"
    bert_tokenizer(bert).save_pretrained(bert)
    BertConfig().save_pretrained(bert)
    torch.manual_seed(0)
    model = build_model(read_config(_config_folder() / "GroundingDINO_SwinT_OGC.py"), bert)
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    assert "module.bert.encoder.layer.11.attention.self.query.weight" in state
    state["module.label_enc.weight"] = torch.zeros(2, 256)
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    file = folder / "groundingdino_swint_ogc.pth"
    torch.save({"model": state}, file)
    return file, model


@pytest.fixture(scope="module")
def model(official: tuple[Path, Any]) -> Any:
    return load("groundingdino", official[0])


def test_boxes_and_scores_equal_the_package_s_own(official: tuple[Path, Any], model: Any) -> None:
    image = picture(40, 600)
    direct = official[1]
    # As in `groundingdino.util.inference`: load_image, then predict.
    pixels, _ = package_transforms.Compose(
        [
            package_transforms.RandomResize([800], max_size=1333),
            package_transforms.ToTensor(),
            package_transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )(image, None)
    with torch.no_grad():
        outputs = direct(pixels[None], captions=["red cube . cat ."])
    scores = outputs["pred_logits"].sigmoid()[0].max(dim=1)[0]
    centre, half = outputs["pred_boxes"][0].split(2, dim=1)
    order = scores.argsort(descending=True, stable=True)
    ours = model.ground([image], [PHRASES], box_threshold=0.0, text_threshold=0.25)[0]
    assert len(ours.boxes) == 900
    np.testing.assert_allclose(ours.scores, scores[order].numpy(), atol=1e-4)
    corners = torch.cat([centre - half / 2, centre + half / 2], dim=1).clamp(0, 1)
    expected = (corners * torch.tensor([40, 600, 40, 600])).numpy()
    best = int(order[0])
    assert np.abs(ours.boxes - expected[best]).max(axis=1).min() < 0.05


def test_captions_of_a_batch_keep_to_their_own_masks(model: Any) -> None:
    tokens = model._model.tokenizer(
        ["red cube . cat .", "dog ."], padding=True, return_tensors="pt"
    )
    special = model._model.tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
    visible, _, _ = generate_masks_with_special_tokens_and_transfer_map(
        tokens, special, model._model.tokenizer
    )
    assert (visible[0] != visible[1]).any()
    words = torch.randn(visible.shape[1], 2, 256, generator=torch.Generator().manual_seed(0))
    layers = model._model.transformer.encoder.text_layers
    assert len(layers) == 6
    for layer in layers:
        with torch.no_grad():
            together = layer(src=words, src_mask=~visible)
            for one in (0, 1):
                place = slice(one, one + 1)
                alone = layer(src=words[:, place], src_mask=~visible[place])
                torch.testing.assert_close(together[:, place], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(60, 600), (600, 61), (97, 101), (800, 900), (1333, 400)])
def test_preprocessing_equals_the_package_s(size: tuple[int, int]) -> None:
    image = picture(*size)
    expected, _ = package_transforms.resize(image, None, 800, 1333)
    assert tuple(preprocess(image).shape[1:]) == (expected.height, expected.width)


def test_text_encoder_equals_bert_under_the_same_mask() -> None:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    config._attn_implementation = "eager"
    bert = BertModel(config).eval()
    tokens = torch.randint(0, 50, (2, 6))
    visible = torch.eye(6, dtype=torch.bool).repeat(2, 1, 1)
    visible[:, 1:4, 1:4] = True
    bias = torch.zeros(2, 1, 6, 6).masked_fill(~visible[:, None], torch.finfo(torch.float32).min)
    expected = bert(input_ids=tokens, attention_mask=bias).last_hidden_state
    ours = _TextEncoder(bert)(tokens, visible)["last_hidden_state"]
    torch.testing.assert_close(ours, expected)


def test_config_files_are_parsed_and_never_executed(tmp_path: Path) -> None:
    evil = tmp_path / "evil.py"
    evil.write_text(f"modelname = open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UsageError, match=r"evil\.py is not a config file"):
        read_config(evil)
    assert not (tmp_path / "ran").exists()


def test_missing_tokenizer_and_wrong_weights_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "groundingdino_swint_ogc.pth"
    torch.save({"model": {"weight": torch.zeros(1)}}, file)
    with pytest.raises(UsageError, match="no tokenizer of bert-base-uncased"):
        load("groundingdino", file)
    other = tmp_path / "mine.pth"
    other.write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match="does not say which config"):
        load("groundingdino", other)
    with pytest.raises(UsageError, match=r"nowhere\.py not found"):
        load("groundingdino", other, config="nowhere.py")
