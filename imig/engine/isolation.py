"""A block whose worker has died comes through all the same, but for the scene that is guilty."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, Self

from imig.engine.bisecting import find_guilty
from imig.engine.blocks import Block
from imig.engine.deaths import Death, Trial, guilty_to_quarantine
from imig.errors import DataError
from imig.schema import Quarantine

ROUNDS: Final = 3
"""How often a block is begun again whose worker dies for no scene's sake."""
FIRST_PAUSE: Final = 5.0
"""Seconds before the second round, three times as many before the third."""


class Worker(Protocol):
    """As `imig.engine.fresh.FreshWorker`, which is left when it is not needed any more."""

    def run(self, block: Block, guilty: Mapping[str, Quarantine]) -> Block | Death: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


@dataclass
class Isolation:
    """One block's way through one group of stages, after its worker has died."""

    group: str
    stages: Sequence[str]
    pristine: Callable[[], Block]
    """The block as it came to the group, anew each time."""
    worker: Callable[[], Worker]
    """Starts a fresh one."""
    keep: Callable[[list[Trial], list[Quarantine]], object]
    """Writes down what is known of the block: trials, guilty scenes."""
    tell: Callable[[str], object]
    """Says a line to the person at the console."""
    trials: list[Trial] = field(default_factory=list)
    """Of an earlier run, which was stopped in between."""
    guilty: dict[str, Quarantine] = field(default_factory=dict)
    """By id: what is known by now."""
    works_elsewhere: Callable[[], bool] = lambda: False
    """Whether other blocks have come through the same stages."""
    sleep: Callable[[float], object] = time.sleep

    def run(self) -> Block:
        """The block behind the stages, guilty scenes in quarantine.

        Raises
        ------
        DataError
            When its workers die and no scene is guilty.
        """
        pause, rounds = FIRST_PAUSE, 1
        while isinstance(found := self._one_round(), Death):
            self._forget_trials()
            if rounds == ROUNDS:
                raise self._system_fault(found)
            self.tell(
                f"{self._place()}: a worker has died ({found}, {found.where}), and of no scene "
                f"alone: the system is at fault; again in {pause:g} s"
            )
            self.sleep(pause)
            pause, rounds = 3 * pause, rounds + 1
        return found

    def _one_round(self) -> Block | Death:
        """The finished block; or a death for which no scene is guilty."""
        self._asked = 0
        while True:
            block = self.pristine()
            scenes = [one.scene.id for one in block.samples if one.scene.id not in self.guilty]
            first = self._next_trial(scenes)
            if first is None:
                with self.worker() as worker:
                    answer = worker.run(block, self.guilty)
                if isinstance(answer, Block):
                    return answer
                first = self._note(scenes, answer)
            assert first.death is not None
            if len(self.trials) == 1:
                self.tell(
                    f"{self._place()}: its worker has died ({first.death}, {first.death.where}); "
                    f"looking for the one of {len(scenes)} scenes that is guilty"
                )
            found = find_guilty(
                scenes,
                first.death,
                self._show,
                works_elsewhere=self.works_elsewhere(),
                wait=lambda: self.sleep(FIRST_PAUSE),
            )
            if found is None:
                return first.death
            paths = {one.scene.id: one.scene.source.path for one in block.samples}
            record = guilty_to_quarantine(
                found.scene, found.deaths, stages=self.stages, paths=paths
            )
            self.guilty[found.scene] = record
            self._forget_trials()
            self.tell(f"{found.scene} is quarantined: stage {record.stage}: {record.error}")

    def _show(self, scenes: Sequence[str]) -> Death | None:
        known = self._next_trial(scenes)
        if known is None:
            block = self.pristine()
            wanted = set(scenes)
            others = [one.scene.id for one in block.samples if one.scene.id not in wanted]
            shown = replace(
                block,
                samples=[one for one in block.samples if one.scene.id in wanted],
                empty=[*block.empty, *others],
            )
            with self.worker() as worker:
                answer = worker.run(shown, {})
            known = self._note(scenes, None if isinstance(answer, Block) else answer)
        return known.death

    def _next_trial(self, scenes: Sequence[str]) -> Trial | None:
        """What is known of the next trial from an earlier run; which asked in the same order."""
        known = self.trials[self._asked :][:1]
        if known and known[0].scenes == list(scenes):
            self._asked += 1
            return known[0]
        del self.trials[self._asked :]
        return None

    def _note(self, scenes: Sequence[str], death: Death | None) -> Trial:
        trial = Trial(scenes=list(scenes), death=death)
        self.trials.append(trial)
        self._asked = len(self.trials)
        self.keep(self.trials, [*self.guilty.values()])
        return trial

    def _forget_trials(self) -> None:
        self.trials.clear()
        self._asked = 0
        self.keep(self.trials, [*self.guilty.values()])

    def _place(self) -> str:
        block = self.pristine()
        ids = [sample.scene.id for sample in block.samples]
        return f"{ids[0]} to {ids[-1]}" if ids else f"block {block.number}"

    def _system_fault(self, death: Death) -> DataError:
        words = death.words.splitlines()
        said = f"; its last words: {words[-1]}" if words else ""
        return DataError(
            f"stages {self.group}: worker processes die over {self._place()} ({death}, "
            f"{death.where}), in {ROUNDS} rounds, and none of these scenes alone is to blame{said}",
            cure="is there enough memory? Lower resources.batch_size or resources.concurrency of "
            "the stage, or engine.block_size; finished work is kept, and the same command goes on",
        )
