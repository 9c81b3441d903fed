"""What is asked again, what is said at once, and what is read of an address."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.derived_datasets import contents, make_scene, write_dataset

from imig.derived.merge import merge_datasets
from imig.errors import DataError, ImigError, UsageError
from imig.stores import patience
from imig.stores.path import StorePath
from imig.stores.patience import patiently
from imig.stores.places import output_folder

ADDRESS = "s3://bucket/shards"


class _Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(patience, "_answered", {"s3://bucket"})
    monkeypatch.setattr(patience, "_given_up", set())
    return clock


def answer(code: str, kind: type[Exception] = OSError, *, status: int = 400) -> Exception:
    """What s3fs makes of an error answer of a store."""
    cause = Exception(code)
    cause.response = {  # type: ignore[attr-defined]
        "Error": {"Code": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = kind(errno.EIO, code)
    error.__cause__ = cause
    return error


class HTTPClientError(Exception):
    """As botocore's is named."""


class ReadTimeoutError(HTTPClientError):
    """As botocore's is named and derived."""


PASSING = [
    pytest.param(answer("SlowDown"), id="503"),
    pytest.param(answer("InternalError"), id="500"),
    pytest.param(answer("502"), id="502-of-a-proxy"),
    pytest.param(answer("SlowDownWrite", status=503), id="503-of-minio"),
    pytest.param(answer("BadDigest"), id="bytes-changed-on-the-way"),
    pytest.param(answer("RequestTimeout", TimeoutError), id="408"),
    pytest.param(ConnectionResetError(errno.ECONNRESET, "reset"), id="reset"),
    pytest.param(TimeoutError(), id="timeout"),
    pytest.param(ReadTimeoutError("read"), id="read-timeout"),
]
LASTING = [
    pytest.param(answer("AccessDenied", PermissionError), UsageError, id="403"),
    pytest.param(answer("InvalidBucketName"), DataError, id="no-bucket-has-such-a-name"),
    pytest.param(answer("InvalidAccessKeyId", PermissionError), UsageError, id="no-such-key"),
    pytest.param(OSError(errno.ENOSPC, "full"), DataError, id="this-machine-is-full"),
    pytest.param(TypeError("a fault of ours"), DataError, id="our-own-fault"),
]


@pytest.mark.parametrize("error", PASSING)
def test_a_fault_that_may_pass_is_waited_out(error: Exception, clock: _Clock) -> None:
    left = iter([error] * 5)

    def call() -> str:
        for one in left:
            raise one
        return "answer"

    assert patiently(call, address=ADDRESS) == "answer"
    assert clock.now > 0


@pytest.mark.parametrize(("error", "kind"), LASTING)
def test_what_no_waiting_cures_is_said_at_once(
    error: Exception, kind: type[ImigError], clock: _Clock
) -> None:
    def call() -> None:
        raise error

    with pytest.raises(kind) as caught:
        patiently(call, address=ADDRESS)
    assert clock.now == 0
    assert caught.value.cure


@pytest.mark.parametrize(
    ("answered", "least", "most"),
    [pytest.param(True, 250, 300, id="after-minutes"), pytest.param(False, 5, 20, id="new-soon")],
)
def test_patience_ends(answered: bool, least: float, most: float, clock: _Clock) -> None:
    if not answered:
        patience._answered.clear()

    def call() -> None:
        raise answer("SlowDown")

    with pytest.raises(DataError, match=r"cannot reach s3://bucket/shards after \d+ seconds"):
        patiently(call, address=ADDRESS)
    assert least <= clock.now <= most


def test_that_nothing_is_there_is_an_answer(clock: _Clock) -> None:
    def call() -> None:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        patiently(call, address=ADDRESS)
    assert clock.now == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("hf://datasets/owner/name", "imig push", id="hub"),
        pytest.param("memory://", "memory://BUCKET/FOLDER", id="no-bucket"),
        pytest.param("memory://bucket//x", "memory://BUCKET/FOLDER", id="empty-name"),
        pytest.param("memory://bucket/../x", "memory://BUCKET/FOLDER", id="dots"),
        pytest.param("http://host/x", "write into a folder", id="http"),
    ],
)
def test_an_address_that_nothing_is_written_to_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        output_folder(text)
    assert said in str(caught.value.cure)


@pytest.mark.parametrize("text", ["memory://bucket/x", "memory://bucket/x/", "memory:/bucket/x"])
def test_an_address_is_read_as_people_write_it(text: str) -> None:
    assert output_folder(text) == StorePath("memory://bucket/x")


@pytest.fixture
def memory() -> Iterator[StorePath]:
    """A folder of fsspec's store in this process's memory."""
    folder = StorePath("memory://bucket/shards")
    yield folder
    StorePath("memory://bucket").remove_all()


def test_a_dataset_in_a_store_has_the_bytes_of_one_on_the_disk(
    tmp_path: Path, memory: StorePath
) -> None:
    parents = [
        write_dataset(tmp_path / subset, [make_scene(0, subset=subset)])
        for subset in ("basic", "complex")
    ]
    merge_datasets(parents, output=tmp_path / "merged")
    merge_datasets(parents, output=memory)
    copy = tmp_path / "copy"
    memory.ask(lambda store: store.get(str(memory), str(copy), recursive=True))
    assert contents(copy) == contents(tmp_path / "merged")
    with pytest.raises(UsageError, match="holds a finished dataset that differs"):
        merge_datasets(parents[::-1], output=memory)
    with pytest.raises(UsageError, match="lies inside of the dataset"):
        merge_datasets([str(memory), parents[0]], output=f"{memory}/more")


def test_a_store_that_was_waited_for_in_vain_is_asked_once_until_it_answers(clock: _Clock) -> None:
    faults = iter([answer("SlowDown")] * 1000)

    def down() -> None:
        raise next(faults)

    with pytest.raises(DataError, match="after 2"):
        patiently(down, address=ADDRESS)
    began = clock.now
    with pytest.raises(DataError):
        patiently(down, address=f"{ADDRESS}/another")
    assert clock.now == began
    assert patiently(lambda: "up", address=ADDRESS) == "up"
    with pytest.raises(DataError, match="after 2"):
        patiently(down, address=ADDRESS)
