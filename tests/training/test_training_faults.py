"""Trainings that something happens to: damage, signals in a step, full disks, lost processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.contextgen_folder import write_contextgen_folder
from support.ports import free_port
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.cli import main
from imig.contextgen.adapter_info import describe_adapter
from imig.errors import DataError, UnavailableError
from imig.shards.dataset import Dataset
from imig.training import evaluate, liveness, loop, processes
from imig.training.data import TrainingData
from imig.training.liveness import Liveness
from imig.training.loop import train
from imig.training.metrics import read_metrics
from imig.training.recipe import DataConfig, TrainRecipe
from imig.training.recipe_file import load_training_recipe
from imig.training.run_folder import checkpoints

STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As the processes below: another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, the same with damage, and random weights."""
    folder = tmp_path_factory.mktemp("faults")
    write_tiny_dataset(folder / "shards", scenes=12)
    write_contextgen_folder(folder / "weights")
    shutil.copytree(folder / "shards", folder / "damaged")
    data = training_data(folder / "shards")
    damage(folder / "damaged", victims_of(data))
    damage(folder / "damaged", [data.validation[0].id])
    return folder


def training_data(shards: Path, **keys: Any) -> TrainingData:
    config = {"target_width": 64, "reference_side": 32, "validation_fraction": 0.5}
    config |= {"max_damaged": 9}
    return TrainingData(
        [shards], config=DataConfig.model_validate(config | keys), seed=0, batch_size=2
    )


def trained_on(data: TrainingData) -> list[str]:
    """Ids in the order of the training."""
    entries = data.order.entries
    return [entries[one.entry].id for number in range(STEPS) for one in data.plan(number)]


def victims_of(data: TrainingData) -> list[str]:
    """The first sample that is trained on, and one of a later batch."""
    ids = list(dict.fromkeys(trained_on(data)))
    return [ids[0], ids[4]]


def damage(folder: Path, ids: list[str]) -> None:
    """Zeros in place of the targets of some samples."""
    dataset = Dataset(folder)
    offsets = dataset.index.set_index("id")
    for sample in ids:
        picture = dataset[sample].files["target.jpg"]
        path = folder / dataset.shards[dataset.ids.index(sample)]
        content = bytearray(path.read_bytes())
        start = content.index(picture, int(offsets.offset[sample]))
        content[start : start + len(picture)] = bytes(len(picture))
        path.write_bytes(content)


def settings(world: Path, *more: str) -> list[str]:
    return [
        f"model.weights={world / 'weights'}",
        f"steps={STEPS}",
        "batch_size=2",
        "adapter.rank=4",
        "data.target_width=64",
        "data.reference_side=32",
        "data.validation_fraction=0.5",
        "optimizer.warmup_steps=0",
        "optimizer.schedule=constant",
        "saving.every=3",
        "watch.log_every=1",
        "watch.validate_every=3",
        "watch.picture_every=0",
        *more,
    ]


def recipe(world: Path, *more: str) -> TrainRecipe:
    return load_training_recipe("train-tiny", overrides=settings(world, *more))


def words(world: Path, run: Path, *more: str, shards: str = "shards") -> list[str]:
    """The command after `imig`."""
    command = ["train", "--shards", str(world / shards), "--output", str(run)]
    for text in settings(world, *more):
        command += ["--set", text]
    return command


# Damaged samples


def test_a_damaged_sample_leaves_its_place_empty_and_the_others_where_they_are(
    world: Path,
) -> None:
    good, bad = training_data(world / "shards"), training_data(world / "damaged")
    victims = set(victims_of(good))
    for number in range(STEPS):
        whole, left = good.micro_batch(number), bad.micro_batch(number)
        kept = [(p, s.id) for p, s in zip(whole.places, whole.samples, strict=True)]
        kept = [(place, name) for place, name in kept if name not in victims]
        assert list(zip(left.places, (one.id for one in left.samples), strict=False)) == kept
        assert left.size == whole.size
        skipped = {one.sample for one in left.skipped}
        assert skipped == victims & {one.id for one in whole.samples}
        assert all(str(world / "damaged") == one.dataset for one in left.skipped)


