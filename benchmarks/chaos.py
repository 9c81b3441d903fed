"""Break commands at random moments, give them again, and compare: does anything ever get lost?

    python benchmarks/chaos.py                                  # 82 strikes
    python benchmarks/chaos.py --only merge split --kills 5
    python benchmarks/chaos.py --json benchmarks/results/chaos.json

Each command runs on a small dataset, again and again. Right behind a change in its output folder
that is drawn by chance, or at any other moment, it is struck: SIGKILL to it, to one of its workers,
to Ray's raylet or GCS; SIGSTOP for a while; Ctrl-C; SIGTERM; a full disk; a worker that sleeps
while the command dies and is given again. Then the same command is given until it ends with 0, and
must have made what an undisturbed run makes: the same files, byte for byte, but for the times in
reports; the same samples, none twice. Meanwhile a reader opens the output all the time, and may see
each file only whole, and what is written last only when all else is there. In the end nothing may
be left: no process, no temporary file, no shared memory.

A strike counts when it has met a command at work. The exit code is 1 when something was found; its
folder is kept then.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# Run as a file, its folder is on the path and not the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.chaos_parts.cases import KINDS, Case, Kind, cases, make_inputs
from benchmarks.chaos_parts.rounds import (
    Outcome,
    Place,
    Reference,
    drawn_plans,
    play,
    undisturbed,
)
from benchmarks.chaos_parts.striking import Disk, small_disk

STRIKES = {"build": 14, "encode": 8}
"""Of these commands, which take long to start; of the others `OTHERS`."""
OTHERS = 12
_A_ROUND = (1, 2, 3, 4)
"""Strikes of a round, by chance; of one that takes a minute to start the most."""
_DISK_ROUNDS = 5
"""One round of so many lies on the small disk, and meets it full."""
_MEGABYTES = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = list(cases(Path()))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="COMMAND")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("--kills", type=int, metavar="N", help="strikes of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it here, too")
    given = parser.parse_args()
    console = Console(width=160)
    outcomes: dict[str, Outcome] = {}
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # the scratch folder goes, the disk is unmounted
        signal.signal(number, signal.default_int_handler)
    with _scratch() as scratch, small_disk(scratch / "disk", megabytes=_MEGABYTES) as disk:
        if set(given.only) != {"build"}:  # which makes its own
            make_inputs(scratch / "inputs")
        known = cases(scratch / "inputs")
        for name in given.only:
            wanted = given.kills or STRIKES.get(name, OTHERS)
            breaker = Breaker(known[name], scratch, disk, seed=given.seed, kinds=given.kind)
            outcomes[name] = Outcome()
            while len(outcomes[name].hits) < wanted:
                outcomes[name].add(breaker.play_round(console))
                if given.json is not None:
                    facts = {"seed": given.seed, "full_disk": disk.how}
                    write(given.json, name, facts, breaker.reference, outcomes[name])
    console.print(table(outcomes))
    strikes = sum(len(one.hits) for one in outcomes.values())
    seconds = time.monotonic() - began
    console.print(f"{strikes} strikes in {seconds:.0f} s, seed {given.seed}; full disk: {disk.how}")
    for name, outcome in outcomes.items():
        for found in (*outcome.differences, *outcome.halves, *outcome.left):
            console.print(f"{name}: {found}", markup=False, highlight=False)
    return 0 if all(one.is_good for one in outcomes.values()) else 1


class Breaker:
    """Plays rounds with a command; its undisturbed run comes first."""

    def __init__(
        self, case: Case, scratch: Path, disk: Disk, *, seed: int, kinds: Sequence[Kind]
    ) -> None:
        self._case, self._scratch, self._disk = case, scratch, disk
        self._kinds = [one for one in case.kinds if one in kinds]
        self._generator = random.Random(f"{seed} {case.name}")
        self._rounds = 0
        place = self._place(scratch)
        self.reference = undisturbed(place)
        shutil.rmtree(place.folder)

    def play_round(self, console: Console) -> Outcome:
        """A round, and a line of what it has found."""
        outcome = self._round()
        found = [one.kind for one in outcome.hits]
        console.print(
            f"{self._case.name}: "
            f"{', '.join([*found, *(f'(missed: {one})' for one in outcome.missed)])}"
            f"{'' if outcome.is_good else ': NOT GOOD'}",
            highlight=False,
        )
        return outcome

    def _round(self) -> Outcome:
        full_disk = "full disk" in self._kinds and (
            self._rounds % _DISK_ROUNDS == 0 or len(self._kinds) == 1
        )
        kinds = [one for one in self._kinds if (one == "full disk") == full_disk]
        place = self._place(self._disk.folder if full_disk else self._scratch)
        outcome = play(
            place,
            self.reference,
            drawn_plans(self.reference, kinds, self._generator),
            strikes=self._generator.choice(_A_ROUND[-2:] if self._case.slow else _A_ROUND),
            generator=self._generator,
            disk=self._disk,
        )
        if outcome.is_good:
            shutil.rmtree(place.folder)
            place.printed.unlink(missing_ok=True)
        else:
            _keep(place, self._scratch / "found" / place.mark, outcome)
        shutil.rmtree(place.temporary)
        return outcome

    def _place(self, parent: Path) -> Place:
        self._rounds += 1
        mark = f"{self._case.name}-{self._rounds}"
        return Place(self._case, parent / mark, scratch=self._scratch, mark=mark)


def _keep(place: Place, folder: Path, outcome: Outcome) -> None:
    """What somebody who looks into a finding needs."""
    folder.parent.mkdir(exist_ok=True)
    shutil.move(place.folder, folder)
    shutil.move(place.printed, folder / "printed.txt")
    shutil.copytree(place.temporary, folder / "TMPDIR", ignore=_no_files)
    (folder / "outcome.json").write_text(json.dumps(outcome.to_json(), indent=1))


def _no_files(folder: str, names: list[str]) -> list[str]:
    """Sockets and pipes, which cannot be copied."""
    paths = {one: Path(folder, one) for one in names}
    return [name for name, path in paths.items() if not (path.is_file() or path.is_dir())]


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder with a short path; it stays where something was found."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    try:
        yield folder
    finally:
        if (folder / "found").exists():
            print(f"what was found is in {folder}/found", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def table(outcomes: Mapping[str, Outcome]) -> Table:
    """A row a command."""
    columns = ("command", "strikes", "by kind", "runs", "looks", "differences", "halves", "left")
    shown = Table(*columns)
    for name, one in outcomes.items():
        kinds = Counter(hit.kind for hit in one.hits)
        shown.add_row(
            name,
            str(len(one.hits)),
            ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]),
            *(str(count) for count in (one.runs, one.looks)),
            *(str(len(found)) for found in (one.differences, one.halves, one.left)),
        )
    return shown


def write(
    path: Path, command: str, facts: Mapping[str, Any], reference: Reference, outcome: Outcome
) -> None:
    """Write what is known of a command; what is in the file of others stays there."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[command] = {
        **facts,
        "processors": os.cpu_count(),
        "undisturbed_seconds": round(reference.seconds, 1),
        "files": len(reference.digests),
        "samples": len(reference.ids),
        **outcome.to_json(),
    }
    path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
