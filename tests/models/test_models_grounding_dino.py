"""The official Swin-T configuration of transformers' Grounding DINO with random weights.

And the same with fewer of its equal layers, which is what the quick tests take.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.models_support import bert_tokenizer, load, picture
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from imig.errors import UsageError

PHRASES = ["red cube", "cat", "a small house"]


def configuration(*, official: bool) -> GroundingDinoConfig:
    """Of Swin-T, with all of its layers or with one or two of each kind."""
    backbone: dict[str, Any] = {"out_features": ["stage2", "stage3", "stage4"]}
    if official:
        return GroundingDinoConfig(backbone_config=SwinConfig.from_dict(backbone))
    return GroundingDinoConfig(
        backbone_config=SwinConfig.from_dict(backbone | {"depths": [1, 1, 1, 1]}),
        text_config={"model_type": "bert", "num_hidden_layers": 2},
        encoder_layers=2,
        decoder_layers=2,
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="fewer-layers"),
        pytest.param(True, id="official", marks=pytest.mark.long),
    ],
)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `IDEA-Research/grounding-dino-tiny`, but with a smaller input size in its processor."""
    folder = tmp_path_factory.mktemp("grounding-dino")
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(configuration(official=request.param))
    # Random text and image features are nearly orthogonal; scores must spread to mean something.
    torch.nn.init.normal_(model.model.text_projection.weight, std=0.02)
    model.save_pretrained(folder)
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 224, "longest_edge": 320}),
        bert_tokenizer(folder),
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load("grounding-dino", folder)


def test_boxes_and_scores_equal_the_library_s_own(folder: Path, model: Any) -> None:
    image = picture(120, 90)
    direct: Any = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    processor = GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(images=image, text="red cube . cat . a small house .", return_tensors="pt")
    with torch.no_grad():
        outputs = direct(**inputs)
    scores = outputs.logits.sigmoid().amax(-1)[0].numpy()
    expected = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.0, target_sizes=[(90, 120)]
    )[0]
    ours = model.ground([image], [PHRASES], box_threshold=0.0, text_threshold=0.0)[0]
    assert len(ours.boxes) == 900
    assert scores.min() < scores.max()
    np.testing.assert_allclose(ours.scores, np.sort(scores)[::-1], atol=1e-4)
    assert set(ours.phrases) <= set(PHRASES)
    # Equal scores may come in another order: every box of the library must be among ours.
    boxes = expected["boxes"].numpy().clip(0, np.array([120, 90, 120, 90]))
    distance = np.abs(boxes[:, None] - ours.boxes[None]).max(axis=2)
    assert distance.min(axis=1).max() < 0.05


def test_batches_of_unequal_images_and_prompts_equal_single_answers(model: Any) -> None:
    images = [
        picture(120, 90),
        picture(120, 90, seed=1).convert("L"),
        picture(61, 133, seed=2),
        picture(61, 133, seed=3),
    ]
    phrases = [PHRASES, ["bicycle"], [], ["dog"]]
    thresholds = {"box_threshold": 0.0, "text_threshold": 0.25}
    together = model.ground(images, phrases, **thresholds)
    assert len(together[2].boxes) == 0
    alone = [
        model.ground([image], [wanted], **thresholds)[0]
        for image, wanted in zip(images, phrases, strict=True)
    ]
    for single, result in zip(alone, together, strict=True):
        # Batches of other sizes run other kernels, whose rounding grows through twelve layers with
        # random weights: 1.1e-4 was seen on a processor with AVX2 only.
        np.testing.assert_allclose(result.scores, single.scores, atol=5e-4)
    # Another image, or another prompt, gives scores of quite another kind: a mix-up would show.
    mixed = model.ground(images[:1], [phrases[1]], **thresholds)[0]
    for single in alone[:2]:
        assert np.abs(single.scores - mixed.scores).max() > 0.1


def test_another_architecture_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="holds a 'grounding-dino' model"):
        load("dinov2", folder)


def test_a_checkpoint_with_missing_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(folder / "model.safetensors")
    del state["model.text_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"text_projection\.weight"):
        load("grounding-dino", tmp_path)
