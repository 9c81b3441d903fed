"""LayoutSAM-Eval: both forms of its files as cases, and files that are not of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_files import DATA, ROWS, changed, write_layoutsam

from imig.errors import UsageError
from imig.evaluation.against import open_against
from imig.evaluation.against.layoutsam import TABLE, LayoutSamCases
from imig.evaluation.case import Case
from imig.evaluation.metrics import MEASURES

DETAILS = ["A red mug with broad white stripes.", "A smooth blue duck."]


def cases(path: Path) -> dict[str, Case]:
    return {one.id: one for one in LayoutSamCases(path)}


@pytest.fixture
def sampled(tmp_path: Path) -> Path:
    return Path(shutil.copy(DATA / "layoutsam" / "layoutsam_sampled.json", tmp_path))


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("test-00000-of-00001.parquet", id="a folder of parquet files"),
        pytest.param("data/test-00000-of-00001.parquet", id="the data set's folder"),
    ],
)
def test_a_row_is_a_case_named_as_its_file(tmp_path: Path, place: str) -> None:
    write_layoutsam(tmp_path / place)
    found = cases(tmp_path)
    assert list(found) == ["sa_11", "sa_12"]
    case = found["sa_12"]
    assert case.caption == ROWS[1]["global_caption"]
    assert [one.phrase for one in case.instances] == DETAILS
    assert [one.thing for one in case.instances] == ["a red mug/cup", "a blue duck"]
    assert found["sa_11"].instances[0].phrase == "A yellow lamp with the maker's name on its shade."


def test_boxes_are_shares_of_the_original_rounded_to_three_digits(tmp_path: Path) -> None:
    row = {**ROWS[0], "bbox_list": "[[10, 20, 110, 310]]", "width": 300, "height": 300}
    case = cases(write_layoutsam(tmp_path / "a.parquet", (row,)))["sa_11"]
    case = case.in_size((1000, 1000))
    # 10 / 300 = 0.0333..; what reaches beyond the picture is cut off
    assert case.instances[0].box == pytest.approx((33, 67, 367, 1000))


def test_rows_are_numbered_through_all_files(tmp_path: Path) -> None:
    write_layoutsam(tmp_path / "test-00000-of-00002.parquet", ROWS[:1])
    write_layoutsam(tmp_path / "test-00001-of-00002.parquet", ROWS[1:])
    against = LayoutSamCases(tmp_path)
    names = {one: against.case_of(one) for one in ("sa_12", "sa_12-7", "0001", "0001-42", "0002")}
    assert names == {
        "sa_12": "sa_12", "sa_12-7": "sa_12", "0001": "sa_12", "0001-42": "sa_12", "0002": None,
    }  # fmt: skip


def test_the_list_alone_has_the_descriptions_that_it_has(sampled: Path) -> None:
    case = cases(sampled)["0001"]
    mug = case.instances[0]
    assert mug.phrase == mug.thing == "A red mug with broad white stripes and a round handle."
    assert case.in_size((1000, 500)).instances[0].box == pytest.approx((80, 100, 413, 300))
    assert mug.references[0].name == "0001_00.jpg"


def test_with_the_rows_beside_it_regions_are_the_rows(sampled: Path) -> None:
    write_layoutsam(sampled.parent / "data" / "test-00000-of-00001.parquet")
    for given in (sampled, sampled.parent):
        found = cases(given)
        assert list(found) == ["0001"]
        assert [one.phrase for one in found["0001"].instances] == DETAILS
        assert found["0001"].instances[1].references[0].name == "0001_01.jpg"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"bbox_list": "[[1, 2, 3]]"}, "no box", id="three numbers"),
        pytest.param({"bbox_list": "[[0, 0, 9, 9]"}, "bbox_list is no list", id="a broken literal"),
        pytest.param({"bbox_list": "__import__('os').getcwd()"}, "bbox_list is no list", id="code"),
        pytest.param({"region_captions": "['a', 'b']"}, "2 short", id="lists of two lengths"),
        pytest.param({"width": 0}, "no size", id="no width"),
        pytest.param({"file_name": ""}, "no file_name", id="no name"),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_number(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = write_layoutsam(tmp_path / "a.parquet", (ROWS[1], {**ROWS[0], **change}))
    with pytest.raises(UsageError, match=said) as caught:
        LayoutSamCases(path)
    assert "row 1" in caught.value.message


def test_a_name_for_two_rows_is_refused(tmp_path: Path) -> None:
    path = write_layoutsam(tmp_path / "a.parquet", (ROWS[0], ROWS[0]))
    with pytest.raises(UsageError, match="two rows have the file name sa_11"):
        LayoutSamCases(path)


def test_files_of_something_else_are_refused(tmp_path: Path, sampled: Path) -> None:
    lacking = ({name: one for name, one in ROWS[0].items() if name != "bbox_list"},)
    with pytest.raises(UsageError, match="no column bbox_list"):
        LayoutSamCases(write_layoutsam(tmp_path / "other" / "a.parquet", lacking))
    broken = tmp_path / "broken" / "a.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read"):
        LayoutSamCases(broken)
    with pytest.raises(UsageError, match="case 0: segments"):
        LayoutSamCases(changed(sampled, {"segments": None}))
    with pytest.raises(UsageError, match="no parquet or JSON file"):
        LayoutSamCases(tmp_path / "broken" / "b.txt")


def test_the_benchmark_is_opened_by_its_name(tmp_path: Path) -> None:
    write_layoutsam(tmp_path / "a.parquet")
    against = open_against(f"layoutsam={tmp_path}")
    assert (against.kind, len(against)) == ("layoutsam", 2)
    assert list(against.record()["files"]) == ["a.parquet"]
    assert {name for one in TABLE.columns for name in one.of} <= set(MEASURES)
