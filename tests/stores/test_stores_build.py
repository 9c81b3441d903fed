"""A build into an object store: the same bytes, whatever the store does and whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.engine_build import build_here
from support.engine_process import digests, start
from support.engine_stages import write_recipe
from support.object_store import PASSING, Request, StoreServer, every, filesystem

from imig.checks.dataset import validate_dataset
from imig.errors import DataError
from imig.stores import lock, patience
from imig.stores.path import StorePath

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(recipe, dataset folder) of a build into a folder of this machine."""
    here = tmp_path_factory.mktemp("undisturbed")
    recipe = write_recipe(here)
    build_here(here / "d", recipe, ray=False)
    return recipe, here / "d"


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.02)


def copy_of(folder: StorePath, here: Path) -> Path:
    """What a stranger's client downloads."""
    filesystem().get(folder.address, str(here), recursive=True)
    return here


def names_in(folder: StorePath) -> list[str]:
    """Everything below it, and the uploads that are not complete."""
    store = filesystem()
    bucket, prefix, _ = store.split_path(folder.address)
    uploads = store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    found = [one.removeprefix(f"{bucket}/{prefix}/") for one in store.find(folder.address)]
    return [*found, *(f"upload of {one['Key']}" for one in uploads.get("Uploads", []))]


def wait_for(folder: StorePath, count: int, process: subprocess.Popen[str]) -> None:
    """Until that many parts or shards are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = names_in(folder)
        if sum(one.startswith(".build/parts/") or one.endswith(".tar") for one in found) >= count:
            return
        time.sleep(0.05)


def test_a_store_that_fails_in_every_way_gets_the_same_bytes(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    recipe, expected = undisturbed
    store.fault = every(5)
    build_here(folder, recipe, ray=False)
    store.fault = lambda _: None
    assert set(store.faults()) == set(PASSING)
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)
    assert [one for one in names_in(folder) if one.startswith((".build", "upload"))] == []


def test_killed_anywhere_the_same_command_finishes_the_work(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    recipe, expected = undisturbed
    generator = random.Random(4)
    for kills in range(6):
        process = start(folder, recipe, seconds=0.003, ray=False)
        wait_for(folder, 1 + kills, process)
        time.sleep(generator.uniform(0, 0.3))
        process.kill()
        process.communicate()
        # Whoever looks sees whole shards, and no manifest before the end.
        for path in folder.glob("*.tar"):
            assert path.read_bytes() == (expected / path.name).read_bytes()
        if not (folder / "dataset.json").is_file():
            assert names_in(folder) != []
    build_here(folder, recipe, ray=False)
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)
    assert [one for one in names_in(folder) if one.startswith((".build", "upload"))] == []


def test_finished_parts_are_not_built_again_on_another_machine(
    undisturbed: tuple[Path, Path],
    store: StoreServer,
    folder: StorePath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, expected = undisturbed
    process = start(folder, recipe, seconds=0.02, ray=False)
    wait_for(folder, 4, process)
    process.kill()
    process.communicate()
    kept = {path.name for path in (folder / ".build/parts").iterdir() if path.suffix == ".json"}
    kept_shards = {path.name for path in folder.glob("*.tar")}
    assert kept or kept_shards
    # Another machine: nothing of the first one's is on its disk, and its lock ends by itself.
    monkeypatch.setattr(lock, "_machine", lambda: "another")
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    store.done.clear()
    build_here(folder, recipe, ray=False)
    put = {
        request.path.rpartition("/")[2].partition("?")[0]
        for request, _ in store.done
        if request.method == "PUT"
    }
    assert put.isdisjoint(kept | kept_shards)
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)


def test_a_reader_that_polls_never_sees_half_a_shard_nor_an_unfinished_dataset(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath
) -> None:
    recipe, expected = undisturbed
    process = start(folder, recipe, seconds=0.01, ray=False)
    seen: set[str] = set()
    while process.poll() is None:
        finished = (folder / "dataset.json").is_file()
        for path in folder.glob("*.tar"):
            seen.add(path.name)
            assert path.read_bytes() == (expected / path.name).read_bytes()
        if finished:
            assert validate_dataset(folder.address).faults in (
                [],
                # The manifest is there, and its writer is still clearing up.
                [
                    one
                    for one in validate_dataset(folder.address).faults
                    if one.kind == "unfinished-build"
                ],
            )
        time.sleep(0.02)
    process.communicate()
    assert seen == {path.name for path in expected.glob("*.tar")}


def test_a_part_that_arrives_damaged_is_fetched_again(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    recipe, expected = undisturbed
    damaged: set[str] = set()

    def once(request: Request) -> str | None:
        part = request.method == "GET" and "/parts/" in request.path and ".tar" in request.path
        if not part or request.path in damaged:
            return None
        damaged.add(request.path)
        return "corrupt"

    store.fault = once  # type: ignore[assignment]
    build_here(folder, recipe, ray=False)
    assert damaged
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)


def test_a_part_that_is_damaged_in_the_store_is_named(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath
) -> None:
    recipe, _ = undisturbed
    store.fault = lambda request: (
        "corrupt" if request.method == "GET" and "/00000001.tar" in request.path else None
    )
    with pytest.raises(DataError, match=r"parts/00000001\.tar is damaged: its SHA-256 is not"):
        build_here(folder, recipe, ray=False)
    assert not (folder / "dataset.json").is_file()


def test_a_store_that_goes_down_ends_the_build_and_the_next_run_goes_on(
    undisturbed: tuple[Path, Path],
    store: StoreServer,
    folder: StorePath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, expected = undisturbed
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 1.0)
    store.fault = lambda _: "503" if len(store.done) > 60 else None
    with pytest.raises(DataError, match="cannot reach s3://bucket/") as caught:
        build_here(folder, recipe, ray=False)
    assert "the same command goes on" in str(caught.value.cure)
    store.fault = lambda _: None
    build_here(folder, recipe, ray=False)
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)


def test_workers_of_ray_write_their_parts_into_the_store(
    undisturbed: tuple[Path, Path], store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    recipe, expected = undisturbed
    store.fault = every(9)
    process = start(folder, recipe, seconds=0.02, ray=True)
    wait_for(folder, 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    rerun = start(folder, recipe, seconds=0.0, ray=True)
    _, errors = rerun.communicate(timeout=180)
    assert rerun.returncode == 0, errors
    store.fault = lambda _: None
    assert digests(copy_of(folder, tmp_path / "d")) == digests(expected)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_the_command_says_what_is_missing_where_the_extra_is_not_installed(
    tmp_path: Path, scheme: str, package: str
) -> None:
    blocked = tmp_path / f"{package}.py"
    blocked.write_text(f"raise ImportError('no {package} here')\n", encoding="utf-8")
    address = f"{scheme}://bucket/x"
    done = subprocess.run(
        [sys.executable, "-m", "imig", "build", "demo", "--output", address, "--plan"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"pip install 'imig[{scheme}]'" in done.stderr
    assert "Traceback" not in done.stderr
