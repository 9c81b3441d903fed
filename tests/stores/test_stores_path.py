"""Files that go to a store by parts, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.object_store import Request, StoreServer, every, filesystem

from imig.errors import DataError
from imig.stores import path as store_path
from imig.stores import patience
from imig.stores.path import StorePath
from imig.stores.scratch import remove_scratch_of_the_dead, scratch_file

pytestmark = pytest.mark.long


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Three parts of an upload."""
    file = tmp_path / "large.tar"
    file.write_bytes(os.urandom(12 << 20))
    return file


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_path, "_CHUNK", 5 << 20)
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.02)


def test_an_upload_by_parts_survives_faults(
    store: StoreServer, folder: StorePath, large: Path, tmp_path: Path
) -> None:
    store.fault = every(3)
    (folder / large.name).upload(large)
    copy = tmp_path / "copy"
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    (folder / large.name).download(copy, sha256=digest)
    assert copy.read_bytes() == large.read_bytes()
    assert any("partNumber=" in request.path for request, _ in store.done)
    assert store.faults()


def test_an_upload_that_the_store_has_forgotten_is_made_again(
    store: StoreServer, folder: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers so where an upload was completed, and the answer was lost on the way."""
    import s3fs

    forgotten = Exception("the upload does not exist")
    forgotten.response = {"Error": {"Code": "NoSuchUpload"}}  # type: ignore[attr-defined]
    put, calls = s3fs.S3FileSystem._put_file, 0

    async def forgetful(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        await put(*args, **options)
        if calls == 1:
            raise FileNotFoundError("the upload does not exist") from forgotten

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", forgetful)
    s3fs.S3FileSystem.clear_instance_cache()
    (tmp_path / "sent").write_bytes(b"data")
    (folder / "object").upload(tmp_path / "sent")
    assert calls == 2
    with pytest.raises(FileNotFoundError):
        StorePath("s3://no-such-bucket/object").upload(tmp_path / "sent")


def test_an_upload_that_is_killed_is_not_visible_and_is_cleared_up(
    store: StoreServer, folder: StorePath, large: Path
) -> None:
    def third_part(request: Request) -> str | None:
        return "slow" if "partNumber=" in request.path else None

    store.fault = third_part  # type: ignore[assignment]
    code = (
        "import sys; from pathlib import Path; from imig.stores import path; path._CHUNK = 5 << 20;"
        "path._AT_ONCE = 1; path.StorePath(sys.argv[1]).upload(Path(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, f"{folder}/large.tar", str(large)]
    process = subprocess.Popen(words)
    while not any("partNumber=2" in request.path for request, _ in store.done):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert list(folder.iterdir()) == []
    assert folder.abort_uploads() == 1
    there = filesystem().call_s3("list_multipart_uploads", Bucket="bucket")
    assert there.get("Uploads", []) == []


def test_uploads_of_others_are_left_alone(store: StoreServer, folder: StorePath) -> None:
    client = filesystem()
    key = f"{folder.address.removeprefix('s3://bucket/')}-of-others/x.tar"
    upload = client.call_s3("create_multipart_upload", Bucket="bucket", Key=key)
    assert folder.abort_uploads() == 0
    client.call_s3("abort_multipart_upload", Bucket="bucket", Key=key, UploadId=upload["UploadId"])


def test_a_file_that_stays_damaged_is_named(
    store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    (folder / "x.tar").write_bytes(b"not what was written down")
    with pytest.raises(DataError, match=r"x\.tar is damaged: its SHA-256 is not 000"):
        (folder / "x.tar").download(tmp_path / "x", sha256="0" * 64)


def test_listing_tells_files_from_folders(store: StoreServer, folder: StorePath) -> None:
    assert folder.sizes() == {}
    assert not folder.exists()
    (folder / "a.json").write_bytes(b"12")
    (folder / "below/b.json").write_bytes(b"345")
    assert folder.sizes() == {"a.json": 2, "below": None}
    assert [path.name for path in folder.glob("*/*.json")] == ["b.json"]
    assert folder.is_dir()
    assert (folder / "a.json").size() == 2
    assert (folder / "below").size() is None
    assert (folder / "a.json").read_range(1, 10) == b"2"
    folder.remove_all()
    assert folder.sizes() == {}


def test_room_of_the_dead_is_cleared_and_that_of_the_living_stays() -> None:
    code = (
        "import os; from imig.stores.scratch import scratch_file\n"
        "with scratch_file('x') as file:\n"
        "    file.write_bytes(b'x'); print(file.parent, flush=True); os.kill(os.getpid(), 9)"
    )
    dead = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout
    assert Path(dead.strip()).is_dir()
    with scratch_file("y") as alive:
        alive.touch()
        remove_scratch_of_the_dead()
        assert alive.exists()
    assert not Path(dead.strip()).exists()
