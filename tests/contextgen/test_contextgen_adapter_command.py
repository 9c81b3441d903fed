"""`imig adapter info|convert|resize|merge`: what they print, write, refuse and leave alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.contextgen_folder import write_contextgen_folder

from imig.cli import main
from imig.contextgen.adapter import adapter_parameters, add_adapter, save_adapter
from imig.contextgen.adapter_info import describe_adapter
from imig.contextgen.components import load_transformer
from imig.training.generate_settings import carried_settings
from imig.training.recipe import TrainRecipe
from imig.training.summary import summary_entries, training_summary


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder, and a run with an adapter for it."""
    folder = tmp_path_factory.mktemp("adapter")
    write_contextgen_folder(folder / "flux")
    transformer: Any = load_transformer(folder / "flux", torch.float32, "cpu")
    add_adapter(transformer, rank=8, alpha=4, seed=0)
    torch.manual_seed(0)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = 0.3 * torch.randn(parameter.shape)
    recipe = TrainRecipe.model_validate(
        {"name": "mine", "model": {"weights": str(folder / "flux")}, "adapter": {"rank": 8}}
    )
    summary = training_summary(recipe, step=500, scenes=193, samples_per_step=8)
    save_adapter(
        transformer,
        folder / "run" / "adapter.safetensors",
        settings=carried_settings(recipe) | {"training": summary},
        dtype=torch.bfloat16,
        metadata=summary_entries(recipe, summary, transformer.config),
    )
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What a command prints: the error, where there is to be one."""
    assert main(["adapter", *map(str, words)]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_info_says_what_it_is(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(run(capsys, "info", world / "run").split())
    assert said.startswith(f"{world / 'run' / 'adapter.safetensors'} style diffusers layers 19,")
    for figure in (
        "in 1 double and 2 single blocks", "rank 8 alpha 8 scale 1 weights bfloat16, ",
        f"base {world / 'flux'}", "architecture flux-1/lora", "title mine, step 500",
        "training recipe mine, alpha 512, learning rate 1, objective flow, optimizer prodigy, "
        "rank 8, samples per step 8, scenes 193, steps 500",
    ):  # fmt: skip
        assert figure in said
    assert "date" not in said
    found = json.loads(run(capsys, "info", world / "run", "--json"))
    assert (found["ranks"], found["scales"], found["dtypes"]) == (
        {"8": 19}, {"1.0": 19}, {"bfloat16": 19},
    )  # fmt: skip
    assert found["training"]["alpha"] == 512, "as the recipe of the training had it"
    assert found["hash"].startswith("0x")


def test_escapes_in_a_header_are_not_for_the_terminal(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(world / "run" / "adapter.safetensors")
    path = tmp_path / "a.safetensors"
    save_file(weights, path, {"modelspec.title": "\x1b]0;mine\x07\x1b[2J", "format": "pt"})
    said = run(capsys, "info", path)
    assert "mine" in said
    assert "\x1b" not in said


def test_convert_writes_beside_and_over_nothing(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "adapter.safetensors"
    source.write_bytes((world / "run" / "adapter.safetensors").read_bytes())
    said = run(capsys, "convert", tmp_path, "--to", "kohya").splitlines()
    output = tmp_path / "adapter-kohya.safetensors"
    assert said[-1] == str(output)
    assert said[0].startswith("diffusers -> kohya, bfloat16, rank 8 -> 32, ")
    assert "`imig adapter resize --rank 8`" in said[1]
    before = output.read_bytes()
    assert f"{output} exists" in run(capsys, "convert", source, "--to", "kohya", code=2)
    assert output.read_bytes() == before
    words = ("convert", source, "--to", "kohya", "--overwrite", "--dtype", "float32", "--json")
    found = json.loads(run(capsys, *words))
    assert (found["dtype"], found["largest_rank"]) == ("float32", {"before": 8, "after": 32})
    assert found["bytes"]["after"] == output.stat().st_size > len(before)
    info = describe_adapter(output)
    assert (info.style, info.base, info.title) == ("kohya", str(world / "flux"), "mine, step 500")
    assert "is a folder" in run(
        capsys, "convert", source, "--to", "comfyui", "--output", tmp_path, code=2
    )


def test_resize_shows_errors_and_sizes(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "small.safetensors"
    said = run(capsys, "resize", world / "run", "--rank", 2, "--output", output)
    lines = said.splitlines()
    assert lines[0].split() == ["worst", "layers", "rank", "error"]
    assert len(lines) == 8
    assert lines[1].split()[1:4] == ["8", "->", "2"]
    assert lines[-2].startswith("19 layers: rank 8 -> 2, ")
    assert lines[-1] == str(output)
    found = json.loads(
        run(capsys, "resize", world / "run", "--energy", 0.5, "--json", "--output", output,
            "--overwrite")
    )  # fmt: skip
    assert len(found["layers"]) == 19
    assert max(one["error"] for one in found["layers"]) <= 0.5**0.5 + 0.01
    assert found["bytes"]["after"] < found["bytes"]["before"]
    assert "nothing says how small" in run(capsys, "resize", world / "run", code=2)


def test_merge_makes_a_pipeline_of_the_base_that_the_file_names(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, merged = world / "flux", tmp_path / "merged"
    (base / "flux1.safetensors").write_bytes(b"the same weights once more")
    said = run(capsys, "merge", world / "run", "--output", merged).splitlines()
    assert said[-1] == str(merged)
    assert said[-2].startswith("19 tensors changed, ")
    (base / "flux1.safetensors").unlink()
    names = {one.relative_to(base) for one in base.rglob("*") if one.is_file()}
    assert {one.relative_to(merged) for one in merged.rglob("*") if one.is_file()} == names
    changed = [one for one in names if (base / one).read_bytes() != (merged / one).read_bytes()]
    assert [str(one) for one in changed] == ["transformer/diffusion_pytorch_model.safetensors"]
    load_transformer(merged, torch.float32, "cpu")
    assert f"{merged} exists" in run(capsys, "merge", world / "run", "--output", merged, code=2)
    words = ("merge", world / "run", "--output", merged, "--base", base, "--overwrite", "--json")
    assert len(json.loads(run(capsys, *words))["tensors"]) == 19


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["info", "none.safetensors"], 2, "there is no adapter file none.safetensors"),
        (["info", "cut.safetensors"], 1, "cut.safetensors is not a whole safetensors file"),
        (["info", "s3://bucket/a.safetensors"], 2, "is an address"),
        (["convert", "cut.safetensors", "--to", "kohya"], 1, "not a whole safetensors file"),
        (["resize", "cut.safetensors", "--rank", "4"], 1, "not a whole safetensors file"),
        (
            ["merge", "cut.safetensors", "--base", "x", "--output", "y"],
            2,
            "weights 'x' not found; looked for: path ",
        ),
        (["merge", "cut.safetensors", "--base", "tiny", "--output", "y"], 1, "not a whole"),
        (["merge", "whole.safetensors", "--output", "y"], 2, "does not say which model it is for"),
        (["merge", "whole.safetensors", "--base", "tiny", "--output", "y"], 2, "is (2, 2), and"),
    ],
    ids=lambda one: " ".join(one)[:40] if isinstance(one, list) else "",
)
def test_errors_of_the_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    layer = "transformer.transformer_blocks.0.attn.to_q"
    ones = {f"{layer}.lora_A.weight": torch.ones(2, 2), f"{layer}.lora_B.weight": torch.ones(2, 2)}
    save_file(ones, "whole.safetensors")
    Path("cut.safetensors").write_bytes(Path("whole.safetensors").read_bytes()[:-1])
    before = sorted(one.name for one in tmp_path.iterdir())
    assert message in run(capsys, *words, code=code)
    assert sorted(one.name for one in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["resize", "x", "--energy", "0"],
        ["resize", "x", "--energy", "1.5"],
        ["resize", "x", "--rank", "0"],
        ["merge", "x", "--output", "y", "--strength", "0"],
        ["merge", "x", "--output", "y", "--strength", "nan"],
        ["convert", "x", "--to", "gguf"],
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["adapter", *words])
    assert caught.value.code == 2
