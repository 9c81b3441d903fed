"""Two evaluations of the same cases compared, and the worst pictures of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.stored_evaluations import save_evaluation, stored_picture

from imig.cli import main
from imig.errors import UsageError
from imig.evaluation.case import Case, CaseInstance, CaseReference
from imig.evaluation.compare import compare_evaluations
from imig.evaluation.metrics import MEASURES
from imig.evaluation.result import EvaluationResult, PictureResult
from imig.evaluation.worst import worst_pictures, write_worst

CASES = 60
HARDNESS = np.random.default_rng(1).uniform(0.2, 0.8, CASES)
"""Of each case: what all evaluations of it have in common."""


def with_shift(shift: float) -> list[PictureResult]:
    noise = np.random.default_rng(abs(round(shift * 1000))).normal(0, 0.02, CASES)
    scores = HARDNESS + shift + noise
    return [
        stored_picture(n, box_iou=[float(one), None], identity_other=[float(one)])
        for n, one in enumerate(scores)
    ]


def test_a_planted_difference_is_found_that_is_smaller_than_either_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = save_evaluation(tmp_path / "before", with_shift(0))
    after = save_evaluation(tmp_path / "after", with_shift(0.02), drawing={"steps": 20})
    comparison = compare_evaluations(before, after)
    found = comparison.figures["box_iou"]
    one = EvaluationResult.model_validate_json(before.read_text()).figures["box_iou"]
    assert one.low is not None
    assert one.high is not None
    assert one.low < found.after < one.high  # apart, they do not differ
    assert 0 < found.low < 0.02 < found.high < 0.04
    assert found.difference == pytest.approx(found.after - found.before)
    # of two pictures of one case what it is bad for is of no matter: pairs
    assert found.high - found.low < (one.high - one.low) / 4
    assert found.better == pytest.approx(1, abs=0.01)
    assert comparison.figures["identity_other"].better == pytest.approx(0, abs=0.01)
    assert main(["evaluate", "--compare", str(before), str(after.parent)]) == 0
    printed = capsys.readouterr().out
    assert "steps: None -> 20" in printed
    assert f"+{found.difference * 100:.2f}*" in printed


def test_no_difference_is_none(tmp_path: Path) -> None:
    one = save_evaluation(tmp_path / "one", with_shift(0))
    two = save_evaluation(tmp_path / "two", with_shift(0))
    found = compare_evaluations(one, two).figures["box_iou"]
    assert (found.difference, found.low, found.high, found.better) == (0, 0, 0, 0.5)


def test_only_common_cases_are_compared(tmp_path: Path) -> None:
    one = save_evaluation(tmp_path / "one", with_shift(0))
    two = save_evaluation(tmp_path / "two", with_shift(0)[10:])
    comparison = compare_evaluations(one, two)
    assert (comparison.cases, comparison.only_before, comparison.only_after) == (50, 10, 0)
    assert comparison.figures["box_iou"].difference == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda old: {"recipe": old["recipe"] | {"position": {"min_iou": 0.7, "batch_size": 8}}},
            "position is .* 0.7",
            id="recipe",
        ),
        pytest.param(
            lambda old: {"against": old["against"] | {"sha256": "b"}}, "'a' and 'b'", id="cases"
        ),
        pytest.param(lambda old: {"imig": "2"}, "imig is '1' and '2'", id="version"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(
    change: Callable[[dict[str, Any]], dict[str, Any]], says: str, tmp_path: Path
) -> None:
    one = save_evaluation(tmp_path / "one", with_shift(0))
    two = save_evaluation(tmp_path / "two", with_shift(0), **change(json.loads(one.read_text())))
    with pytest.raises(UsageError, match=says):
        compare_evaluations(one, two)


def test_the_worst_come_first_by_either_end() -> None:
    pictures = [
        stored_picture(1, box_iou=[0.5, None], identity_other=[0.1]),
        stored_picture(2, box_iou=[0.0, 0.2], identity_other=[0.9]),
        stored_picture(3, box_iou=[None, None]),
    ]
    names = [one.case for one in worst_pictures(pictures, MEASURES["box_iou"], count=5)]
    assert names == ["002", "001"]
    names = [one.case for one in worst_pictures(pictures, MEASURES["identity_other"], count=1)]
    assert names == ["002"]


class Cases:
    kind, table = "mine", None

    def __iter__(self) -> Any:
        grey = Image.new("RGB", (20, 10), "red"), np.ones((10, 20), np.bool_)
        mug = CaseInstance(
            "mug <b>", box=(2, 2, 10, 10), references=(CaseReference("r", lambda: grey),)
        )
        for number in range(3):
            yield Case(f"{number:03d}", "a mug & <i>", (32, 32), (mug, CaseInstance("hat")))


def test_the_page_has_the_worst_with_their_pictures_and_no_markup_of_others(tmp_path: Path) -> None:
    pictures = [stored_picture(n, box_iou=[n / 10, None], all_placed=[0.0]) for n in range(3)]
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    for one in pictures:
        Image.new("RGB", (32, 32), "blue").save(tmp_path / "out" / "pictures" / one.file)
    save_evaluation(tmp_path / "out" / "result", pictures)
    result = EvaluationResult.model_validate_json(
        (tmp_path / "out" / "result" / "evaluation.json").read_text()
    ).model_copy(update={"generated": str(tmp_path / "out" / "pictures")})
    cases: Any = Cases()
    root, folder = tmp_path / "out" / "pictures", tmp_path / "out" / "result"
    page = write_worst(result, cases, root=root, output=folder, count=2).read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.index("000-1.png") < page.index("001-1.png")
    assert "002-1.png" not in page
    assert "a mug &amp; &lt;i&gt;" in page
    assert "mug &lt;b&gt;" in page
    assert "<td>0.0<" in page
    with pytest.raises(UsageError, match="no figure 'sharpness'") as raised:
        write_worst(result, cases, root=root, output=tmp_path, figure="sharpness")
    assert "box_iou" in raised.value.cure
