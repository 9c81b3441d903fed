"""The cache of remote shards: bounded, shared, checked, and never half used."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pytest
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.errors import DataError, UnavailableError, UsageError
from imig.schema import ShardRecord
from imig.shards.cache import ShardCache
from imig.shards.folders import RemoteFolder
from imig.training.data import TrainingData, make_loader
from imig.training.recipe import DataConfig

SIZE = 1000


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def record(number: int) -> ShardRecord:
    data = content(number)
    sha256 = hashlib.sha256(data).hexdigest()
    return ShardRecord(name=f"basic-{number:06d}.tar", samples=1, bytes=SIZE, sha256=sha256)


class Store:
    """Counts what is fetched; may break off."""

    def __init__(self) -> None:
        self.fetched = Counter[int]()

    def read(self, cache: ShardCache, number: int) -> bytes:
        def fetch(path: Path) -> None:
            self.fetched[number] += 1
            path.write_bytes(content(number))

        with cache.open(record(number), fetch, place=f"store/{number}") as file:
            return file.read()


def held(cache: ShardCache) -> set[int]:
    return {number for number in range(20) if cache.holds(record(number))}


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_another(path: Path) -> None:
    write(path, content(1))


def age(cache: ShardCache, number: int, seconds: float) -> None:
    """Make it as if a shard was used so long ago."""
    path = cache.folder / f"{record(number).sha256}.tar"
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_shard_is_fetched_once(tmp_path: Path) -> None:
    cache, store = ShardCache(tmp_path / "cache", 3 * SIZE), Store()
    assert [store.read(cache, number) for number in (1, 2, 1, 1)] == [
        content(number) for number in (1, 2, 1, 1)
    ]
    assert store.fetched == {1: 1, 2: 1}
    again = ShardCache(tmp_path / "cache", 3 * SIZE)  # another process, another day
    assert store.read(again, 2) == content(2)
    assert store.fetched[2] == 1


def test_the_least_recently_used_gives_way(tmp_path: Path) -> None:
    cache, store = ShardCache(tmp_path, 3 * SIZE), Store()
    for number in (1, 2, 3):
        store.read(cache, number)
        age(cache, number, 100 - number)
    store.read(cache, 1)  # is the last one used now
    store.read(cache, 4)
    assert held(cache) == {1, 3, 4}
    assert sum(one.stat().st_size for one in tmp_path.glob("*.tar")) <= 3 * SIZE


def test_a_shard_that_gives_way_stays_whole_for_who_reads_it(tmp_path: Path) -> None:
    cache, store = ShardCache(tmp_path, SIZE), Store()
    store.read(cache, 1)
    with cache.open(record(1), Path.unlink, place="store/1") as file:
        store.read(cache, 2)
        assert held(cache) == {2}
        assert file.read() == content(1)


def test_other_bytes_than_the_manifest_says_are_never_given(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 3 * SIZE)
    tries = []

    def wrong_once(path: Path) -> None:
        tries.append(1)
        path.write_bytes(content(1) if len(tries) > 1 else content(1)[:-1] + b"\0")

    with cache.open(record(1), wrong_once, place="store/1") as file:
        assert file.read() == content(1)
    assert len(tries) == 2, "lost on the way: fetched again"
    with pytest.raises(UnavailableError, match=r"store/2 is not the shard of its dataset\.json"):
        cache.open(record(2), write_another, place="store/2")
    assert held(cache) == {1}
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_was_cut_off_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    cache, store = ShardCache(tmp_path, 3 * SIZE), Store()
    store.read(cache, 1)
    os.truncate(tmp_path / f"{record(1).sha256}.tar", 10)
    assert store.read(cache, 1) == content(1)
    assert store.fetched[1] == 2


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 3 * SIZE)

    def break_off(path: Path) -> None:
        path.write_bytes(content(1)[:500])
        raise UnavailableError("the store does not answer")

    with pytest.raises(UnavailableError, match="does not answer"):
        cache.open(record(1), break_off, place="store/1")
    assert [one.name for one in tmp_path.iterdir()] == [".lock"]


def test_several_threads_want_the_same_shard_and_one_fetches(tmp_path: Path) -> None:
    cache, fetched = ShardCache(tmp_path, 3 * SIZE), []

    def fetch(path: Path) -> None:
        fetched.append(1)
        time.sleep(0.05)
        path.write_bytes(content(1))

    results: list[bytes] = []

    def read() -> None:
        with cache.open(record(1), fetch, place="store/1") as file:
            results.append(file.read())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert results == [content(1)] * 8
    assert len(fetched) == 1


def test_what_others_fetch_counts_and_is_not_removed(tmp_path: Path) -> None:
    cache, store = ShardCache(tmp_path, 2 * SIZE), Store()
    store.read(cache, 1)
    coming = tmp_path / f"{record(9).sha256}.{SIZE}.part"
    with coming.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        store.read(cache, 2)
        assert held(cache) == {2}, "two shards fit, one is on its way"
        assert coming.exists()
        cache.fetch_ahead(record(9), Path.unlink, place="store/9")  # is left to the other one
    store.read(cache, 3)  # nobody holds it any more
    assert not coming.exists()
    assert held(cache) == {2, 3}


def in_background(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("room", "readers"), [(1, 2), (1, 3), (2, 3)])
def test_readers_that_wait_for_room_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, readers: int
) -> None:
    """All come to where room is made at the same time, each for a shard of its own."""
    cache, store, lock = ShardCache(tmp_path, room * SIZE), Store(), fcntl.flock
    together, came = threading.Barrier(readers), threading.local()

    def meet_first(file: BinaryIO, how: int) -> None:
        if Path(file.name).name == ".lock" and not hasattr(came, "before"):
            came.before = True
            together.wait(timeout=10)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", meet_first)
    results: dict[int, bytes] = {}

    def read(number: int) -> None:
        results[number] = store.read(cache, number)

    threads = [in_background(functools.partial(read, number)) for number in range(readers)]
    for one in threads:
        one.join(timeout=10)
    assert results == {number: content(number) for number in range(readers)}
    assert len(held(cache)) == room
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("ahead", [True, False])
def test_nothing_gives_way_where_that_would_not_make_room(tmp_path: Path, ahead: bool) -> None:
    cache, store = ShardCache(tmp_path, 3 * SIZE), Store()
    store.read(cache, 1)
    coming = tmp_path / f"{record(9).sha256}.{3 * SIZE}.part"
    results: list[bytes] = []
    with coming.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if ahead:
            cache.fetch_ahead(record(2), Path.unlink, place="store/2")
        else:
            reader = in_background(lambda: results.append(store.read(cache, 2)))
            reader.join(timeout=0.5)
            assert reader.is_alive()
        assert held(cache) == {1}
        assert list(tmp_path.glob("*.part")) == [coming], "who waits takes no room"
    if not ahead:
        reader.join(timeout=10)
        assert results == [content(2)]
        assert held(cache) == {1, 2}


def test_a_reader_does_not_wait_for_room_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imig.shards.cache._WAIT_SECONDS", 0.0)
    cache, coming = ShardCache(tmp_path, SIZE), tmp_path / f"{record(9).sha256}.{SIZE}.part"
    with coming.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match=r"store/2 has not come into .* 1,000 bytes do"):
            Store().read(cache, 2)


KILLED = """
import os, sys
from pathlib import Path
from imig.schema import ShardRecord
from imig.shards.cache import ShardCache