def test_where_nothing_of_a_batch_reads_another_sample_stands_in(
    world: Path, tmp_path: Path
) -> None:
    shards = shutil.copytree(world / "shards", tmp_path / "shards")
    first = [one.id for one in training_data(shards)[0]]
    damage(shards, first)
    batch = training_data(shards).micro_batch(0)
    assert (batch.places, len(batch.samples)) == ((), 1)
    assert [one.sample for one in batch.skipped] == first


def test_a_disk_or_store_that_does_not_answer_costs_no_sample(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = training_data(world / "shards")
    files = data.datasets[0].folder

    def fail(*given: object) -> bytes:
        raise UnavailableError("cannot read basic-000000.tar: Input/output error")

    monkeypatch.setattr(type(files), "read_range", fail)
    with pytest.raises(UnavailableError, match="Input/output error"):
        data.micro_batch(0)


def test_skipped_samples_are_named_and_a_resumed_run_skips_alike(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["data.max_damaged=3"]
    assert main(words(world, tmp_path / "one", *more, shards="damaged")) == 0
    said = capsys.readouterr().out
    rows = json.loads((tmp_path / "one" / "skipped.json").read_text())
    assert len(rows) == 3, "two of the training, one held out"
    assert all(row["sample"] in said and "target.jpg" in row["reason"] for row in rows)
    assert rows[0]["step"] == 1
    counted = [
        row["skipped"]
        for row in read_metrics(tmp_path / "one" / "metrics.jsonl")
        if "skipped" in row
    ]
    assert counted[-1] == 3
    adapter = describe_adapter(tmp_path / "one")
    assert adapter.training["skipped_samples"] == [row["sample"] for row in rows]
    # as if it had been killed before its end
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "two/checkpoints/step-000006")
    (tmp_path / "two/skipped.json").write_text("[]")
    assert main([*words(world, tmp_path / "two", *more, shards="damaged"), "--resume"]) == 0
    for name in ("adapter.safetensors", "skipped.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        pytest.param(0, "wanted for training sample basic-", id="none-allowed"),
        pytest.param(1, "damaged samples, and data.max_damaged is 1: basic-", id="one-too-many"),
    ],
)
def test_more_damage_than_is_allowed_stops_before_the_step(
    world: Path, tmp_path: Path, limit: int, message: str
) -> None:
    one = recipe(world, f"data.max_damaged={limit}")
    with pytest.raises(DataError, match=message) as raised:
        train(one, [world / "damaged"], run=tmp_path / "run")
    assert "imig validate" in raised.value.cure


# Signals


@pytest.fixture(scope="module")
def accumulating(world: Path) -> Path:
    """A run that nobody disturbs, of four batches a step."""
    run = world / "accumulating"
    one = recipe(world, "batch_size=1", "accumulate=4", "watch.validate_every=6")
    assert train(one, [world / "shards"], run=run) == 0
    return run


