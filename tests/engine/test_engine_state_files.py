"""Damaged state of unfinished work: named with its cure, and nothing is written over. No Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.damage import DAMAGES, cases, look
from support.derived_datasets import make_scene, write_dataset
from support.encoded_samples import ENCODING
from support.engine_stages import Judge, make_test_plan, write_recipe
from support.tiny_dataset import make_samples

from imig.derived.merge import merge_datasets
from imig.derived.refilter import refilter_dataset
from imig.derived.split import split_dataset
from imig.engine.blocks import Block
from imig.engine.folder import BuildFolder
from imig.engine.parts import part_record, part_tar, write_part
from imig.errors import DataError, ImigError, UsageError
from imig.output.folder import build_lock, delete_dataset
from imig.sample import Sample
from imig.schema import ModelRecord
from imig.shards.dataset import Dataset
from imig.stores.path import OutputPath
from imig.training.encode_folder import EncodePlan, encode_output
from imig.training.recipe import DataConfig


@cache
def scene_samples() -> tuple[Sample, ...]:
    return tuple(make_samples(16))


@pytest.fixture
def folder(tmp_path: Path) -> BuildFolder:
    """An unfinished build with one finished block, of two that its shard has."""
    plan = make_test_plan(tmp_path / "d", recipe=write_recipe(tmp_path), scenes=16, judge=Judge())
    folder = BuildFolder(plan)
    with build_lock(folder.output.path):
        folder.output.prepare()
    start, stop = plan.block_range(0)
    write_part(folder.parts, Block(0, start, stop, samples=list(scene_samples()[start:stop])))
    return folder


def go_on(folder: BuildFolder) -> None:
    """What `imig build` does before its blocks."""
    with build_lock(folder.output.path):
        folder.output.prepare()
        folder.join_finished_shards()


def on_this_machine(path: OutputPath) -> Path:
    assert isinstance(path, Path)
    return path


def damage_file(damage: str, path: OutputPath) -> None:
    DAMAGES[damage](on_this_machine(path))


def refused(
    run: Callable[[], object], damaged: OutputPath, *, kind: type[ImigError] = DataError
) -> None:
    """The run names the damaged file and a cure, and changes nothing."""
    damaged = on_this_machine(damaged)
    top = damaged.parents[2]
    before = look(top)
    with pytest.raises(kind) as caught:
        run()
    assert str(damaged) in caught.value.message
    assert len(caught.value.message) < 600 + len(str(damaged))
    assert caught.value.cure
    assert look(top) == before


@pytest.mark.parametrize("damage", cases())
def test_a_damaged_identity_of_a_build(folder: BuildFolder, damage: str) -> None:
    damage_file(damage, folder.output.identity_file)
    refused(lambda: go_on(folder), folder.output.identity_file)
    with build_lock(folder.output.path):
        delete_dataset(folder.output.path)
        folder.output.prepare()  # --overwrite is the cure that is named
    assert folder.pending_blocks() == [0, 1, 2, 3]


def test_a_missing_identity_of_a_build(folder: BuildFolder) -> None:
    folder.output.identity_file.unlink()
    refused(lambda: go_on(folder), folder.output.identity_file)


@pytest.mark.parametrize("errno", [5, 13])
def test_an_identity_that_cannot_be_read(folder: BuildFolder, errno: int) -> None:
    with patch(
        "imig.output.identity.open_regular_file", side_effect=OSError(errno, os.strerror(errno))
    ):
        refused(lambda: go_on(folder), folder.output.identity_file)
    go_on(folder)
    assert folder.finished_parts() == {0}


def finish_parts(folder: BuildFolder) -> None:
    for number in range(4):
        start, stop = folder.plan.block_range(number)
        write_part(
            folder.parts, Block(number, start, stop, samples=list(scene_samples()[start:stop]))
        )


HARMLESS = ("other-object", "dangling-link")
"""A record's fields have defaults: an empty one is one of nothing; and a part without a record is
unfinished, and built again."""


@pytest.mark.parametrize("damage", cases(*HARMLESS))
def test_a_damaged_record_of_a_part(folder: BuildFolder, damage: str) -> None:
    finish_parts(folder)
    record = part_record(folder.parts, 1)
    damage_file(damage, record)
    refused(lambda: go_on(folder), record)


@pytest.mark.parametrize("damage", ["missing", "half", "pipe"])
def test_a_damaged_part(folder: BuildFolder, damage: str) -> None:
    finish_parts(folder)
    tar = part_tar(folder.parts, 1)
    (Path.unlink if damage == "missing" else DAMAGES[damage])(on_this_machine(tar))
    refused(lambda: go_on(folder), tar)


def test_a_part_of_another_block(folder: BuildFolder) -> None:
    finish_parts(folder)
    part_tar(folder.parts, 1).write_bytes(part_tar(folder.parts, 2).read_bytes())
    with pytest.raises(DataError, match="hold other samples than their records say") as caught:
        go_on(folder)
    assert str(folder.parts) in caught.value.message + caught.value.cure
    assert folder.finished_parts() == {0, 1, 2, 3}
    assert list(folder.output.path.glob("*.tar")) == []


@pytest.mark.parametrize("damage", ["missing", "half", "folder"])
def test_a_damaged_shard_of_a_build(folder: BuildFolder, damage: str) -> None:
    finish_parts(folder)
    go_on(folder)
    assert folder.pending_blocks() == []
    shard = folder.output.path / folder.plan.shard_name(0)
    (Path.unlink if damage == "missing" else DAMAGES[damage])(on_this_machine(shard))
    with pytest.raises(DataError, match=shard.name) as caught:
        go_on(folder)
    folder.shard_record(0).unlink()  # the cure that is named
    assert str(folder.shard_record(0)) in caught.value.cure
    assert folder.pending_blocks() == [0, 1, 2, 3]


def test_other_files_among_the_parts_do_no_harm(folder: BuildFolder) -> None:
    for name in ("x.json", "-1.json", "1e3.json", "notes.txt"):
        (folder.parts / name).write_bytes(b"{}")
    assert folder.finished_parts() == {0}


@pytest.mark.parametrize("step", ["prepare", "part", "join"])
def test_a_full_disk_at_the_record(folder: BuildFolder, step: str) -> None:
    finish_parts(folder)
    full = OSError(28, os.strerror(28))
    steps: dict[str, Callable[[], object]] = {
        "prepare": folder.output.prepare,
        "part": lambda: finish_parts(folder),
        "join": folder.join_finished_shards,
    }
    with patch("os.replace", side_effect=full), pytest.raises(DataError, match="No space") as error:
        steps[step]()
    assert "Make room on the disk" in error.value.cure
    go_on(folder)
    assert folder.pending_blocks() == []


GARBAGE = {name: DAMAGES[name] for name in ("binary", "no-utf-8", "huge", "empty", "deep")}


@pytest.mark.parametrize("damage", GARBAGE)
def test_garbage_in_a_free_lock_does_no_harm(tmp_path: Path, damage: str) -> None:
    with build_lock(tmp_path / "d"):
        pass
    lock = tmp_path / "d" / ".build" / "lock"
    GARBAGE[damage](lock)
    with build_lock(tmp_path / "d"):
        assert lock.read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("damage", GARBAGE)
def test_garbage_in_a_lock_that_is_held(tmp_path: Path, damage: str) -> None:
    with build_lock(tmp_path / "d"):
        GARBAGE[damage](tmp_path / "d" / ".build" / "lock")
        with (
            pytest.raises(UsageError, match="another build writes into") as caught,
            build_lock(tmp_path / "d"),
        ):
            pass
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("damage", ["folder", "pipe", "device"])
def test_a_lock_that_is_none(tmp_path: Path, damage: str) -> None:
    with build_lock(tmp_path / "d"):
        pass
    damage_file(damage, tmp_path / "d" / ".build" / "lock")
    with pytest.raises(UsageError, match="cannot write into"), build_lock(tmp_path / "d"):
        pass


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom imig.output.folder import build_lock\n"
        "with build_lock(Path(sys.argv[1])):\n    os._exit(9)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path / "d")], check=False)
    assert died.returncode == 9
    assert (tmp_path / "d" / ".build" / "lock").read_text().startswith("process ")
    with build_lock(tmp_path / "d"):
        pass


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two datasets that are read only."""
    folder = tmp_path_factory.mktemp("parents")
    return [
        write_dataset(folder / f"p{place}", [make_scene(2 * place + n) for n in range(2)])
        for place in range(2)
    ]


