"""A stage that can do nothing on this machine: said in the plan, on the screen, in the manifest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console
from support.engine_build import run_in_process

import imig.engine.build as engine
from imig.engine.folder import BuildFolder
from imig.engine.plan import Plan, make_plan
from imig.engine.plan_text import print_plan
from imig.engine.status import BuildObserver
from imig.errors import UsageError
from imig.recipe.file import load_recipe
from imig.shards.manifest import MANIFEST_NAME, read_manifest

RECIPE = """\
name: faces
source: {kind: tabletop, count: 3, width: 96, height: 96}
caption:
  model: {family: blip, weights: tiny}
ground:
  model: {family: grounding-dino, weights: tiny}
segment:
  model: {family: segment-anything, weights: tiny}
crop: {}
faces:
  required: false
"""


@pytest.fixture(autouse=True)
def _no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: None)


def plan_for(folder: Path, *overrides: str) -> Plan:
    file = folder / "recipe.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return make_plan(load_recipe(str(file), overrides=list(overrides)), output=folder / "d")


def set_up_and_run(
    folder: BuildFolder,
    blocks: list[int],
    console: Console,
    *,
    observers: Sequence[BuildObserver],
) -> None:
    for step in folder.plan.steps:
        step.stage.setup()
    run_in_process(folder, blocks, console, observers=observers)


@pytest.mark.model
def test_plan_build_and_manifest_say_that_it_was_skipped(tmp_path: Path) -> None:
    plan = plan_for(tmp_path)
    assert [one.stage for one in plan.skipped] == ["faces"]
    assert all(not one.key.startswith("faces") for one in plan.models)
    screen = io.StringIO()
    print_plan(plan, Console(file=screen, width=100))
    assert "skipped: faces: insightface: Python packages that are not installed" in (
        screen.getvalue()
    )
    with patch.object(engine, "run_blocks", set_up_and_run):
        engine.build(plan, Console(file=io.StringIO(), width=100))
    manifest = read_manifest(tmp_path / "d" / MANIFEST_NAME)
    assert [one.stage for one in manifest.skipped] == ["faces"]
    assert "pip install 'imig[faces-insightface]'" in manifest.skipped[0].reason
    assert manifest.counts.quarantined == 0
    assert manifest.counts.written > 0
    assert all(record.family != "insightface" for record in manifest.models)


def test_required_is_an_error_with_the_recipe_s_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe.yaml.*not installed") as caught:
        plan_for(tmp_path, "faces.required=true")
    assert "pip install" in caught.value.cure


def test_the_licence_and_the_family_are_checked_with_the_recipe_s_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"faces\.model must find faces"):
        plan_for(tmp_path, "faces.model={family: dinov2}")
    with pytest.raises(UsageError, match="unknown model family 'retina'"):
        plan_for(tmp_path, "faces.model={family: retina}")
    with pytest.raises(UsageError, match=r"quality\.preference must judge pictures and captions"):
        plan_for(tmp_path, "quality={preference: {family: aesthetics}}")
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: object())
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "det.onnx").write_bytes(b"1")
    model = f"faces.model={{family: insightface, weights: {pack}}}"
    with pytest.raises(UsageError, match=r"faces\.model=.*non-commercial research"):
        plan_for(tmp_path, model)
    assert plan_for(tmp_path, model, "faces.accept_licence=true").skipped == ()