record = ShardRecord.model_validate_json(sys.argv[2])

def die(path):
    path.write_bytes(b"\\1" * 999)
    os.kill(os.getpid(), 9)

ShardCache(Path(sys.argv[1]), 2000).open(record, die, place="store/1")
"""


def test_a_process_that_is_killed_while_it_fetches_leaves_nothing_that_is_used(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path), record(1).model_dump_json()]
    assert subprocess.run(words, check=False).returncode == -9
    assert list(tmp_path.glob("*.part")), "it was in the middle"
    cache, store = ShardCache(tmp_path, 2 * SIZE), Store()
    assert held(cache) == set()
    assert store.read(cache, 1) == content(1)
    assert not list(tmp_path.glob("*.part"))


def test_a_cache_that_cannot_hold_the_largest_shard_is_refused(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, SIZE - 1)
    with pytest.raises(UsageError, match=r"size is 999 bytes, .* has 1,000") as caught:
        cache.require_room({"basic-000001.tar": record(1)}, place="s3://x")
    assert caught.value.cure.startswith("--set data.cache.size=20000 holds 20 of them")
    assert "of several it is 20 for each" in caught.value.cure


def test_a_disk_that_is_full_is_said_and_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ShardCache(tmp_path / "file" / "cache", SIZE)
    with pytest.raises(UnavailableError, match=r"cannot write into data\.cache\.folder"):
        Store().read(cache, 1)


# Datasets and trainings


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("cached") / "shards", 24, scenes_per_shard=4)


@contextlib.contextmanager
def served(folder: Path, kind: str) -> Iterator[str]:
    """The address of a folder."""
    if kind == "file":
        yield f"file://{folder}"
        return
    if kind == "memory":
        from fsspec.implementations.memory import MemoryFileSystem

        MemoryFileSystem().put(f"{folder}/", "/shard-cache-test/", recursive=True)
        yield "memory://shard-cache-test"
        MemoryFileSystem().rm("/shard-cache-test", recursive=True)
        return
    pytest.importorskip("aiohttp")
    handler = functools.partial(SilentHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        pass


def training_data(place: str | Path, cache: Path | None, *, size: int = 10**9) -> TrainingData:
    config = DataConfig.model_validate(
        {
            "target_width": 64,
            "reference_side": 32,
            "validation_fraction": 0.2,
            "cache": cache and {"folder": str(cache), "size": size},
        }
    )
    return TrainingData([place], config=config, seed=0, batch_size=2)


def ids(data: TrainingData, count: int, *, workers: int = 0) -> list[list[str]]:
    loader = make_loader(data, workers=workers)
    return [[one.id for one in batch.samples] for batch in islice(loader, count)]


@pytest.mark.parametrize("kind", ["file", "memory", "http"])
def test_a_training_reads_whole_checked_shards(shards: Path, tmp_path: Path, kind: str) -> None:
    local = training_data(shards, tmp_path / "unused")
    assert not (tmp_path / "unused").exists(), "a local dataset does not use it"
    with served(shards, kind) as address:
        data = training_data(address, tmp_path / "cache")
        assert ids(data, 12) == ids(local, 12)
    files = list((tmp_path / "cache").glob("*.tar"))
    assert files
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert not (tmp_path / "unused").exists()


def test_shards_come_ahead_of_the_training_in_its_order(shards: Path, tmp_path: Path) -> None:
    data = training_data(f"file://{shards}", tmp_path / "cache")
    loader = make_loader(data)
    assert isinstance(loader, Generator)
    next(loader)
    everything = {one.sha256 for one in imig.Dataset(shards).manifest.shards}
    deadline = time.monotonic() + 60
    while {one.stem for one in (tmp_path / "cache").glob("*.tar")} != everything:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert isinstance(loader, Generator)
    loader.close()


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_fetched_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, lock = ShardCache(tmp_path, 3 * SIZE), fcntl.flock
    taken: list[Path] = []

    def late(file: BinaryIO, how: int) -> None:
        path = Path(file.name)
        if path.suffix == ".part" and not taken:
            path.unlink()
            taken.append(path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    cache.fetch_ahead(record(1), lambda path: write(path, content(1)), place="store/1")
    assert taken
    assert held(cache) == {1}


def test_a_small_cache_stays_small_and_gives_the_same(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = max(one.bytes for one in imig.Dataset(shards).manifest.shards)
    data = training_data(f"file://{shards}", tmp_path / "cache", size=2 * largest)
    most = []
    fetch = RemoteFolder.fetch

    def fetch_and_look(self: RemoteFolder, name: str, copy: Path) -> None:
        fetch(self, name, copy)
        total = copy.stat().st_size
        for one in (tmp_path / "cache").glob("*.tar"):
            with suppress(FileNotFoundError):  # removed by another thread meanwhile
                total += one.stat().st_size
        most.append(total)

    monkeypatch.setattr(RemoteFolder, "fetch", fetch_and_look)
    assert ids(data, 20) == ids(training_data(shards, None), 20)
    assert max(most) <= 2 * largest


def test_held_out_samples_are_read_by_ranges(shards: Path, tmp_path: Path) -> None:
    data = training_data(f"file://{shards}", tmp_path / "cache")
    assert data.validation_sample(0).id == training_data(shards, None).validation_sample(0).id
    assert not (tmp_path / "cache").exists()


def test_a_shard_that_was_changed_behind_the_manifest_stops_the_training(
    shards: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(shards, tmp_path / "changed")
    for path in changed.glob("*.tar"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"is not the shard of its dataset\.json"):
        ids(training_data(f"file://{changed}", tmp_path / "cache"), 1)
    assert not list((tmp_path / "cache").glob("*.tar"))


@pytest.mark.long
def test_worker_processes_share_one_cache(shards: Path, tmp_path: Path) -> None:
    data = training_data(f"file://{shards}", tmp_path / "cache")
    assert ids(data, 12, workers=2) == ids(training_data(shards, None), 12)
    assert list((tmp_path / "cache").glob("*.tar"))
