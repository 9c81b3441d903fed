"""`imig generate --preset`: the released inference's way, in tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.contextgen_folder import write_contextgen_folder

from imig.cli import main
from imig.contextgen.adapter import add_adapter, save_adapter
from imig.contextgen.components import load_transformer
from imig.contextgen.layout_file import load_layout
from imig.contextgen.layout_pictures import layout_to_pictures
from imig.contextgen.presets import PRESETS, RELEASED
from imig.contextgen.settings import AttentionConfig
from imig.errors import UsageError
from imig.layout.reference_size import reference_size
from imig.training.generate_settings import find_settings


def test_what_the_preset_sets() -> None:
    """REFERENCE 3.6, 3.8."""
    assert (RELEASED.guidance, RELEASED.steps) == (3.5, 28)
    assert RELEASED.attention == AttentionConfig(
        variant="released", ica="middle", layout=True, text_length=512, bfloat16_positions=True
    )
    assert PRESETS["released"] is RELEASED


@pytest.mark.parametrize(
    ("picture", "reference", "expected"),
    [
        # By the picture's shorter side: up to 384 an area of 256 squared, ...
        ((64, 64), (512, 512), (256, 256)),
        ((384, 999), (1000, 500), (368, 192)),
        ((2048, 256), (1000, 500), (368, 192)),
        # ... up to 512 of 384, ...
        ((400, 400), (1000, 500), (544, 272)),
        ((512, 512), (512, 512), (384, 384)),
        # ... up to 768 of 512, ...
        ((528, 528), (512, 512), (512, 512)),
        ((768, 1024), (1000, 500), (736, 368)),
        ((1024, 768), (500, 1000), (368, 736)),
        # ... up to 1024 of 768, ...
        ((784, 784), (1000, 500), (1088, 544)),
        ((1024, 1024), (512, 512), (768, 768)),
        # 766.7 x 769.3: whole pixels down, then multiples of 16 up
        ((1024, 1024), (300, 301), (768, 784)),
        # ... beyond of 1024
        ((1040, 1040), (1000, 500), (1456, 736)),
        ((1040, 1040), (300, 301), (1024, 1040)),
        # at least a token, and as long as it comes
        ((384, 384), (17, 4000), (16, 3936)),
        ((768, 768), (17, 4000), (48, 7856)),
        ((384, 384), (1, 9000), (16, 24288)),
    ],
)
def test_references_have_the_released_sizes(
    picture: tuple[int, int], reference: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert RELEASED.reference_size(reference, picture=picture, side=96) == expected


def test_rounding_up_never_loses_a_pixel() -> None:
    for size in ((300, 200), (511, 513), (90, 1000)):
        for side in (16, 96, 512):
            up = reference_size(*size, side=side, rounding="up")
            assert all(one % 16 == 0 for one in up)
            assert (up[0] + 1) * (up[1] + 1) >= side * side


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red ball", "Do <a red ball>"),
        ("a photo of a red ball", "Do <a red ball>"),
        ("A Photo Of A red ball", "Do <A red ball>"),
        ("an image of two cats", "Do <two cats>"),
        ("A picture of the sea", "Do <the sea>"),
        ("a photo of a photo of a dog", "Do <a photo of a dog>"),
        ("a photograph of a dog", "Do <a photograph of a dog>"),
        ("a photo offering", "Do <a photo offering>"),
        ("not a photo of a dog", "Do <not a photo of a dog>"),
        ("a photo of", "Do <a photo of>"),
        ("", "Do <>"),
        ("a photo of {caption} and {braces}", "Do <{caption} and {braces}>"),
    ],
)
def test_captions_enter_the_instruction_as_in_the_released_code(
    caption: str, expected: str
) -> None:
    assert RELEASED.caption_text(caption, instruction="Do <{caption}>") == expected


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    ball = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ball.paste((220, 30, 30, 255), (10, 5, 30, 15))
    ball.save(tmp_path / "ball.png")
    path = tmp_path / "scene.json"
    reference = {"image": "ball.png", "box": [8, 8, 40, 24]}
    written = {"caption": "a photo of a ball", "width": 96, "height": 64, "references": [reference]}
    path.write_text(json.dumps(written))
    return path


def test_a_layout_becomes_the_pictures_of_the_preset(layout: Path) -> None:
    loaded = load_layout(layout)
    ours = layout_to_pictures(loaded, reference_side=96, instruction="Draw {caption}")
    theirs = layout_to_pictures(
        loaded, reference_side=96, instruction="Draw {caption}", preset=RELEASED
    )
    assert ours.references[0].image.shape == (64, 128, 3)
    assert theirs.references[0].image.shape == (192, 368, 3)
    assert theirs.references[0].mask.any()
    assert (ours.caption, theirs.caption) == ("Draw a photo of a ball", "Draw a ball")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({}, {"steps": 28, "guidance": 3.5}),
        ({"guidance": 2.0}, {"guidance": 2.0, "steps": 28}),
        ({"steps": 4}, {"steps": 4, "guidance": 3.5}),
        ({"overrides": ["objective.guidance=1.5"]}, {"guidance": 1.5, "steps": 28}),
        ({"overrides": ["watch.sampling_steps=9"]}, {"steps": 9}),
        ({"overrides": ["watch.sampling_steps=9"], "steps": 3}, {"steps": 3}),
        ({"recipe": "train-tiny"}, {"weights": "tiny", "steps": 28, "guidance": 3.5}),
        ({"instruction": "Show {caption}!"}, {"instruction": "Show {caption}!"}),
        ({"overrides": ["data.instruction=Oh {caption}"]}, {"instruction": "Oh {caption}"}),
        ({"weights": "some/where"}, {"weights": "some/where"}),
    ],
)
def test_what_the_call_names_goes_before_the_preset(
    call: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = find_settings(preset="released", **call)
    for name, value in expected.items():
        assert getattr(found, name) == value
    assert found.attention == RELEASED.attention
    assert found.preset is RELEASED
    assert found.origin.startswith("preset released over recipe train-")


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("attention.text_length=caption", {"text_length": "caption"}),
        ("attention.bfloat16_positions=false", {"bfloat16_positions": False}),
        ("attention.ica=last", {"ica": "last"}),
        ("attention={variant: paper}", AttentionConfig(variant="paper").model_dump()),
    ],
)
def test_overrides_change_the_presets_attention(override: str, changed: dict[str, Any]) -> None:
    found = find_settings(preset="released", overrides=[override])
    assert found.attention == RELEASED.attention.model_copy(update=changed)


def test_a_size_of_ones_own_goes_before_the_rule() -> None:
    found = find_settings(preset="released", overrides=["data.reference_side=96"])
    assert found.preset is not None
    size = found.preset.reference_size((64, 64), picture=(768, 768), side=found.reference_side)
    assert size == (96, 96)


def test_calls_that_cannot_work() -> None:
    with pytest.raises(UsageError, match="no preset 'mine'"):
        find_settings(preset="mine")
    with pytest.raises(UsageError, match=r"has no \{caption\} in it: 'Draw'"):
        find_settings(instruction="Draw")


def test_the_pictures_say_what_they_were_drawn_with(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_contextgen_folder(tmp_path / "flux")
    words = ["generate", str(layout), "--weights", str(weights), "--steps", "1"]
    assert main([*words, "--preset", "released", "--output", str(tmp_path / "released")]) == 0
    assert "preset released over recipe train-kontext; 1 steps" in capsys.readouterr().out
    assert main([*words, "--output", str(tmp_path / "plain")]) == 0
    for folder, preset, length in (("released", "released", 512), ("plain", None, "caption")):
        for name in ("scene-0.png", "scene-0.compare.png"):
            text = Image.open(tmp_path / folder / name).text["imig"]  # type: ignore[attr-defined]
            record = json.loads(text)
            assert record["preset"] == preset
            assert record["attention"]["text_length"] == length
            assert (record["caption"], record["seed"]) == ("a photo of a ball", 0)
    pictures = [(tmp_path / one / "scene-0.png") for one in ("released", "plain")]
    assert Image.open(pictures[0]).tobytes() != Image.open(pictures[1]).tobytes()


def test_an_adapter_that_says_nothing_is_met_with_advice(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_contextgen_folder(tmp_path / "flux")
    transformer = load_transformer(weights, torch.float32, "cpu")
    add_adapter(transformer, rank=2, alpha=2, seed=0)
    bare = tmp_path / "transformer_00008.safetensors"
    save_adapter(transformer, bare)
    words = ["generate", str(layout), "--weights", str(weights), "--adapter", str(bare)]
    for more, said in (([], True), (["--preset", "released"], False)):
        assert main([*words, "--steps", "1", "--output", str(tmp_path / "out"), *more]) == 0
        assert ("want --preset released" in capsys.readouterr().out) == said
