import hashlib
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import webdataset
from PIL import Image
from support.model_doubles import digest

from imig.errors import CannotOpenError, DataError, UsageError
from imig.sample import Sample, derive_seed, image_to_jpeg
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources.archive_text import json_to_licence
from imig.stages.sources.config import (
    FolderSource,
    ListSource,
    SourceConfig,
    TabletopSource,
    WebdatasetSource,
)


def jpeg(colour: str, size: tuple[int, int] = (160, 140)) -> bytes:
    return image_to_jpeg(Image.new("RGB", size, colour))


def stage_of(config: SourceConfig, *, seed: int = 3) -> SourceStage:
    return SourceStage(config, BuildContext(recipe_seed=seed, subset="basic"))


def read_all(stage: SourceStage) -> list[Sample]:
    return stage(stage.enumerate(0, stage.count()))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    (folder / ".cache").mkdir()
    (folder / "z.jpg").write_bytes(jpeg("red"))
    (folder / "z.txt").write_bytes("\ufeffa  red\n wall ".encode())
    (folder / "b" / "A.PNG").write_bytes(jpeg("blue"))
    (folder / "b" / "broken.jpg").write_bytes(jpeg("green")[:600])
    (folder / "b" / "._A.PNG").write_bytes(b"resource fork")
    (folder / ".cache" / "thumb.jpg").write_bytes(jpeg("black"))
    (folder / "notes.md").write_text("no picture")
    return folder


def test_tabletop_gives_pixels_and_style_only() -> None:
    stage = stage_of(TabletopSource(kind="tabletop", count=3, width=96, height=64))
    assert stage.count() == 3
    assert stage.writes == {"target"}
    placeholder = stage.enumerate(1, 2)[0]
    assert placeholder.scene.id == "basic-00000001"
    assert placeholder.scene.seed == derive_seed(3, "basic-00000001")
    sample = stage([placeholder])[0]
    scene = sample.scene
    assert sample.target().size == (96, 64) == (scene.width, scene.height)
    assert scene.style
    assert scene.source.seed == scene.seed
    assert (scene.caption, scene.nouns, scene.instances) == ("", [], [])
    assert list(sample.files) == ["target.jpg"]


