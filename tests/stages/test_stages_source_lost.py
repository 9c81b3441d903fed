"""A source that is unreadable, gone or odd: said, and never a smaller dataset without a word."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import imig.stages.pictures as pictures
from imig.engine.plan import make_plan
from imig.engine.plan_source import check_output
from imig.errors import CannotOpenError, DataError, SourceLostError, UsageError
from imig.prompts.config import PromptsSource
from imig.prompts.record import PromptRecord, record_to_line
from imig.recipe.file import load_recipe
from imig.sample import image_to_jpeg
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources import opening
from imig.stages.sources.config import FolderSource, ListSource, SourceConfig, WebdatasetSource

RED = image_to_jpeg(Image.new("RGB", (160, 140), "red"))


def stage_of(config: SourceConfig) -> SourceStage:
    return SourceStage(config, BuildContext(recipe_seed=3, subset="basic"))


def folder_of(path: Path) -> SourceStage:
    return stage_of(FolderSource(kind="folder", path=str(path)))


def list_of(path: Path, *lines: str) -> SourceStage:
    path.write_text("\n".join(lines) + "\n")
    return stage_of(ListSource(kind="list", path=str(path)))


def tars_of(path: Path | str) -> SourceStage:
    return stage_of(WebdatasetSource(kind="webdataset", path=str(path)))


def write_tar(path: Path, *keys: str, suffix: str = ".jpg") -> Path:
    with tarfile.open(path, "w") as tar:
        for key in keys:
            info = tarfile.TarInfo(f"{key}{suffix}")
            info.size = len(RED)
            tar.addfile(info, io.BytesIO(RED))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """``a.jpg`` and ``b.jpg`` with captions, ``sub/c.jpg``."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (folder / name).write_bytes(RED)
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("a red wall")
    return folder


def fill(stage: SourceStage, number: int, spoil: Callable[[], object]) -> None:
    """Read one picture, after something has happened since the listing."""
    samples = stage.enumerate(number, number + 1)
    spoil()
    stage(samples)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Let opening files of that name fail, whoever we are: root may read everything."""
    open_before = os.open

    def open_unless(path: object, *args: int, **options: int) -> int:
        if str(path).endswith(name):
            raise OSError(code, os.strerror(code), str(path))
        return open_before(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_unless)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("a.jpg", errno.EACCES, id="forbidden"),
        pytest.param("a.jpg", errno.EIO, id="failing-disk"),
        pytest.param("a.jpg", errno.ESTALE, id="stale-handle"),
        pytest.param("a.jpg", errno.EMFILE, id="too-many-open-files"),
        pytest.param("a.txt", errno.EIO, id="caption-on-a-failing-disk"),
    ],
)
def test_what_the_system_does_not_give_is_no_reject(
    photos: Path, name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = folder_of(photos)
    samples = stage.enumerate(0, 1)
    refuse(monkeypatch, name, code)
    with pytest.raises(CannotOpenError) as caught:
        stage(samples)
    assert caught.value.message == f"cannot open {name}: {os.strerror(code)}"
    assert not stage.can_open("basic-00000000")
    monkeypatch.undo()
    assert stage.can_open("basic-00000000")
    assert stage(samples)[0].scene.caption == "a red wall"


def test_one_file_gone_since_the_listing_is_no_reject(photos: Path) -> None:
    stage = folder_of(photos)
    with pytest.raises(CannotOpenError, match=r"^cannot open b\.jpg: No such file or directory$"):
        fill(stage, 1, (photos / "b.jpg").unlink)
    with pytest.raises(CannotOpenError, match=r"cannot open a\.txt"):
        fill(stage, 0, (photos / "a.txt").unlink)


@pytest.mark.parametrize("how", ["moved", "emptied", "unmounted-below"])
def test_a_folder_that_is_gone_stops_the_build(photos: Path, how: str) -> None:
    stage = folder_of(photos)

    def spoil() -> None:
        if how == "moved":
            photos.rename(photos.parent / "elsewhere")
        else:
            shutil.rmtree(photos)
            photos.mkdir()
            if how == "unmounted-below":
                (photos / "sub").mkdir()

    with pytest.raises(SourceLostError, match=f"no picture below {photos} can be found") as caught:
        fill(stage, 0, spoil)
    assert "run the same command again" in caught.value.cure


def test_a_list_whose_pictures_are_gone_stops_the_build(photos: Path) -> None:
    stage = list_of(photos.parent / "l.txt", "photos/a.jpg", "photos/b.jpg", "photos/nowhere.jpg")
    assert stage.missing(2) == 0
    assert stage.missing(3) == 1
    with pytest.raises(CannotOpenError, match=r"photos/nowhere\.jpg"):
        fill(stage, 2, lambda: None)
    with pytest.raises(SourceLostError, match=r"no picture that .*l\.txt names"):
        fill(stage, 0, lambda: photos.rename(photos.parent / "elsewhere"))


def test_tars_that_go_while_they_are_read(tmp_path: Path) -> None:
    one, other = write_tar(tmp_path / "x-0.tar", "a"), write_tar(tmp_path / "x-1.tar", "b")
    stage = tars_of(tmp_path)
    with pytest.raises(CannotOpenError, match=r"^cannot open x-0\.tar/a\.jpg: No such file"):
        fill(stage, 0, one.unlink)
    assert not stage.can_open("basic-00000000")
    with pytest.raises(SourceLostError, match="no tar that was listed can be found any more"):
        fill(stage, 1, other.unlink)


@pytest.mark.parametrize("how", ["cut-off", "another", "touched"])
def test_a_tar_that_is_another_by_now_stops_the_build(tmp_path: Path, how: str) -> None:
    path = write_tar(tmp_path / "x.tar", "a", "b")
    stage = tars_of(path)

    def spoil() -> None:
        if how == "cut-off":
            os.truncate(path, 1024)
        elif how == "another":
            write_tar(path, "z", "a", "b")
        else:
            os.utime(path, ns=(0, 1))

    with pytest.raises(SourceLostError, match="is not what it was when the build began"):
        fill(stage, 1, spoil)
    assert not stage.can_open("basic-00000001")


def test_prompts_that_are_gone_stop_the_build(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(record_to_line(PromptRecord(prompt="A red mug.")))
    stage = stage_of(PromptsSource(kind="prompts", path=str(path)))
    with pytest.raises(UsageError, match=r"prompts\.jsonl, which lies inside of the output"):
        check_output(stage, tmp_path)
    with pytest.raises(SourceLostError, match=r"cannot read .*prompts\.jsonl: No such file"):
        fill(stage, 0, path.unlink)


@pytest.mark.parametrize("kind", ["empty", "text", "folder", "pipe", "huge"])
def test_what_opens_and_is_no_picture_stays_a_reject(
    photos: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / "a.jpg"
    path.unlink()
    if kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"no picture")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.setattr(opening, "MIN_BYTES_LIMIT", 1000)
        path.write_bytes(RED + bytes(160_000))
    config = ListSource(kind="list", path=str(photos.parent / "l.txt"), max_pixels=10_000)
    Path(config.path).write_text("photos/a.jpg\n")
    stage = stage_of(config)
    reject = stage(stage.enumerate(0, 1))[0].reject
    assert reject is not None
    assert reject.reason == ("too many bytes" if kind == "huge" else "unreadable image")
    assert reject.path == "photos/a.jpg"
    assert stage.can_open("basic-00000000")


# The listing


@pytest.fixture
def _locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sub`` may not be listed."""
    scan = os.scandir

    def scan_unless(path: str | Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_unless)


