"""Which picture belongs to which case."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from imig.errors import DataError, UsageError
from imig.evaluation.pictures import (
    GeneratedPicture,
    list_pictures,
    missing_cases,
    stem_to_case,
)


@pytest.mark.parametrize(
    ("stem", "case"),
    [
        ("mugs", "mugs"),
        ("mugs-3", "mugs"),
        ("basic-00000042", "basic-00000042"),
        ("basic-00000042-7", "basic-00000042"),
        ("basic-00000041", "basic"),
        ("mugs-three", None),
        ("mugs-", None),
        ("-3", None),
        ("other", None),
    ],
)
def test_stem_to_case(stem: str, case: str | None) -> None:
    assert stem_to_case(stem, {"mugs", "basic", "basic-00000042"}) == case


def test_what_generate_writes_beside_results_is_no_result(tmp_path: Path) -> None:
    for name in ("a-1.png", "a-1.compare.png", "a-layout.png", "b.JPG", "b.json", "c.webp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [one.name for one in list_pictures(tmp_path)] == ["a-1.png", "b.JPG", "c.webp"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_no_pictures_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=name):
        list_pictures(tmp_path / name)


def test_pictures_are_looked_at_in_the_size_of_the_case(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (40, 20), (255, 0, 0, 255)).save(path)
    picture = GeneratedPicture("a", path).read((80, 40))
    assert (picture.size, picture.mode, picture.getpixel((3, 3))) == ((80, 40), "RGB", (255, 0, 0))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n not one")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        GeneratedPicture("a", path).read((80, 40))


def test_missing_cases() -> None:
    drawn = [GeneratedPicture("b", Path("b-1.png")), GeneratedPicture("b", Path("b-2.png"))]
    assert missing_cases(drawn, ["a", "b", "c"]) == ["a", "c"]
