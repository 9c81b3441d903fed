"""Which scene is guilty of a worker's death: the decision, without a process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Sequence

import pytest

from imig.engine.bisecting import Guilty, find_guilty
from imig.engine.deaths import Death

SCENES = [f"basic-{number:08d}" for number in range(8)]
SEGV = Death(kind="signal", code=signal.SIGSEGV, stage="segment")
KILL = Death(kind="signal", code=signal.SIGKILL, stage="segment")
LOADING = Death(kind="signal", code=signal.SIGKILL)


def dies_of(*guilty: int, death: Death = SEGV) -> Callable[[Sequence[str]], Death | None]:
    """A worker that dies of some scenes, wherever they are."""

    def show(scenes: Sequence[str]) -> Death | None:
        met = [one for one in scenes if int(one[-2:]) in guilty]
        return death.model_copy(update={"scenes": list(scenes)}) if met else None

    return show


def found(
    show: Callable[[Sequence[str]], Death | None],
    *,
    scenes: Sequence[str] = SCENES,
    at: Sequence[str] | None = None,
    first: Death = SEGV,
    works_elsewhere: bool = False,
) -> tuple[str | None, list[list[str]]]:
    """The guilty scene, and what was shown to fresh workers."""
    shown: list[list[str]] = []

    def note(some: Sequence[str]) -> Death | None:
        shown.append(list(some))
        return show(some)

    first = first.model_copy(update={"scenes": list(scenes if at is None else at)})
    guilty = find_guilty(scenes, first, note, works_elsewhere=works_elsewhere)
    return (guilty.scene if isinstance(guilty, Guilty) else None), shown


@pytest.mark.parametrize("guilty", range(8))
@pytest.mark.parametrize("death", [SEGV, KILL], ids=["segv", "kill"])
def test_the_one_guilty_scene_is_found(guilty: int, death: Death) -> None:
    scene, shown = found(dies_of(guilty, death=death), first=death)
    assert scene == SCENES[guilty]
    assert shown[-1] == [scene]
    assert shown.count([scene]) >= 2, "twice alone"
    (control,) = [one for one in shown[-3:] if one != [scene]]
    assert len(control) == 1, "another lives in between"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_of_several_guilty_scenes_one_after_the_other_is_found(count: int) -> None:
    guilty = set(range(8 - count, 8))
    left = list(SCENES)
    while guilty:
        scene, _ = found(dies_of(*guilty), scenes=left, works_elsewhere=True)
        assert scene is not None
        assert int(scene[-2:]) in guilty
        guilty.remove(int(scene[-2:]))
        left.remove(scene)


def test_the_batch_that_was_under_way_is_looked_at_first() -> None:
    scene, shown = found(dies_of(4), at=SCENES[3:6])
    assert scene == SCENES[4]
    assert all(set(one) <= {*SCENES[3:6], SCENES[0]} for one in shown)


def test_one_that_hurts_early_and_kills_late_is_found_too() -> None:
    """The worker dies of scene 1 only, while it is at 6 and 7."""
    assert found(dies_of(1), at=SCENES[6:])[0] == SCENES[1]


class Outside:
    """Kills workers for no scene's sake: all of them, or those of some trials."""

    def __init__(self, strikes: Collection[int] | None = None, death: Death = KILL) -> None:
        self._strikes = strikes
        self._death = death
        self._trials = -1

    def __call__(self, scenes: Sequence[str]) -> Death | None:
        self._trials += 1
        struck = self._strikes is None or self._trials in self._strikes
        return self._death.model_copy(update={"scenes": list(scenes)}) if struck else None


@pytest.mark.parametrize(
    ("strikes", "death"),
    [
        pytest.param(None, KILL, id="whoever-kills-all"),
        pytest.param(None, LOADING, id="whoever-kills-all-while-they-load"),
        pytest.param(None, Death(kind="hung", stage="segment"), id="a-dead-disk"),
        pytest.param(None, Death(kind="memory", stage="segment"), id="no-memory-at-all"),
        pytest.param(None, SEGV, id="a-stage-that-always-dies"),
        pytest.param((), KILL, id="nobody-any-more"),
        pytest.param((0,), KILL, id="once"),
        pytest.param((0, 1), KILL, id="twice"),
        pytest.param((0, 1, 2), KILL, id="three-times"),
        pytest.param((0, 1, 2, 3), KILL, id="four-times-alone-once"),
        pytest.param((0, 1, 2, 3, 4), KILL, id="until-the-control"),
        pytest.param((0, 1, 2, 3, 4, 5, 6, 7), KILL, id="eight-times"),
    ],
)
def test_kills_from_outside_cost_no_scene(strikes: Collection[int] | None, death: Death) -> None:
    assert found(Outside(strikes, death), first=death)[0] is None


@pytest.mark.parametrize("death", [KILL, LOADING], ids=["at-work", "loading"])
@pytest.mark.parametrize("works_elsewhere", [False, True])
def test_a_lone_scene_is_not_blamed_where_workers_die_without_it(
    death: Death, works_elsewhere: bool
) -> None:
    assert found(
        Outside(death=death), scenes=SCENES[:1], first=KILL, works_elsewhere=works_elsewhere
    ) == (None, [SCENES[:1]] if death == LOADING else [SCENES[:1], []])


def test_a_lone_scene_that_kills_is_guilty() -> None:
    scene, shown = found(dies_of(0), scenes=SCENES[:1])
    assert scene == SCENES[0]
    assert shown == [SCENES[:1], [], SCENES[:1]]


@pytest.mark.parametrize(
    ("death", "works_elsewhere", "is_guilty"),
    [
        pytest.param(SEGV, True, True, id="the-stages-are-well"),
        pytest.param(SEGV, False, False, id="the-stages-may-be-to-blame"),
        pytest.param(KILL, True, False, id="the-system-may-be-to-blame"),
    ],
)
def test_a_block_full_of_poison(death: Death, works_elsewhere: bool, is_guilty: bool) -> None:
    show = dies_of(*range(8), death=death)
    scene, _ = found(show, first=death, works_elsewhere=works_elsewhere)
    assert (scene is not None) == is_guilty


def test_two_that_kill_only_together_are_not_guilty() -> None:
    def show(scenes: Sequence[str]) -> Death | None:
        both = {SCENES[2], SCENES[6]} <= set(scenes)
        return SEGV.model_copy(update={"scenes": list(scenes)}) if both else None

    assert found(show)[0] is None


def test_what_comes_from_outside_has_time_to_pass() -> None:
    waits: list[str] = []
    for death, expected in ((SEGV, 0), (KILL, 1)):
        first = death.model_copy(update={"scenes": SCENES})
        find_guilty(SCENES, first, dies_of(3, death=death), wait=lambda: waits.append("a while"))
        assert len(waits) == expected
