"""Stages and families from outside the package, named by a recipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import IMIG

import imig
from imig.errors import UsageError
from imig.models.weights import find_family, resolve_weights
from imig.recipe.file import load_recipe
from imig.recipe.parts import ModelConfig
from imig.recipe.root import Recipe
from imig.recipe.stages import build_stages

EXAMPLES = Path(__file__).parents[2] / "examples"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a recipe of three scenes with this line under `extra`; finds the examples."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def write(extra: str) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"name: x\nsource: {{kind: tabletop, count: 3}}\nextra:\n  - {extra}\n",
            encoding="utf-8",
        )
        return path

    return write


def test_it_stands_where_the_recipe_says_with_all_its_settings(write: Write) -> None:
    path = write('{stage: "brightness:BrightnessStage", after: source}')
    recipe = load_recipe(path).recipe
    assert [stage.name for stage in build_stages(recipe)] == ["source", "brightness", "write"]
    assert recipe.extra[0].settings["min_brightness"] == 0.2
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    changed = load_recipe(path, overrides=["extra.0.min_brightness=0.5"]).recipe
    assert build_stages(changed)[1].config.min_brightness == 0.5  # type: ignore[attr-defined]


def test_workers_do_not_change_what_is_built_and_settings_do(write: Write) -> None:
    path = write('{stage: "brightness:BrightnessStage", after: source}')
    plain = load_recipe(path)
    wide = load_recipe(path, overrides=["extra.0.resources.concurrency=2"])
    other = load_recipe(path, overrides=["extra.0.min_brightness=0.5"])
    assert plain.sha256 == wide.sha256 != other.sha256


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('{stage: "nowhere:Stage", after: source}', r":4: nowhere:Stage cannot be imported: Mod"),
        ('{stage: "brightness:Nothing", after: source}', r":4: .*no such stage"),
        ('{stage: "brightness:np", after: source}', r":4: .*no such stage"),
        ('{stage: "brightness", after: source}', r":4: extra.0.stage: .*pattern"),
        ('{stage: "brightness:BrightnessStage", after: segment}', r"no stage 'segment' runs"),
        ('{stage: "brightness:BrightnessStage", after: write}', r"no stage 'write' runs"),
        (
            '{stage: "brightness:BrightnessStage", after: source, min_brightnes: 1}',
            r":4: unknown key 'min_brightnes'",
        ),
        (
            '{stage: "brightness:BrightnessStage", after: source, min_brightness: 7}',
            r":4: min_brightness: expected less than or equal to 1, got 7",
        ),
        ('{stage: "imig.stages.crop:CropStage", after: source}', r"the name of another stage"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write: Write, extra: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe(write(extra))


def test_a_recipe_out_of_a_dataset_imports_nothing(tmp_path: Path) -> None:
    """To import is to run code: that of a stranger's dataset must not run."""
    values = {
        "name": "x",
        "source": {"kind": "tabletop"},
        "extra": [{"stage": "nowhere:Stage", "after": "source"}],
    }
    assert Recipe.model_validate(values).extra[0].stage == "nowhere:Stage"


def test_a_family_from_outside_is_found_and_recorded_by_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert find_family("colours:ColourCaptioner").tasks == ("caption",)
    weights = resolve_weights(ModelConfig(family="colours:ColourCaptioner"))
    assert weights.files == (EXAMPLES / "colours.py",)
    with pytest.raises(UsageError, match="cannot be imported"):
        find_family("nowhere:Captioner")
    with pytest.raises(UsageError, match="no such class"):
        find_family("colours:COLOURS")


def test_a_build_with_both(tmp_path: Path) -> None:
    """From a package that is nowhere but on PYTHONPATH, through Ray's workers."""
    package = tmp_path / "packages"
    package.mkdir()
    for name in ("brightness.py", "colours.py"):
        shutil.copy(EXAMPLES / name, package)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        """
name: bright
source: {kind: tabletop, count: 12}
caption: {overwrite: true, model: {family: "colours:ColourCaptioner"}}
extra:
  - {stage: "brightness:BrightnessStage", after: source, min_brightness: 0.45}
"""
    )
    output = tmp_path / "bright"
    done = subprocess.run(
        [IMIG, "build", recipe, "--output", output],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{package}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.returncode == 0, done.stderr
    dataset = imig.Dataset(output)
    scenes = list(dataset)
    assert 0 < len(scenes) < 12
    for scene in scenes:
        assert scene.scores.figures["brightness"] >= 0.45
        assert scene.caption.endswith("table")
    manifest = dataset.manifest
    assert manifest.models[0].family == "colours:ColourCaptioner"
    assert manifest.recipe["extra"][0]["after"] == "source"
    validated = subprocess.run([IMIG, "validate", output], capture_output=True, text=True)
    assert validated.returncode == 0, validated.stdout
    rows = json.loads((output / "report.json").read_text())
    assert any("too dark" in json.dumps(row) for row in rows["stages"])
