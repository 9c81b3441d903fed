"""Checkpoints: exact resume, kill -9 at any moment, damage, and errors for people."""

import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from support.damage import DAMAGES
from support.training_runs import SmallRun, small_recipe
from torch import nn

from imig.errors import DataError, ImigError, UsageError
from imig.training.checkpoint import recipe_sha256
from imig.training.recipe import TrainRecipe
from imig.training.run_folder import (
    FILES,
    checkpoint_path,
    checkpoints,
    latest_checkpoint,
    open_run,
    run_lock,
    verify_checkpoint,
)

TESTS = Path(__file__).parents[1]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def _saved(run: Path, steps: int, *, every: int = 1, keep: int = 9) -> SmallRun:
    small = SmallRun(small_recipe())
    for _ in range(steps // every):
        small.train(every)
        small.save(run, keep=keep)
    return small


@pytest.mark.parametrize("kind", ["prodigy", "adamw"])
def test_a_resumed_training_has_the_bits_of_an_undisturbed_one(tmp_path: Path, kind: str) -> None:
    _seed(1)
    undisturbed = SmallRun(small_recipe(kind=kind))
    losses = undisturbed.train(20)
    assert losses[-1] != losses[10]

    _seed(1)
    first = SmallRun(small_recipe(kind=kind))
    assert first.train(10) == losses[:10]
    checkpoint = first.save(tmp_path / "run")
    assert first.train(1) == losses[10:11]  # saving has disturbed nothing

    _seed(99)
    second = SmallRun(small_recipe(kind=kind, seed=0))
    position = second.load(checkpoint)
    assert (position.step, position.data) == (10, {"micro_batch": 30})
    assert second.train(10) == losses[10:]
    expected = undisturbed.values()
    assert all(torch.equal(value, expected[name]) for name, value in second.values().items())
    assert second.average.updates == undisturbed.average.updates
    rates = [run.training.optimizer.param_groups[0]["lr"] for run in (second, undisturbed)]
    assert rates[0] == rates[1]


def test_a_run_may_go_on_for_more_steps_by_the_longer_schedule(tmp_path: Path) -> None:
    short = SmallRun(small_recipe(kind="adamw", steps=10))
    short.train(10)
    assert short.training.optimizer.param_groups[0]["lr"] == 0.0  # the cosine is at its end
    checkpoint = short.save(tmp_path)
    longer = SmallRun(small_recipe(kind="adamw", steps=17))
    longer.load(checkpoint)
    assert longer.training.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)  # its middle


def test_only_what_is_trained_is_saved_and_frozen_weights_stay(tmp_path: Path) -> None:
    small = _saved(tmp_path, 1)
    path = checkpoint_path(tmp_path, 1)
    state = torch.load(path / "adapter.pt", weights_only=True)
    assert sorted(state) == ["first.down", "first.up", "second.down", "second.up"]
    other = SmallRun(small_recipe())
    base = other.model.get_parameter("first.base")
    base.data.fill_(7.0)
    other.load(path)
    assert torch.equal(base, torch.full_like(base, 7.0))
    assert torch.equal(other.model.get_parameter("first.up"), small.model.get_parameter("first.up"))


