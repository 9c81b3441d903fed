"""Many mutants, in a process that may die: ``cd tests && python -m support.fuzzing.run``.

A child reads one mutant after the other, with a limit of memory. It is watched from outside, and
begun again behind a mutant that ends it or that it does not get through.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = 2_000_000_000
"""Bytes that a child may ask for beyond what it has once everything is imported."""
GROWTH = 1_000_000_000
"""Bytes by which one mutant may raise what is in use; decoded, the largest scene takes 0.8 GB."""
HANGS = 120
"""Seconds without an answer; the machine may be busy."""
SLOW = 5
"""Seconds of a processor for one mutant."""
WARM_UP = 300
"""Mutants before the limits are set: what is imported on first use."""


def memory_root() -> str | None:
    """Where files lie in memory, if the machine has such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def run(first: int, count: int, *, seed: int, place: Path) -> list[dict[str, object]]:
    """Read `count` mutants; what was found. `place` gets the log and the table of behaviours."""
    state, log = place / "state", place / "findings.jsonl"
    log.write_text("")
    number, stop = first, first + count
    while number < stop:
        state.write_bytes(number.to_bytes(8, "little"))
        arguments = ["--worker", "--first", number, "--cases", stop - number, "--seed", seed]
        child = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *map(str, arguments), "--place", str(place)]
        )
        why = _wait(child, state)
        number = int.from_bytes(state.read_bytes(), "little")
        if why:
            _note(log, number, why)
            number += 1
    return [json.loads(line) for line in log.read_text().splitlines()]


def _wait(child: subprocess.Popen[bytes], state: Path) -> str:
    """Until the child ends; why it did, where it was not done."""
    number, since = b"", time.monotonic()
    while True:
        try:
            code = child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if (now := state.read_bytes()) != number:
                number, since = now, time.monotonic()
            elif time.monotonic() - since > HANGS:
                child.kill()
                child.wait()
                return f"no answer within {HANGS} s"
            continue
        return "" if code == 0 else f"the process ended with {code}"


def work(first: int, count: int, *, seed: int, place: Path) -> None:
    """The child's part: mutants `first` to `first` + `count`."""
    from support.fuzzing.cases import make_case
    from support.fuzzing.readers import Bench, read_case

    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    log, behaviours = place / "findings.jsonl", place / "behaviours.json"
    known: dict[str, int] = json.loads(behaviours.read_text()) if behaviours.exists() else {}
    with (
        TemporaryDirectory(dir=memory_root()) as folder,
        (place / "state").open("r+b") as file,
        mmap.mmap(file.fileno(), 8) as state,
    ):
        bench = Bench(Path(folder))
        for number in range(first - WARM_UP, first + count):
            if number == first:
                _limit_memory()
            if number >= first:
                state[:] = number.to_bytes(8, "little")
            case = make_case(number, seed=seed)
            peak, began, what = _peak(), time.process_time(), ""
            try:
                known.setdefault(f"{case.kind}: {read_case(case, bench)}", number)
            except BaseException:
                what = traceback.format_exc()
            if number < first:
                continue
            if (seconds := time.process_time() - began) > SLOW:
                what += f"\nit took {seconds:.1f} s"
            if (growth := _peak() - peak) > GROWTH:
                what += f"\nit took {growth / 1e6:.0f} MB"
            if what:
                _note(log, number, f"{case.kind} {case.context}: {what}")
            if number % 10_000 == 0:
                behaviours.write_text(json.dumps(known))
        state[:] = (first + count).to_bytes(8, "little")
    behaviours.write_text(json.dumps(known))


def _note(log: Path, number: int, what: str) -> None:
    with log.open("a") as file:
        file.write(json.dumps({"number": number, "what": what}) + "\n")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak() -> int:
    """Bytes that were in use at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", type=Path, required=True, help="a folder for what is found")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.first, given.cases, seed=given.seed, place=given.place)
        return 0
    given.place.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = run(given.first, given.cases, seed=given.seed, place=given.place)
    seconds = time.monotonic() - began
    behaviours = len(json.loads((given.place / "behaviours.json").read_text()))
    print(
        f"{given.cases} mutants in {seconds:.0f} s, {behaviours} behaviours, {len(found)} findings"
    )
    for one in found[:20]:
        print(one["number"], one["what"])
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
