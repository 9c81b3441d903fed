"""The code of docs/extending.md, as a reader copies it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.tabletop_samples import tabletop_sample

from imig.cli import main
from imig.engine.folder import build_identity
from imig.engine.plan import make_plan
from imig.models.registry import load_model
from imig.output.identity import differences
from imig.recipe.file import load_recipe
from imig.recipe.parts import ModelConfig
from imig.recipe.stages import build_stages
from imig.stages.base import BuildContext

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
BLOCKS = re.findall(r"^```(python|yaml)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.S | re.M)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page, in a folder that is the current one and where modules are found."""
    for _, code in BLOCKS:
        named = re.match(r"# (\S+\.(?:py|yaml))\n", code)
        if named is not None:
            path = tmp_path / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [one for one in sys.modules if one.split(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)  # of the test before, from its own folder
    return tmp_path


def test_the_stage(written: Path) -> None:
    _, stage, _ = build_stages(load_recipe(written / "recipe.yaml").recipe)
    (sample,) = stage([tabletop_sample(0)])
    assert sample.scene.scores.figures["target_sharpness"] > 0
    strict = load_recipe(written / "recipe.yaml", overrides=["extra.0.min_sharpness=1"])
    (sample,) = build_stages(strict.recipe)[1]([tabletop_sample(0)])
    assert sample.reject is not None
    assert sample.reject.reason == "blurred"


def test_unfinished_work_of_other_code_is_refused(written: Path) -> None:
    plan = make_plan(load_recipe(written / "recipe.yaml"), output=written / "new", limit=2)
    before = build_identity(plan)
    assert list(differences(before, build_identity(plan))) == []
    code = written / "my_package" / "blur.py"
    code.write_text(code.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    assert list(differences(before, build_identity(plan))) == [
        "the code of its stages from outside imig has changed"
    ]


def test_the_stage_with_a_model_and_the_family(written: Path) -> None:
    from my_package.models import MyCaptioner  # type: ignore[import-not-found]
    from my_package.tags import StyleConfig, StyleStage  # type: ignore[import-not-found]

    (written / "my_weights").mkdir()
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, written / "my_weights" / "words.pt")
    recipe = load_recipe(written / "captioned.yaml").recipe
    model = load_model(recipe.caption.model, batch_size=4)
    assert isinstance(model, MyCaptioner)
    assert model.name.startswith("my_package.models:MyCaptioner:my_weights@")
    config = StyleConfig(
        model=ModelConfig(family="my_package.models:MyCaptioner", weights="my_weights")
    )
    stage = StyleStage(config, BuildContext(recipe_seed=0, subset="basic"))
    stage.setup()
    (sample,) = stage([tabletop_sample(0)])
    assert sample.scene.style == "a picture of 2 words"


def test_the_format(written: Path) -> None:
    from support.tiny_dataset import write_tiny_dataset

    folder = write_tiny_dataset(written / "shards", scenes=3)
    out = written / "captions"
    arguments = ["my_package.captions:CaptionsExporter", str(folder), "--set", "suffix=.caption"]
    assert main(["export", *arguments, "--output", str(out)]) == 0
    captions = [path.read_text(encoding="utf-8") for path in sorted(out.glob("*.caption"))]
    assert len(captions) == 3
    assert (out / "captions.txt").read_text(encoding="utf-8").splitlines() == captions


@pytest.mark.long
def test_from_python(written: Path) -> None:
    """A build with the tiny models, checked and drawn."""
    (code,) = [text for kind, text in BLOCKS if kind == "python" and text.startswith("import imig")]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (written / "scene.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("program", "argument", "first"),
    [
        ("torch_loop.py", ".", "(4, 3, 256, 256) (4, 5, 4)"),
        ("webdataset_loop.py", "basic-000000.tar", "basic-00000000 "),
    ],
)
def test_shards_read_by_an_example(written: Path, program: str, argument: str, first: str) -> None:
    from support.tiny_dataset import write_tiny_dataset

    folder = write_tiny_dataset(written / "shards", scenes=6)
    script = ROOT / "examples" / program
    done = subprocess.run(
        [sys.executable, script, folder / argument], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(first)
