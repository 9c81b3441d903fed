"""What was wrong with pictures that were used all the same, in a build's report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console
from support.engine_build import run_in_process
from support.engine_stages import Judge, make_test_plan, write_recipe
from support.picture_files import chunk, exif, jpeg, orientation, png, segment
from support.tiny_dataset import make_sample

import imig.engine.build as engine
from imig.engine.plan import Plan, Step
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources.config import FolderSource

ASCII_RESOLUTION = (0x011A, 2, 4, b"72\0\0")


def plan_of(folder: Path, output: Path) -> Plan:
    """A build of the folder's pictures, without models."""
    config = FolderSource(kind="folder", path=str(folder), min_side=8)
    source = SourceStage(config, BuildContext(recipe_seed=0, subset="basic"))
    recipe = write_recipe(folder.parent)
    plan = make_test_plan(output, recipe=recipe, scenes=source.count(), judge=Judge())
    return replace(plan, steps=(Step(source), *plan.steps[1:]))


def test_oddities_are_counted_and_the_first_scenes_named(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(9):
        (folder / f"a{number}.png").write_bytes(png(chunk(b"tEXt", b"a\0b", checksum=1)))
    turned = jpeg(segment(0xE1, exif(orientation(6), ASCII_RESOLUTION)))
    (folder / "b.jpg").write_bytes(turned)
    (folder / "c.jpg").write_bytes(jpeg())
    plan = plan_of(folder, tmp_path / "d")
    screen = io.StringIO()
    with patch.object(engine, "run_blocks", run_in_process):
        finished = engine.build(plan, Console(file=screen, width=100))
    assert finished is not None
    assert finished.manifest.counts.rejected == 2  # by the judge: their oddities count too
    first = [f"basic-{number:08d}" for number in range(5)]
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert report["stages"][0]["oddities"] == {
        "damaged metadata left out": {"count": 9, "first": first},
        "damaged EXIF": {"count": 1, "first": ["basic-00000009"]},
    }
    line = f"source: damaged metadata left out: 9, the first: {first[0]}"
    assert line in screen.getvalue()
    assert "source: damaged EXIF: 1, the first: basic-00000009" in screen.getvalue()
    assert line in (tmp_path / "d" / "report.html").read_text()


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ("a.txt: byte 5", "a.txt: byte 5"),
        ("\udcff.txt", r"\udcff.txt"),
        ("\x1b[2Ja\nb.txt", r"\x1b[2Ja\nb.txt"),
        ("x" * 5000, "x" * 300 + ".."),
    ],
    ids=["plain", "no-utf-8", "controls", "long"],
)
def test_details_can_be_written_and_shown(details: str, shown: str) -> None:
    sample = make_sample(0)
    sample.note_oddity("kind", details)
    assert sample.oddities == [("kind", shown)]
