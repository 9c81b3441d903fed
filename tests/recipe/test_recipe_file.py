"""Recipes from disk: what they mean, and where an error says it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from imig.errors import UsageError
from imig.evaluation.against import BENCHMARKS
from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.recipe.file import load_recipe
from imig.recipe.shipped import find_recipe, recipe_description, shipped_recipes
from imig.training.recipe_file import load_training_recipe

RECIPE = """\
# a recipe
name: mine
source:
  kind: tabletop
  count: 9
ground:
  model: {family: grounding-dino, weights: ~/gd}
  box_threshold: 0.4
crop:
filter:
  min_instances: 2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE)
    return file


def error_of(path: Path, text: str | None = None, *overrides: str) -> tuple[str, str]:
    """(message without the folder, cure)."""
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides=overrides)
    return caught.value.message.replace(f"{path.parent}/", ""), caught.value.cure


def test_values_defaults_and_home(path: Path) -> None:
    loaded = load_recipe(path)
    ground = loaded.recipe.ground
    assert ground is not None
    assert (ground.box_threshold, ground.text_threshold) == (0.4, 0.25)
    assert ground.model.weights == str(Path.home() / "gd")
    assert loaded.recipe.segment is None
    # A bare key means the stage with its defaults.
    assert loaded.recipe.crop is not None
    assert loaded.where("ground.box_threshold").endswith(":8")
    assert loaded.where("ground.nms_iou").endswith(":6")


def test_overrides(path: Path) -> None:
    loaded = load_recipe(
        path, overrides=["models=tiny", "filter=null", "segment={}", "ground.max_boxes=3"]
    )
    recipe = loaded.recipe
    assert recipe.filter is None
    assert recipe.segment is not None
    assert recipe.ground is not None
    assert recipe.ground.model.weights == "tiny"
    assert recipe.ground.max_boxes == 3
    assert loaded.where("ground.max_boxes") == "--set ground.max_boxes=3"


@pytest.mark.parametrize(
    ("line", "replacement", "message", "cure"),
    [
        (
            "box_threshold: 0.4",
            "box_treshold: 0.4",
            "mine.yaml:8: ground: unknown key 'box_treshold'",
            "did you mean 'box_threshold'?",
        ),
        ("crop:", "corp:", "mine.yaml:9: unknown key 'corp'", "did you mean 'crop'?"),
        (
            "family: grounding",
            "familly: grounding",
            "mine.yaml:7: ground.model: unknown key 'familly'",
            "did you mean 'family'?",
        ),
        (
            "count: 9",
            "cuont: 9",
            "mine.yaml:5: source: unknown key 'cuont'",
            "did you mean 'count'?",
        ),
        (
            "kind: tabletop",
            "kind: tabeltop",
            "mine.yaml:4: source.kind: unknown kind 'tabeltop'",
            "did you mean 'tabletop'?",
        ),
        (
            "box_threshold: 0.4",
            "box_threshold: high",
            "mine.yaml:8: ground.box_threshold: expected a valid number, unable to parse string as "
            "a number, got 'high'",
            "",
        ),
        (
            "box_threshold: 0.4",
            "box_threshold: 1.4",
            "mine.yaml:8: ground.box_threshold: expected less than or equal to 1, got 1.4",
            "",
        ),
        (
            "min_instances: 2",
            "min_instances: 9",
            "mine.yaml:10: filter: min_instances must not be above max_instances",
            "",
        ),
        (
            "crop:",
            "source: {}",
            "mine.yaml:9: the key 'source' stands in line 3 already",
            "keep one of the two",
        ),
        (
            "  kind: tabletop\n",
            "",
            "mine.yaml:3: source: the key 'kind' is missing",
            "kind is one of tabletop, folder, list, webdataset, prompts, coco, yolo",
        ),
    ],
)
def test_errors_name_line_and_cure(
    path: Path, line: str, replacement: str, message: str, cure: str
) -> None:
    assert error_of(path, RECIPE.replace(line, replacement, 1)) == (message, cure)


def test_syntax_error(path: Path) -> None:
    message, _ = error_of(path, "name: [1\nsource: {}\n")
    assert message.startswith("mine.yaml:2: not YAML: ")


@pytest.mark.parametrize(
    ("override", "message", "cure"),
    [
        (
            "ground.box_treshold=0.3",
            "--set ground.box_treshold=0.3: ground: unknown key 'box_treshold'",
            "did you mean 'box_threshold'?",
        ),
        (
            "filter.min_instances=9",
            "--set filter.min_instances=9: filter: min_instances must not be above max_instances",
            "",
        ),
        (
            "ground",
            "--set ground: not of the form a.b=value",
            "for example --set ground.box_threshold=0.4",
        ),
        ("ground=5", "--set ground=5: ground: expected a mapping of keys, got 5", ""),
    ],
)
def test_override_errors(path: Path, override: str, message: str, cure: str) -> None:
    assert error_of(path, None, override) == (message, cure)


def test_missing_source_path() -> None:
    with pytest.raises(UsageError, match=r"photos\.yaml:\d+: the key 'source\.path' is missing"):
        load_recipe("photos")


def test_hash_follows_what_is_built(path: Path) -> None:
    def sha256(*overrides: str) -> str:
        return load_recipe(path, overrides=overrides).sha256

    same = ["ground.resources.gpus=0.5", "engine.ray_address=auto", "engine.max_error_rate=1"]
    assert {sha256(one) for one in same} == {sha256()}
    # A default that is written out changes nothing either.
    assert sha256("ground.text_threshold=0.25") == sha256()
    assert sha256("ground.model.weights=tiny") == sha256("models=tiny")
    different = {sha256("seed=1"), sha256("engine.block_size=4"), sha256("filter=null"), sha256()}
    assert len(different) == 4


def test_shipped_recipes() -> None:
    assert {"demo", "photos", "photos-sam3", "train-tiny", "train-kontext", "dpo-tiny"} <= set(
        shipped_recipes()
    )
    for name, file in shipped_recipes().items():
        assert recipe_description(file)
        if name.startswith(("train-", "dpo-")):
            assert load_training_recipe(name).name == name
        elif name in ("evaluate", *BENCHMARKS):
            assert load_evaluation_recipe(name).recipe.name == name
        else:
            overrides = ["source.path=."] if name.startswith("photos") else []
            assert load_recipe(name, overrides=overrides).recipe.name == name


def test_a_recipe_of_the_other_kind_says_which_command_takes_it() -> None:
    with pytest.raises(UsageError, match="is the recipe of a training") as caught:
        load_recipe("train-tiny")
    assert caught.value.cure == "imig train --recipe train-tiny"
    with pytest.raises(UsageError, match="is the recipe of a build"):
        load_training_recipe("demo")


def test_unknown_recipe() -> None:
    with pytest.raises(UsageError) as caught:
        find_recipe("dmeo")
    assert caught.value.cure == "did you mean 'demo'?"
    with pytest.raises(UsageError, match=r"there is no recipe file nowhere\.yaml"):
        find_recipe("nowhere.yaml")
