"""Faults of the system are waited for, faults of the data are not; who is at fault is recorded."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable

import pytest
from support.engine_stages import CONTEXT, Draw

from imig.engine.blocks import Block, Care, FreshWorkerNeeded, run_stage
from imig.engine.failures import errors_must_wait
from imig.engine.patience import Patience, is_system_fault, passes
from imig.errors import CannotOpenError, DataError, ServerDownError, SourceLostError
from imig.output.record import Record
from imig.output.report import faults_to_text, record_to_funnel
from imig.recipe.parts import StageConfig
from imig.sample import Sample
from imig.schema import Counts, InstanceScores, Quarantine
from imig.stages.base import Stage

PAUSES = [0.5, 1.0, 2.0, 4.0, 2.5]
"""Of ten seconds."""


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "waits", "is_systems"),
    [
        pytest.param(OSError(errno.EIO, "Input/output error"), True, True, id="failing-disk"),
        pytest.param(OSError(errno.ENOSPC, "No space left"), True, True, id="full-disk"),
        pytest.param(ConnectionResetError("reset"), True, True, id="network"),
        pytest.param(TimeoutError("timed out"), True, True, id="no-answer"),
        pytest.param(
            caused(DataError("cannot write"), OSError(errno.ENOSPC, "")), True, True, id="behind-it"
        ),
        pytest.param(CannotOpenError("cannot open a.jpg"), False, True, id="a-missing-picture"),
        pytest.param(
            caused(CannotOpenError("cannot open a.jpg"), OSError(errno.EIO, "")),
            True,
            True,
            id="a-picture-on-a-failing-disk",
        ),
        pytest.param(ServerDownError("6 tries failed"), False, True, id="server-down"),
        pytest.param(OSError("image file is truncated"), False, False, id="no-number"),
        pytest.param(FileNotFoundError(errno.ENOENT, ""), False, False, id="a-missing-file"),
        pytest.param(ValueError("cannot judge"), False, False, id="the-scene"),
        pytest.param(MemoryError(), False, False, id="memory-see-fresh-workers"),
    ],
)
def test_who_is_at_fault(error: Exception, waits: bool, is_systems: bool) -> None:
    assert (passes(error), is_system_fault(error)) == (waits, is_systems)


class Shaky(Stage):
    """Fails on one scene, as often as it is told to."""

    name = "shaky"

    def __init__(self, error: BaseException, *, number: int = 1, times: int = 10**6) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._error = error
        self._id = f"basic-{number:08d}"
        self.times = times

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        if self.times and any(one.scene.id == self._id for one in samples):
            self.times -= 1
            raise self._error
        return samples


class Console:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.naps: list[float] = []
        self.patience = Patience(10.0, tell=self.lines.append, sleep=self.naps.append)


def ran(stage: Stage, console: Console, *, first: int = 0) -> Block:
    block = Block(0, first, first + 4, samples=Draw(40).enumerate(first, first + 4))
    run_stage(block, stage, batch_size=4, care=Care(patience=console.patience))
    return block


def test_a_fault_of_the_system_that_passes_costs_no_scene() -> None:
    console = Console()
    block = ran(Shaky(OSError(errno.EIO, "Input/output error"), times=4), console)
    assert len(block.samples) == 4
    assert console.naps == PAUSES[:3]
    assert console.lines[0] == (
        "stage shaky, scene basic-00000001: OSError: [Errno 5] Input/output error; again in 0.5 s"
    )


def test_one_that_does_not_pass_is_recorded_as_the_systems() -> None:
    console = Console()
    block = ran(Shaky(OSError(errno.EIO, "Input/output error")), console)
    assert console.naps == PAUSES
    assert [(one.id, one.fault) for one in block.quarantined] == [("basic-00000001", "system")]


def test_a_dead_disk_is_waited_for_once_and_not_with_every_scene() -> None:
    console = Console()
    for first in (0, 4, 8):
        ran(Shaky(OSError(errno.EIO, ""), number=first), console, first=first)
    assert console.naps == PAUSES
    ran(Shaky(OSError(errno.EIO, ""), number=12, times=2), console, first=12)  # it is well again
    ran(Shaky(OSError(errno.EIO, ""), number=16), console, first=16)
    assert console.naps == PAUSES * 2


@pytest.mark.parametrize(
    "error", [ValueError("cannot judge"), SystemExit(3)], ids=["raises", "would-end-the-process"]
)
def test_a_fault_of_the_data_is_not_waited_for(error: BaseException) -> None:
    console = Console()
    block = ran(Shaky(error), console)
    assert console.naps == []
    assert [(one.id, one.fault) for one in block.quarantined] == [("basic-00000001", "data")]
    assert len(block.samples) == 3


def test_memory_for_a_batch_is_found_one_by_one() -> None:
    assert len(ran(Shaky(MemoryError(), times=1), Console()).samples) == 4


def test_memory_for_a_single_scene_asks_for_a_fresh_worker() -> None:
    with pytest.raises(FreshWorkerNeeded, match="stage shaky: MemoryError"):
        ran(Shaky(MemoryError()), Console())


def test_a_source_that_is_lost_still_ends_the_build() -> None:
    with pytest.raises(SourceLostError):
        ran(Shaky(SourceLostError("gone")), Console())


class Mad(Stage):
    """Writes what cannot be into one scene, the first `times`."""

    name = "mad"

    def __init__(self, harm: Callable[[Sample], object], *, times: int = 10**6) -> None:
        super().__init__(StageConfig(), CONTEXT)
        self._harm = harm
        self.times = times

    def __call__(self, samples: list[Sample]) -> list[Sample]:
        for sample in samples:
            if sample.scene.id == "basic-00000001" and self.times:
                self.times -= 1
                self._harm(sample)
        return samples


def nan_in_a_table(sample: Sample) -> None:
    sample.scene.scores.figures["mood"] = math.nan


def infinite_in_a_list(sample: Sample) -> None:
    add_instance(sample, InstanceScores(identity_similarity=[1.0]))
    scores = sample.scene.instances[0].scores
    assert scores.identity_similarity is not None
    scores.identity_similarity[0] = math.inf


def cosine_of_three(sample: Sample) -> None:
    sample.scene.scores.caption_similarity = 3.0


def box_outside(sample: Sample) -> None:
    add_instance(sample, InstanceScores(), box=(10, 10, 90, 20))


def add_instance(
    sample: Sample, scores: InstanceScores, *, box: tuple[int, int, int, int] = (0, 0, 1, 1)
) -> None:
    from imig.schema import Instance

    sample.scene.width, sample.scene.height = 32, 24
    sample.scene.instances = [
        Instance(index=0, identity_id="a", phrase="a cup", noun="cup", box=box, scores=scores)
    ]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        pytest.param(nan_in_a_table, "scores.figures.mood is nan", id="nan"),
        pytest.param(
            infinite_in_a_list, "instances.0.scores.identity_similarity.0 is inf", id="infinite"
        ),
        pytest.param(
            cosine_of_three, "caption_similarity is 3, and cannot exceed 1", id="cosine-of-three"
        ),
        pytest.param(
            box_outside,
            "instances.0.box [10, 10, 90, 20] lies outside of 32x24 pixels",
            id="box-outside",
        ),
    ],
)
def test_what_cannot_be_is_quarantined_by_the_stage_that_made_it(
    harm: Callable[[Sample], object], named: str
) -> None:
    block = ran(Mad(harm), Console())
    (aside,) = block.quarantined
    assert (aside.id, aside.stage, aside.fault) == ("basic-00000001", "mad", "data")
    assert aside.error == f"AbsurdOutput: {named}"
    assert len(block.samples) == 3


def test_nonsense_that_a_second_try_does_not_make_costs_no_scene() -> None:
    assert len(ran(Mad(nan_in_a_table, times=1), Console()).samples) == 4


def test_the_report_tells_faults_of_the_system_from_those_of_the_data() -> None:
    block = ran(Shaky(OSError(errno.EIO, "Input/output error")), Console())
    run_stage(block, Shaky(ValueError("no"), number=2), batch_size=4)
    record = Record(input=4, quarantined=block.quarantined, tallies=block.tallies)
    (row,) = record_to_funnel(record)
    assert row.system_faults == 1
    counts = Counts(input=4, written=2, rejected=0, quarantined=2)
    assert faults_to_text(counts, [row]) == (
        "quarantined: 1 by faults of the data (a stage cannot bear the scene), 1 by faults of the "
        "system (disk, network, server)"
    )


def test_a_block_with_a_fault_of_the_system_waits_for_another_try() -> None:
    assert errors_must_wait(["OSError: x"], system_faults=1, seen=8, written=7)
    assert not errors_must_wait(["ValueError: x"], system_faults=0, seen=8, written=7)


def test_quarantines_of_older_versions_are_faults_of_the_data() -> None:
    assert Quarantine(id="a", stage="b", error="c", traceback="d").fault == "data"