def test_tabletop_repeats_itself_and_follows_the_seed() -> None:
    config = TabletopSource(kind="tabletop", count=1, width=64, height=64)
    first, again, other = (
        digest(read_all(stage_of(config, seed=seed))[0].files) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_folder_in_sorted_order_with_captions_and_rejects(photos: Path) -> None:
    stage = stage_of(FolderSource(kind="folder", path=str(photos)))
    assert stage.writes == {"target", "caption"}
    blue, broken, red = read_all(stage)
    assert [one.scene.source.path for one in (blue, broken, red)] == [
        "b/A.PNG", "b/broken.jpg", "z.jpg",
    ]  # fmt: skip
    assert red.scene.caption == "a red wall"
    assert (red.scene.width, red.scene.height) == (160, 140)
    assert red.files["target.jpg"] == jpeg("red")
    assert red.scene.source.sha256 == hashlib.sha256(jpeg("red")).hexdigest()
    assert blue.scene.caption == ""
    assert blue.reject is None
    assert broken.reject is not None
    assert (broken.reject.stage, broken.reject.reason) == ("source", "unreadable image")
    assert "truncated" in str(broken.reject.figures["error"]).lower()
    flat = stage_of(FolderSource(kind="folder", path=str(photos), recursive=False))
    assert flat.count() == 1


def test_a_sent_stage_keeps_its_listing(photos: Path) -> None:
    stage = stage_of(FolderSource(kind="folder", path=str(photos)))
    samples = stage.enumerate(2, 3)
    worker: SourceStage = pickle.loads(pickle.dumps(stage))
    (photos / "a.jpg").write_bytes(jpeg("white"))
    assert worker(samples)[0].scene.caption == "a red wall"
    late = stage_of(FolderSource(kind="folder", path=str(photos)))
    assert late.fingerprint() != stage.fingerprint() == worker.fingerprint()
    with pytest.raises(DataError, match="basic-00000002"):
        late(samples)


def test_pipes_are_not_waited_for(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    os.mkfifo(photos / "b" / "A.txt")
    stage = stage_of(FolderSource(kind="folder", path=str(photos)))
    blue, _, pipe, _ = read_all(stage)
    assert (blue.reject, blue.scene.caption) == (None, "")
    assert pipe.reject is not None
    assert pipe.reject.figures == {"error": "OSError: it is no regular file"}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg("red"))
    sample = read_all(stage_of(FolderSource(kind="folder", path=str(tmp_path))))[0]
    assert sample.reject is None
    assert sample.scene.source.path == "caf\\xe9.jpg"
    assert sample.scene.model_dump_json()


def test_pixel_limits_come_from_the_recipe(photos: Path) -> None:
    config = FolderSource(kind="folder", path=str(photos), max_side=80, min_side=70)
    blue, _, red = read_all(stage_of(config))
    assert (red.scene.width, red.scene.height) == red.target().size == (80, 70)
    tight = FolderSource(kind="folder", path=str(photos), max_pixels=1000)
    reject = read_all(stage_of(tight))[0].reject
    assert reject is not None
    assert reject.reason == "too many pixels"
    assert blue.reject is None


def test_wrong_and_empty_folders_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        stage_of(FolderSource(kind="folder", path=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no pictures"):
        stage_of(FolderSource(kind="folder", path=str(tmp_path))).count()


def test_list_of_paths_and_json_lines(photos: Path) -> None:
    listing = photos.parent / "list.txt"
    entry = {"path": "photos/b/A.PNG", "caption": "a blue wall", "nouns": ["wall", " blue  wall "]}
    listing.write_text(f"# comment\n\n{photos}/z.jpg\n{json.dumps(entry)}\nphotos/nowhere.jpg\n")
    stage = stage_of(ListSource(kind="list", path=str(listing)))
    assert stage.writes == {"target", "caption", "nouns"}
    red, blue = stage(stage.enumerate(0, 2))
    assert red.scene.caption == ""
    assert (blue.scene.caption, blue.scene.nouns) == ("a blue wall", ["wall", "blue wall"])
    assert blue.scene.source.path == "photos/b/A.PNG"
    with pytest.raises(CannotOpenError, match=r"cannot open photos/nowhere\.jpg: No such file"):
        stage(stage.enumerate(2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "list.txt:1: not JSON"),
        ('a.jpg\n{"paht": "a.jpg"}', "list.txt:2: unknown key 'paht'"),
        ('{"caption": "a"}', "list.txt:1: path and caption"),
        ('{"path": "a.jpg", "nouns": "dog"}', "list.txt:1: nouns is a list"),
        ('{"path": "a.jpg", "licence": 4}', "list.txt:1: licence is a string"),
        ("# nothing", "names no picture"),
    ],
)
def test_wrong_lists_are_usage_errors(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        stage_of(ListSource(kind="list", path=str(tmp_path / "list.txt"))).count()


def test_a_licence_of_the_recipe_and_of_single_pictures(photos: Path) -> None:
    listing = photos.parent / "list.jsonl"
    lines = [
        {"path": "photos/z.jpg", "licence": "CC-BY-4.0 "},
        {"path": "photos/z.jpg", "license": "x" * 600},
        {"path": "photos/z.jpg"},
    ]
    listing.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    stated = stage_of(ListSource(kind="list", path=str(listing), licence="CC0-1.0"))
    assert "2 with a licence" in stated.describe()[0]
    samples = read_all(stated)
    licences = [one.scene.source.licence for one in samples]
    assert licences == ["CC-BY-4.0", "x" * 500, "CC0-1.0"]
    assert [kind for kind, _ in samples[1].oddities] == ["licence of more than 500 characters cut"]
    silent = stage_of(ListSource(kind="list", path=str(listing)))
    assert [one.scene.source.licence for one in read_all(silent)][2] is None
    assert "licence" not in ListSource(kind="list", path="a").model_dump()
    folder = stage_of(FolderSource(kind="folder", path=str(photos), licence="CC0-1.0"))
    assert {one.scene.source.licence for one in read_all(folder)} == {"CC0-1.0"}


def test_a_list_that_says_nothing_of_licences_keeps_its_hash(photos: Path) -> None:
    def fingerprint(**more: str) -> str:
        listing = photos.parent / "list.jsonl"
        listing.write_text(json.dumps({"path": "photos/z.jpg", **more}))
        return stage_of(ListSource(kind="list", path=str(listing))).fingerprint()

    assert fingerprint() == fingerprint(licence="") != fingerprint(licence="MIT")


@pytest.mark.parametrize(
    ("value", "licence"),
    [
        ({"license": "CC-BY-4.0"}, "CC-BY-4.0"),
        ({"caption": "c", "LICENSE": "MIT"}, "MIT"),
        ({"licence": "a", "license": "b"}, "a"),
        ({"license": "?"}, ""),
        ({"license": None, "source": {"licence": "CC0-1.0"}}, "CC0-1.0"),
        ({"license": {"id": 4, "name": "By", "url": "http://a.org/by"}}, "By http://a.org/by"),
        ({"license": {"name": "Unknown", "url": ""}}, ""),
        ({"license": 4}, ""),
        (["license"], ""),
        (None, ""),
    ],
)
def test_the_licence_in_a_sample_s_json(value: object, licence: str) -> None:
    assert json_to_licence(value) == licence


def test_a_webdataset_s_licences(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "0.jpg", jpeg("red"))
        add(tar, "0.txt", b"red")
        add(tar, "0.json", b'{"license": "CC-BY-2.0", "nouns": ["wall"]}')
        add(tar, "1.jpg", jpeg("blue"))
    config = WebdatasetSource(kind="webdataset", path=str(tmp_path / "a.tar"), licence="MIT")
    licences = [one.scene.source.licence for one in read_all(stage_of(config))]
    assert licences == ["CC-BY-2.0", "MIT"]


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def test_webdataset_written_by_webdataset(tmp_path: Path) -> None:
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"x-{shard:03d}.tar")) as writer:
            writer.write({"__key__": f"k{shard}", "jpg": jpeg("red"), "txt": "a red wall"})
            writer.write({"__key__": f"p{shard}", "png": jpeg("blue"), "json": {"caption": "b"}})
    pattern = f"{tmp_path}/x-{{000..001}}.tar"
    by_pattern = stage_of(WebdatasetSource(kind="webdataset", path=pattern))
    by_folder = stage_of(WebdatasetSource(kind="webdataset", path=str(tmp_path)))
    assert by_pattern.writes == {"target", "caption", "nouns"}
    assert by_pattern.fingerprint() == by_folder.fingerprint()
    samples = read_all(by_pattern)
    assert [one.scene.source.path for one in samples] == [
        "x-000.tar/k0", "x-000.tar/p0", "x-001.tar/k1", "x-001.tar/p1",
    ]  # fmt: skip
    assert [one.scene.caption for one in samples] == ["a red wall", "b"] * 2
    assert samples[0].files["target.jpg"] == jpeg("red")
    assert samples[0].scene.source.kind == "shard"


def test_webdataset_by_other_writers(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("folder/.hidden"))
        for key in ("one", "two"):
            add(tar, f"./train.v2/{key}.JPG", jpeg("red"))
        add(tar, "./train.v2/two.json", b'{"text": "later", "nouns": ["wall"]}')
        add(tar, "./train.v2/one.txt", b"far from its picture")
        add(tar, "only.json", b"{}")
        add(tar, "bad.json", b"[" * 100_000)
        add(tar, "bad.webp", b"RIFF")
        add(tar, "ours.ref00.jpg", jpeg("blue"))
        add(tar, "ours.target.jpg", jpeg("green"))
    stage = stage_of(WebdatasetSource(kind="webdataset", path=str(path)))
    one, two, only, bad, ours = read_all(stage)
    assert one.scene.caption == "far from its picture"
    assert (two.scene.caption, two.scene.nouns) == ("later", ["wall"])
    assert only.reject is not None
    assert (only.reject.reason, only.reject.figures) == (
        "no image in the sample", {"members": "json"},
    )  # fmt: skip
    assert bad.reject is not None
    assert bad.reject.reason == "unreadable image"
    assert ours.files["target.jpg"] == jpeg("green")


def test_wrong_webdataset_paths_are_usage_errors(tmp_path: Path) -> None:
    def count(path: object) -> int:
        return stage_of(WebdatasetSource(kind="webdataset", path=str(path))).count()

    with pytest.raises(UsageError, match=r"no \.tar files"):
        count(tmp_path)
    with pytest.raises(UsageError, match="2 of 2 missing"):
        count(tmp_path / "x-{0..1}.tar")
    (tmp_path / "zip.tar").write_bytes(b"PK" * 600)
    with pytest.raises(UsageError, match="not a plain tar"):
        count(tmp_path / "zip.tar")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(UsageError, match="no samples"):
        count(tmp_path / "empty.tar")


@pytest.mark.parametrize(
    ("data", "caption"),
    [
        pytest.param("a dog’s toy".encode("cp1252"), "a dog’s toy", id="cp1252"),
        pytest.param("a dog’s toy".encode("utf-16"), "a dog’s toy", id="utf-16"),
        pytest.param("a dog’s toy".encode("utf-16-le"), "a dog’s toy", id="utf-16-without-mark"),
        pytest.param("桌子上的红色杯子".encode("gb18030"), "桌子上的红色杯子", id="gb18030"),
        pytest.param("cafe\u0301  table\r\n".encode(), "café table", id="nfd"),
        pytest.param(b"fish &amp; chips", "fish & chips", id="entities"),
        pytest.param("a dogâ€™s toy".encode(), "a dog’s toy", id="mojibake"),
        pytest.param("red\u200b mug".encode(), "red\u200b mug", id="zero-width-stays"),
        pytest.param("\u200b\u00ad".encode(), "", id="nothing-to-see"),
    ],
)
def test_captions_in_any_encoding(tmp_path: Path, data: bytes, caption: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg("red"))
    (tmp_path / "a.txt").write_bytes(data)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "a.jpg", jpeg("red"))
        add(tar, "a.txt", data)
    folder = FolderSource(kind="folder", path=str(tmp_path))
    shards = WebdatasetSource(kind="webdataset", path=str(tmp_path / "x.tar"))
    for source in (folder, shards):
        (sample,) = read_all(stage_of(source))
        assert sample.scene.caption == caption
        assert not sample.oddities


