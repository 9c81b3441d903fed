"""One round: a command is struck, given again until it is through, and compared."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.chaos_parts.cases import Case, Kind
from benchmarks.chaos_parts.leftovers import hidden_files, left_behind
from benchmarks.chaos_parts.processes import MARK, Family, Role
from benchmarks.chaos_parts.reading import Reader, digests, visible
from benchmarks.chaos_parts.striking import TARGETS, Disk, Run, Striker
from benchmarks.chaos_parts.watching import Change, Watch
from imig.shards.dataset import Dataset

ROOT: Final = Path(__file__).resolve().parents[2]
HUNG_SECONDS: Final = 900.0
"""A run that takes longer is at fault, on however busy a machine."""
_AT_A_CHANGE: Final = 0.75
"""Share of strikes that come right behind a change in the output folder; others at any time."""
_TRACEBACK: Final = re.compile(
    r"^Traceback \(most.*\n(?!.*<string>.*\n(?:.*\n)?.*in spawn_main)", re.M
)
"""Not that of Python's own `spawn_main`, in a process whose parent was killed while it started."""
_LOOK_SECONDS: Final = 0.5
"""Between looks at which processes are there."""
_SHORT: Final = 0.05
"""Seconds behind a change, at most, for half of those."""

Start = Callable[[Sequence[str], Path, Mapping[str, str]], Run]
"""Starts a command: its arguments, a file for what it prints, its environment."""


@dataclass(frozen=True)
class Reference:
    """What a command does when nobody disturbs it."""

    digests: dict[str, str]
    hidden: set[str]
    ids: list[str]
    """Of its datasets' samples."""
    changes: Counter[Change]
    """In the output folder."""
    beside: Mapping[Role, Counter[Change]]
    """Those of them that were seen while a process of such a role was there."""
    seconds: float
    """From the first to the last of them."""


@dataclass(frozen=True)
class Plan:
    """When a strike comes."""

    kind: Kind
    change: Change | None
    """Behind such a change in the output folder; None: any."""
    count: int
    """The how many-th of them."""
    delay: float
    """Seconds."""

    @property
    def moment(self) -> str:
        """In words."""
        change = "the first change" if self.change is None else f"{self.change} ({self.count})"
        return f"{self.delay:.3f} s behind {change}"


@dataclass
class Hit:
    """A strike that met a command at work."""

    kind: Kind
    moment: str
    progress: str
    """How far the output was."""
    code: int | None = None
    """With which the command ended; None: it went on, and was struck again."""


@dataclass
class Outcome:
    """What has become of a round."""

    hits: list[Hit] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """Strikes that came when the command, or what they were meant for, was through."""
    runs: int = 0
    looks: int = 0
    """Of the reader."""
    differences: list[str] = field(default_factory=list)
    """To the undisturbed output, and to how a command may end."""
    halves: list[str] = field(default_factory=list)
    """Of what the reader has seen."""
    left: list[str] = field(default_factory=list)
    """What is left behind."""

    @property
    def is_good(self) -> bool:
        return not (self.differences or self.halves or self.left)

    def add(self, other: Outcome) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "hits": [vars(one) for one in self.hits]}


def start_imig(arguments: Sequence[str], printed: Path, environment: Mapping[str, str]) -> Run:
    """`imig` as a process of its own group, as a shell starts it."""
    with printed.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "imig", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            cwd=printed.parent,
            start_new_session=True,
            # What runs in a script's background inherits SIGINT as ignored, and Python leaves it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


