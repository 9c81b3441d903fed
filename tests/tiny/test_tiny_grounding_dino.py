"""Prompts, targets and loss of the grounder's training, and the folder that it leaves."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig
from tools.tiny import grounding_dino, grounding_loss
from tools.tiny.common import Workshop
from tools.tiny.grounding_dino import _token_targets
from tools.tiny.grounding_figures import detect, held_out_prompt, to_pixels
from tools.tiny.grounding_prompts import hard_negatives, sample_prompt
from tools.tiny.tokenizer import build_tokenizer

PHRASES = ["striped red mug", "dotted blue car", "plain red car"]


def test_prompt_means_every_instance_that_its_words_describe() -> None:
    rng = np.random.default_rng(0)
    absent = 0
    for _ in range(200):
        prompt = sample_prompt(PHRASES, rng)
        assert len(set(prompt.phrases)) == len(prompt.phrases) > 0
        for column, text in enumerate(prompt.phrases):
            wanted = [set(text.split()) <= set(phrase.split()) for phrase in PHRASES]
            assert prompt.means[:, column].tolist() == wanted
            absent += not any(wanted)
    assert absent > 100


def test_hard_negatives_are_absent_and_named_by_what_they_swap() -> None:
    found = hard_negatives(PHRASES, 20, np.random.default_rng(1))
    assert len(found) == 20
    for text, attribute in found:
        assert text not in PHRASES
        nearest = min(len(set(text.split()) ^ set(phrase.split())) for phrase in PHRASES)
        assert attribute == "all" or nearest == 2


def test_token_targets_lie_on_the_words_of_the_right_phrases() -> None:
    texts = ["red car", "striped red mug", "plain blue ball"]
    means = np.array([[True, False, False], [False, True, False]])
    targets = _token_targets(texts, means)
    tokenizer = build_tokenizer()
    ids = tokenizer(" . ".join(texts) + " .")["input_ids"]
    assert targets.shape == (2, len(ids))
    tokens = tokenizer.convert_ids_to_tokens(ids)
    marked = [[t for t, m in zip(tokens, row, strict=True) if m] for row in targets.tolist()]
    assert marked == [["red", "car"], ["striped", "red", "mug"]]


@pytest.mark.parametrize(("size", "side", "first"), [(0.2, 14, 0), (0.3, 7, 196), (0.9, 4, 245)])
def test_proposals_are_taught_next_to_the_centre_on_the_level_of_their_size(
    size: float, side: int, first: int
) -> None:
    sides = (14, 7, 4)
    tokens = sum(n * n for n in sides)
    outputs = SimpleNamespace(
        enc_outputs_class=torch.zeros(1, tokens, 6, requires_grad=True),
        enc_outputs_coord_logits=torch.zeros(1, tokens, 4, requires_grad=True),
    )
    box = torch.tensor([[0.25, 0.75, size, 0.1]])
    target = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    mask = torch.ones(1, 6, dtype=torch.bool)
    class_loss, box_loss = grounding_loss._proposals(outputs, mask, [box], [target], 6)
    (class_loss + box_loss).backward()  # type: ignore[no-untyped-call]
    taught = outputs.enc_outputs_coord_logits.grad[0].abs().sum(1).nonzero()[:, 0]
    assert len(taught) == grounding_loss.NEAREST
    place = taught - first
    assert bool(((place >= 0) & (place < side * side)).all())
    rows, columns = place // side, place % side
    assert float(((columns + 0.5) / side - 0.25).abs().max()) < 2 / side
    assert float(((rows + 0.5) / side - 0.75).abs().max()) < 2 / side
    raised = outputs.enc_outputs_class.grad[0, :, 1] < 0
    assert raised.nonzero()[:, 0].tolist() == sorted(taught.tolist())


def test_matching_gives_every_object_the_query_that_found_it() -> None:
    true = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.3, 0.3]])
    predicted = torch.tensor([[0.7, 0.7, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9], [0.2, 0.2, 0.2, 0.2]])
    target = torch.eye(2)
    logits = torch.zeros(3, 2)
    query, thing = grounding_loss._match(
        logits, predicted, torch.ones(2, dtype=torch.bool), true, target
    )
    assert dict(zip(thing.tolist(), query.tolist(), strict=True)) == {0: 2, 1: 0}
    assert float(grounding_loss.box_losses(true, true)) < 1e-5


def test_focal_loss_ignores_masked_tokens_and_forgives_sure_answers() -> None:
    logits = torch.tensor([[8.0, -8.0, float("-inf")]])
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    assert float(grounding_loss.focal(logits, targets, mask)) < 1e-6
    assert float(grounding_loss.focal(-logits.nan_to_num(neginf=0), targets, mask)) > 5


@pytest.fixture(scope="module")
def folder(workshop: Workshop) -> Path:
    """The folder that a training of two steps leaves."""
    return grounding_dino.train_family(workshop)


def test_folder_is_what_the_auto_classes_of_transformers_read(folder: Path) -> None:
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    image = Image.new("RGB", (90, 120), (200, 40, 30))
    inputs = processor(images=image, text="plain red mug . ball .", return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 192, 192)
    with torch.no_grad():
        outputs = model(**inputs)
    found = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[(120, 90)]
    )[0]
    assert len(found["boxes"]) == model.config.num_queries
    words = set(" ".join(found["text_labels"]).replace(".", " ").split())
    assert words <= {"plain", "red", "mug", "ball", "[CLS]", "[SEP]"}


def test_weights_are_small_and_described(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {"config.json", "preprocessor_config.json", "tokenizer.json"} <= names
    assert (folder / "model.safetensors").stat().st_size < 6e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    for figure in ("recall", "precision", "box IoU", "false alarms", "recall, novel"):
        assert f"| {figure} |" in card


def test_family_sees_what_the_training_saw(folder: Path, workshop: Workshop) -> None:
    """Pictures and prompts reach the network alike: the best scores are the same.

    Not to the last digit: the processor resizes bytes, training resizes floats, and among the
    near ties of a hardly trained network another proposal may then become a query.
    """
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection

    pool = workshop.pool("held-out")
    model: Any = GroundingDinoForObjectDetection.from_pretrained(folder)
    preprocess = partial(
        to_pixels, size=grounding_dino.IMAGE_SIZE, mean=grounding_dino.MEAN, std=grounding_dino.STD
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    family: Any = load_model(
        ModelConfig(family="grounding-dino", weights=str(folder), device="cpu"), batch_size=2
    )
    for answer in detect(model, tokenizer, pool, preprocess, scenes=3, batch=1):
        scene = answer.scene
        asked = held_out_prompt(scene)
        order = np.random.default_rng((13, scene.seed)).permutation(len(asked))
        theirs = preprocess(scene.image[None])[0]
        np.testing.assert_allclose(
            family._preprocess(Image.fromarray(scene.image)), theirs, atol=0.03
        )
        (ours,) = family.ground(
            [Image.fromarray(scene.image)],
            [[asked[i] for i in order]],
            box_threshold=0.0,
            text_threshold=0.0,
        )
        best = answer.scores["max"].amax(dim=1).sort(descending=True).values.numpy()
        assert len(best) == len(ours.scores)
        np.testing.assert_allclose(ours.scores, best, atol=0.05)
