"""benchmarks/full_size_cost.py: what it counts is what is published, and its sums are right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks import full_size_cost
from benchmarks.cost_parts.placing import PROPOSALS, Setting, asked, asking, starts
from imig.contextgen.flops import BlockLoad, forward_work
from imig.estimate import counting, networks
from imig.estimate.memory import stage_memory, transfer_seconds, with_batch
from imig.estimate.networks import NETWORKS, counted
from imig.estimate.passes import grounding_size, stage_costs
from imig.estimate.placing import place
from imig.models.families import FAMILIES
from imig.recipe.file import load_recipe

RECIPES = ("basic", "complex", "flexible")


@dataclass
class FluxSizes:
    num_layers: int = 19
    num_single_layers: int = 38
    attention_head_dim: int = 128
    num_attention_heads: int = 24
    in_channels: int = 64
    joint_attention_dim: int = 4096


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is 1 TFLOP and 1 GB: counting takes a minute."""
    monkeypatch.setattr(networks, "operations", lambda *_: 10**12)
    monkeypatch.setattr(networks, "activation_bytes", lambda *_: 10**9)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_published(name: str) -> None:
    assert counted(name).parameters == pytest.approx(NETWORKS[name].published, rel=0.005)


@pytest.mark.parametrize(
    ("family", "checkpoint", "parts"),
    [
        (
            "flux",
            "black-forest-labs/FLUX.1-dev",
            ("FLUX.1 transformer", "T5-XXL encoder", "CLIP-L text", "FLUX.1 VAE"),
        ),
        (
            "multi-reference",
            "Qwen/Qwen-Image-Edit-2509",
            ("Qwen-Image transformer", "Qwen2.5-VL-7B", "Qwen-Image VAE"),
        ),
        ("grounding-dino", "IDEA-Research/grounding-dino-base", ("Grounding DINO base",)),
    ],
)
def test_weights_are_as_large_as_the_checkpoints(
    family: str, checkpoint: str, parts: tuple[str, ...]
) -> None:
    [known] = [one for one in FAMILIES[family].checkpoints if one.weights == checkpoint]
    weights = sum(counted(name).weight_bytes for name in parts)
    assert weights / 1e6 == pytest.approx(known.megabytes, rel=0.01)


def test_a_step_of_flux_is_what_the_formula_says() -> None:
    """Which leaves out embeddings and modulations: a thousandth."""
    blocks = [BlockLoad(text=512, image=2304, pairs=(512 + 2304) ** 2)] * 57
    formula = forward_work(FluxSizes(), blocks, rank=0)
    step = networks.operations("FLUX.1 transformer", "step", (2304, 512))
    assert formula.forward < step < 1.005 * formula.forward


def test_fused_attention_is_counted_whole() -> None:
    def attend() -> torch.Tensor:
        query = torch.empty(2, 3, 50, 16)
        return functional.scaled_dot_product_attention(query, query, query, is_causal=True)

    assert counting.count_operations(attend) == 2 * 3 * 4 * 50 * 50 * 16
    # query and result, and no table of pairs; the query is dropped only at the end
    assert counting.peak_bytes(attend) == 2 * (2 * 3 * 50 * 16 * 4)


def test_live_memory_is_that_of_the_widest_place() -> None:
    layers = counting.build(
        lambda: nn.Sequential(nn.Linear(8, 100), nn.ReLU(), nn.Linear(100, 4)), dtype=torch.float32
    )
    assert counting.count_parameters(layers) == 900 + 404
    assert counting.largest_layer(layers) == 900
    # the input of 8 numbers, and before and after ReLU 100 each
    peak = counting.peak_bytes(lambda: layers(torch.empty(10, 8)))
    assert peak == 10 * (8 + 100 + 100) * 4


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("name", RECIPES)
def test_every_stage_that_asks_for_a_gpu_is_there(name: str) -> None:
    recipe = load_recipe(name).recipe
    stages = {one.stage for one in stage_costs(recipe, instances=4)}
    asking = {
        key
        for key in type(recipe).model_fields
        if getattr(getattr(getattr(recipe, key), "resources", None), "gpus", 0) > 0
    }
    assert stages == asking
    for proposal in PROPOSALS[name]:
        assert set(proposal.settings) == stages


