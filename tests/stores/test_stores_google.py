"""Google's store: builds, kills, the lock, and what reads and makes datasets there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import call
from support.derived_datasets import contents, make_scene, write_dataset
from support.engine_build import build_here
from support.engine_process import digests, start
from support.engine_stages import write_recipe
from support.google_store import CREATE, google_filesystem, google_store
from support.object_store import StoreServer, every

from imig.errors import UsageError
from imig.stores import lock, patience
from imig.stores.lock import store_lock
from imig.stores.path import StorePath


@pytest.fixture(scope="module")
def running_store() -> Iterator[StoreServer]:
    with google_store() as server:
        yield server


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> StorePath:
    return StorePath(f"gs://bucket/{request.node.originalname}/shards")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.02)


def names_in(folder: StorePath) -> list[str]:
    prefix = folder.address.partition("://")[2]
    return [one.removeprefix(f"{prefix}/") for one in google_filesystem().find(prefix)]


@pytest.mark.long
def test_killed_builds_end_with_the_bytes_of_a_folder(
    store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path)
    build_here(tmp_path / "expected", recipe, ray=False)
    for parts in (1, 4):
        process = start(folder, recipe, seconds=0.01, ray=False)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len([one for one in names_in(folder) if "parts/" in one]) >= parts:
                break
            time.sleep(0.05)
        process.kill()
        process.communicate()
        assert ".build/lock" in names_in(folder)
        assert "dataset.json" not in names_in(folder)
    build_here(folder, recipe, ray=False)
    google_filesystem().get(folder.address, str(tmp_path / "found"), recursive=True)
    assert digests(tmp_path / "found") == digests(tmp_path / "expected")
    assert [one for one in names_in(folder) if one.startswith(".build")] == []


@pytest.mark.long
def test_faults_of_the_store_pass(store: StoreServer, folder: StorePath, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    build_here(tmp_path / "expected", recipe, ray=False)
    store.fault = every(11)
    build_here(folder, recipe, ray=False)
    store.fault = lambda _: None
    assert len(store.faults()) > 5
    google_filesystem().get(folder.address, str(tmp_path / "found"), recursive=True)
    assert digests(tmp_path / "found") == digests(tmp_path / "expected")


def test_one_writer_at_a_time(store: StoreServer, folder: StorePath) -> None:
    path = folder / ".build" / "lock"
    with store_lock(path, folder=folder, who="another build"):
        assert any(CREATE in request.path for request, _ in store.done)
        with (
            pytest.raises(UsageError, match="another build writes into gs://"),
            store_lock(path, folder=folder, who="another build"),
        ):
            pytest.fail("two have the lock")
    assert names_in(folder) == []


def test_a_dead_writer_elsewhere_is_taken_over(
    store: StoreServer, folder: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / ".build" / "lock"
    path.write_bytes(b'{"process": 1, "host": "far", "machine": "another", "token": "x"}')
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.5)
    with store_lock(path, folder=folder, who="another build"):
        assert b'"far"' not in path.read_bytes()


@pytest.mark.long
def test_commands_read_and_write_there(
    store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    parents = [
        write_dataset(tmp_path / subset, [make_scene(number, subset=subset) for number in range(4)])
        for subset in ("basic", "complex")
    ]
    call("merge", *parents, "--output", tmp_path / "merged")
    call("merge", *parents, "--output", folder)
    call("validate", folder)
    assert call("stats", folder) == call("stats", tmp_path / "merged")
    call("split", tmp_path / "merged", "--validation", "0.3", "--output", tmp_path / "split")
    call("split", folder, "--validation", "0.3", "--output", folder.parent / "split")
    store_root = str((folder.parent / "split").address)
    google_filesystem().get(store_root, str(tmp_path / "found"), recursive=True)
    for part in ("train", "validation"):
        assert contents(tmp_path / "found" / part) == contents(tmp_path / "split" / part)