class Place:
    """Folders of a round, and how its command is started there."""

    def __init__(
        self, case: Case, folder: Path, *, scratch: Path, mark: str, start: Start = start_imig
    ) -> None:
        self.case, self.folder, self.mark = case, folder, mark
        self.output = folder / "out"
        self.temporary = scratch / "t"
        """Short: Ray puts sockets below it."""
        self.printed = scratch / f"{mark}.txt"
        self._start, self._begin = start, 0
        for one in (folder, self.temporary):
            one.mkdir(exist_ok=True)

    def start(self) -> Run:
        environment = {
            MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self._begin = len(self.words())
        arguments = [*self.case.arguments, "--output", str(self.output)]
        return self._start(arguments, self.printed, environment)

    def last_words(self) -> str:
        """What the last run has printed."""
        return self.words()[self._begin :]

    def words(self) -> str:
        """What all runs have printed."""
        return self.printed.read_text(errors="replace") if self.printed.exists() else ""

    def ids(self) -> list[str]:
        return [
            one for below in self.case.datasets for one in Dataset(str(self.output / below)).ids
        ]

    def last_files(self) -> list[str]:
        """Kinds of files, as changes name them, that become a seal."""
        paths = [Path(self.output.name, one) for one in self.case.seals]
        return [str(one.with_name(f".{one.name}.tmp-#")) for one in paths]

    def progress(self) -> str:
        names = [name for name, _ in visible(self.output)]
        shards = sum(name.endswith(".tar") for name in names)
        parts = len(list(self.output.glob(".build/parts/*.json")))
        sealed = any((self.output / one).exists() for one in self.case.seals)
        said = [f"{shards} shards" if self.case.datasets else f"{len(names)} files"]
        said += [f"{parts} parts"] if parts else []
        return ", ".join([*said, *(["sealed"] if sealed else [])])


def undisturbed(place: Place) -> Reference:
    """Run the command once, alone. Raises RuntimeError when it fails several times."""
    for tries_left in reversed(range(place.case.tries)):
        try:
            return _undisturbed(place)
        except RuntimeError:  # a busy machine, on which Ray gives up starting
            if not tries_left:
                raise
            shutil.rmtree(place.output)
    raise AssertionError("a case is tried at least once")


def _undisturbed(place: Place) -> Reference:
    family, beside = Family(place.mark), dict[Role, Counter[Change]]()
    with Watch(place.folder) as watch:
        run, before, roles = place.start(), Counter[Change](), set[Role]()
        family.add(run.pid)
        with _ended(run):
            while run.poll() is None:
                now, there = watch.seen(), {one.role for one in family.look()}
                for role in roles & there:
                    beside.setdefault(role, Counter()).update(now - before)
                before, roles = now, there
                _wait(run, _LOOK_SECONDS)
        if (code := run.wait()) != 0:
            raise RuntimeError(f"imig {place.case.name} ends with {code}:\n{place.words()}")
    assert watch.first is not None
    assert watch.last is not None
    return Reference(
        digests=digests(place.output),
        hidden=hidden_files(place.output),
        ids=place.ids(),
        changes=watch.changes,
        beside=beside,
        seconds=watch.last - watch.first,
    )


def _wait(run: Run, seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)


def drawn_plans(
    reference: Reference, kinds: Sequence[Kind], generator: random.Random
) -> Iterator[Plan]:
    """Strikes without an end, by chance: each kind of change is as likely as any other."""
    while True:
        kind = generator.choice(kinds)
        role = TARGETS.get(kind)
        changes = reference.changes if role is None else reference.beside.get(role, Counter())
        if changes and (role is not None or generator.random() < _AT_A_CHANGE):
            change = generator.choice(sorted(changes))
            count = generator.randint(1, changes[change])
            if generator.random() < 0.5:  # a run that goes on may have little left
                count = generator.randint(1, count)
            delay = generator.choice([0.0, generator.uniform(0, _SHORT)])
            yield Plan(kind, change, count, delay)
        else:
            yield Plan(kind, None, 1, generator.uniform(0, reference.seconds))


def play(
    place: Place,
    reference: Reference,
    plans: Iterator[Plan],
    *,
    strikes: int,
    generator: random.Random,
    disk: Disk | None = None,
) -> Outcome:
    """A round: so many strikes by the next plans. What it finds is in the outcome, never raised."""
    outcome = Outcome()
    family = Family(place.mark)
    striker = Striker(family, generator, disk)
    reader = Reader(place.output, reference.digests, seals=place.case.seals)
    with reader:
        _run_until_done(place, outcome, plans, strikes=strikes, striker=striker, reader=reader)
        striker.wake_all()
    outcome.halves, outcome.looks = reader.problems, reader.looks
    outcome.left = left_behind(
        family,
        output=place.output,
        temporary=place.temporary,
        hidden=reference.hidden,
    )
    outcome.differences += _differences(place, reference)
    if _TRACEBACK.search(place.words()):
        outcome.differences.append(f"a traceback is shown: {place.printed}")
    return outcome


def _run_until_done(
    place: Place,
    outcome: Outcome,
    plans: Iterator[Plan],
    *,
    strikes: int,
    striker: Striker,
    reader: Reader,
) -> None:
    undisturbed_tries = 0
    while True:
        may_strike = undisturbed_tries == 0
        outcome.runs += 1
        hits: list[Hit] = []
        with Watch(place.folder) as watch:
            run = place.start()
            striker.family.add(run.pid)
            with _ended(run):
                while may_strike and len(outcome.hits) + len(hits) < strikes:
                    if (plan := next(plans, None)) is None:
                        break
                    if not _strike(place, run, watch, plan, striker):
                        outcome.missed.append(f"{plan.kind}, {plan.moment}")
                        break
                    hits.append(Hit(plan.kind, plan.moment, place.progress()))
                    reader.look()
                    if not plan.kind.startswith("stop"):  # after which it goes on
                        break
                code = _end_of(run, place, striker.family, outcome)
        if hits and code == 0 and 0 not in _ENDS.get(hits[-1].kind, (0, 1)):
            outcome.missed.append(f"{hits[-1].kind}, {hits[-1].moment}")
            hits.pop()  # it was through already
        if hits:
            hits[-1].code = code
            outcome.hits += hits
            outcome.differences += _strange_end(hits[-1], place.last_words())
        if code == 0:
            return
        undisturbed_tries += not hits
        if undisturbed_tries >= place.case.tries:
            last = place.last_words()[-500:]
            outcome.differences.append(f"undisturbed, it ends with {code}: {last}")
            return


@contextmanager
def _ended(run: Run) -> Iterator[None]:
    """Nothing goes on when somebody stops the block."""
    try:
        yield
    finally:
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)