def test_an_undecodable_caption_costs_the_caption_and_not_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(jpeg("red"))
    (tmp_path / "a" / "b.txt").write_bytes(b"a mug\xff\x00\x01\x02\x81")
    (sample,) = read_all(stage_of(FolderSource(kind="folder", path=str(tmp_path))))
    assert sample.reject is None
    assert sample.scene.caption == ""
    assert sample.target().size == (160, 140)
    [(kind, details)] = sample.oddities
    assert kind == "undecodable caption"
    assert details.startswith("a/b.txt: byte 5 (0xff)")


def test_lists_name_files_byte_for_byte(tmp_path: Path) -> None:
    names = {
        "nfd": "cafe\u0301.jpg".encode(),
        "latin": b"caf\xe9.jpg",
        "utf8": "tür.jpg".encode(),
        "separator": "a\u2028b.jpg".encode(),
    }
    for name in names.values():
        (tmp_path / os.fsdecode(name)).write_bytes(jpeg("red"))
    listing = tmp_path / "list.txt"
    listing.write_bytes(b"\r\n".join(names.values()) + b"\n")
    samples = read_all(stage_of(ListSource(kind="list", path=str(listing))))
    assert [one.reject for one in samples] == [None] * 4
    assert samples[1].scene.source.path == "caf\\xe9.jpg"
    # Where no file has the very bytes: as it reads, composed or decomposed.
    listing.write_bytes("t\u00fcr.jpg\n".encode("cp1252") + "caf\u00e9.jpg\n".encode())
    samples = read_all(stage_of(ListSource(kind="list", path=str(listing))))
    assert [one.reject for one in samples] == [None] * 2
    for encoding in ("utf-16", "utf-16-le", "utf-8-sig"):
        listing.write_bytes("tür.jpg\n".encode(encoding))
        (sample,) = read_all(stage_of(ListSource(kind="list", path=str(listing))))
        assert sample.reject is None


