"""Checkpoints, averages, clipping and figures of two processes (gloo) against one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_doubles import FakeAdapted, trainable
from support.training_processes import estimate_rate, work
from support.training_runs import SmallRun, small_recipe
from torch.multiprocessing.spawn import spawn

from imig.training.metrics import read_metrics
from imig.training.optimizer import clip_gradients
from imig.training.run_folder import checkpoint_path

COUNT = 2
RUNS = ["fsdp prodigy", "fsdp adamw", "ddp prodigy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have worked, beside checkpoints that a single one saved."""
    path = tmp_path_factory.mktemp("processes")
    for name in ("single prodigy", "single adamw", "damaged prodigy"):
        small = SmallRun(small_recipe(kind=name.split()[1]))
        small.train(4, fixed_noise=True)
        small.save(path / name)
    (checkpoint_path(path / "damaged prodigy", 4) / "adapter.pt").write_bytes(b"")
    spawn(work, (COUNT, str(path)), nprocs=COUNT)  # type: ignore[no-untyped-call]
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What each process found."""
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(COUNT)]


@pytest.fixture(scope="module")
def single() -> dict[str, list[float]]:
    """Losses of one process; the two had the same data, so the mean gradient is the same."""
    return {
        name: SmallRun(small_recipe(kind=name.split()[1])).train(8, fixed_noise=True)
        for name in RUNS
    }


@pytest.mark.parametrize("name", RUNS)
def test_the_losses_compared_below_depend_on_what_was_learned(
    single: dict[str, list[float]], name: str
) -> None:
    recipe = small_recipe(kind=name.split()[1])
    frozen = recipe.optimizer.model_copy(update={"learning_rate": 1e-12})
    untrained = SmallRun(recipe.model_copy(update={"optimizer": frozen}))
    losses = untrained.train(8, fixed_noise=True)
    assert all(abs(a - b) > 1e-2 for a, b in zip(losses[4:], single[name][4:], strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one_does(
    found: list[dict[str, Any]], single: dict[str, list[float]], name: str
) -> None:
    for one in found:
        assert one[name]["losses"] == pytest.approx(single[name], rel=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_resume_to_the_bit(found: list[dict[str, Any]], name: str) -> None:
    for one in found:
        assert one[name]["resumed"] == one[name]["losses"][4:]
        assert one[name]["same_bits"]


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_go_on_from_the_checkpoint_of_one(
    found: list[dict[str, Any]], single: dict[str, list[float]], name: str
) -> None:
    for one in found:
        assert one[name]["from_single"] == pytest.approx(single[name][4:], rel=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_one_process_goes_on_from_the_checkpoint_of_two(
    folder: Path, found: list[dict[str, Any]], single: dict[str, list[float]], name: str
) -> None:
    assert found  # the two are through
    small = SmallRun(small_recipe(kind=name.split()[1]))
    small.load(checkpoint_path(folder / name, 4))
    assert small.train(4, fixed_noise=True) == pytest.approx(single[name][4:], rel=1e-5)


def test_averages_reach_the_forward_of_split_parameters(found: list[dict[str, Any]]) -> None:
    assert [one["average"] for one in found] == [[True] * 4] * COUNT


def test_the_gradient_norm_is_that_of_the_whole(found: list[dict[str, Any]]) -> None:
    model = FakeAdapted()
    model(torch.ones(2, 6)).square().sum().backward()
    norm = clip_gradients(trainable(model).values(), 0.5).item()
    assert norm > 0.5
    assert [one["norm"] for one in found] == pytest.approx([norm] * COUNT, rel=1e-5)


def test_prodigy_estimates_the_rate_from_all_parts(found: list[dict[str, Any]]) -> None:
    single = estimate_rate(FakeAdapted())
    assert single[0] < single[1] / 2 < single[2] / 4  # it is growing
    for one in found:
        assert one["estimate"] == pytest.approx(single, rel=0.01)


def test_damage_is_told_to_every_process(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert "adapter.pt has 0 bytes and should have" in one["damage"]


def test_agreement(found: list[dict[str, Any]]) -> None:
    ranks = [{"rank": 0}, {"rank": 1}]
    assert found[0]["agreement"] == [True, False, ranks, True]
    assert found[1]["agreement"] == [True, False, ranks, False]


def test_figures_are_of_all_processes_and_the_first_one_shows_them(
    folder: Path, found: list[dict[str, Any]]
) -> None:
    (line,) = read_metrics(folder / "watched" / "metrics.jsonl")
    assert line["loss"] == (1 + 2 + 11 + 12) / 4
    assert line["seconds_per_step"] is not None
    assert line["samples_per_second"] == pytest.approx(12 / (2 * line["seconds_per_step"]))
    assert found[0]["watch"].startswith("watched: 2/2, loss 6.5000")
    assert found[1]["watch"] == ""
