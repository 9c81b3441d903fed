"""A block whose worker has died: what comes of it, what is kept, how it goes on; no processes."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest
from support.engine_stages import Draw, Judge

from imig.engine.blocks import Block, Care, run_stage
from imig.engine.deaths import Death, Deaths, Trial, read_deaths, write_deaths
from imig.engine.isolation import ROUNDS, Isolation
from imig.errors import DataError
from imig.schema import Quarantine

START, STOP = 8, 16


def block() -> Block:
    return Block(2, START, STOP, samples=Draw(24).enumerate(START, STOP))


def scene(number: int) -> str:
    return f"basic-{number:08d}"


class Machine:
    """Fresh workers that run two small stages and die of scenes, or for no scene's sake."""

    def __init__(
        self,
        *guilty: int,
        deaths_from_outside: int = 0,
        stopped_at: int | None = None,
        stage: str = "filter",
    ) -> None:
        self.guilty = {scene(one) for one in guilty}
        self.outside = deaths_from_outside
        self.stopped_at = stopped_at
        self.stage = stage
        self.shown: list[list[str]] = []

    def worker(self) -> Machine:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def run(self, block: Block, guilty: Mapping[str, Quarantine]) -> Block | Death:
        ids = [one.scene.id for one in block.samples]
        self.shown.append(ids)
        if len(self.shown) == self.stopped_at:
            raise KeyboardInterrupt
        if self.outside:
            self.outside -= 1
            return Death(kind="signal", code=signal.SIGKILL, stage="filter", scenes=ids)
        met = self.guilty & set(ids) - set(guilty)
        if met:
            words = f"Fatal Python error: {min(met)}"
            return Death(
                kind="signal", code=signal.SIGSEGV, stage=self.stage, scenes=ids, words=words
            )
        for stage in (Draw(24), Judge()):
            run_stage(block, stage, batch_size=3, care=Care(guilty=guilty))
        return block


class Kept:
    """What a build keeps of a block on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.naps: list[float] = []

    def keep(self, trials: list[Trial], guilty: list[Quarantine]) -> None:
        write_deaths(self.path, Deaths(trials={"all/2": trials}, guilty={2: guilty}))

    def isolation(self, machine: Machine) -> Isolation:
        deaths = read_deaths(self.path)
        return Isolation(
            group="source+filter",
            stages=("source", "filter"),
            pristine=block,
            worker=machine.worker,
            keep=self.keep,
            tell=self.lines.append,
            trials=deaths.trials.get("all/2", []),
            guilty={one.id: one for one in deaths.guilty.get(2, [])},
            sleep=self.naps.append,
        )


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "deaths.json")


def undisturbed() -> Block:
    done = block()
    for stage in (Draw(24), Judge()):
        run_stage(done, stage, batch_size=3)
    return done


def by_id(done: Block) -> dict[str, bytes]:
    return {one.scene.id: pickle.dumps((one.scene, one.files)) for one in done.samples}


def batch_of(number: int) -> set[str]:
    """Scenes that share a batch of three with one, in a block from `START`."""
    first = START + (number - START) // 3 * 3
    return {scene(one) for one in range(first, min(first + 3, STOP))}


@pytest.mark.parametrize("number", range(START, STOP))
def test_the_guilty_scene_is_set_aside_and_other_batches_stay(kept: Kept, number: int) -> None:
    done = kept.isolation(Machine(number)).run()
    (aside,) = done.quarantined
    assert (aside.id, aside.stage, aside.fault) == (scene(number), "filter", "data")
    assert aside.error.startswith("WorkerDied: SIGSEGV (signal 11); twice, alone in a fresh worker")
    assert aside.traceback == f"Fatal Python error: {scene(number)}"
    ours, theirs = by_id(done), by_id(undisturbed())
    assert set(ours) == set(theirs) - {scene(number)}
    assert {one for one in ours if ours[one] != theirs[one]} <= batch_of(number)
    total = len(done.samples) + len(done.rejects) + len(done.quarantined)
    assert total == STOP - START
    assert done.tallies["filter"].quarantined == 1
    assert any(f"{scene(number)} is quarantined" in line for line in kept.lines)


def test_several_guilty_scenes(kept: Kept) -> None:
    done = kept.isolation(Machine(8, 9, 15)).run()
    assert [one.id for one in done.quarantined] == [scene(8), scene(9), scene(15)]
    assert len(done.samples) + len(done.rejects) == 5


def test_a_death_from_outside_costs_nothing(kept: Kept) -> None:
    """Ray's worker has died; a fresh one that sees the whole block lives."""
    done = kept.isolation(Machine()).run()
    assert by_id(done) == by_id(undisturbed())
    assert kept.lines == []


@pytest.mark.parametrize("deaths", [1, 2, 3, 4, 5, 6, 11])
def test_deaths_from_outside_cost_time_and_no_scene(kept: Kept, deaths: int) -> None:
    done = kept.isolation(Machine(deaths_from_outside=deaths)).run()
    assert done.quarantined == []
    assert by_id(done) == by_id(undisturbed())
    assert any("the system is at fault; again in 5 s" in line for line in kept.lines)


def test_when_all_workers_die_the_build_ends_with_a_cure(kept: Kept) -> None:
    machine = Machine(deaths_from_outside=10**6)
    with pytest.raises(DataError, match=rf"SIGKILL.* in {ROUNDS} rounds, and none of these") as end:
        kept.isolation(machine).run()
    assert "resources.batch_size" in end.value.cure
    assert [one for one in kept.naps if one > 5] == [15.0]
    assert read_deaths(kept.path).guilty[2] == []
    # The next run begins anew.
    assert kept.isolation(Machine()).run().quarantined == []


@pytest.mark.parametrize("stopped_at", [1, 2, 5, 8, 11, 13])
def test_a_search_that_was_stopped_goes_on(kept: Kept, stopped_at: int) -> None:
    stopped = Machine(10, 13, stopped_at=stopped_at)
    with pytest.raises(KeyboardInterrupt):
        kept.isolation(stopped).run()
    found = [one.id for one in read_deaths(kept.path).guilty[2]] if stopped_at > 1 else []
    second = Machine(10, 13)
    done = kept.isolation(second).run()
    whole = Machine(10, 13)
    Kept(kept.path.with_name("other.json")).isolation(whole).run()
    # Nothing is shown twice, but for what was under way.
    assert stopped.shown[:-1] + second.shown == whole.shown
    assert [one.id for one in done.quarantined] == [scene(10), scene(13)]
    assert all(set(shown) - {*found} for shown in second.shown if shown)


def test_what_is_known_kills_no_further_worker(kept: Kept) -> None:
    kept.isolation(Machine(10)).run()
    machine = Machine(10)
    done = kept.isolation(machine).run()
    assert len(machine.shown) == 1
    assert [one.id for one in done.quarantined] == [scene(10)]


def test_another_stage_than_the_last_may_be_the_one(kept: Kept) -> None:
    done = kept.isolation(Machine(10, stage="source")).run()
    assert [one.stage for one in done.quarantined] == ["source"]
    assert done.tallies["source"].quarantined == 1
    assert done.tallies["filter"].seen == STOP - START - 1


@pytest.mark.parametrize(
    ("damage", "problem"),
    [(b"", "cannot be read"), (b"[]", "cannot be read"), (b'{"trials": 3}', "trials")],
    ids=["empty", "list", "wrong-type"],
)
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes, problem: str) -> None:
    path = tmp_path / "deaths.json"
    path.write_bytes(damage)
    with pytest.raises(DataError, match=problem) as caught:
        read_deaths(path)
    assert f"remove {path}" in caught.value.cure