def test_texts_of_a_list_are_mended_and_blank_phrases_named(photos: Path) -> None:
    listing = photos.parent / "list.txt"
    entry = {
        "path": "photos/z.jpg",
        "caption": "cafe\u0301 &amp; \ud83d",
        "nouns": ["\u200b", "Red mug", "red\u00a0mug", "cafÃ©", " "],
    }
    odd = {"path": "photos/\ud83d\x00.jpg"}
    listing.write_text(f"{json.dumps(entry)}\n{json.dumps(odd)}\n{'x' * 5000}.jpg\n")
    stage = stage_of(ListSource(kind="list", path=str(listing)))
    mended, nowhere, long = stage.enumerate(0, 3)
    (mended,) = stage([mended])
    assert mended.scene.caption == "café & \ufffd"
    assert mended.scene.nouns == ["Red mug", "café"]
    assert mended.oddities == [
        ("phrase that shows nothing", "'\\u200b'"), ("phrase that shows nothing", "' '"),
    ]  # fmt: skip
    for sample, reason in ((nowhere, "no file can have"), (long, "too long")):
        with pytest.raises(CannotOpenError, match=reason):
            stage([sample])
        assert sample.scene.model_dump_json()


def test_an_undecodable_list_is_named_with_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.jpg\nb\x81\x01.jpg\n")
    with pytest.raises(UsageError, match=r"list\.txt:2: byte 1 \(0x81\)"):
        stage_of(ListSource(kind="list", path=str(tmp_path / "list.txt"))).count()
