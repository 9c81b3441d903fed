"""LAMICBench++: its files as cases, the names of its pictures, and files that are not of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.benchmark_files import DATA, changed, write_lamicbench

from imig.errors import DataError, UsageError
from imig.evaluation.against import open_against
from imig.evaluation.against.lamicbench import TABLE, LamicBenchCases
from imig.evaluation.case import Case
from imig.evaluation.metrics import MEASURES
from imig.evaluation.paper_table import fill
from imig.evaluation.recipe import BootstrapConfig, EvaluationRecipe
from imig.evaluation.result import PictureResult


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_lamicbench(tmp_path / "bench")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The lists alone."""
    for one in (DATA / "lamicbench_plus").iterdir():
        shutil.copy(one, tmp_path / one.name)
    return tmp_path


def cases(path: Path) -> dict[str, Case]:
    return {one.id: one for one in LamicBenchCases(path)}


def test_a_case_has_the_references_and_questions_of_the_list(lists: Path) -> None:
    found = cases(lists)
    assert list(found) == ["0000", "0007"]
    case = found["0007"]
    assert [one.phrase for one in case.instances] == ["a striped red mug", "a plain blue duck"]
    assert [one.text for one in case.questions] == [
        "Is there a mug?", "Is there a duck?", "Is the mug striped?",
    ]  # fmt: skip
    assert all(one.answer for one in case.questions)
    assert case.any_size


def test_people_are_told_by_the_path_of_their_reference(lists: Path) -> None:
    kinds = [one.kind for one in cases(lists)["0000"].instances]
    assert kinds == ["person", "object", "object", "person"]


def test_cases_of_two_or_three_references_are_one_group(lists: Path) -> None:
    file = lists / "lamicbench_plus.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    reference = values[0]["references"][0]
    every = [{**values[0], "index": n, "references": [reference] * n} for n in (2, 3, 4, 5, 6)]
    file.write_text(json.dumps(every), encoding="utf-8")
    assert [one.group for one in cases(file).values()] == ["fewer", "fewer", "more", "more", "more"]


def test_prompt_and_boxes_are_those_that_a_layout_list_beside_it_has(lists: Path) -> None:
    case = cases(lists / "lamicbench_plus.json")["0007"]
    assert case.caption == "A striped red mug and a plain blue duck."
    assert case.instances[0].box == pytest.approx((38.4, 230.4, 345.6, 691.2))
    (lists / "lamicbench_layout.json").unlink()
    case = cases(lists)["0007"]
    assert (case.caption, case.instances[0].box) == ("", None)


@pytest.mark.parametrize(
    ("stem", "case"),
    [
        pytest.param("0007_0", "0007", id="released"),
        pytest.param("0007_3", "0007", id="released, the fourth"),
        pytest.param("0007", "0007", id="imig's, of one seed"),
        pytest.param("0007-42", "0007", id="imig's, with the seed"),
        pytest.param("0007_0_annotated", None, id="with boxes drawn on"),
        pytest.param("0001_0", None, id="no such case"),
        pytest.param("layout_0007", None, id="the layout picture"),
    ],
)
def test_a_picture_is_of_the_case_that_its_name_says(
    lists: Path, stem: str, case: str | None
) -> None:
    assert LamicBenchCases(lists).case_of(stem) == case


def test_a_reference_comes_with_its_mask(folder: Path) -> None:
    mug, _ = cases(folder)["0007"].instances
    image, mask = mug.references[0].read()
    assert image.mode == "RGB"
    assert mask is not None
    assert mask.shape == (image.height, image.width)
    assert 0.2 < mask.mean() < 1


def test_masks_are_what_is_brighter_than_half(folder: Path) -> None:
    path = folder / "reference_masks" / "object" / "mug_00_mask.png"
    size = Image.open(path).size
    grey = np.full(size[::-1], 127, np.uint8)
    grey[0, :2] = 128
    Image.fromarray(grey).save(path)
    _, mask = cases(folder)["0007"].instances[0].references[0].read()
    assert mask is not None
    assert mask.sum() == 2