@pytest.mark.usefixtures("uncounted")
def test_times_and_sizes_come_from_the_recipe() -> None:
    def passes(name: str, stage: str, *overrides: str) -> dict[tuple[str, str], tuple[float, int]]:
        recipe = load_recipe(name, overrides=overrides).recipe
        [one] = [one for one in stage_costs(recipe, instances=3) if one.stage == stage]
        return {(run.network, run.part): (run.times, run.sizes[0]) for run in one.passes}

    step = ("FLUX.1 transformer", "step")
    assert passes("basic", "draw")[step] == (28, 4096)
    assert passes("basic", "draw", "draw.width=512", "draw.sampling.steps=7")[step] == (7, 2048)
    assert passes("complex", "edit")[step] == (3 * 28, 8192)
    assert passes("flexible", "draw")[step] == (3 * 28, 2304)
    text = 3 * (14 * 14 + 6) + 100 + 3 * 20
    step = ("Qwen-Image transformer", "step")
    assert passes("flexible", "compose")[step] == (2 * 40, text)
    assert passes("flexible", "compose", "compose.sampling.guidance=1")[step] == (40, text)
    assert passes("flexible", "compose")["Qwen2.5-VL-7B", "see"] == (2 * 3, 28)
    assert passes("complex", "score")["CLIP ViT-H-14", "see"] == (1 + 3 + 2 * 3, 224)
    assert passes("complex", "score")["DINOv2 base", "embed"] == (4 * 3, 224)
    with pytest.raises(ValueError, match="schnell"):
        passes("basic", "draw", "draw.model.weights=black-forest-labs/FLUX.1-schnell")


def test_grounding_dino_sees_800_pixels_or_at_most_1333() -> None:
    assert grounding_size((1024, 1024)) == (800, 800)
    assert grounding_size((1024, 512)) == (1333, 667)


@pytest.mark.usefixtures("uncounted")
def test_offloading_and_batches() -> None:
    recipe = load_recipe("basic", overrides=["draw.resources.batch_size=4"]).recipe
    draw = stage_costs(recipe, instances=4)[0]
    memory = stage_memory(draw)
    assert memory.resident("none") == memory.weights == pytest.approx(33.74e9, rel=0.001)
    assert memory.resident("model") == counted("FLUX.1 transformer").weight_bytes
    assert memory.resident("sequential") == 2 * 32128 * 4096, "the embedding of T5"
    assert transfer_seconds(draw, "none") == 0
    slower = transfer_seconds(with_batch(draw, 2), "model")
    assert slower == pytest.approx(2 * transfer_seconds(draw, "model"))
    assert {one.batch for one in with_batch(draw, 2).passes} == {2}


def test_workers_are_placed_as_ray_places_them() -> None:
    settings = {"a": Setting(0.6, 2), "b": Setting(0.3), "c": Setting(1.0), "d": Setting(0.1)}
    placed = place(asking(settings, "abcd"))
    assert placed == [["a", "b", "d"], ["a"], ["c"]]
    assert asked(settings) == pytest.approx(2.6)
    assert starts(settings, 3)
    assert not starts(settings, 2)


@pytest.mark.usefixtures("uncounted")
def test_tables_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results" / "cost.json"
    arguments = ["--survival", "0.5", "--instances", "2", "--json", str(path)]
    assert full_size_cost.main(arguments) == 0
    printed = capsys.readouterr().out
    for words in ("Nothing here was measured on a GPU", "ASSUMED: a utilisation of 0.4", "20,000"):
        assert words in printed
    report = json.loads(path.read_text())
    assert report["measured_on_a_gpu"] is False
    basic = report["recipes"]["basic"]
    assert basic["inputs"] == 100_000
    draw = basic["stages"]["draw"]
    assert draw["operations_per_scene"] == (28 + 3) * 10**12
    seconds = basic["operations_per_scene"] / (0.4 * 989e12)
    assert basic["gpu_seconds_per_scene"] == pytest.approx(seconds)
    assert basic["gpu_hours"] == pytest.approx(100_000 * seconds / 3600)
    assert basic["dominating_stage"] == "draw"
    for name in RECIPES:
        for one in report["recipes"][name]["resources"]:
            if one["what"] == "proposal":
                assert one["starts"], (name, one["gpus"])


def test_the_report_in_the_repository_says_that_the_proposals_fit() -> None:
    path = Path(full_size_cost.__file__).parent / "results" / "full_size_cost.json"
    report = json.loads(path.read_text())
    for name in RECIPES:
        for one in report["recipes"][name]["resources"]:
            if one["what"] == "proposal":
                assert one["starts"]
                assert one["fullest_bytes"] <= one["card_bytes"], (name, one["gpus"])
