"""What was wrong with pictures that were used all the same, in a build's report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from support.engine_build import run_in_process
from support.engine_stages import Judge, make_test_plan, write_recipe
from support.picture_files import chunk, exif, jpeg, orientation, png, segment

import imig.engine.build as engine
from imig.engine.plan import Plan, Step
from imig.recipe import FolderSource
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage

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
    (folder / "c.txt").write_bytes(b"a [mug]\xff\x00\x01\x02")
    plan = plan_of(folder, tmp_path / "d")
    screen = io.StringIO()
    with patch.object(engine, "run_blocks", run_in_process):
        finished = engine.build(plan, Console(file=screen, width=100))
    assert finished is not None
    assert finished.manifest.counts.rejected == 2  # by the judge: their oddities count too
    first = [f"basic-{number:08d}" for number in range(5)]
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert report["oddities"] == {
        "damaged metadata left out": {"count": 9, "scenes": first},
        "damaged EXIF": {"count": 1, "scenes": ["basic-00000009"]},
        "undecodable caption": {
            "count": 1,
            "scenes": ["basic-00000010: c.txt: byte 7 (0xff) is in no encoding that is known"],
        },
    }
    assert "basic-00000010: c.txt: byte 7 (0xff)" in screen.getvalue()
    line = f"damaged metadata left out: 9 scenes ({', '.join(first)}, ...)"
    assert f"used all the same: {line}" in screen.getvalue()
    assert "damaged EXIF: 1 scene (basic-00000009)" in screen.getvalue()
    assert line in (tmp_path / "d" / "report.html").read_text()
