"""Google's store: builds, kills, the lock, and what reads and makes datasets there."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcsfs.retry import HttpError
from support.commands import call
from support.derived_datasets import contents, make_scene, write_dataset
from support.engine_build import build_here
from support.engine_process import digests, start
from support.engine_stages import write_recipe
from support.google_store import CREATE, google_filesystem, google_store
from support.object_store import Fault, Request, StoreServer, every
from support.ports import free_port

from imig.errors import UnavailableError, UsageError
from imig.stores import lock, patience
from imig.stores import path as stores_path
from imig.stores.google import GoogleStore, clear_error
from imig.stores.lock import store_lock
from imig.stores.path import StorePath

UPLOAD = "upload_id="
"""In the addresses of an upload by parts."""


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


def test_nobody_there_is_said_soon_and_in_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """gcsfs alone would ask for half a minute and print a traceback."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(patience, "_answered", set())
    monkeypatch.setattr(patience, "_given_up", set())
    GoogleStore.clear_instance_cache()
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="cannot reach gs://bucket/x") as caught:
        StorePath("gs://bucket/x").is_dir()
    assert time.monotonic() - begun < 5
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.cure
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.stores.google._PAUSES", (0.0, 0.0))


@pytest.mark.usefixtures("_no_pauses")
def test_a_file_in_parts_goes_there_and_back_through_faults(
    store: StoreServer, folder: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores_path, "_CHUNK", 1 << 20)
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(random.Random(0).randbytes(12_345_678))
    assert not (folder / "large").exists()  # the store has answered once
    store.fault = every(4)
    (folder / "large").upload(sent)
    (folder / "large").download(back)
    assert back.read_bytes() == sent.read_bytes()
    assert len([request for request, _ in store.done if UPLOAD in request.path]) >= 12
    assert len(store.faults()) > 4


@pytest.mark.usefixtures("_no_pauses")
def test_an_upload_that_cannot_be_given_up_is_made_again(
    store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    """Giving up answers with 501, which no waiting cures; what counts is why it was given up."""
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(6_000_000))
    parts = 0

    def fault(request: Request) -> Fault | None:
        nonlocal parts
        if UPLOAD not in request.path:
            return None
        if request.method == "DELETE":
            return "501"
        parts += 1
        return "503" if parts <= 3 else None

    assert not (folder / "large").exists()
    store.fault = fault
    (folder / "large").upload(sent)
    assert (folder / "large").size() == 6_000_000
    assert "501" in store.faults()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(OSError("Forbidden: bucket/x"), PermissionError, id="403"),
        pytest.param(FileNotFoundError("bucket/x"), FileNotFoundError, id="404"),
        pytest.param(HttpError({"code": 410, "message": "gone"}), HttpError, id="410"),
    ],
)
def test_errors_are_as_those_of_other_stores(error: Exception, expected: type[Exception]) -> None:
    assert type(clear_error(error, of_upload=False)) is expected
    if expected is not PermissionError:  # an upload that the store has forgotten: anew
        assert patience.may_pass(clear_error(error, of_upload=True))