@pytest.mark.usefixtures("_locked")
def test_folders_that_cannot_be_read_are_named(photos: Path) -> None:
    stage = folder_of(photos)
    assert stage.count() == 2
    assert stage.remarks() == [
        "folders that cannot be read, so that what is in them is missing: 1 "
        "(sub: Permission denied)"
    ]
    for name in ("a.jpg", "b.jpg"):
        (photos / name).unlink()
    with pytest.raises(DataError, match=r"cannot be read: 1 \(sub: Permission denied\)"):
        folder_of(photos).count()


def test_links_to_folders_and_to_nowhere_are_named(photos: Path) -> None:
    (photos / "loop").symlink_to(photos)
    (photos / "self").symlink_to("self")
    (photos / "gone.jpg").symlink_to("nowhere")
    (photos / "turning.jpg").symlink_to("turning.jpg")
    stage = folder_of(photos)
    assert stage.count() == 5
    assert stage.missing(5) == 2
    assert stage.remarks() == [
        "links to folders, which are not followed (give the folders they lead to): 1 (loop)",
        "links that lead to no file, whose scenes are quarantined: 2 (gone.jpg, turning.jpg)",
    ]
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (photos / name).unlink()
    with pytest.raises(DataError, match=r"all 2 pictures in .* are links that lead"):
        folder_of(photos).count()


def test_kinds_that_are_not_read_are_counted(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "has_heif", lambda: False)
    pictures.picture_suffixes.cache_clear()
    try:
        for name in ("IMG_1.HEIC", "IMG_2.heic", "raw.CR2", "notes.md", ".hidden.heic"):
            (photos / name).write_bytes(b"x")
        (photos / "movie.jpg.mp4").write_bytes(b"x")
        line = "3 files of kinds that are not read: .heic (2), .cr2 (1): pip install imig[heic]"
        assert folder_of(photos).remarks() == [line]
        listed = list_of(photos.parent / "l.txt", "photos/a.jpg", "photos/IMG_1.HEIC")
        assert listed.remarks() == [
            "1 file of kinds that are not read: .heic (1): pip install imig[heic]"
        ]
        only = photos.parent / "only"
        only.mkdir()
        (only / "a.heic").write_bytes(b"x")
        tar = write_tar(photos.parent / "x.tar", "a", suffix=".cr2")
        assert "1 file of kinds that are not read: .cr2 (1)" in tars_of(tar).remarks()
        with pytest.raises(UsageError, match="no pictures in") as caught:
            folder_of(only).count()
        assert "1 file of kinds that are not read: .heic (1): pip" in caught.value.cure
    finally:
        pictures.picture_suffixes.cache_clear()