def test_people_need_no_mask_and_things_do(folder: Path) -> None:
    woman, tree, *_ = cases(folder)["0000"].instances
    _, mask = woman.references[0].read()
    assert mask is None
    (folder / "reference_masks" / "object" / "tree_00_mask.png").unlink()
    with pytest.raises(DataError, match=r"tree_00_mask\.png"):
        tree.references[0].read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"references": []}, "case 0: references", id="no references"),
        pytest.param({"index": None}, "case 0: index", id="no index"),
        pytest.param({"index": 0}, "index 0 stands there 2 times", id="an index twice"),
        pytest.param({"vqa_prompts": ["Is it?"]}, "vqa_prompts", id="questions without ids"),
        pytest.param(
            {"references": [{"phrase": "a mug", "image_path": "a.jpg", "bbox": [0.5, 0, 0.2, 1]}]},
            "x1 < x2",
            id="a box the wrong way round",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(
    lists: Path, change: dict[str, Any], said: str
) -> None:
    file = changed(lists / "lamicbench_plus.json", change)
    with pytest.raises(UsageError, match=said) as caught:
        LamicBenchCases(file)
    assert str(file) in caught.value.message
    assert caught.value.cure


def test_paths_do_not_lead_out_of_the_folder(lists: Path) -> None:
    reference = {"phrase": "a mug", "image_path": "../../secret.jpg"}
    file = changed(lists / "lamicbench_plus.json", {"references": [reference]})
    with pytest.raises(UsageError, match="no path below"):
        list(LamicBenchCases(file))


def test_the_original_is_told_from_it(tmp_path: Path) -> None:
    file = tmp_path / "Two-Reference.json"
    file.write_text('{"sample_000": {"prompt": "A man.", "CEI": ""}}', encoding="utf-8")
    with pytest.raises(UsageError, match="LAMICBench, the original"):
        LamicBenchCases(file)


def test_the_benchmark_is_opened_by_its_name(lists: Path) -> None:
    against = open_against(f"lamicbench={lists}")
    assert (against.kind, len(against)) == ("lamicbench", 2)
    assert set(against.record()["files"]) == {"lamicbench_plus.json", "lamicbench_layout.json"}


def test_the_table_pools_as_the_released_printer() -> None:
    """Pictures weigh the same in ITC and AES, references in IDS and IPS; none of a kind is 0."""

    def picture(case: str, group: str, **values: list[float | None]) -> PictureResult:
        return PictureResult(case=case, group=group, file=case, sha256="", values=dict(values))

    pictures = [
        picture("0", "fewer", picture_answers_right=[1.0], aesthetics=[5.0],
                face_identity=[None, 0.5], identity=[0.8, None]),
        picture("1", "fewer", picture_answers_right=[0.5], aesthetics=[6.0],
                face_identity=[0.2, 0.2], identity=[None, None]),
        picture("2", "more", picture_answers_right=[0.9], aesthetics=[7.0],
                face_identity=[None] * 4, identity=[0.6, 0.4, 0.4, 0.6]),
    ]  # fmt: skip
    recipe = EvaluationRecipe(name="test", bootstrap=BootstrapConfig(samples=100))
    table = fill(TABLE, pictures, recipe=recipe)
    found = {part: [one.cells[part].value for one in table.columns] for part in table.parts}
    fewer = [75.0, 55.0, 30.0, 80.0, 60.0]
    more = [90.0, 70.0, 0.0, 50.0, 52.5]
    everything = [80.0, 60.0, 30.0, 56.0, 56.5]
    assert found["2-3 references"] == pytest.approx(fewer)
    assert found["4+ references"] == pytest.approx(more)
    assert found["all"] == pytest.approx(everything)
    assert {name for one in TABLE.columns for name in one.of} <= {
        *MEASURES, *(one.name for one in TABLE.columns),
    }  # fmt: skip
