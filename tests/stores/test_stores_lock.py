"""One process writes into a folder of a store at a time, and one that died keeps nobody out."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.object_store import StoreServer

from imig.errors import DataError, UsageError
from imig.output.folder import build_lock, hold
from imig.stores import lock
from imig.stores.path import StorePath

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.5)


def lock_of(folder: StorePath) -> StorePath:
    return folder / ".build/lock"


def written(folder: StorePath, **changes: Any) -> bytes:
    """The lock of a process on a machine that nobody here can look into."""
    there = {"process": 7, "host": "elsewhere", "machine": "another", "token": "x", "beats": 1}
    data = json.dumps({**there, **changes}).encode()
    lock_of(folder).write_bytes(data)
    return data


@contextmanager
def beating(folder: StorePath) -> Iterator[None]:
    """Somebody elsewhere holds it, and lives."""
    ended = threading.Event()

    def beat() -> None:
        beats = 0
        while not ended.wait(0.2):
            beats += 1
            written(folder, beats=beats)

    written(folder)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_second_process_is_kept_out(store: StoreServer, folder: StorePath) -> None:
    with build_lock(folder):
        refused = pytest.raises(UsageError, match=r"another build writes into .*: process \d+ on ")
        with refused, build_lock(folder):
            pass
    assert not lock_of(folder).is_file()
    with build_lock(folder):
        pass


def test_a_live_holder_elsewhere_keeps_its_folder(store: StoreServer, folder: StorePath) -> None:
    with beating(folder):
        refused = pytest.raises(UsageError, match="process 7 on elsewhere")
        with refused, build_lock(folder):
            pass


def test_a_dead_holder_elsewhere_is_waited_for_and_taken_over(
    store: StoreServer, folder: StorePath, caplog: pytest.LogCaptureFixture
) -> None:
    written(folder)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), build_lock(folder):
        assert time.monotonic() - started >= lock.LEASE_SECONDS
    assert "to see whether it still lives" in caplog.text


def test_a_dead_holder_of_this_machine_is_taken_over_at_once(
    store: StoreServer, folder: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", 600.0)
    written(folder, machine=lock._machine(), process=2**22 + 1, started="1")
    with build_lock(folder):
        pass


def test_of_two_who_take_over_one_succeeds(store: StoreServer, folder: StorePath) -> None:
    written(folder)
    inside, refused, both = [], [], threading.Barrier(2)

    def take() -> None:
        both.wait()
        try:
            with build_lock(folder):
                inside.append(1)
                time.sleep(1.0)
        except UsageError:
            refused.append(1)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (inside, refused) == ([1], [1])


def test_whoever_has_lost_its_lock_writes_nothing_more(
    store: StoreServer, folder: StorePath
) -> None:
    with hold(folder):
        (folder / "before").write_bytes(b"ours")
        theirs = written(folder)
        time.sleep(3 * lock.BEAT_SECONDS)
        with pytest.raises(DataError, match="process 7 on elsewhere has taken it over"):
            (folder / "after").write_bytes(b"ours")
    assert not (folder / "after").is_file()
    assert lock_of(folder).read_bytes() == theirs


def test_whoever_could_not_reach_the_store_for_a_lease_asks_before_it_writes(
    store: StoreServer, folder: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 600.0)  # a process that was stopped
    with hold(folder):
        written(folder)
        time.sleep(lock.LEASE_SECONDS + 0.1)
        with pytest.raises(DataError, match="has taken it over"):
            (folder / "after").write_bytes(b"ours")


@pytest.mark.parametrize("how", ["headers are ignored", "headers are refused"])
def test_a_store_without_conditional_writes_is_named(
    store: StoreServer, folder: StorePath, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder / how.rpartition(" ")[2]
    if how == "headers are ignored":
        store.drop_headers = frozenset({"if-none-match", "if-match"})
    else:
        store.fault = lambda request: (
            "501"
            if {"if-none-match", "if-match"} & {one.lower() for one in request.headers}
            else None
        )
    with caplog.at_level(logging.WARNING), build_lock(folder):
        pass
    assert "keeps no conditional writes" in caplog.text
    if how == "headers are refused":  # whoever is seen is still kept out for
        refused = pytest.raises(UsageError, match="process 7 on elsewhere")
        with beating(folder), refused, build_lock(folder):
            pass


def test_no_bucket_no_lock(store: StoreServer) -> None:
    refused = pytest.raises(UsageError, match="there is no such bucket")
    with refused, build_lock(StorePath("s3://nobody-has-made-it/shards")):
        pass
