"""The good datasets beside a server that runs commands: a fault is planted, and all of them run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        kind = "encoded" if fault.encoded else "plain"
        victim = Victim(self.root / kind, place / "victim")
        fault.plant(victim)
        victim.seal()
        before = snapshot(victim.root)
        found = []
        for command in FURTHER:
            answer = self.run(command, kind=kind, folder=victim.folder, output=place / command)
            found += [f"{command}: {what}\n{answer.text[-2000:]}" for what in wild_ends(answer)]
            if snapshot(victim.root) != before:
                found.append(f"{command}: it changes what it reads, or writes beside it")
                before = snapshot(victim.root)
        return found

    def complaints_about(self, fault: PlantedFault, place: Path) -> list[str]:
        """What is not as the table says when every command meets the fault; `place` is a folder."""
        kind = "encoded" if fault.encoded else "plain"
        victim = Victim(self.root / kind, place / "victim")
        fault.plant(victim)
        victim.seal()
        before = snapshot(victim.root)
        found = []
        for command in COMMANDS:
            output = place / command
            answer = self.run(command, kind=kind, folder=victim.folder, output=output)
            good = self.good[kind, command]
            found += [
                f"{command}: {what}\n{answer.text[-2000:]}"
                for what in complaints(fault, command, answer, good=good, output=output)
            ]
            if snapshot(victim.root) != before:
                found.append(f"{command}: it changes what it reads, or writes beside it")
                before = snapshot(victim.root)
            shutil.rmtree(output)
        shutil.rmtree(victim.root)
        return found


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
