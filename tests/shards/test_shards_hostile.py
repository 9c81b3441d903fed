"""What fails without a guard (tests/guards/test_guard_mutations.py), kinds and messages included.

tests/hostile plants much more, and looks at what each command answers.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.tiny_dataset import seal_manifest, write_tiny_dataset

import imig
from imig.derived.parents import open_parent
from imig.errors import DataError
from imig.schema import MAX_PIXELS, MAX_SIDE, MaskRLE
from imig.shards.features import FEATURES_MEMBER, features_from_bytes
from imig.shards.index import INDEX_NAME, shard_to_rows, write_index
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.validate import validate_dataset

SHARD = "basic-000000.tar"
VICTIM = "basic-00000001"

pytestmark = pytest.mark.long


@dataclass
class Copy:
    """A good dataset's copy under edit; checksums and index agree with it, as an attacker's do."""

    folder: Path
    members: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with tarfile.open(self.folder / SHARD) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                self.members.append((info.name, file.read()))

    def get(self, member: str) -> bytes:
        return dict(self.members)[f"{VICTIM}.{member}"]

    def put(self, member: str, data: bytes) -> None:
        name = f"{VICTIM}.{member}"
        kept = [pair for pair in self.members if pair[0] != name]
        self.members = sorted([*kept, (name, data)])
        self.write()

    def edit_scene(self, edit: Callable[[dict[str, Any]], None]) -> None:
        scene = json.loads(self.get("json"))
        edit(scene)
        self.put("json", json.dumps(scene).encode())

    def edit_index(self, **new: Any) -> None:
        table = pq.read_table(self.folder / INDEX_NAME)
        rows = [row | new if row["id"] == VICTIM else row for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), self.folder / INDEX_NAME)
        self.seal()

    def edit_manifest(self, edit: Callable[[dict[str, Any]], None]) -> None:
        manifest = json.loads((self.folder / MANIFEST_NAME).read_bytes())
        edit(manifest)
        (self.folder / MANIFEST_NAME).write_text(json.dumps(manifest))

    def write(self, *, links: dict[str, str] | None = None) -> None:
        with tarfile.open(self.folder / SHARD, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in self.members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                if links and name in links:
                    info.type, info.linkname, info.size = tarfile.SYMTYPE, links[name], 0
                tar.addfile(info, io.BytesIO(data))
        spans: dict[str, tuple[int, int]] = {}
        with tarfile.open(self.folder / SHARD) as tar:
            for info in tar:
                key = info.name.partition(".")[0]
                begin, _ = spans.get(key, (info.offset, 0))
                end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                spans[key] = (begin, end - begin)
        table = pq.read_table(self.folder / INDEX_NAME)
        rows = table.to_pylist()
        for row in rows:
            if row["shard"] == SHARD:
                row["offset"], row["size"] = spans[row["id"]]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), self.folder / INDEX_NAME)
        self.seal()

    def seal(self) -> None:
        seal_manifest(self.folder, {SHARD: 3, "basic-000001.tar": 3})


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("hostile") / "good")


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Copy:
    shutil.copytree(good, tmp_path / "d")
    return Copy(tmp_path / "d")


def read_all(folder: Path) -> None:
    """Every picture and mask of every scene."""
    for scene in imig.Dataset(folder):
        assert scene.target.size == (scene.width, scene.height)
        for instance in scene.instances:
            assert instance.mask is not None
            for view in instance.references:
                assert view.mask is not None
                assert view.image.size == view.mask.shape[::-1]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def picture(mode: str, size: tuple[int, int], kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 64\n%%EndComments\nshowpage\n%%EOF\n"

PICTURES = {
    "a bomb as target": ("target.jpg", bomb(50_000, 50_000), "undecodable-image"),
    "a bomb as mask": ("ref00.mask.png", bomb(50_000, 50_000), "image-format"),
    "a bomb as reference": ("ref00.jpg", bomb(50_000, 50_000), "image-format"),
    "EPS, which Pillow hands to Ghostscript": ("target.jpg", EPS, "undecodable-image"),
    "another format": ("target.jpg", picture("RGB", (96, 64), "WEBP"), "image-format"),
    "another mode": ("target.jpg", picture("CMYK", (96, 64), "JPEG"), "image-format"),
    "another size": ("target.jpg", picture("RGB", (31, 17), "JPEG"), "image-size"),
    "a mask of another size": ("ref00.mask.png", picture("1", (7, 5), "PNG"), "image-size"),
    "a mask of 16 bits": ("ref00.mask.png", picture("I;16", (40, 40), "PNG"), "image-format"),
    "nothing": ("target.jpg", b"", "undecodable-image"),
}


@pytest.mark.parametrize(("member", "data", "kind"), PICTURES.values(), ids=PICTURES)
def test_pictures(copy: Copy, member: str, data: bytes, kind: str) -> None:
    copy.put(member, data)
    kinds = {one.kind for one in validate_dataset(copy.folder).faults if one.sample == VICTIM}
    assert kinds & {kind, "undecodable-image"}
    with pytest.raises(DataError, match=f"sample {VICTIM} in .*{SHARD}: {member}"):
        read_all(copy.folder)


def _mask(scene: dict[str, Any], **new: Any) -> None:
    scene["instances"][0]["mask"].update(new)


SCENES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a scene of 10^18 pixels": lambda scene: scene.update(width=10**9, height=10**9),
    "a scene one pixel high": lambda scene: scene.update(width=200_000, height=1),
    "a scene over the limit of pixels": lambda scene: scene.update(width=MAX_SIDE, height=MAX_SIDE),
    "a mask of 3.6 billion": lambda scene: _mask(scene, size=[60_000, 60_000], counts="0o"),
    "a box of 400 digits": lambda scene: scene["instances"][0].update(box=[0, 0, 10**400, 9]),
    "20,000 instances": lambda scene: scene.update(instances=scene["instances"] * 10_000),
    "a caption of 1 MB": lambda scene: scene.update(caption="x" * 10**6),
    "a seed of 70 bits": lambda scene: scene.update(seed=2**70),
    "references of 8,192 pixels together": lambda scene: scene["instances"][0].update(
        references=[
            {**scene["instances"][0]["references"][0], "name": f"ref{10 + number}",
             "width": 8192, "height": 8192}
            for number in range(5)
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", SCENES.values(), ids=SCENES)
def test_sizes_are_bounded_before_anything_is_allocated(
    copy: Copy, edit: Callable[[dict[str, Any]], None]
) -> None:
    copy.edit_scene(edit)
    faults = [one for one in validate_dataset(copy.folder).faults if one.sample == VICTIM]
    assert "schema-violation" in {one.kind for one in faults}
    with pytest.raises(
        DataError, match=f"sample {VICTIM} in .* does not obey the schema"
    ) as caught:
        list(imig.Dataset(copy.folder).records())
    assert len(caught.value.message) < 600
    with pytest.raises(DataError, match=f"sample {VICTIM} in .* does not obey the schema"):
        list(open_parent(copy.folder).samples())


def test_the_largest_picture_obeys_the_schema() -> None:
    side = int(MAX_PIXELS**0.5)
    assert MaskRLE(size=(side, side), counts="0").size == (side, side)


SPELLINGS = {
    "longer than any run": "0" + "o" * 16 + "0",
    # -64 in 16 groups of five bits, where C shifts modulo 64
    "a shift beyond 64 bits": "PhPhPh" + "P" + "o" * 14 + "O",
    "not ASCII": "\u00e9\n\0",
    "unfinished": "o",
}


@pytest.mark.parametrize("counts", SPELLINGS.values(), ids=SPELLINGS)
def test_run_lengths(copy: Copy, counts: str) -> None:
    copy.edit_scene(lambda scene: _mask(scene, counts=counts))
    faults = [one for one in validate_dataset(copy.folder).faults if one.sample == VICTIM]
    assert "undecodable-mask" in {one.kind for one in faults}
    with pytest.raises(DataError, match=f"sample {VICTIM} in .*: instance 0: mask run lengths"):
        read_all(copy.folder)


def test_a_mask_of_another_size_than_the_target(copy: Copy) -> None:
    copy.edit_scene(lambda scene: _mask(scene, size=[64, 48], counts="PP3"))
    with pytest.raises(DataError, match="instance 0: "):
        read_all(copy.folder)


PLACES: dict[str, dict[str, Any]] = {
    "an offset within a block": {"offset": 519},
    "an offset before the shard": {"offset": -512},
    "a sample of 2^62 bytes": {"size": 2**62},
    "a sample of 40 GB": {"size": 40 * 2**30},
    "a sample of nothing": {"size": 0},
    "no offset": {"offset": None},
    "no shard": {"shard": None},
    "another file of the machine": {"shard": "../../../../../etc/passwd", "offset": 0, "size": 512},
    "a name with NUL": {"shard": "a\0b"},
}


@pytest.mark.parametrize("new", PLACES.values(), ids=PLACES)
def test_an_index_is_believed_only_within_its_shards(copy: Copy, new: dict[str, Any]) -> None:
    copy.edit_index(**new)
    assert validate_dataset(copy.folder).faults
    with pytest.raises(DataError, match=r"index\.parquet.*"):
        imig.Dataset(copy.folder)
    with pytest.raises(DataError, match=r"index\.parquet.*"):
        open_parent(copy.folder).ids()


def test_an_index_that_lacks_a_sample(copy: Copy) -> None:
    rows = [row for row in shard_to_rows(copy.folder / SHARD) if row.id != VICTIM]
    write_index(copy.folder / INDEX_NAME, rows)
    copy.seal()
    assert {one.kind for one in validate_dataset(copy.folder).faults} == {"index-missing-row"}
    with pytest.raises(DataError, match="has 2 rows, but there are 6 samples"):
        imig.Dataset(copy.folder)


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a shard elsewhere": (lambda one: one["shards"][0].update(name="../x.tar"), "shards.0.name"),
    "an absolute shard": (lambda one: one["shards"][0].update(name="/tmp/x.tar"), "shards.0.name"),
    "a shard twice": (lambda one: one["shards"].append(one["shards"][0]), "listed twice"),
    "a filter that is text": (
        lambda one: one["recipe"].update(filter="x"),
        "recipe.filter is a str",
    ),
    "a source that is text": (
        lambda one: one["recipe"].update(source="x"),
        "recipe.source is a str",
    ),
    "merged into itself for ever": (
        lambda one: one["recipe"].update(json.loads('{"merged": [' * 60 + "{}" + "]}" * 60)),
        "merged into each other",
    ),
    "merged of texts": (lambda one: one["recipe"].update(merged=["x"]), "no list of recipes"),
    "a name of 1 MB": (lambda one: one.update(name="x" * 10**6), "name: "),
}


@pytest.mark.parametrize(("edit", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests(copy: Copy, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    copy.edit_manifest(edit)
    assert "bad-manifest" in {one.kind for one in validate_dataset(copy.folder).faults}
    for read in (imig.Dataset, open_parent):
        with pytest.raises(DataError, match=f"{MANIFEST_NAME} does not obey the schema.*{message}"):
            read(copy.folder)


def test_thresholds_of_a_manifest_are_checked_by_validate(copy: Copy) -> None:
    copy.edit_manifest(lambda one: one["recipe"].update(duplicates={"hash_distance": "x"}))
    [fault] = validate_dataset(copy.folder).faults
    assert fault.kind == "bad-manifest"
    assert fault.message.startswith("recipe.duplicates: hash_distance: ")


def test_links_and_doubled_members_in_a_shard(copy: Copy) -> None:
    copy.write(links={f"{VICTIM}.target.jpg": "/etc/passwd"})
    assert "not-a-plain-file" in {one.kind for one in validate_dataset(copy.folder).faults}
    with pytest.raises(DataError, match=r"target\.jpg.* no plain file"):
        list(open_parent(copy.folder).samples())
    copy.members.insert(1, copy.members[0])
    copy.write()
    with pytest.raises(DataError, match="twice"):
        list(open_parent(copy.folder).samples())


def test_another_sample_s_json(copy: Copy) -> None:
    copy.edit_scene(lambda scene: scene.update(id="basic-00000000"))
    assert "id-mismatch" in {one.kind for one in validate_dataset(copy.folder).faults}
    with pytest.raises(DataError, match=f"sample {VICTIM} .* has the id basic-00000000"):
        imig.Dataset(copy.folder)[VICTIM]
    with pytest.raises(DataError, match=f"sample {VICTIM} .* has the id basic-00000000"):
        list(open_parent(copy.folder).samples())


@pytest.mark.parametrize("name", [SHARD, INDEX_NAME, MANIFEST_NAME])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(copy: Copy, name: str) -> None:
    (copy.folder / name).unlink()
    os.mkfifo(copy.folder / name)
    assert validate_dataset(copy.folder).faults
    with pytest.raises(imig.errors.ImigError):
        read_all(copy.folder)


def test_pictures_of_a_card_that_are_links_to_elsewhere(copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    (copy.folder / "pictures").mkdir()
    (copy.folder / "pictures" / "a.jpg").symlink_to(tmp_path / "secret")
    [fault] = validate_dataset(copy.folder).faults
    assert (fault.kind, "pictures/a.jpg" in fault.message) == ("unexpected-file", True)


@pytest.mark.parametrize(
    "stages", ["[1]", '{"stages": [{"stage": 1}]}', "[" * 9000, '{"stages": 1}']
)
def test_reports_of_others(copy: Copy, stages: str) -> None:
    (copy.folder / "report.json").write_text(stages)
    assert [one.kind for one in validate_dataset(copy.folder).faults] == ["bad-report"]
    assert open_parent(copy.folder).funnel() == []


def npy(header: bytes, data: bytes = b"\0" * 64) -> bytes:
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "data",
    [
        npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (10000000000000000,), }"),
        npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (-5,), }"),
        npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (999999,), }"),
        npy(b"-" * 9000 + b"1"),
        npy(b"{'descr': '<f2', 'fortran_order': False, 'shape': (5L"),
        npy(b"{'descr': ('<f2', [('a', 'x')]), 'fortran_order': False, 'shape': (5,), }"),
        np.zeros(8, np.float16).tobytes(),
    ],
)
def test_features_are_read_without_believing_their_header(data: bytes) -> None:
    with pytest.raises(DataError, match=f"here: {FEATURES_MEMBER} "):
        features_from_bytes(data, place="here")
