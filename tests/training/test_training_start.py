"""Trainings that start from an adapter: its rank and alpha count, a recipe's must be the same."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from support.adapter_files import config, random_weights, tensors, write
from support.contextgen_folder import write_contextgen_folder
from support.tiny_dataset import write_tiny_dataset

from imig.cli import main
from imig.contextgen.adapter_config import AdapterScale
from imig.errors import UsageError
from imig.training.loop import train
from imig.training.recipe import AdapterConfig, TrainRecipe
from imig.training.recipe_file import load_training_recipe
from imig.training.session import open_session
from imig.training.start import recipe_with_scale

LAYERS = [f"transformer_blocks.0.attn.to_{one}" for one in "qkv"]
SCALE = AdapterScale(rank=8, alpha=16, ranks={"a": 8}, alphas={"a": 16}, rslora=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, random weights and an adapter of rank 8 and alpha 16."""
    folder = tmp_path_factory.mktemp("start")
    write_tiny_dataset(folder / "shards", scenes=4)
    write_contextgen_folder(folder / "weights")
    header = config(r=8, lora_alpha=16, use_rslora=True)
    write(folder / "start.safetensors", tensors(random_weights(LAYERS)), header)
    (folder / "mine.yaml").write_text(
        "name: mine\n"
        f"model: {{weights: {folder / 'weights'}}}\n"
        "steps: 1\n"
        "batch_size: 1\n"
        "optimizer: {kind: adamw, learning_rate: 1.0e-4}\n"
        "data: {target_width: 64, reference_side: 32}\n"
        "watch: {validate_every: 0, picture_every: 0}\n"
        "adapter:\n"
        f"  start: {folder / 'start.safetensors'}\n",
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize(
    ("given", "key", "there"),
    [
        ({"rank": 4}, "rank", "8"),
        ({"rank": 8, "alpha": 8}, "alpha", "16"),
        ({"alpha": 512}, "alpha", "16"),
    ],
)
def test_another_rank_or_alpha_is_an_error(given: dict[str, int], key: str, there: str) -> None:
    recipe = TrainRecipe(name="mine", adapter=AdapterConfig(start="s.safetensors", **given))
    with pytest.raises(
        UsageError, match=rf"mine: adapter.{key} is .*s.safetensors, .*has {there}\n"
    ) as it:
        recipe_with_scale(recipe, SCALE)
    assert f"--set adapter.{key}={there}" in it.value.cure


@pytest.mark.parametrize("given", [{}, {"rank": 8}, {"rank": 8, "alpha": 16}])
def test_what_the_recipe_leaves_out_is_the_files(given: dict[str, int]) -> None:
    recipe = TrainRecipe(name="mine", adapter=AdapterConfig(start="s.safetensors", **given))
    adapter = recipe_with_scale(recipe, SCALE).adapter
    assert (adapter.rank, adapter.alpha, adapter.start) == (8, 16, "s.safetensors")


def test_the_run_records_and_counts_the_files_rank(world: Path, tmp_path: Path) -> None:
    recipe = load_training_recipe(world / "mine.yaml")
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    assert train(recipe, [world / "shards"], run=tmp_path / "run", console=console) == 0
    assert "rank 8, alpha 16 with use_rslora (scale 5.657)" in printed.getvalue()
    [saved] = (tmp_path / "run" / "checkpoints").glob("*/recipe.json")
    adapter = json.loads(saved.read_bytes())["recipe"]["adapter"]
    assert (adapter["rank"], adapter["alpha"]) == (8, 16)
    exported = load_file(tmp_path / "run" / "adapter.safetensors")
    assert set(exported) == set(tensors(random_weights(LAYERS)))
    # and goes on with the same recipe, whose rank was the default's
    more = load_training_recipe(world / "mine.yaml", overrides=["steps=2"])
    assert train(more, [world / "shards"], run=tmp_path / "run", resume=True, console=console) == 0
    session = open_session(recipe, [world / "shards"], device=torch.device("cpu"))
    assert session.recipe.adapter.rank == 8
    assert 0 < session.adapter_rank < 8, "three layers have it, for MFU"


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["adapter.rank=4"], "--set adapter.rank=4: adapter.rank is 4"),
        ([], "mine.yaml:9: adapter.rank is 64"),
    ],
)
def test_the_command_names_the_line(
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    where: str,
) -> None:
    text = (world / "mine.yaml").read_text(encoding="utf-8")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text.replace("adapter:\n", "adapter:\n  rank: 64\n"), encoding="utf-8")
    words = ["train", "--recipe", str(recipe), "--shards", str(world / "shards")]
    words += ["--output", str(tmp_path / "run")]
    for one in overrides:
        words += ["--set", one]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert where in said
    assert "has 8" in said
    assert "--set adapter.rank=8" in said


@pytest.mark.parametrize("start", ["~nobody-of-this-name/x", "page.html"])
def test_files_that_are_no_adapter_are_no_traceback(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], start: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>", encoding="utf-8")
    words = ["train", "--recipe", str(world / "mine.yaml"), "--shards", str(world / "shards")]
    words += ["--output", str(tmp_path / "run"), "--set"]
    words.append(f"adapter.start={page if start == page.name else start}")
    assert main(words) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
