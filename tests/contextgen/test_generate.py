"""`imig generate` from the command line to the pictures, with a small random FLUX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.contextgen_folder import write_contextgen_folder
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_samples, seal, write_tiny_dataset

from imig.cli import main
from imig.contextgen.adapter import adapter_parameters, add_adapter, save_adapter
from imig.contextgen.components import load_transformer
from imig.contextgen.scene_layout import picture_seed
from imig.contextgen.settings import AttentionConfig
from imig.display.result_picture import MARGIN
from imig.errors import DataError, UsageError
from imig.shards.writer import write_tar
from imig.training.evaluate import draw_pictures
from imig.training.generate_settings import carried_settings, find_settings
from imig.training.recipe import (
    AdapterConfig,
    DataConfig,
    FlowObjective,
    SavingConfig,
    TrainRecipe,
    WatchConfig,
    WeightsConfig,
)
from imig.training.session import open_session

RED = (220, 30, 30)
SETTINGS = carried_settings(
    TrainRecipe(
        name="mine",
        attention=AttentionConfig(variant="paper", ica="last"),
        data=DataConfig(reference_side=48, instruction="Draw {caption}", target_width=128),
        objective=FlowObjective(guidance=2.0),
        watch=WatchConfig(sampling_steps=7),
    )
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contextgen_folder(tmp_path_factory.mktemp("generate") / "flux")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("generate") / "shards")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """96 x 64 with a red ball."""
    ball = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ball.paste((*RED, 255), (10, 5, 30, 15))
    ball.save(tmp_path / "ball.png")
    path = tmp_path / "scene.json"
    reference = {"image": "ball.png", "box": [8, 8, 40, 24]}
    written = {"caption": "a red ball", "width": 96, "height": 64, "references": [reference]}
    path.write_text(json.dumps(written))
    return path


def save_random_adapter(weights: Path, path: Path, settings: dict[str, object] | None) -> Path:
    """An adapter that changes every layer a lot."""
    transformer: Any = load_transformer(weights, torch.float32, "cpu")
    add_adapter(transformer, rank=4, alpha=4, seed=3)
    torch.manual_seed(5)
    for parameter in adapter_parameters(transformer).values():
        torch.nn.init.normal_(parameter, std=0.3)
    save_adapter(transformer, path, settings=settings)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_pictures_of_several_seeds(
    weights: Path, layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", str(layout), "--weights", str(weights), "--recipe", "train-tiny"]
    many, one = tmp_path / "new" / "many", tmp_path / "one"
    assert main([*words, "--seed", "7", "--count", "2", "--steps", "3", "--output", str(many)]) == 0
    printed = capsys.readouterr().out
    assert "recipe train-tiny; 3 steps" in printed
    assert "draws alone" in printed
    written = ["scene-layout", "scene-7", "scene-7.compare", "scene-8", "scene-8.compare"]
    assert printed.splitlines()[-5:] == [str(many / f"{name}.png") for name in written]
    assert sorted(path.stem for path in many.iterdir()) == sorted(written)
    assert pixels(many / "scene-7.png").shape == (64, 96, 3)
    assert np.abs(pixels(many / "scene-7.png") - pixels(many / "scene-8.png")).mean() > 0.5
    # A seed's picture does not depend on the others, and pictures of the same name are replaced.
    for _ in range(2):
        assert main([*words, "--seed", "8", "--steps", "3", "--output", str(one)]) == 0
        assert (one / "scene-8.png").read_bytes() == (many / "scene-8.png").read_bytes()
    layout_image = pixels(one / "scene-layout.png")
    assert (layout_image[12:20, 12:36] == RED).all()
    assert (layout_image[40:] == 128).all()
    comparison = pixels(one / "scene-8.compare.png")
    # Layout and result at 384 pixels, the reference between them.
    assert comparison.shape[1] > 2 * 384 + 100


def test_the_layout_has_its_own_seed(weights: Path, layout: Path, tmp_path: Path) -> None:
    layout.write_text(json.dumps(json.loads(layout.read_text()) | {"seed": 21}))
    words = ["generate", str(layout), "--weights", str(weights), "--recipe", "train-tiny"]
    assert main([*words, "--steps", "1", "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "scene-21.png").exists()


def test_references_and_adapter_matter(
    weights: Path, layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = save_random_adapter(weights, tmp_path / "a.safetensors", SETTINGS)
    words = ["generate", str(layout), "--weights", str(weights), "--steps", "2", "--seed", "1"]
    base, adapted, turned = (tmp_path / name for name in ("base", "adapted", "turned"))
    assert main([*words, "--recipe", "train-tiny", "--output", str(base)]) == 0
    capsys.readouterr()
    assert main([*words, "--adapter", str(adapter), "--output", str(adapted)]) == 0
    printed = capsys.readouterr().out
    assert "settings: those that a.safetensors carries" in printed
    assert "alone" not in printed
    with_base, with_adapter = (pixels(folder / "scene-1.png") for folder in (base, adapted))
    assert np.abs(with_base - with_adapter).max() > 2
    ball = Image.open(tmp_path / "ball.png")
    ball.paste((10, 10, 240, 255), (10, 5, 30, 15))
    ball.save(tmp_path / "ball.png")
    assert main([*words, "--adapter", str(adapter), "--output", str(turned)]) == 0
    assert np.abs(with_adapter - pixels(turned / "scene-1.png")).max() > 0


def test_from_shards(
    weights: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_samples(2)[1].scene
    name = f"{scene.id}-{picture_seed(scene.id)}"
    adapter = save_random_adapter(weights, tmp_path / "a.safetensors", SETTINGS)
    words = ["generate", "--weights", str(weights), "--adapter", str(adapter), "--steps", "1"]
    first, again = tmp_path / "first", tmp_path / "again"
    chosen = ["--from-shards", scene.id, "--shards", str(shards)]
    assert main([*words, *chosen, "--output", str(first)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(first / f"{scene.id}.json")
    # The width that the adapter carries; the scene is 96 x 64.
    assert pixels(first / f"{name}.png").shape == (80, 128, 3)
    written = first / f"{scene.id}.json"
    assert main([*words, str(written), "--width", "128", "--output", str(again)]) == 0
    repeated = (again / f"{name}.png").read_bytes()
    assert repeated == (first / f"{name}.png").read_bytes()
    # With the dataset's own picture beside it.
    comparisons = [pixels(folder / f"{name}.compare.png") for folder in (first, again)]
    assert comparisons[0].shape[1] > comparisons[1].shape[1] + 300


def test_training_draws_the_same_picture(weights: Path, tmp_path: Path) -> None:
    samples = [tabletop_sample(seed, width=96, height=64, instances=(2, 3)) for seed in range(6)]
    shards = tmp_path / "shards"
    shards.mkdir()
    spans = write_tar(shards / "basic-000000.tar", samples)
    seal(shards, {"basic-000000.tar": samples}, {"basic-000000.tar": spans})
    recipe = TrainRecipe(
        name="mine",
        model=WeightsConfig(weights=str(weights)),
        adapter=AdapterConfig(rank=4, alpha=4),
        data=DataConfig(target_width=64, reference_side=32, validation_fraction=0.5),
        watch=WatchConfig(pictures=1, sampling_steps=3),
        saving=SavingConfig(dtype="float32"),
    )
    session = open_session(recipe, [shards], device=torch.device("cpu"))
    with torch.no_grad():
        for parameter in session.parameters:
            parameter.normal_(std=0.3)
    [(name, page)] = draw_pictures(session)
    session.export(tmp_path / "a.safetensors", step=0)
    words = ["generate", "--from-shards", name, "--shards", str(shards)]
    words += ["--adapter", str(tmp_path / "a.safetensors"), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    drawn = pixels(tmp_path / "out" / f"{name}-{picture_seed(name)}.compare.png")
    # Both pages end with layout, references, result and target, 384 pixels wide and 288 high.
    bottom = slice(-MARGIN - 288, -MARGIN)
    layout = slice(MARGIN, MARGIN + 384)
    result = slice(-2 * MARGIN - 2 * 384, -2 * MARGIN - 384)
    assert page[bottom, result].std() > 10
    np.testing.assert_array_equal(page[bottom, layout], drawn[bottom, layout])
    # The training encodes the target along with them: sums of another order, a grey value at most.
    np.testing.assert_allclose(page[bottom, result].astype(int), drawn[bottom, result], atol=2)


def test_settings_come_from_recipe_adapter_or_default(weights: Path, tmp_path: Path) -> None:
    adapter = save_random_adapter(weights, tmp_path / "a.safetensors", SETTINGS)
    carried = find_settings(adapter=adapter)
    assert (carried.attention.variant, carried.attention.ica) == ("paper", "last")
    assert (carried.reference_side, carried.target_width) == (48, 128)
    assert (carried.instruction, carried.weights) == ("Draw {caption}", "tiny")
    assert (carried.steps, carried.guidance) == (7, 2.0)
    named = find_settings(adapter=adapter, recipe="train-kontext", steps=3, guidance=2.5)
    assert (named.attention.variant, named.reference_side) == ("released", 512)
    assert (named.steps, named.guidance) == (3, 2.5)
    assert named.weights == "black-forest-labs/FLUX.1-Kontext-dev"
    bare = save_random_adapter(weights, tmp_path / "b.safetensors", None)
    assert find_settings(adapter=bare).origin == "recipe train-tiny"
    assert find_settings(adapter=bare, weights="some/where").origin == "recipe train-kontext"
    changed = find_settings(overrides=["attention.bfloat16_positions=true"])
    assert changed.attention.bfloat16_positions
    with pytest.raises(UsageError, match="brings its own settings"):
        find_settings(adapter=adapter, overrides=["steps=3"])
    strange = SETTINGS | {"attention": {"ica": "everywhere"}}
    with pytest.raises(DataError, match=r"does not know: attention\.ica"):
        find_settings(adapter=save_random_adapter(weights, tmp_path / "c", strange))
    later = SETTINGS | {"colour": "red"}
    assert find_settings(adapter=save_random_adapter(weights, tmp_path / "d", later)).steps == 7


def test_calls_that_cannot_work(
    weights: Path, layout: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "out")]
    (tmp_path / "file").write_text("")
    for words, message in (
        (["generate", *output], "give a LAYOUT.json or --from-shards ID"),
        (["generate", str(layout), "--from-shards", "x", *output], "give a LAYOUT.json or"),
        (["generate", str(layout), "--adapter", "none", *output], "there is no adapter file none"),
        (["generate", str(layout), "--recipe", "train-tyni", *output], "no recipe 'train-tyni'"),
        (["generate", str(layout), "--weights", "/nowhere", *output], "'/nowhere' not found"),
        (["generate", "--from-shards", "x", "--shards", str(shards), *output], "no sample 'x'"),
        (["generate", str(layout), "--device", "meta", *output], "does not work with this"),
        (["generate", str(layout), "--output", str(tmp_path / "file")], "cannot write"),
        (["generate", str(layout), "--output", str(tmp_path / "file" / "in")], "cannot write"),
    ):
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error


def test_weights_that_give_no_numbers_draw_nothing(
    weights: Path, layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = save_random_adapter(weights, tmp_path / "a.safetensors", SETTINGS)
    state = {key: value * 1e30 for key, value in load_file(adapter).items()}
    save_file(state, adapter)
    words = ["generate", str(layout), "--weights", str(weights), "--recipe", "train-tiny"]
    output = ["--adapter", str(adapter), "--output", str(tmp_path / "out")]
    assert main([*words, "--steps", "1", *output]) == 1
    assert "the model draws nothing" in capsys.readouterr().err
    assert not (tmp_path / "out" / "scene-0.png").exists()
    state = {key: value * torch.nan for key, value in state.items()}
    save_file(state, adapter)
    assert main([*words, "--steps", "1", *output]) == 1
    assert f"numbers of '{next(iter(load_file(adapter)))}' are NaN" in capsys.readouterr().err
    adapter.write_bytes(b"<html>")
    assert main([*words, "--steps", "1", *output]) == 1
    assert "is a web page" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "value"),
    [("--steps", "0"), ("--count", "x"), ("--seed", "-1"), ("--guidance", "nan"), ("--width", "")],
)
def test_figures_that_are_none(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, value: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generate", str(layout), f"{word}={value}", "--output", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert f"argument {word}: '{value}' is not a" in capsys.readouterr().err


def test_a_picture_of_the_layout_file_is_never_replaced(
    layout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = json.loads(layout.read_text())
    written["references"][0]["image"] = "scene-3.png"
    layout.write_text(json.dumps(written))
    (tmp_path / "ball.png").rename(tmp_path / "scene-3.png")
    before = (tmp_path / "scene-3.png").read_bytes()
    assert main(["generate", str(layout), "--seed", "3", "--output", str(tmp_path)]) == 2
    assert "would replace" in capsys.readouterr().err
    assert (tmp_path / "scene-3.png").read_bytes() == before
    assert not (tmp_path / "scene-layout.png").exists()