def _strike(place: Place, run: Run, watch: Watch, plan: Plan, striker: Striker) -> bool:
    """Whether the strike of the plan has met the command at work."""
    deadline = time.monotonic() + HUNG_SECONDS
    # A run that goes on may have less to do than the plan waits for: then before the last file.
    last = [Change("created", name) for name in place.last_files()]
    while not watch.wait_for(plan.change, plan.count, or_first=last, seconds=0.2):
        striker.family.look()
        if run.poll() is not None or time.monotonic() > deadline:
            return False
    if plan.delay:
        _wait(run, plan.delay)
    return striker.strike(plan.kind, run)


def _end_of(run: Run, place: Place, family: Family, outcome: Outcome) -> int:
    """The exit code; one that does not end is ended."""
    deadline = time.monotonic() + HUNG_SECONDS
    while True:
        with suppress(subprocess.TimeoutExpired):
            return run.wait(0.5)
        family.look()
        if time.monotonic() > deadline:
            outcome.differences.append(f"hangs for {HUNG_SECONDS:.0f} s: {place.words()[-500:]}")
            os.kill(run.pid, signal.SIGKILL)
            return run.wait(60)


_ENDS: Final[dict[Kind, tuple[int, ...]]] = {
    "kill driver": (-signal.SIGKILL,),
    "kill driver, worker asleep": (-signal.SIGKILL,),
    "stop driver": (0,),
    "stop worker": (0,),
    # At the very end the handlers of the system are back.
    "SIGINT": (130, -signal.SIGINT),
    "SIGTERM": (130, -signal.SIGTERM),
}
"""Exit codes; of the others 0, where the command mends it itself, or 1 with its error."""


def _strange_end(hit: Hit, words: str) -> list[str]:
    expected = _ENDS.get(hit.kind, (0, 1))
    if hit.code not in expected:
        return [f"{hit.kind}: it ends with {hit.code}: {words[-500:]}"]
    if hit.code == 1 and "error: " not in words:
        return [f"{hit.kind}: it ends with 1 and no error: {words[-500:]}"]
    return []


def _differences(place: Place, reference: Reference) -> list[str]:
    """Between the output and the undisturbed one."""
    found = []
    there = digests(place.output)
    for name in sorted(there.keys() | reference.digests.keys()):
        if name not in there:
            found.append(f"{name} is missing")
        elif name not in reference.digests:
            found.append(f"{name} is too much")
        elif there[name] != reference.digests[name]:
            found.append(f"{name} has other bytes")
    if place.case.datasets and not found:
        ids = place.ids()
        lost, doubled = set(reference.ids) - set(ids), len(ids) - len(set(ids))
        if lost or doubled or ids != reference.ids:
            found.append(f"{len(lost)} samples are lost, {doubled} doubled")
    return found
