"""`imig evaluate`: nothing is left out in silence, nothing is measured twice.

The models are stood in for by `CountingEyes`: what they see is tested elsewhere.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image
from rich.console import Console
from support.tiny_dataset import write_tiny_dataset

import imig.evaluation.run as run_module
from imig.errors import DataError, UsageError
from imig.evaluation.against import open_against
from imig.evaluation.against.shards import ShardsCases
from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.evaluation.result import EvaluationResult
from imig.output.lock import folder_lock
from imig.shards.dataset import Dataset


class CountingEyes:
    """Stands for the models: sees every instance in place, and counts pictures."""

    looked_at = 0

    def __init__(self, recipe: EvaluationRecipe, metrics: Sequence[Any]) -> None:
        pass

    def look(self, cases: Sequence[Case], images: Sequence[Image]) -> list[Seen]:
        CountingEyes.looked_at += len(images)
        return [Seen(case, image, ()) for case, image in zip(cases, images, strict=True)]

    def measure(self, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        return [{"box_iou": [1.0] * len(one.case.instances)} for one in seen]


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "Eyes", CountingEyes)
    CountingEyes.looked_at = 0


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_tiny_dataset(tmp_path / "shards")


@pytest.fixture
def pictures(tmp_path: Path, shards: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for scene in Dataset(shards):
        scene.target.save(folder / f"{scene.id}.png")
    return folder


def evaluate(pictures: Path, shards: Path, *overrides: str, **options: Any) -> EvaluationResult:
    recipe = load_evaluation_recipe("evaluate", overrides=["models=tiny", *overrides]).recipe
    return run_module.evaluate(
        pictures,
        open_against(str(shards)),
        recipe,
        output=pictures.parent / "result",
        console=Console(quiet=True),
        **options,
    )


def test_a_second_run_measures_nothing_and_gives_the_same(pictures: Path, shards: Path) -> None:
    first = evaluate(pictures, shards)
    count = len(Dataset(shards))
    assert (first.pictures, CountingEyes.looked_at) == (count, count)
    lines = (pictures.parent / "result" / "pictures.jsonl").read_bytes()
    assert evaluate(pictures, shards) == first
    assert CountingEyes.looked_at == count
    assert (pictures.parent / "result" / "pictures.jsonl").read_bytes() == lines
    stored = json.loads((pictures.parent / "result" / "evaluation.json").read_text())
    assert EvaluationResult.model_validate(stored) == first


def test_it_goes_on_behind_half_a_line(pictures: Path, shards: Path) -> None:
    whole = evaluate(pictures, shards)
    path = pictures.parent / "result" / "pictures.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:30])
    CountingEyes.looked_at = 0
    assert evaluate(pictures, shards) == whole
    assert CountingEyes.looked_at == len(lines) - 2
    assert path.read_bytes() == b"".join(lines)


def test_a_changed_picture_is_measured_again(pictures: Path, shards: Path) -> None:
    evaluate(pictures, shards)
    CountingEyes.looked_at = 0
    first, second, *_ = sorted(pictures.iterdir())
    shutil.copy(first, second)
    evaluate(pictures, shards)
    assert CountingEyes.looked_at == 1


@pytest.mark.parametrize(
    ("override", "again"),
    [("seed=5", False), ("bootstrap.samples=100", False), ("look.box_threshold=0.5", True)],
)
def test_only_what_decides_about_values_measures_again(
    pictures: Path, shards: Path, override: str, again: bool
) -> None:
    evaluate(pictures, shards)
    CountingEyes.looked_at = 0
    evaluate(pictures, shards, override)
    assert (CountingEyes.looked_at > 0) == again


def test_missing_pictures_are_an_error_or_said(pictures: Path, shards: Path) -> None:
    first, *rest = sorted(pictures.iterdir())
    first.unlink()
    with pytest.raises(
        DataError, match=f"1 of {len(rest) + 1} cases have no picture.*{first.stem}"
    ):
        evaluate(pictures, shards)
    result = evaluate(pictures, shards, partial=True)
    assert (result.missing, result.cases) == ([first.stem], len(rest))


def test_pictures_of_no_case_are_left_out(pictures: Path, shards: Path) -> None:
    shutil.copy(next(pictures.iterdir()), pictures / "stranger.png")
    assert evaluate(pictures, shards).pictures == len(Dataset(shards))


def test_pictures_of_other_cases_alone_are_an_error(tmp_path: Path, shards: Path) -> None:
    (tmp_path / "others").mkdir()
    Dataset(shards)[0].target.save(tmp_path / "others" / "mugs.png")
    with pytest.raises(UsageError, match=r"none of the 1 pictures.*mugs\.png"):
        evaluate(tmp_path / "others", shards)


def test_several_seeds_of_a_case_are_one_case(pictures: Path, shards: Path) -> None:
    before = evaluate(pictures, shards)
    for one in list(pictures.iterdir()):
        shutil.copy(one, pictures / f"{one.stem}-7.png")
    after = evaluate(pictures, shards)
    assert (after.cases, after.pictures) == (before.cases, 2 * before.pictures)
    assert after.figures["box_iou"].units == 2 * before.figures["box_iou"].units
    assert after.figures["box_iou"].cases == before.figures["box_iou"].cases


def test_what_training_has_seen_is_said(pictures: Path, shards: Path) -> None:
    result = evaluate(pictures, shards, training=[shards])
    assert result.leakage is not None
    assert len(result.leakage.cases) == result.cases
    assert list(result.leakage.training.values()) == [Dataset(shards).fingerprint]
    assert evaluate(pictures, shards).leakage is None


def test_what_another_evaluation_holds_is_left_alone(pictures: Path, shards: Path) -> None:
    output = pictures.parent / "result"
    with (
        folder_lock(output / run_module.LOCK, folder=output, who="another evaluation"),
        pytest.raises(UsageError, match="another evaluation writes into"),
    ):
        evaluate(pictures, shards)
    assert [one.name for one in output.iterdir()] == [run_module.LOCK]
    assert evaluate(pictures, shards).pictures == len(Dataset(shards))


def test_a_damaged_picture_costs_no_other_its_figures(pictures: Path, shards: Path) -> None:
    whole = evaluate(pictures, shards)
    shutil.rmtree(pictures.parent / "result")
    first, *others = sorted(pictures.iterdir())
    first.write_bytes(first.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"1 of {len(others) + 1} pictures .*{first.name}"):
        evaluate(pictures, shards)
    lines = (pictures.parent / "result" / "pictures.jsonl").read_text().splitlines()
    assert [json.loads(one)["file"] for one in lines] == [one.name for one in others]
    CountingEyes.looked_at = 0
    result = evaluate(pictures, shards, partial=True)
    assert CountingEyes.looked_at == 0
    assert (result.cases, result.missing) == (len(others), [first.stem])
    assert list(result.unreadable) == [first.name]
    assert result.figures["box_iou"].units < whole.figures["box_iou"].units


def test_a_case_whose_reference_is_damaged_costs_no_other_its_figures(
    pictures: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: CountingEyes, seen: Sequence[Seen]) -> list[dict[str, Any]]:
        for one in seen:
            one.case.instances[0].references[0].read()
        return [{"box_iou": [1.0]} for one in seen]

    monkeypatch.setattr(CountingEyes, "measure", measure)
    victim = Dataset(shards).ids[1]
    read = ShardsCases._read_reference

    def damaged(self: ShardsCases, scene: str, instance: int, place: int) -> Any:
        if scene == victim:
            raise DataError(f"{scene}: ref00.jpg is damaged")
        return read(self, scene, instance, place)

    monkeypatch.setattr(ShardsCases, "_read_reference", damaged)
    result = evaluate(pictures, shards, partial=True)
    assert result.missing == [victim]
    assert result.unreadable == {f"{victim}.png": f"{victim}: ref00.jpg is damaged"}
    assert result.pictures == len(Dataset(shards)) - 1


def test_results_of_another_dataset_are_replaced(
    pictures: Path, shards: Path, tmp_path: Path
) -> None:
    evaluate(pictures, shards)
    alone = {
        name: (tmp_path / "result" / name).read_bytes()
        for name in ("evaluation.json", "pictures.jsonl")
    }
    others = write_tiny_dataset(tmp_path / "others", scenes=2)
    (tmp_path / "drawn").mkdir()
    for scene in Dataset(others):
        scene.target.save(tmp_path / "drawn" / f"{scene.id}.png")
    assert evaluate(tmp_path / "drawn", others).pictures == 2
    assert (tmp_path / "result" / "pictures.jsonl").read_bytes().count(b"\n") == 2
    evaluate(pictures, shards)
    assert {name: (tmp_path / "result" / name).read_bytes() for name in alone} == alone