def derive(operation: str, parents: list[Path], output: Path, **more: Any) -> object:
    if operation == "merge":
        return merge_datasets(parents, output=output, **more)
    if operation == "refilter":
        return refilter_dataset(parents[0], overrides=["filter.dino=0.6"], output=output, **more)
    return split_dataset(parents[0], validation=0.5, output=output, **more)


@pytest.mark.parametrize("damage", ["half", "pipe"])
def test_a_damaged_identity_of_a_derived_dataset(
    parents: list[Path], tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "out"
    with (
        patch("imig.derived.refilter.seal", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        derive("refilter", parents, output)
    identity = output / ".build" / "build.json"
    damage_file(damage, identity)
    refused(lambda: derive("refilter", parents, output), identity)
    assert derive("refilter", parents, output, overwrite=True) is not None


@pytest.mark.parametrize("damage", cases())
def test_a_damaged_identity_of_an_encoding(
    parents: list[Path], tmp_path: Path, damage: str
) -> None:
    source = Dataset(parents[0])
    plan = EncodePlan(
        source=source,
        output=tmp_path / "out",
        config=DataConfig(),
        components=tmp_path,
        model=ModelRecord(family="contextgen", weights="w", revision="0"),
        encoding=ENCODING,
        device="cpu",
        shards={},
    )
    output = encode_output(plan)
    output.prepare()
    output.prepare()
    damage_file(damage, output.identity_file)
    refused(output.prepare, output.identity_file)


@pytest.mark.parametrize("operation", ["merge", "refilter", "split"])
def test_a_finished_output_is_left_alone_and_a_damaged_one_is_none(
    parents: list[Path], tmp_path: Path, operation: str
) -> None:
    output = tmp_path / "out"
    assert derive(operation, parents, output) is not None
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert derive(operation, parents, output) is None
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    side = output / "train" if operation == "split" else output
    (side / ".build").mkdir()  # killed just before it was removed
    (side / ".build" / "build.json").write_bytes(b"{")
    assert derive(operation, parents, output) is None
    assert not (side / ".build").exists()

    shard, index = next(side.glob("*.tar")), side / "index.parquet"
    for path, words in ((shard, "is missing"), (shard, "bytes and should have"), (index, "miss")):
        data = path.read_bytes()
        path.unlink() if "miss" in words else path.write_bytes(data[:-512])
        with pytest.raises(DataError, match=f"was finished, and is damaged: {path.name}.*{words}"):
            derive(operation, parents, output)
        path.write_bytes(data)
    manifest = side / "dataset.json"
    data = manifest.read_bytes()
    for damaged in (b"", data[:99], b"[]", b"\xff", b"[" * 100_000):
        manifest.write_bytes(damaged)
        with pytest.raises(DataError, match=r"dataset\.json") as caught:
            derive(operation, parents, output)
        assert "--overwrite" in caught.value.cure
        assert manifest.read_bytes() == damaged
    manifest.write_bytes(data)
    assert derive(operation, parents, output) is None


def test_other_settings_and_inputs_are_shown(parents: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    derive("refilter", parents, output)
    why = "that differs: filter.dino is 0.6 there and 0.7 here"
    with pytest.raises(UsageError, match=why) as caught:
        refilter_dataset(parents[0], overrides=["filter.dino=0.7"], output=output)
    assert "--overwrite" in caught.value.cure
    with pytest.raises(UsageError, match=r"it was made of other datasets, or .*p1 has changed"):
        refilter_dataset(parents[1], overrides=["filter.dino=0.6"], output=output)
    with pytest.raises(UsageError, match="drop_encoding is not set there and True here"):
        derive("refilter", parents, output, drop_encoding=True)
    with pytest.raises(UsageError, match="it was made by `imig refilter`"):
        derive("merge", parents, output)
    shutil.copytree(parents[0], tmp_path / "p0")
    parents = [tmp_path / "p0", parents[1]]
    assert derive("refilter", parents, output) is None, "it lies elsewhere, and is the same"
    manifest = json.loads((parents[0] / "dataset.json").read_bytes())
    (parents[0] / "dataset.json").write_text(json.dumps({**manifest, "name": "other"}))
    with pytest.raises(UsageError, match=r"it was made of other datasets, or .*p0 has changed"):
        derive("refilter", parents, output)
    assert derive("refilter", parents, output, overwrite=True) is not None
    assert derive("refilter", parents, output) is None


def test_an_encoded_copy_is_not_the_dataset_it_was_made_of(
    parents: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    derive("refilter", parents, output)
    manifest = json.loads((output / "dataset.json").read_bytes())
    manifest["encoding"] = ENCODING.model_dump(mode="json")
    (output / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="it is encoded, this one not encoded"):
        derive("refilter", parents, output)