def signalled_at(number: int, count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, during whose call `count` (from 1) this process gets a signal."""
    calls = [0]

    def call(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            os.kill(os.getpid(), number)
        return function(*given, **named)

    return call


def test_a_signal_leaves_the_step_at_hand_and_the_resumed_run_is_the_same(
    world: Path,
    accumulating: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    one = recipe(world, "batch_size=1", "accumulate=4", "watch.validate_every=6")
    with monkeypatch.context() as patched:
        # in the second batch of the fifth step
        computed = signalled_at(signal.SIGTERM, 4 * 4 + 2, loop.batch_loss)
        counted: list[int] = []

        def count(*given: Any, **named: Any) -> Any:
            counted.append(1)
            return computed(*given, **named)

        patched.setattr(loop, "batch_loss", count)
        assert train(one, [world / "shards"], run=run) == 143
        assert len(counted) == 4 * 4 + 2, "no batch more"
    assert [one.name for one in checkpoints(run)] == ["step-000003", "step-000004"]
    assert train(one, [world / "shards"], run=run, resume=True) == 0
    name = "adapter.safetensors"
    assert (run / name).read_bytes() == (accumulating / name).read_bytes()


def test_a_signal_does_not_wait_for_validation(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    one = recipe(world, "watch.validate_every=2")
    measure = signalled_at(signal.SIGTERM, 2, evaluate._scene_loss)
    monkeypatch.setattr(evaluate, "_scene_loss", measure)
    assert train(one, [world / "shards"], run=run) == 143
    assert [one.name for one in checkpoints(run)] == ["step-000002"]
    assert not [row for row in read_metrics(run / "metrics.jsonl") if "validation/loss" in row]


@pytest.mark.parametrize(
    ("done", "start", "steps", "said"),
    [
        (0, 0, 9, "before step 1 was done: nothing to save; --resume goes on"),
        (4, 4, 9, "before step 5 was done: nothing to save; --resume goes on"),
        (5, 4, 9, "after step 5 and saved in 2 s; --resume goes on"),
        (
            9,
            4,
            9,
            "after step 9 and saved in 2 s; it was the last one, but for its validation",
        ),
    ],
)
def test_what_a_stop_has_left_is_said(done: int, start: int, steps: int, said: str) -> None:
    assert f"stopped {said}" in loop._stopped_to_text(done, start, steps, 2.0)


# Processes and disks


def torchrun(count: int, command: list[str]) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return [sys.executable, *launch, "-m", "imig", *command]


def environment() -> dict[str, str]:
    path = str(Path(imig.__file__).parents[1])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def losses(folder: Path) -> list[float]:
    """Of training and validation, in the order in which they were measured."""
    rows = read_metrics(folder / "metrics.jsonl")
    return [row[key] or 0 for row in rows for key in ("loss", "validation/loss") if key in row]


EXACT = ("ema=0.9", "optimizer.learning_rate=0.002", "saving.dtype=float32", "steps=6")


@pytest.mark.long
@pytest.mark.parametrize(
    ("count", "more"),
    [
        pytest.param(2, ["parallel=ddp"], id="ddp-a-batch-each"),
        pytest.param(2, ["parallel=fsdp"], id="fsdp-a-batch-each"),
        pytest.param(4, ["parallel=ddp"], id="ddp-a-sample-each"),
    ],
)
def test_another_number_of_processes_trains_on_as_one_would_have(
    world: Path, tmp_path: Path, count: int, more: list[str]
) -> None:
    begin = [*EXACT, "accumulate=2", "data.max_damaged=3"]

    def run(name: str) -> Path:
        return tmp_path / name

    assert main(words(world, run("one"), *begin, shards="damaged")) == 0
    shutil.copytree(run("one"), run("many"))
    shutil.rmtree(run("many") / "checkpoints/step-000006")
    resume = [*words(world, run("many"), *begin, *more, shards="damaged"), "--resume"]
    subprocess.run(torchrun(count, resume), env=environment(), check=True, timeout=300)

    assert losses(run("many")) == pytest.approx(losses(run("one")), rel=1e-4)
    one, many = (load_file(run(name) / "adapter.safetensors") for name in ("one", "many"))
    for key, value in one.items():
        # Adam makes a step of the learning rate out of a gradient that is nothing but rounding
        assert (many[key] - value).norm() <= 5e-3 * value.norm(), key
    assert (run("many") / "skipped.json").read_text() == (run("one") / "skipped.json").read_text()


@pytest.mark.long
def test_samples_per_step_trains_the_same_from_the_beginning(world: Path, tmp_path: Path) -> None:
    more = [*EXACT, "samples_per_step=4"]
    assert main(words(world, tmp_path / "one", *more)) == 0
    command = words(world, tmp_path / "two", *more)
    subprocess.run(torchrun(2, command), env=environment(), check=True, timeout=300)
    assert len(losses(tmp_path / "one")) == STEPS + 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_others_with_its_name(
    world: Path, tmp_path: Path, victim: int
) -> None:
    """Without torchrun, which would end them too: as `srun` starts them."""
    command = [sys.executable, "-m", "imig", *words(world, tmp_path / "run", "steps=100000")]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        while not checkpoints(tmp_path / "run"):
            assert all(one.poll() is None for one in processes)
            time.sleep(0.05)
        processes[victim].kill()
        _, said = processes[1 - victim].communicate(timeout=60)
    finally:
        for one in processes:
            one.kill()
    assert processes[1 - victim].returncode == 1
    assert f"error: process {victim} of 2 (process ID {processes[victim].pid} on " in said
    assert "--resume goes on" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("fails", [False, True])
def test_what_process_0_writes_alone_it_ends_when_another_is_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fails: bool
) -> None:
    """Process 1 has died before process 0 writes for 20 times the time that it has to end."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    who = [socket.gethostname(), gone.pid, os.readlink("/proc/self/ns/pid")]
    for key, value in {"who/1": json.dumps(who), "state/1": "", "beat/1": "0"}.items():
        store.set(key, value)
    happened: list[str] = []
    ended = threading.Event()

    def end(code: int) -> None:
        happened.append(f"ended with {code}")
        ended.set()

    def write() -> None:
        time.sleep(1)
        happened.append("written")
        if fails:
            raise DataError("the disk is full")

    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(liveness, "_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(processes, "WORKING_ALONE", alone := threading.Lock())
    monkeypatch.setattr(liveness, "WORKING_ALONE", alone)  # the end of a process keeps it
    monkeypatch.setattr(processes, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "process_rank", lambda: 0)
    # where the other one is waited for in vain
    monkeypatch.setattr(
        torch.distributed, "broadcast_object_list", lambda *_, src: ended.wait(timeout=30)
    )
    watched = Liveness(store, rank=0, world=2, patience=timedelta(seconds=5))
    with suppress(DataError):
        processes.on_first_process(write)
    watched.stop()
    assert happened == ["written", "ended with 1"]
    assert f"error: process 1 of 2 (process ID {gone.pid} on " in capfd.readouterr().err


@pytest.mark.long
def test_an_error_of_one_process_is_told_by_the_others(world: Path, tmp_path: Path) -> None:
    command = words(world, tmp_path / "run", shards="damaged")
    done = subprocess.run(
        torchrun(2, command),
        env=environment(),
        check=False,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "has ended: sample basic-" in done.stderr
    assert "wanted for training sample" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("room", [8, 60, 150, 600], ids=lambda room: f"{room}-kB-left")
def test_a_disk_that_is_full_at_a_checkpoint_costs_no_earlier_one(
    world: Path, tmp_path: Path, room: int
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        run = disk / "run"
        assert main(words(world, run, "steps=3", "adapter.rank=16")) == 0
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(free - room * 1024, 0)))
        command = [*words(world, run, "steps=9", "adapter.rank=16"), "--resume"]
        done = subprocess.run(
            [sys.executable, "-m", "imig", *command],
            env=environment(), check=False, capture_output=True, text=True,
        )  # fmt: skip
        if room < 600:
            assert (done.returncode, done.stderr.count("error: cannot write")) == (1, 1)
            assert "Traceback" not in done.stderr
            assert not list(run.rglob("*.tmp-*"))
        assert checkpoints(run)
        assert load_file(run / "adapter.safetensors")
        (disk / "filler").unlink()
        assert main(command) == 0
        undisturbed = tmp_path / "undisturbed"
        assert main(words(world, undisturbed, "steps=9", "adapter.rank=16")) == 0
        name = "adapter.safetensors"
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
