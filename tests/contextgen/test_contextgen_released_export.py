"""`imig adapter export --to released`: the released loader's steps, with a pipeline of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.contextgen_folder import POOLED_WIDTH, TEXT_WIDTH, write_contextgen_folder
from torch import Tensor

from imig.cli import main
from imig.contextgen.adapter import adapter_parameters, add_adapter, read_settings, save_adapter
from imig.contextgen.components import load_transformer
from imig.contextgen.released_export import differences_from_released, export_for_released
from imig.errors import DataError, UsageError
from imig.training.generate_settings import carried_settings
from imig.training.recipe import TrainRecipe

LAYERS = ("transformer_blocks.0.attn.to_q", "single_transformer_blocks.1.proj_mlp", "x_embedder")
CONFIGS: dict[str, dict[str, Any]] = {
    "alpha is the rank": {"r": 4, "lora_alpha": 4},
    "alpha is twice the rank": {"r": 4, "lora_alpha": 8},
    "alpha is a fraction": {"r": 4, "lora_alpha": 1.5},
    "rank-stabilised": {"r": 4, "lora_alpha": 8, "use_rslora": True},
    "ranks differ": {"r": 4, "lora_alpha": 8, "rank_pattern": {"x_embedder": 2}},
    "alphas differ": {"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn.to_q": 2}},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contextgen_folder(tmp_path_factory.mktemp("export") / "flux")


def output(transformer: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        found: Tensor = transformer(
            hidden_states=normal(1, 6, 16),
            encoder_hidden_states=normal(1, 5, TEXT_WIDTH),
            pooled_projections=normal(1, POOLED_WIDTH),
            timestep=torch.tensor([0.3]),
            guidance=torch.tensor([3.5]),
            img_ids=torch.zeros(6, 3),
            txt_ids=torch.zeros(5, 3),
        ).sample
    return found


def trained(weights: Path, config: dict[str, Any]) -> Any:
    transformer: Any = load_transformer(weights, torch.float32, "cpu")
    transformer.add_adapter(LoraConfig(target_modules=list(LAYERS), **config))
    torch.manual_seed(1)
    for parameter in adapter_parameters(transformer).values():
        torch.nn.init.normal_(parameter, std=0.3)
    return transformer


def load_as_released(weights: Path, folder: Path, *, old: bool = False) -> Any:
    """What the released code does with its adapter folder; `old`: diffusers without metadata."""
    pipeline: Any = FluxKontextPipeline.from_pretrained(weights, dtype=torch.float32)
    names = [one.name for one in folder.iterdir() if one.name.endswith(".safetensors")]
    names.sort(key=lambda name: int(name.split("_")[-1].split(".")[0]), reverse=True)
    if old:
        pipeline.load_lora_weights(load_file(folder / names[0]), adapter_name="flux_mig")
    else:
        pipeline.load_lora_weights(str(folder), weight_name=names[0], adapter_name="flux_mig")
    return pipeline.transformer


@pytest.mark.parametrize("name", CONFIGS)
def test_the_released_loader_draws_with_the_right_scale(
    weights: Path, tmp_path: Path, name: str
) -> None:
    transformer = trained(weights, CONFIGS[name])
    expected, base = output(transformer), output(load_transformer(weights, torch.float32, "cpu"))
    assert (expected - base).abs().max() > 1e-2
    adapter, folder = tmp_path / "adapter.safetensors", tmp_path / "released"
    save_adapter(transformer, adapter, settings={"recipe": "mine"})
    path = export_for_released(adapter, folder, step=8)
    assert path.name == "transformer_00008.safetensors"
    for old in (False, True):
        found = output(load_as_released(weights, folder, old=old))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert read_settings(path) == {"recipe": "mine"}
    again = export_for_released(adapter, tmp_path / "again", step=8)
    assert again.read_bytes() == path.read_bytes()


def test_the_command_names_the_file_by_the_runs_last_step(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    transformer: Any = load_transformer(weights, torch.float32, "cpu")
    add_adapter(transformer, rank=4, alpha=4, seed=0)
    settings = carried_settings(TrainRecipe(name="mine"))
    save_adapter(transformer, run / "adapter.safetensors", settings=settings)
    for step in (500, 12000):
        (run / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    assert main(["adapter", "export", str(run), "--to", "released"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(run / "released" / "transformer_12000.safetensors")
    assert said[:-1] == [
        "note: attention.text_length was 'caption' in the training, and is 512 there",
        "note: attention.bfloat16_positions was False in the training, and is True there",
    ]
    file = run / "adapter.safetensors"
    words = ["adapter", "export", str(file), "--to", "released", "--output", str(tmp_path / "a")]
    assert main([*words, "--step", "8"]) == 0
    assert (tmp_path / "a" / "transformer_00008.safetensors").is_file()
    # The loader takes the highest number of a folder.
    assert main([*words, "--step", "7"]) == 2
    assert "would take instead of transformer_00007" in capsys.readouterr().err
    assert main([*words, "--step", "8"]) == 0


def test_what_differs_from_the_released_code_is_said() -> None:
    alike = {"attention": {"text_length": 512, "bfloat16_positions": True, "drop_background": True}}
    assert not list(differences_from_released(alike))
    other = {"attention": alike["attention"] | {"variant": "paper", "ica": "last"}}
    assert [one.split()[0] for one in differences_from_released(other)] == [
        "attention.variant",
        "attention.ica",
    ]
    assert len(list(differences_from_released({}))) == 2, "files before text_length had captions"


def spoiled(change: Callable[[dict[str, Tensor], dict[str, str]], None], path: Path) -> Path:
    weights = {
        "transformer.x_embedder.lora_A.weight": torch.ones(2, 3),
        "transformer.x_embedder.lora_B.weight": torch.ones(4, 2),
    }
    metadata: dict[str, str] = {"format": "pt"}
    change(weights, metadata)
    save_file(weights, path, metadata)
    return path


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda w, m: w.pop("transformer.x_embedder.lora_A.weight"), DataError, "needs both"),
        (lambda w, m: w.clear(), DataError, "no weights"),
        (lambda w, m: m.update(lora_adapter_metadata="[1]"), DataError, "no JSON object"),
        (
            lambda w, m: m.update(lora_adapter_metadata='{"transformer.lora_alpha": "x"}'),
            DataError,
            "lora_alpha 'x', which is no number",
        ),
        (lambda w, m: m.update(imig="{"), DataError, "no JSON object"),
        (lambda w, m: w.update(alpha=torch.ones(1)), UsageError, "'alpha' is no LoRA weight"),
    ],
)
def test_adapters_that_are_none(
    tmp_path: Path, change: Any, kind: type[Exception], message: str
) -> None:
    path = spoiled(change, tmp_path / "a.safetensors")
    with pytest.raises(kind, match=message):
        export_for_released(path, tmp_path / "out", step=1)


def test_folders_that_are_in_the_way(tmp_path: Path) -> None:
    adapter = spoiled(lambda w, m: None, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="whose name the released loader cannot read"):
        export_for_released(adapter, tmp_path, step=1)
    with pytest.raises(UsageError, match="no folder"):
        export_for_released(adapter, adapter, step=1)
    with pytest.raises(UsageError, match="there is no adapter file"):
        export_for_released(tmp_path / "none", tmp_path / "out", step=1)
    path = export_for_released(adapter, tmp_path / "out", step=123456)
    assert path.name == "transformer_123456.safetensors"
    with safe_open(path, framework="pt") as file:
        assert "imig" not in file.metadata()


def test_an_adapter_of_another_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = "transformer.transformer_blocks.0.attn.to_q"
    weights = {
        f"{layer}.lora_A.weight": torch.ones(2, 4),
        f"{layer}.lora_B.weight": torch.ones(4, 2),
    }
    save_file(weights, tmp_path / "pytorch_lora_weights.safetensors")
    assert main(["adapter", "export", str(tmp_path), "--to", "released"]) == 0
    note, path = capsys.readouterr().out.splitlines()
    assert note == "note: the file does not say which attention it was trained with"
    assert Path(path) == tmp_path / "released/transformer_00000.safetensors"
