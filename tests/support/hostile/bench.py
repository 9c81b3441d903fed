"""The good datasets beside a server that runs commands: a fault is planted, and all of them run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.hostile.forks import Answer, Forks, Order, forking_server
from support.hostile.good import write_good_datasets
from support.hostile.planted import COMMANDS, FURTHER, Command, PlantedFault
from support.hostile.verdict import complaints, snapshot, wild_ends
from support.hostile.victim import Victim


@dataclass(frozen=True)
class Bench:
    """The good datasets, and what every command answers to them."""

    root: Path
    forks: Forks
    good: dict[tuple[str, Command], Answer]

    def run(self, command: str, *, kind: str, folder: Path, output: Path) -> Answer:
        order = Order(command, str(folder), str(self.root / kind), str(output))
        return self.forks.run(order)

    def lasting(self, fault: PlantedFault, place: Path) -> list[str]:
        """What is wrong with how further commands end when they meet the fault."""
        return self._meet(fault, place, dict.fromkeys(FURTHER, wild_ends))

    def complaints_about(self, fault: PlantedFault, place: Path) -> list[str]:
        """What is not as the table says when every command meets the fault; `place` is a folder."""
        judges: dict[str, Callable[[Answer], Iterable[str]]] = {
            command: partial(
                complaints,
                fault,
                command,
                good=self.good[_kind_of(fault), command],
                output=place / command,
            )
            for command in COMMANDS
        }
        return self._meet(fault, place, judges)

    def _meet(
        self,
        fault: PlantedFault,
        place: Path,
        judges: Mapping[str, Callable[[Answer], Iterable[str]]],
    ) -> list[str]:
        """What the judges of some commands say of their answers, and what the commands change."""
        kind = _kind_of(fault)
        victim = Victim(self.root / kind, place / "victim")
        fault.plant(victim)
        victim.seal()
        before = snapshot(victim.root)
        found = []
        for command, judge in judges.items():
            output = place / command
            answer = self.run(command, kind=kind, folder=victim.folder, output=output)
            found += [f"{command}: {what}\n{answer.text[-2000:]}" for what in judge(answer)]
            if snapshot(victim.root) != before:
                found.append(f"{command}: it changes what it reads, or writes beside it")
                before = snapshot(victim.root)
            shutil.rmtree(output)
        shutil.rmtree(victim.root)
        return found


def _kind_of(fault: PlantedFault) -> str:
    return "encoded" if fault.encoded else "plain"


@contextmanager
def open_bench(root: Path) -> Iterator[Bench]:
    """A bench in an empty folder, for as long as the context lasts."""
    write_good_datasets(root)
    with forking_server(root / "plain") as forks:
        bench = Bench(root, forks, {})
        for kind in ("plain", "encoded"):
            for command in COMMANDS:
                output = root / "out" / kind / command
                answer = bench.run(command, kind=kind, folder=root / kind, output=output)
                assert answer.code == 0, f"{command}, {kind}: {answer.text}"
                bench.good[kind, command] = answer
        yield bench
