"""Whole trainings: exact resume after kill -9 and Ctrl-C of a process, and errors with names."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.contextgen_folder import write_contextgen_folder
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.cli import main
from imig.contextgen.adapter_info import describe_adapter
from imig.errors import DataError, UsageError
from imig.training import loop
from imig.training.loop import train
from imig.training.metrics import read_metrics
from imig.training.recipe import TrainRecipe
from imig.training.recipe_file import load_training_recipe
from imig.training.run_folder import checkpoints

STEPS = 20
UNHURRIED = """
import sys, time
from imig.cli import main
from imig.training import loop

step = loop.train_step

def unhurried_step(*given, **named):
    time.sleep(0.2)
    return step(*given, **named)

loop.train_step = unhurried_step
sys.exit(main(sys.argv[1:]))
"""
"""`imig`, with time to stop a training before it is through, also on a busy machine."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As the processes below: another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and random weights."""
    folder = tmp_path_factory.mktemp("world")
    write_tiny_dataset(folder / "shards", scenes=12)
    write_contextgen_folder(folder / "weights")
    return folder


def settings(world: Path, *more: str) -> list[str]:
    return [
        f"model.weights={world / 'weights'}",
        f"steps={STEPS}",
        "batch_size=2",
        "adapter.rank=4",
        "ema=0.9",
        "data.target_width=64",
        "data.reference_side=32",
        "data.validation_fraction=0.2",
        "saving.every=10",
        "watch.log_every=5",
        "watch.validate_every=10",
        "watch.picture_every=20",
        "watch.pictures=1",
        "watch.sampling_steps=2",
        *more,
    ]


def recipe(world: Path, *more: str) -> TrainRecipe:
    return load_training_recipe("train-tiny", overrides=settings(world, *more))


def words(world: Path, run: Path, *more: str) -> list[str]:
    """The command after `imig`."""
    command = ["train", "--shards", str(world / "shards"), "--output", str(run), *more]
    for text in settings(world):
        command += ["--set", text]
    return command


