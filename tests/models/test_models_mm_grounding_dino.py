"""MM Grounding DINO's architecture, small and random, in the layout of the published folders."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import bert_tokenizer, load, picture
from transformers import (
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

from imig.errors import UsageError
from imig.models.protocols import Grounder

PHRASES = ["red cube", "cat", "a small house"]
QUERIES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det`."""
    folder = tmp_path_factory.mktemp("mm-grounding-dino")
    torch.manual_seed(0)
    config = MMGroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 24,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        d_model=32,
        num_queries=QUERIES,
        encoder_layers=2,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        decoder_cls_embed_share=False,
        decoder_bbox_embed_share=False,
    )
    model = MMGroundingDinoForObjectDetection(config)
    # As drawn, weights are so small that all scores are alike.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_normal_(parameter, gain=1.5)
    model.save_pretrained(folder)
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192}),
        bert_tokenizer(folder),
    ).save_pretrained(folder)
    return folder


def test_boxes_and_scores_equal_the_library_s_own(folder: Path) -> None:
    image = picture(120, 90)
    direct: Any = MMGroundingDinoForObjectDetection.from_pretrained(folder).eval()
    processor = GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(images=image, text="red cube . cat . a small house .", return_tensors="pt")
    with torch.no_grad():
        outputs = direct(**inputs)
    expected = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.0, target_sizes=[(90, 120)]
    )[0]
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    model = load("mm-grounding-dino", folder)
    assert isinstance(model, Grounder)
    (ours,) = model.ground([image], [PHRASES], box_threshold=0.0, text_threshold=0.0)
    assert ours.scores[0] > 2 * ours.scores[-1]
    np.testing.assert_allclose(ours.scores, expected["scores"].numpy()[order], atol=1e-5)
    # Those without an area inside the picture are left out.
    boxes = expected["boxes"].numpy()[order].clip(0, np.array([120, 90, 120, 90]))
    np.testing.assert_allclose(ours.boxes, boxes, atol=0.05)
    assert set(ours.phrases) <= set(PHRASES)
    assert ours.masks is None


def test_the_family_is_told_from_grounding_dino(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds a 'mm-grounding-dino' model, not 'grounding-dino'"):
        load("grounding-dino", folder)
