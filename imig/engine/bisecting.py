"""Which scene of a block kills its worker.

A block whose worker has died is shown to fresh workers, whole at first: one that lives has met no
guilty scene, and the death came from outside. Else halves are tried until one scene is left. It is
guilty when

1. a fresh worker that sees nothing but this scene dies,
2. one that sees another scene, or where there is none, none at all, lives,
3. and one more that sees nothing but this scene dies.

Whoever kills workers from outside, the kernel for lack of memory, a person, a failing node, would
have to strike one and three and spare two: what hits all of them is a fault of the system, and no
scene is given up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from imig.engine.deaths import Death

ShowScenes = Callable[[Sequence[str]], Death | None]
"""Shows some scenes, by id, to a fresh worker; None: it has lived."""
MOST_CONTROLS: Final = 3
"""Other scenes that are tried for one beside which a worker lives: they may be guilty as well."""


@dataclass(frozen=True)
class Guilty:
    """A scene that kills its worker, and the deaths that prove it."""

    scene: str
    deaths: tuple[Death, Death]


def find_guilty(
    scenes: Sequence[str],
    first: Death,
    show: ShowScenes,
    *,
    works_elsewhere: bool = False,
    wait: Callable[[], object] = lambda: None,
) -> Guilty | None:
    """The first scene that is found to kill its worker; None: the system is at fault.

    Parameters
    ----------
    scenes:
        All of the block that are still in.
    first:
        The death of a fresh worker that saw all of them.
    works_elsewhere:
        Other blocks have come through the same stages: it need not be the stages when every scene
        of this one kills.
    wait:
        Called before the second death of a scene is asked for, where the first may have come from
        outside: what has struck then has time to pass.
    """
    if first.stage is None:
        return None  # it never saw a scene
    at = [one for one in scenes if one in first.scenes]
    guilty = _prove(_narrow(at, show), scenes, show, works_elsewhere, wait) if at else None
    if guilty is None and len(at) < len(scenes):
        # What has done the damage may have been through before the worker died of it.
        guilty = _prove(_narrow(scenes, show), scenes, show, works_elsewhere, wait)
    return guilty


def _narrow(suspects: Sequence[str], show: ShowScenes) -> str | None:
    """The one scene that is left; None: no half kills any more."""
    while len(suspects) > 1:
        middle = (len(suspects) + 1) // 2
        for half in (suspects[:middle], suspects[middle:]):
            if show(half) is not None:
                suspects = half
                break
        else:
            return None
    return suspects[0]


def _prove(
    suspect: str | None,
    scenes: Sequence[str],
    show: ShowScenes,
    works_elsewhere: bool,
    wait: Callable[[], object],
) -> Guilty | None:
    if suspect is None or (first := _death_at_a_scene(show([suspect]))) is None:
        return None
    others = [one for one in scenes if one != suspect]
    lives = any(show([other]) is None for other in others[:MOST_CONTROLS])
    if not lives:
        # A block of one scene, or one that is full of guilty ones. Where the system may be at
        # fault, nothing speaks against that.
        if others and (first.may_come_from_outside or not works_elsewhere):
            return None
        if show([]) is not None:
            return None
    if first.may_come_from_outside:
        wait()
    second = _death_at_a_scene(show([suspect]))
    return None if second is None else Guilty(suspect, (first, second))


def _death_at_a_scene(death: Death | None) -> Death | None:
    """None also for a death before the worker saw the scene."""
    return None if death is None or death.stage is None else death
