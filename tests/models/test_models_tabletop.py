"""Family `tabletop`: draws, edits and composes, and knows the truth of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imig.errors import UsageError
from imig.models.families import FAMILIES
from imig.models.families.tabletop import compose_truth, edit_truth
from imig.models.protocols import (
    ComposedReference,
    Composer,
    ComposeRequest,
    Drawer,
    DrawRequest,
    Editor,
    EditRequest,
    GeneratorSettings,
    Origin,
)
from imig.models.registry import list_models, load_model, model_record, pull
from imig.recipe.parts import ModelConfig
from imig.tabletop import draw_prompt
from imig.tabletop.alone import subject_alone
from imig.tabletop.revision import REVISION

SETTINGS = GeneratorSettings(steps=4, guidance=3.5)
SCENE = Origin("a striped red mug, a dotted blue house and a plain green car", 5, 160, 128)


@pytest.fixture(scope="module")
def tabletop() -> Any:
    return load_model(ModelConfig(family="tabletop"), batch_size=4)


def _edit(**changes: Any) -> EditRequest:
    values: dict[str, Any] = {
        "image": Image.new("RGB", (32, 32)),
        "instruction": "show it in daylight on the grass",
        "seed": 3,
        "width": 64,
        "height": 48,
        "phrase": "plain green car",
        "origin": SCENE,
        "box": None,
    }
    return EditRequest(**(values | changes))


def test_it_is_all_three_generators(tabletop: Any) -> None:
    assert isinstance(tabletop, Drawer)
    assert isinstance(tabletop, Editor)
    assert isinstance(tabletop, Composer)
    assert tabletop.name == f"tabletop:tiny@{REVISION}"
    assert model_record(ModelConfig(family="tabletop")).revision == REVISION


def test_it_has_no_weights_but_tiny() -> None:
    row = next(one for one in list_models() if one.family == "tabletop")
    assert (row.weights, row.found) == ("tiny", True)
    assert row.task == "draw pictures, edit pictures, compose pictures"
    with pytest.raises(UsageError, match="no weights but `tiny`"):
        load_model(ModelConfig(family="tabletop", weights="owner/name"), batch_size=1)
    with pytest.raises(UsageError, match="nothing to pull"):
        pull("tabletop")


def test_offload_is_for_families_that_do() -> None:
    load_model(ModelConfig(family="tabletop", offload="model"), batch_size=1)
    with pytest.raises(UsageError, match="dinov2 does not offload") as caught:
        load_model(ModelConfig(family="dinov2", offload="model"), batch_size=1)
    assert "tabletop" in caught.value.cure
    assert not FAMILIES["dinov2"].takes_offload


def test_draw_is_draw_prompt(tabletop: Any) -> None:
    request = DrawRequest(SCENE.prompt, SCENE.seed, SCENE.width, SCENE.height)
    other = DrawRequest("a cube", 0, 32, 48)
    pictures = tabletop.draw([request, other], settings=SETTINGS)
    drawn = draw_prompt(SCENE.prompt, width=160, height=128, seed=5)
    np.testing.assert_array_equal(np.asarray(pictures[0]), drawn.image)
    assert pictures[1].size == (32, 48)


def test_edit_shows_the_thing_at_the_box(tabletop: Any) -> None:
    truths = draw_prompt(SCENE.prompt, width=160, height=128, seed=5).instances
    for truth in truths:
        x1, y1, x2, y2 = truth.box
        request = _edit(box=(x1 + 1, y1, x2 + 1, y2))
        identity, image, mask = edit_truth(request)
        assert identity == truth.identity
        assert mask.any()
        [picture] = tabletop.edit([request], settings=SETTINGS)
        assert picture.size == (64, 48)
        np.testing.assert_array_equal(np.asarray(picture), image)


@pytest.mark.parametrize(
    "changes", [{}, {"box": (0, 0, 4, 4)}, {"origin": None, "box": (0, 0, 90, 90)}]
)
def test_edit_of_nothing_known_is_another_thing_of_that_phrase(changes: dict[str, Any]) -> None:
    identity, _, _ = edit_truth(_edit(**changes))
    assert identity.phrase == "plain green car"
    originals = draw_prompt(SCENE.prompt, width=160, height=128, seed=5).instances
    assert identity not in [one.identity for one in originals]
    assert edit_truth(_edit(phrase="an old dog", **changes))[1].shape == (48, 64, 3)


def test_compose_shows_the_references(tabletop: Any) -> None:
    prompts = [f"a {words} alone on a plain background" for words in ("red mug", "car", "duck")]
    references = tuple(
        ComposedReference(
            image=Image.new("RGB", (8, 8)),
            phrase="thing",
            # smaller than drawn: cut out; the identity is the same
            origin=Origin(prompt, seed=number, width=50, height=9),
        )
        for number, prompt in enumerate(prompts)
    )
    identities = [
        subject_alone(prompt, width=64, height=64, seed=number)[0]
        for number, prompt in enumerate(prompts)
    ]
    requests = [
        ComposeRequest(references, "three things in the moonlight", seed, 96, 80)
        for seed in range(12)
    ]
    pictures = tabletop.compose(requests, settings=SETTINGS)
    faithful = 0
    for request, picture in zip(requests, pictures, strict=True):
        composed = compose_truth(request)
        np.testing.assert_array_equal(np.asarray(picture), composed.rendered.image)
        assert composed.rendered.style == "moonlight"
        for truth, shown in zip(composed.rendered.instances, composed.shown, strict=True):
            if shown is not None:
                assert truth.identity == identities[shown]
                faithful += 1
    assert faithful > 24


def test_compose_without_origins_makes_things_up(tabletop: Any) -> None:
    references = (ComposedReference(Image.new("RGB", (8, 8)), "dotted pink boat"),)
    [picture] = tabletop.compose(
        [ComposeRequest(references, "a boat", 1, 48, 48)], settings=SETTINGS
    )
    assert picture.size == (48, 48)