def test_listed_pictures_that_are_not_there_are_named_with_their_lines(photos: Path) -> None:
    stage = list_of(
        photos.parent / "l.txt", "# mine", "photos/a.jpg", '{"path": "gone/1.jpg"}', "gone/2.jpg"
    )
    assert stage.count() == 3
    assert stage.remarks() == [
        "listed pictures that are not there, whose scenes are quarantined: 2 of 3 "
        "(line 3: gone/1.jpg, line 4: gone/2.jpg)"
    ]
    with pytest.raises(DataError, match="none of the 1 files that"):
        list_of(photos.parent / "l.txt", "nowhere.jpg").count()


def test_a_list_that_says_other_things_is_another_source(photos: Path) -> None:
    listing = photos.parent / "l.txt"
    line = '{"path": "photos/a.jpg", "caption": "%s"}'
    before = list_of(listing, line % "a wall").fingerprint()
    assert list_of(listing, "# said so", line % "a wall").fingerprint() == before
    assert list_of(listing, line % "a floor").fingerprint() != before


def test_a_tar_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", "a")
    (tmp_path / "y.tar").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"y\.tar is a link that leads nowhere \(1 of the 2 \.tar"):
        tars_of(tmp_path)


# The plan


def plan(tmp_path: Path, source: str, *, output: str | Path, engine: str = "{}") -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: x\nsource: {source}\nengine: {engine}\nwrite: {{}}\n")
    make_plan(load_recipe(recipe), output=tmp_path / output)


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("kind: folder, path: photos", "photos", "is the folder that the source reads"),
        ("kind: folder, path: photos", "photos/out", "lies inside of the folder that"),
        ("kind: folder, path: photos", "photos/sub/../new/out", "lies inside of the folder that"),
        ("kind: folder, path: photos", "link/out", "lies inside of the folder that"),
        ("kind: folder, path: link", "photos/out", "lies inside of the folder that"),
        ("kind: folder, path: photos/sub", "photos", "which lies inside of the output"),
        ("kind: folder, path: photos/sub", ".", "which lies inside of the output"),
        ("kind: list, path: photos/l.txt", "photos", "which lies inside of the output"),
        ("kind: list, path: l.txt", "photos", "which lies inside of the output"),
        ("kind: webdataset, path: tars", "tars/out", "lies inside of the folder that"),
        ("kind: webdataset, path: tars/x.tar", "tars", "which lies inside of the output"),
    ],
    ids=lambda value: value.removeprefix("kind: "),
)
def test_an_output_is_never_read_as_input(
    photos: Path, tmp_path: Path, source: str, output: str, message: str
) -> None:
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "x.tar", "a")
    (photos / "l.txt").write_text(f"{photos}/a.jpg\n")
    (tmp_path / "l.txt").write_text("photos/a.jpg\nb.jpg\n")
    located = "{" + source.replace("path: ", f"path: {tmp_path}/") + "}"
    with pytest.raises(UsageError, match=r"recipe\.yaml:\d+: .*" + message) as caught:
        plan(tmp_path, located, output=output)
    assert "elsewhere" in caught.value.cure


def test_an_output_beside_the_input_is_fine(photos: Path, tmp_path: Path) -> None:
    plan(tmp_path, f"{{kind: folder, path: {photos}}}", output="photos-built")
    (tmp_path / "l.txt").write_text("photos/a.jpg\n")
    plan(tmp_path, f"{{kind: list, path: {tmp_path}/l.txt}}", output="photos/out")


def test_more_missing_pictures_than_a_build_bears_are_an_error_of_the_plan(
    photos: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "l.txt"
    lines = ["photos/a.jpg"] * 22
    source = f"{{kind: list, path: {listing}}}"
    listing.write_text("\n".join([*lines, "gone.jpg"]))
    plan(tmp_path, source, output="out")
    listing.write_text("\n".join([*lines, "gone-1.jpg", "gone-2.jpg"]))
    with pytest.raises(DataError, match=r"yaml:2: 2 of the 24 pictures are not there") as caught:
        plan(tmp_path, source, output="out")
    assert "line 23: gone-1.jpg" in caught.value.message
    plan(tmp_path, source, output="out", engine="{max_error_rate: 0.1}")
    listing.write_text("gone-1.jpg\ngone-2.jpg\n")
    with pytest.raises(DataError, match=r"yaml:2: none of the 2 files .* is there"):
        plan(tmp_path, source, output="out")