def start(world: Path, run: Path, *more: str, unhurried: bool = False) -> subprocess.Popen[str]:
    python = ["-c", UNHURRIED] if unhurried else ["-m", "imig"]
    command = [sys.executable, *python, *words(world, run, *more)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    while not checkpoints(run):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(world: Path) -> Path:
    """A run that nobody disturbs."""
    run = world / "undisturbed"
    assert main(words(world, run)) == 0
    return run


@pytest.mark.parametrize(
    "disturbance",
    [
        signal.SIGKILL,
        *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_resume_is_exact(
    world: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    disturbance: signal.Signals,
) -> None:
    run = tmp_path / "run"
    process = start(world, run, unhurried=True)
    wait_for_checkpoint(run, process)
    process.send_signal(disturbance)
    output, _ = process.communicate(timeout=300)
    if disturbance == signal.SIGKILL:
        process = start(world, run, "--resume")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    else:
        assert process.returncode == 128 + disturbance, output
        assert "--resume goes on" in output
        assert main(words(world, run, "--resume")) == 0
        output = capsys.readouterr().out
    assert "going on after step" in output
    assert str(run / "adapter.safetensors") in output
    expected = load_file(undisturbed / "adapter.safetensors")
    result = load_file(run / "adapter.safetensors")
    assert expected.keys() == result.keys()
    assert all(torch.equal(result[name], one) for name, one in expected.items())

    def losses(folder: Path) -> dict[float, float]:
        rows = read_metrics(folder / "metrics.jsonl")
        measured = [(row["step"], row.get("validation/loss")) for row in rows]
        return {step: loss for step, loss in measured if step is not None and loss is not None}

    assert losses(undisturbed).keys() == {10, 20}
    if disturbance == signal.SIGKILL:
        assert losses(run) == losses(undisturbed)
    else:
        # it may have been asked to stop at step 10, which saves and does not measure
        assert losses(run)[20] == losses(undisturbed)[20]


def test_a_finished_run_says_so_and_stays_as_it_is(
    world: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (undisturbed / "adapter.safetensors").stat().st_mtime_ns
    for more in (["--resume"], []):
        assert main(words(world, undisturbed, *more)) == 0
        assert "is finished already: it has all 20 steps" in capsys.readouterr().out
    assert (undisturbed / "adapter.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_finished_for_the_same_command_only(
    world: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    (run / "adapter.safetensors").unlink()  # killed just before it was written
    assert main(words(world, run)) == 0
    assert (run / "adapter.safetensors").read_bytes() == (
        undisturbed / "adapter.safetensors"
    ).read_bytes()
    write_tiny_dataset(tmp_path / "shards", scenes=14)
    with safe_open(undisturbed / "adapter.safetensors", framework="pt") as file:
        written = {name: text.replace('"steps": 20', '"steps": 10') for name, text in
                   file.metadata().items()}  # fmt: skip
    save_file(load_file(run / "adapter.safetensors"), run / "adapter.safetensors", written)
    assert main([*words(world, run), "--resume"]) == 0  # killed while it was still an earlier one
    assert (run / "adapter.safetensors").read_bytes() == (
        undisturbed / "adapter.safetensors"
    ).read_bytes()
    before = sorted(run.rglob("*"))
    others = (
        ([*words(world, run), "--set", "steps=10"], "which came to step 20"),
        ([*words(world, run), "--set", "seed=5"], "another recipe; different: seed"),
        ([*words(world, run), "--shards", str(tmp_path / "shards")], "on other datasets"),
    )
    for command, why in others:
        capsys.readouterr()
        assert main(command) == 2
        assert why in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before


def test_the_adapter_is_in_bfloat16_and_checkpoints_are_not(
    world: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = describe_adapter(undisturbed)
    assert (info.dtypes, info.scales) == ({"bfloat16": info.layers}, {1.0: info.layers})
    assert info.title == f"train-tiny, step {STEPS}"
    assert (info.training["steps"], info.training["rank"], info.date) == (STEPS, 4, None)
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    state = torch.load(checkpoints(run)[-1] / "adapter.pt", weights_only=True)
    assert {one.dtype for one in state.values()} == {torch.float32}
    # the last checkpoint has all that another type of the file is made of
    (run / "adapter.safetensors").unlink()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert main([*words(world, run), "--set", "saving.dtype=float32"]) == 0
    again = describe_adapter(run)
    assert (again.dtypes, again.date) == ({"float32": info.layers}, "1970-01-02T00:00:00Z")
    whole = load_file(run / "adapter.safetensors")
    for key, one in load_file(undisturbed / "adapter.safetensors").items():
        assert torch.equal(one, whole[key].bfloat16())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        train(recipe(world), [world / "shards"], run=tmp_path / "other")


def test_the_same_from_python(
    world: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = dict(text.partition("=")[::2] for text in settings(world))
    adapter = imig.train(world / "shards", output=tmp_path / "run", overrides=overrides)
    assert adapter.read_bytes() == (undisturbed / "adapter.safetensors").read_bytes()
    assert capsys.readouterr().out == "", "without a console nothing is shown"
    with pytest.raises(UsageError, match=r"--set steps=-1: steps: expected greater than 0"):
        imig.train(world / "shards", output=tmp_path / "run", overrides={"steps": -1})


def test_what_a_run_leaves(undisturbed: Path) -> None:
    assert len(checkpoints(undisturbed)) == 2
    assert list((undisturbed / "tensorboard").iterdir())
    assert [one.name[:11] for one in (undisturbed / "pictures").iterdir()] == ["step-000020"]
    steps = [row["step"] for row in read_metrics(undisturbed / "metrics.jsonl")]
    assert steps == [5, 10, 10, 15, 20, 20]


def test_it_learns_what_it_sees(world: Path, tmp_path: Path) -> None:
    """A few scenes, over and over: the loss falls."""
    one = recipe(
        world, "steps=40", "ema=null", "watch.picture_every=0", "adapter.rank=16",
        "optimizer.warmup_steps=0", "optimizer.learning_rate=0.01", "watch.validate_every=20",
        "saving.every=40", "optimizer.schedule=constant", "data.validation_fraction=0.5",
    )  # fmt: skip
    assert train(one, [world / "shards"], run=tmp_path / "run") == 0
    losses = [
        row["validation/loss"]
        for row in read_metrics(tmp_path / "run" / "metrics.jsonl")
        if "validation/loss" in row
    ]
    before = recipe(world, "steps=1", "watch.picture_every=0", "optimizer.learning_rate=1.0e-9")
    assert train(before, [world / "shards"], run=tmp_path / "before") == 0
    first = [
        row["validation/loss"]
        for row in read_metrics(tmp_path / "before" / "metrics.jsonl")
        if "validation/loss" in row
    ]
    assert losses[-1] is not None
    assert first[0] is not None
    assert losses[-1] < 0.9 * first[0]


def test_dpo_starts_where_its_reference_is(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    adapter = undisturbed / "adapter.safetensors"
    one = recipe(
        world, "objective={kind: dpo, beta: 100}", f"adapter.start={adapter}", "steps=4",
        "ema=null", "watch.log_every=1", "watch.picture_every=0", "optimizer.warmup_steps=0",
        "optimizer.learning_rate=0.001",
    )  # fmt: skip
    assert train(one, [world / "shards"], run=tmp_path / "run") == 0
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "margin" in row]
    assert rows[0]["margin"] == pytest.approx(0, abs=1e-4), "model and reference are the same"
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert rows[-1]["margin"] != 0
    start_state, end_state = load_file(adapter), load_file(tmp_path / "run/adapter.safetensors")
    assert start_state.keys() == end_state.keys(), "the reference is not exported"
    # the run that it starts from goes on, and writes another adapter there
    with (
        patch("imig.training.session.file_sha256", return_value="0" * 64),
        pytest.raises(UsageError, match="as the reference of objective dpo, and that file is"),
    ):
        train(one, [world / "shards"], run=tmp_path / "run", resume=True)


def test_non_finite_loss_names_the_samples(world: Path, tmp_path: Path) -> None:
    one = recipe(world, "optimizer.learning_rate=1.0e+30", "optimizer.warmup_steps=0", "ema=null")
    with pytest.raises(DataError, match=r"step \d+: not a finite number.*basic-0000"):
        train(one, [world / "shards"], run=tmp_path / "run")
    assert not checkpoints(tmp_path / "run"), "what is not finite is not saved"


def test_other_datasets_are_said_where_a_training_goes_on(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = recipe(world, "steps=1", "watch.picture_every=0")
    assert train(one, [world / "shards"], run=tmp_path / "run") == 0
    write_tiny_dataset(tmp_path / "shards", scenes=14)
    for shards, said in ((world / "shards", False), (tmp_path / "shards", True)):
        capsys.readouterr()
        more = one.model_copy(update={"steps": 3 if said else 2})
        assert train(more, [shards], run=tmp_path / "run", resume=True) == 0
        assert ("other ones than until step 2" in capsys.readouterr().out) == said


def test_what_is_not_finite_elsewhere_has_its_name_on_every_process(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process is simulated: it says which of its samples are."""
    monkeypatch.setattr(loop, "highest", lambda value, *, device: loop._NOT_FINITE)
    monkeypatch.setattr(loop, "gather_objects", lambda names: [names, ["of-another"]])
    with pytest.raises(DataError, match=r"not a finite number: the loss of of-another\n"):
        train(recipe(world), [world / "shards"], run=tmp_path / "run")


def test_errors_of_the_call(world: Path, undisturbed: Path, tmp_path: Path) -> None:
    shards = [world / "shards"]
    with pytest.raises(UsageError, match="has a training in it"):
        train(recipe(world, "steps=24"), shards, run=undisturbed)
    with pytest.raises(UsageError, match="begun with another recipe"):
        train(recipe(world, "batch_size=3"), shards, run=undisturbed, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        train(recipe(world), shards, run=tmp_path / "file" / "run")
    with pytest.raises(UsageError, match="no dataset folder"):
        train(recipe(world), [tmp_path / "nothing"], run=tmp_path / "run")
    with pytest.raises(UsageError, match="not found"):
        train(recipe(world, "model.weights=/nowhere"), shards, run=tmp_path / "run")
    with pytest.raises(UsageError, match="no adapter file"):
        train(recipe(world, "adapter.start=/nowhere"), shards, run=tmp_path / "run")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no GPU"):
            train(recipe(world, "device=cuda"), shards, run=tmp_path / "run")
