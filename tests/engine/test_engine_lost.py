"""Builds whose source goes away: they stop, finish nothing by mistake, and go on once it is back.

Blocks run in this process, without Ray.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import support.engine_build as in_process
from PIL import Image
from rich.console import Console
from support.engine_build import finish_blocks, run_in_process
from support.engine_process import digests
from support.engine_stages import Judge

import imig.engine.build as engine
from imig.engine.failures import Failures
from imig.engine.fitting import FittingSize
from imig.engine.folder import BuildFolder
from imig.engine.parts import part_record
from imig.engine.plan import Plan, Step
from imig.engine.sizes import begin_sizes
from imig.engine.tally import Snapshot
from imig.engine.workers import FinishedBlock
from imig.errors import DataError, SourceLostError
from imig.output.record import read_record
from imig.recipe.file import load_recipe
from imig.recipe.parts import Resources
from imig.sample import image_to_jpeg
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources.config import FolderSource

BLOCK = 4


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "run_blocks", run_in_process)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        picture = image_to_jpeg(Image.new("RGB", (72, 66), (number * 6, 80, 160)))
        (folder / f"{number:02d}.jpg").write_bytes(picture)
    return folder


def plan_for(
    photos: Path,
    *,
    judge: Judge | None = None,
    scenes: int = 40,
    rate: float = 0.05,
    more: str = "",
) -> Plan:
    recipe = photos.parent / "lost.yaml"
    recipe.write_text(
        f"name: lost\nsource: {{kind: folder, path: {photos}, min_side: 64}}\n"
        f"engine: {{block_size: {BLOCK}, max_error_rate: {rate}}}\nwrite: {{scenes_per_shard: 8}}\n"
        + more
    )
    source = SourceStage(
        FolderSource(kind="folder", path=str(photos), min_side=64),
        BuildContext(recipe_seed=0, subset="basic"),
    )
    return Plan(
        loaded=load_recipe(recipe),
        steps=(Step(source), Step(judge or Judge(), Resources(batch_size=3))),
        models=(),
        scenes=scenes,
        output=photos.parent / "d",
    )


def run(plan: Plan) -> str:
    screen = io.StringIO()
    engine.build(plan, Console(file=screen, width=120))
    return " ".join(screen.getvalue().split())


def after_blocks(
    monkeypatch: pytest.MonkeyPatch, blocks: int, happens: Callable[[], object]
) -> None:
    """Let something happen in mid-build, once."""
    left = [happens]

    def finish(
        folder: BuildFolder, numbers: Sequence[int], sizes: dict[str, FittingSize]
    ) -> Iterator[FinishedBlock | Snapshot]:
        for done, event in enumerate(finish_blocks(folder, numbers, sizes), start=1):
            yield event
            if done == blocks and left:
                left.pop()()

    monkeypatch.setattr(in_process, "finish_blocks", finish)


def undisturbed(photos: Path) -> dict[str, str]:
    """Digests of a build in which nothing happens; its folder is moved aside."""
    run(plan_for(photos))
    (photos.parent / "d").rename(photos.parent / "undisturbed")
    return digests(photos.parent / "undisturbed")


def counts(photos: Path) -> tuple[int, int, int]:
    """Written, rejected, quarantined."""
    found = json.loads((photos.parent / "d" / "dataset.json").read_bytes())["counts"]
    return found["written"], found["rejected"], found["quarantined"]


def test_a_folder_moved_away_stops_the_build_and_back_it_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(photos)
    away = photos.parent / "away"
    after_blocks(monkeypatch, 5, lambda: photos.rename(away))
    with pytest.raises(SourceLostError, match=f"no picture below {photos} can be found any more"):
        run(plan_for(photos))
    assert not (photos.parent / "d" / "dataset.json").exists()
    away.rename(photos)
    run(plan_for(photos))
    assert counts(photos) == (34, 6, 0)
    assert digests(photos.parent / "d") == expected


@pytest.mark.parametrize("first", [6, 8, 13], ids=lambda first: f"from-picture-{first}")
def test_many_lost_pictures_stop_the_build_and_back_they_are_built(
    photos: Path, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(photos)
    lost = photos.parent / "lost"
    lost.mkdir()
    names = [f"{number:02d}.jpg" for number in range(first, 30)]

    def move(source: Path, target: Path) -> None:
        for name in names:
            (source / name).rename(target / name)

    plan = plan_for(photos)
    move(photos, lost)
    message = rf"pictures of the source cannot be opened, the first being {first:02d}\.jpg: No such"
    with pytest.raises(DataError, match=message) as caught:
        run(plan)
    assert "run the same command again: finished work is kept" in caught.value.cure
    assert not (photos.parent / "d" / "dataset.json").exists()
    move(lost, photos)
    run(plan_for(photos))
    assert counts(photos) == (34, 6, 0)
    assert digests(photos.parent / "d") == expected


def test_stopped_before_the_limit_lost_pictures_are_tried_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(photos)
    hidden = photos.parent / "07.jpg"
    plan = plan_for(photos, rate=0.5)
    (photos / "07.jpg").rename(hidden)

    def stop() -> None:
        raise KeyboardInterrupt

    after_blocks(monkeypatch, 5, stop)
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    waiting = BuildFolder(plan)
    # The first shard is complete, and waits for its picture.
    assert not waiting.shard_record(0).exists()
    assert waiting.shard_record(1).exists()
    [lost] = read_record(part_record(waiting.parts, 1)).quarantined
    assert (lost.id, lost.path, lost.stage) == ("basic-00000007", "07.jpg", "source")
    hidden.rename(photos / "07.jpg")
    run(plan_for(photos, rate=0.5))
    assert counts(photos) == (34, 6, 0)
    found = digests(photos.parent / "d")
    found["dataset.json"] = expected["dataset.json"]  # it has the rate
    assert found == expected


def test_what_comes_back_while_the_build_runs_is_built(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(photos)
    hidden = photos.parent / "07.jpg"
    plan = plan_for(photos)
    assert plan.source.count() == 40
    (photos / "07.jpg").rename(hidden)
    after_blocks(monkeypatch, 8, lambda: hidden.rename(photos / "07.jpg"))
    assert "for which the system was at fault: once more" in run(plan)
    assert counts(photos) == (34, 6, 0)
    assert digests(photos.parent / "d") == expected


@pytest.mark.parametrize(
    ("scenes", "lost", "rate", "is_built"),
    [
        pytest.param(1, 1, 1.0, False, id="all-of-one"),
        pytest.param(6, 6, 1.0, False, id="all-of-a-few"),
        pytest.param(6, 4, 0.05, False, id="most-of-a-few"),
        pytest.param(6, 4, 0.9, True, id="most-of-a-few-as-the-recipe-allows"),
        pytest.param(6, 1, 0.05, True, id="one-of-a-few"),
        pytest.param(40, 40, 1.0, False, id="all-of-many"),
    ],
)
def test_a_small_build_that_fails_is_not_finished(
    photos: Path, scenes: int, lost: int, rate: float, is_built: bool
) -> None:
    """Failures of a stage, which drop out of the rates of small builds while they run."""
    output = photos.parent / "d"
    sound = Judge(reject_every=1000)
    plan = plan_for(photos, judge=Judge(raise_on=range(lost)), scenes=scenes, rate=rate)
    if is_built:
        run(plan)
        assert counts(photos)[2] == lost
        again = run(plan)
        assert f"finished already: {counts(photos)[0]} scenes" in again
        assert f"{lost} quarantined); --overwrite builds it anew" in again
        return
    for _ in range(2):  # the second time nothing may have been finished by mistake
        with pytest.raises(DataError, match=f"{lost} of {scenes} scenes failed") as caught:
            run(plan)
        assert caught.value.exit_code == 1
        assert ("max_error_rate" in caught.value.cure) == (rate < 0.5)
        assert not (output / "dataset.json").exists()
    run(plan_for(photos, judge=sound, scenes=scenes, rate=rate))
    # 3 of every 1000 is turned down: number 3.
    assert counts(photos) == (scenes - (scenes > 3), int(scenes > 3), 0)


def test_a_build_that_writes_nothing_has_failed_at_any_rate() -> None:
    failures = Failures(1.0)
    failures.add(seen=40, written=0, errors=["ValueError: x"] * 39)
    with pytest.raises(DataError, match="39 of 40 scenes failed"):
        failures.require_success()


def test_few_lost_pictures_are_named_in_the_tables(photos: Path) -> None:
    (photos / "00.jpg").write_bytes(b"no picture")
    (photos / "raw.cr2").write_bytes(b"x")
    plan = plan_for(photos)
    assert plan.source.count() == 40
    (photos / "05.jpg").unlink()
    run(plan)
    rejects = pd.read_parquet(photos.parent / "d" / "rejects.parquet")
    assert list(rejects["path"][:2]) == ["00.jpg", "03.jpg"]
    assert list(rejects["reason"][:2]) == ["unreadable image", "unlucky"]
    [lost] = pd.read_parquet(photos.parent / "d" / "quarantine.parquet").to_dict("records")
    assert (lost["path"], lost["stage"]) == ("05.jpg", "source")
    assert lost["error"] == "CannotOpenError: cannot open 05.jpg: No such file or directory"
    assert str(photos) not in lost["error"] + lost["traceback"]
    report = json.loads((photos.parent / "d" / "report.json").read_bytes())
    assert report["source"] == ["1 file of kinds that are not read: .cr2 (1)"]
    assert report["stages"][0]["reasons"] == {"unreadable image": 1, "CannotOpenError": 1}


def test_duplicates_are_named_in_the_tables(photos: Path) -> None:
    run(plan_for(photos, judge=Judge(reject_every=1000), scenes=3, more="duplicates: {}\n"))
    rejects = pd.read_parquet(photos.parent / "d" / "rejects.parquet")
    # Pictures of one colour look alike.
    assert list(rejects["stage"]) == ["duplicates"] * 2
    assert list(rejects["path"]) == ["01.jpg", "02.jpg"]


def test_tables_without_paths_are_read(tmp_path: Path) -> None:
    from imig.shards.tables import read_quarantine, read_rejects

    row = {"id": "basic-00000001", "stage": "source", "reason": "r", "figures": "{}"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rejects.parquet")
    row = {"id": "basic-00000002", "stage": "source", "error": "e", "traceback": "t"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "quarantine.parquet")
    assert [one.path for one in read_rejects(tmp_path)] == [None]
    assert [one.path for one in read_quarantine(tmp_path)] == [None]


def test_an_empty_shard_of_an_older_version_is_done_again(photos: Path) -> None:
    """They joined shards of which nothing was left, so that the next run called them finished."""
    plan = plan_for(photos, judge=Judge(raise_on=range(8)), scenes=8)
    folder = BuildFolder(plan)
    folder.output.prepare()
    list(finish_blocks(folder, [0, 1], begin_sizes(plan, {})))
    folder.join_shard(0)
    with pytest.raises(DataError, match="nothing was written: 8 of 8 scenes failed"):
        run(plan)
    run(plan_for(photos, scenes=8))
    assert counts(photos) == (7, 1, 0)
