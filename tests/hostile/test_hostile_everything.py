"""Every planted fault against every command, each in a process of its own: docs/reliability.md."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hostile.forks import Answer, Forks, Order, forking_server
from support.hostile.good import write_good_datasets
from support.hostile.planted import COMMANDS, Command, PlantedFault
from support.hostile.table import FAULTS
from support.hostile.verdict import complaints, snapshot
from support.hostile.victim import Victim

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Bench:
    """The good datasets, and what every command answers to them."""

    root: Path
    forks: Forks
    good: dict[tuple[str, Command], Answer]

    def run(self, command: Command, *, kind: str, folder: Path, output: Path) -> Answer:
        order = Order(command, str(folder), str(self.root / kind), str(output))
        return self.forks.run(order)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    root = tmp_path_factory.mktemp("hostile")
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


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_command_answers_as_the_table_says(
    bench: Bench, tmp_path: Path, fault: PlantedFault
) -> None:
    kind = "encoded" if fault.encoded else "plain"
    victim = Victim(bench.root / kind, tmp_path / "victim")
    fault.plant(victim)
    victim.seal()
    before = snapshot(victim.root)
    found = []
    for command in COMMANDS:
        output = tmp_path / command
        answer = bench.run(command, kind=kind, folder=victim.folder, output=output)
        good = bench.good[kind, command]
        found += [
            f"{command}: {what}\n{answer.text[-2000:]}"
            for what in complaints(fault, command, answer, good=good, output=output)
        ]
        if snapshot(victim.root) != before:
            found.append(f"{command}: it changes what it reads, or writes beside it")
            before = snapshot(victim.root)
        shutil.rmtree(output)
    shutil.rmtree(victim.root)
    assert not found, "\n".join(found)