def test_recipe_and_its_hash_are_in_the_checkpoint(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    document = json.loads((checkpoint_path(tmp_path, 1) / "recipe.json").read_text())
    assert document["recipe"] == small_recipe().model_dump(mode="json")
    assert document["sha256"] == recipe_sha256(small_recipe())
    assert document["sha256"] != recipe_sha256(small_recipe(seed=1))


def test_the_last_ones_are_kept_and_a_step_is_saved_once(tmp_path: Path) -> None:
    small = _saved(tmp_path, 5, keep=2)
    names = [one.name for one in sorted((tmp_path / "checkpoints").iterdir())]
    assert names == ["step-000004", "step-000005"]
    before = (checkpoint_path(tmp_path, 5) / "adapter.pt").stat().st_mtime_ns
    small.save(tmp_path)
    assert (checkpoint_path(tmp_path, 5) / "adapter.pt").stat().st_mtime_ns == before


def test_an_older_one_is_deleted_only_after_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = _saved(tmp_path, 1, keep=1)
    seen: list[list[str]] = []
    remove = shutil.rmtree

    def look(path: Path, ignore_errors: bool) -> None:
        seen.append([one.name for one in checkpoints(tmp_path)])
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr("imig.training.run_folder.shutil.rmtree", look)
    small.train(1)
    small.save(tmp_path, keep=1)
    assert seen
    assert all("step-000002" in names for names in seen)
    assert [one.name for one in checkpoints(tmp_path)] == ["step-000002"]


def test_a_failed_save_leaves_the_older_ones_and_no_litter(tmp_path: Path) -> None:
    small = _saved(tmp_path, 1, keep=1)
    small.train(1)
    with _files_of_at_most(600), pytest.raises(DataError, match=r"cannot write .*step-000002"):
        small.save(tmp_path, keep=1)
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    verify_checkpoint(checkpoint_path(tmp_path, 1))
    small.save(tmp_path, keep=1)
    assert latest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 2)


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Larger files fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.long
def test_kill_9_at_any_moment_leaves_checkpoints_that_load(tmp_path: Path) -> None:
    moments = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    for attempt in range(3):
        run = tmp_path / str(attempt)
        process = subprocess.Popen(
            [sys.executable, "-m", "support.training_runs", str(run)],
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        saved = [int(process.stdout.readline()) for _ in range(3)][-1]  # it is at work
        time.sleep(moments.random() / 3)
        process.send_signal(signal.SIGKILL)
        saved = max([saved, *map(int, process.stdout.read().split())])
        process.wait()
        found = checkpoints(run)
        assert 2 <= len(found) <= 3  # two are kept; the third is there while the oldest goes
        # The last one that it told of is there, or the one after it, of which it could not tell.
        latest = latest_checkpoint(run)
        assert latest in (checkpoint_path(run, saved), checkpoint_path(run, saved + 1))
        for one in found:
            verify_checkpoint(one)
        assert latest is not None
        small = SmallRun(small_recipe(steps=10**6))
        step = small.load(latest).step
        assert latest == checkpoint_path(run, step)
        # The next save clears away what was left aside.
        small.train(1)
        small.save(run)
        names = sorted(one.name for one in (run / "checkpoints").iterdir())
        assert names == [f"step-{step:06d}", f"step-{step + 1:06d}"]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (_flip, "optimizer.pt", "optimizer.pt has changed since it was written"),
        (_cut, "adapter.pt", r"adapter.pt has \d+ bytes and should have \d+"),
        (Path.unlink, "random.pt", "random.pt is missing"),
        (Path.unlink, FILES, f"{FILES} cannot be read"),
        (_cut, FILES, f"{FILES} cannot be read"),
    ],
)
def test_damage_is_named_and_so_is_the_checkpoint_to_use_instead(
    tmp_path: Path, damage: object, name: str, message: str
) -> None:
    _saved(tmp_path, 3)
    _cut(checkpoint_path(tmp_path, 2) / "average.pt")
    newest = checkpoint_path(tmp_path, 3)
    assert callable(damage)
    damage(newest / name)
    small = SmallRun(small_recipe())
    before = small.values()
    with pytest.raises(DataError, match=message) as caught:
        small.load(newest)
    assert caught.value.cure.startswith(f"step-000001 is intact: delete {newest}")
    assert all(torch.equal(value, before[key]) for key, value in small.values().items())


def test_damage_of_the_only_checkpoint(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    _flip(checkpoint_path(tmp_path, 1) / "progress.json")
    with pytest.raises(DataError, match="no older checkpoint is intact"):
        SmallRun(small_recipe()).load(checkpoint_path(tmp_path, 1))


@pytest.mark.parametrize("damage", ["pipe", "deep", "null", "wrong-types"])
def test_a_list_of_files_that_is_none(tmp_path: Path, damage: str) -> None:
    _saved(tmp_path, 1)
    DAMAGES[damage](checkpoint_path(tmp_path, 1) / FILES)
    with pytest.raises(DataError, match=f"{FILES} cannot be read"):
        SmallRun(small_recipe()).load(checkpoint_path(tmp_path, 1))


def _rewrite(checkpoint: Path, name: str, value: object) -> None:
    """As another version would have written it: with its checksum."""
    if name.endswith(".pt"):
        torch.save(value, checkpoint / name)
    else:
        (checkpoint / name).write_text(value if isinstance(value, str) else json.dumps(value))
    data = (checkpoint / name).read_bytes()
    files = json.loads((checkpoint / FILES).read_bytes())
    files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (checkpoint / FILES).write_text(json.dumps(files))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("progress.json", []),
        ("progress.json", {"step": "x", "data": {}, "processes": 1}),
        ("progress.json", {"step": 1}),
        ("progress.json", "[" * 100_000),
        ("recipe.json", {}),
        ("recipe.json", "null"),
        ("recipe.json", {"recipe": 3}),
        ("random.pt", []),
        ("random.pt", [{"python": 3}]),
        ("scheduler.pt", 3),
        ("optimizer.pt", {"state": 3}),
        ("optimizer.pt", [1]),
        ("average.pt", {"values": {}}),
        ("average.pt", 3),
        ("adapter.pt", 3),
        ("adapter.pt", {"a": 1}),
    ],
)
def test_a_checkpoint_of_another_version(tmp_path: Path, name: str, value: object) -> None:
    _saved(tmp_path, 1)
    checkpoint = checkpoint_path(tmp_path, 1)
    _rewrite(checkpoint, name, value)
    with pytest.raises(ImigError, match=str(checkpoint)) as caught:
        SmallRun(small_recipe()).load(checkpoint)
    assert caught.value.cure


