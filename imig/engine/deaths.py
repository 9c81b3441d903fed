"""How worker processes die, and what is known of the scenes that kill them.

What has been found out is kept in ``.build/deaths.json`` until the dataset is finished: a build
that is stopped meanwhile goes on with it, and nobody dies twice of the same scene.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, Field, ValidationError

from imig.errors import DataError
from imig.schema import Quarantine, first_problem
from imig.shards.atomic import atomic_write_bytes
from imig.stores.path import OutputPath, read_file

OWN_SIGNALS: Final = frozenset(
    {
        signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS,
        signal.SIGTRAP,
    }
)  # fmt: skip
"""What a process brings upon itself. Others come from outside: a person, the kernel, the node."""
LONGEST_WORDS: Final = 6_000
"""Characters of a worker's last words that are kept."""


class Death(BaseModel):
    """How a worker process ended that should have answered."""

    kind: Literal["signal", "exit", "hung", "memory"]
    """`hung`: a batch took longer than its stage's `timeout`. `memory`: it raised MemoryError."""
    code: int = 0
    """The signal's number, or the exit code."""
    stage: str | None = None
    """What it was at; None: models were being loaded."""
    scenes: list[str] = []
    """Of the batch that it was at."""
    seconds: float = 0.0
    """`hung`: after which it was ended."""
    words: str = ""
    """The last that it wrote to stderr: mostly a stack."""
    struck: bool = False
    """The kernel's out-of-memory killer has ended a process of this machine meanwhile."""

    @property
    def may_come_from_outside(self) -> bool:
        """Whether what surrounds the process can have done it: memory, a dead disk, a `kill`."""
        if self.kind == "signal":
            return self.code not in OWN_SIGNALS
        return self.kind != "exit"

    def __str__(self) -> str:
        match self.kind:
            case "hung":
                return f"no answer within {self.seconds:g} s"
            case "memory":
                return "MemoryError"
            case "exit":
                return f"exit code {self.code}"
        killer = ", as the kernel's out-of-memory killer does" if self.struck else ""
        return f"{signal_name(self.code)} (signal {self.code}){killer}"

    @property
    def where(self) -> str:
        return "while models were loaded" if self.stage is None else f"in stage {self.stage}"


class Trial(BaseModel):
    """Some scenes of a block, shown to a fresh worker."""

    scenes: list[str]
    death: Death | None
    """None: it has lived."""


class Deaths(BaseModel):
    """What is known of all blocks."""

    trials: dict[str, list[Trial]] = {}
    """Of blocks whose guilty scene is being looked for, by `case_key`; in their order."""
    guilty: dict[int, list[Quarantine]] = Field(default_factory=dict)
    """Scenes that are known to kill their worker, by block."""


def case_key(group: str, block: int) -> str:
    return f"{group}/{block}"


def signal_name(number: int) -> str:
    """``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown signal"


def guilty_to_quarantine(
    scene: str, deaths: Sequence[Death], *, stages: Sequence[str], paths: Mapping[str, str | None]
) -> Quarantine:
    """The record of a scene that has killed its worker each time that it was alone with it.

    It is left out from the earliest of the `stages` in which a worker died on.
    """
    stage = min((death.stage for death in deaths if death.stage), key=stages.index)
    last = deaths[-1]
    kind = {"hung": "WorkerHung", "memory": "MemoryError"}.get(last.kind, "WorkerDied")
    return Quarantine(
        id=scene,
        stage=stage,
        error=f"{kind}: {last}; twice, alone in a fresh worker, beside which others lived",
        traceback=last.words or "The worker has left no words.",
        path=paths.get(scene),
    )


def read_deaths(path: OutputPath) -> Deaths:
    """Nothing is known where there is no such file. Raises DataError when it is damaged."""
    try:
        return Deaths.model_validate_json(read_file(path))
    except FileNotFoundError:
        return Deaths()
    except (OSError, ValidationError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"the build's own record {path} cannot be read: {problem}",
            cure=f"remove {path}: what kills workers is then found anew",
        ) from error


def write_deaths(path: OutputPath, deaths: Deaths) -> None:
    atomic_write_bytes(path, deaths.model_dump_json(indent=1).encode())
