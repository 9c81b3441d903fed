"""Stages and families from outside the package, named by a recipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import IMIG

import imig
from imig.engine.plan import make_plan
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
        ('{stage: "brightness:Nothing", after: source}', r":4: .*no such class"),
        ('{stage: "brightness:np", after: source}', r":4: .*no such class"),
        ('{stage: "pathlib:Path", after: source}', r":4: pathlib:Path is no such stage"),
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


STRANGE = """
import sys
from pydantic import Field
from imig.models.family import Family
from imig.recipe.parts import StageConfig
from imig.stages.base import Stage

class Blur(Stage):
    name = "blur"
    def __call__(self, samples): return samples

class Sharpen(Blur): name = "sharpen"
class Tint(Blur): name = "tint"
class Engine(Blur): name = "engine"
class Odd(Blur): name = "a/../b [red]"
class Number(Blur): name = 3

class Nameless(Stage):
    def __call__(self, samples): return samples

class Idle(Stage):
    name = "idle"

class Clash(StageConfig):
    after: str = "noon"

class Clashing(Stage[Clash]):
    name = "clashing"
    def __call__(self, samples): return samples

class Bare(Stage[int]):
    name = "bare"
    def __call__(self, samples): return samples

class Aliased(StageConfig):
    radius: int = Field(default=2, alias="pixels")

class AliasedStage(Stage[Aliased]):
    name = "aliased"
    def __call__(self, samples): return samples

class Raising(Blur):
    name = "raising"
    def prepare(self): raise KeyError("colour")

class Listed(Blur):
    name = "listed"
    reads = ["target"]

class Mute:
    family = Family(name="mute", tasks=("caption",), layout="program")
"""


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module `strange_stages`, whose stages a person might well write, and one that exits."""
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "strange_stages.py").write_text(STRANGE, encoding="utf-8")
    (folder / "strange_exit.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("strange_stages", None)


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("strange_exit:Stage", r":4: strange_exit:Stage cannot be imported: SystemExit: 3"),
        ("strange_stages:Nameless", r":4: .*Nameless has no name"),
        ("strange_stages:Odd", r":4: .*Odd has the name 'a/../b"),
        ("strange_stages:Number", r":4: .*Number has the name 3"),
        ("strange_stages:Engine", r":4: .*or of a key of the recipe, 'engine'"),
        ("strange_stages:Idle", r":4: .*Idle has no method __call__"),
        ("strange_stages:Clashing", r":4: .*one of its settings is called 'after'"),
        ("strange_stages:Bare", r":4: .*settings are no imig.recipe.parts.StageConfig"),
        ("strange_stages:Raising", r"Raising cannot be made: KeyError: 'colour'"),
        ("strange_stages:Listed", r"Listed: `reads` is no frozenset"),
    ],
)
def test_a_class_that_cannot_be_a_stage_says_why(write: Write, stage: str, message: str) -> None:
    path = write(f'{{stage: "{stage}", after: source}}')
    with pytest.raises(UsageError, match=message):
        build_stages(load_recipe(path).recipe)


@pytest.mark.usefixtures("strange")
def test_several_behind_one_stage_run_as_they_are_written(write: Write) -> None:
    path = write(
        '{stage: "strange_stages:Blur", after: source}\n'
        '  - {stage: "strange_stages:Tint", after: blur}\n'
        '  - {stage: "strange_stages:Sharpen", after: source}'
    )
    names = [stage.name for stage in build_stages(load_recipe(path).recipe)]
    assert names == ["source", "blur", "tint", "sharpen", "write"]


@pytest.mark.usefixtures("strange")
def test_settings_are_stored_as_a_recipe_calls_them(write: Write) -> None:
    path = write('{stage: "strange_stages:AliasedStage", after: source, pixels: 5}')
    recipe = load_recipe(path).recipe
    assert recipe.extra[0].settings["pixels"] == 5
    assert build_stages(recipe)[1].config.radius == 5  # type: ignore[attr-defined]


@pytest.mark.usefixtures("strange")
def test_a_family_without_its_method_is_found_by_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: x\nsource: {kind: tabletop, count: 3}\n"
        'caption: {overwrite: true, model: {family: "strange_stages:Mute"}}\n',
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match=r":3: strange_stages:Mute: .*no method caption\(\)"):
        make_plan(load_recipe(path), output=tmp_path / "out")


def test_a_class_of_two_parents_keeps_the_settings_of_the_stage() -> None:
    from typing import Generic, TypeVar

    from imig.stages.crop import CropConfig, CropStage

    any_type = TypeVar("any_type")

    class Mine(CropStage, Generic[any_type]):
        name = "mine"

    assert Mine.config_type() is CropConfig


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


@pytest.mark.long
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

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": f"{package}:{os.environ.get('PYTHONPATH', '')}"}
        return subprocess.run(
            [IMIG, *arguments], capture_output=True, text=True, env=environment, check=False
        )

    done = run("build", recipe, "--output", output)
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
    # the dataset is a stranger's now, whose modules must not be imported by those who read it
    for name in ("brightness.py", "colours.py"):
        (package / name).write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    validated = run("validate", output)
    assert validated.returncode == 0, validated.stdout
    refiltered = run("refilter", output, "--output", tmp_path / "again")
    assert refiltered.returncode == 0, refiltered.stderr
    assert not (tmp_path / "imported").exists()
    rows = json.loads((output / "report.json").read_text())
    assert any("too dark" in json.dumps(row) for row in rows["stages"])