def test_one_training_at_a_time(tmp_path: Path) -> None:
    with (
        run_lock(tmp_path),
        pytest.raises(UsageError, match="another training writes into"),
        run_lock(tmp_path),
    ):
        pass
    with run_lock(tmp_path):
        pass


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harm",)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _saved(tmp_path, 1)
    checkpoint = checkpoint_path(tmp_path, 1)
    torch.save({"first.up": _Harmful()}, checkpoint / "adapter.pt", pickle_module=pickle)
    from imig.training.run_folder import _fingerprint

    files = json.loads((checkpoint / FILES).read_text())
    files["adapter.pt"] = _fingerprint(checkpoint / "adapter.pt")
    (checkpoint / FILES).write_text(json.dumps(files))
    with pytest.raises(DataError, match=r"cannot read .*adapter\.pt"):
        SmallRun(small_recipe()).load(checkpoint)
    assert not Path("harm").exists()


def test_another_recipe_is_refused_by_the_keys_that_differ(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    checkpoint = checkpoint_path(tmp_path, 1)
    small = SmallRun(small_recipe(seed=3))
    small.recipe = small.recipe.model_copy(
        update={"adapter": small.recipe.adapter.model_copy(update={"rank": 8})}
    )
    with pytest.raises(UsageError, match=r"different: seed, adapter\.rank\n"):
        small.load(checkpoint)


def test_how_long_and_where_it_runs_may_differ(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    small = SmallRun(small_recipe())
    document = small.recipe.model_dump()
    document |= {"steps": 50, "device": "cpu", "compile": True, "checkpoint_blocks": 0.5}
    document["saving"]["keep"] = 7
    document["watch"]["log_every"] = 3
    small.recipe = type(small.recipe).model_validate(document)
    assert small.load(checkpoint_path(tmp_path, 1)).step == 1


def test_keys_that_are_new_since_then_count_with_their_defaults(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    checkpoint = checkpoint_path(tmp_path, 1)
    document = json.loads((checkpoint / "recipe.json").read_text())
    del document["recipe"]["attention"]["drop_background"]
    (checkpoint / "recipe.json").write_text(json.dumps(document))
    from imig.training.checkpoint import differing_keys

    assert differing_keys(document["recipe"], small_recipe()) == []
    document["recipe"]["removed_key"] = 1
    assert "removed_key" in differing_keys(document["recipe"], small_recipe())


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    small = SmallRun(small_recipe())
    small.model.register_parameter("more", nn.Parameter(torch.zeros(2)))
    small.model.get_parameter("first.up").data = torch.zeros(5, 4)
    with pytest.raises(DataError, match=r"2 of 5 tensors differ, the first is (more|first\.up)"):
        small.load(checkpoint_path(tmp_path, 1))


def test_a_folder_with_a_training_in_it_is_never_started_silently(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert open_run(run, resume=False) is None
    assert open_run(run, resume=True) is None  # nothing yet: it starts at its beginning
    _saved(run, 2)
    with pytest.raises(UsageError, match=r"came to step 2\n.*--resume.*--output"):
        open_run(run, resume=False)
    assert open_run(run, resume=True) == checkpoint_path(run, 2)


def test_unfinished_and_foreign_folders_are_no_checkpoints(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    for name in (".step-000009.tmp-12", "step-9", "step-000008.tmp", "notes"):
        (folder / name).mkdir()
    (folder / "step-000007").write_text("a file")
    assert latest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1)


def test_eight_bit_states_are_restored_to_the_bit(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    document = small_recipe(kind="adamw").model_dump()
    document["optimizer"]["kind"] = "adamw8bit"
    recipe = TrainRecipe.model_validate(document)

    def wide() -> nn.Module:
        # bitsandbytes keeps states of fewer than 4096 numbers in 32 bits.
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 1500), nn.Tanh(), nn.Linear(1500, 3))

    first = SmallRun(recipe, model=wide())
    first.train(3)
    checkpoint = first.save(tmp_path)
    states = first.training.optimizer.state.values()
    assert any(one["state1"].dtype == torch.uint8 for one in states)
    second = SmallRun(recipe, model=wide())
    second.load(checkpoint)
    assert second.train(3, fixed_noise=True) == first.train(3, fixed_noise=True)
