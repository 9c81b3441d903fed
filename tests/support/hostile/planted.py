"""One planted fault: what it is, what it damages, and who has to name it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from support.hostile.victim import SAMPLE, SHARD, Victim

Command = Literal[
    "validate",
    "preview",
    "stats",
    "iterate",
    "records",
    "refilter",
    "split",
    "merge",
    "encode",
    "train",
]
COMMANDS: Final[tuple[Command, ...]] = get_args(Command)
FURTHER: Final = ("coco", "yolo", "card")
"""Exports, and the card: that they end in words is all that is asked of them."""
DERIVING: Final = frozenset({"refilter", "split", "merge", "encode"})
"""Those that write a dataset."""


@dataclass(frozen=True)
class Part:
    """A part of a dataset: which commands read it, and what a message about it says."""

    readers: frozenset[Command]
    names: tuple[str, ...] = ()

    def without(self, *commands: Command) -> Part:
        return Part(self.readers - set(commands), self.names)

    def naming(self, *names: str) -> Part:
        """The same part, where messages can say more, or less."""
        return Part(self.readers, names)


_ALL = frozenset(COMMANDS)
_SAMPLE = (SHARD, SAMPLE)

ARCHIVE: Final = Part(frozenset({"validate", "refilter", "split", "merge"}), (SHARD,))
"""What lies between samples, or behind them: read by whoever walks along a whole shard."""
SHARD_FILE: Final = Part(_ALL, (SHARD,))
RECORD: Final = Part(_ALL, _SAMPLE)
"""A sample's JSON, or the bytes before it."""
MEMBERS: Final = RECORD.without("records")
"""Which members a sample has: whoever wants one of its pictures reads them all."""
PICTURES: Final = MEMBERS.without("stats")
"""Pictures and masks of references. Commands that write a dataset see those of its card."""
MASKS: Final = PICTURES.without("encode", "train")
"""Masks in the target, stored as run lengths: no layout is made of them."""
FEATURES: Final = Part(frozenset({"validate", "refilter", "split"}), _SAMPLE)
"""What duplicates are searched with."""
ENCODED: Final = Part(frozenset({"validate", "train"}), _SAMPLE)
MANIFEST: Final = Part(_ALL, ("dataset.json",))
INDEX: Final = Part(_ALL, ("index",))
ONLY_VALIDATE: Final = Part(frozenset({"validate"}))
"""What nobody reads but who checks a dataset as a whole."""
NOTHING: Final = Part(frozenset())


@dataclass(frozen=True)
class PlantedFault:
    """A row of the table."""

    kind: str
    group: str
    what: str
    part: Part
    plant: Callable[[Victim], None]
    legal: str | None = None
    """Why no command says anything."""
    usage: frozenset[Command] = frozenset()
    """Commands that answer as to a wrong call, exit code 2: there is nothing to read."""
    encoded: bool = False
    """Whether it is planted into a dataset of `imig encode`."""

    def expected(self, command: Command) -> int | None:
        """The exit code, None for that of the good dataset."""
        if command not in self.part.readers:
            return None
        return 2 if command in self.usage else 1


@dataclass
class Group:
    """Faults of one kind of part, in their order in the table."""

    title: str
    introduction: str
    encoded: bool = False
    faults: list[PlantedFault] = field(default_factory=list)

    def fault(
        self, part: Part, *, usage: frozenset[Command] = frozenset(), legal: str | None = None
    ) -> Callable[[Callable[[Victim], None]], Callable[[Victim], None]]:
        """Put a function that plants into the table: its name is the kind, its docstring what."""

        def note(plant: Callable[[Victim], None]) -> Callable[[Victim], None]:
            kind = plant.__name__.strip("_").replace("_", "-")
            self.add(kind, inspect.getdoc(plant) or "", part, plant, usage=usage, legal=legal)
            return plant

        return note

    def add(
        self,
        kind: str,
        what: str,
        part: Part,
        plant: Callable[[Victim], None],
        *,
        usage: frozenset[Command] = frozenset(),
        legal: str | None = None,
    ) -> None:
        """Put a fault into the table; `plant` makes it."""
        one = PlantedFault(
            kind=kind,
            group=self.title,
            what=" ".join(what.split()),
            part=part,
            plant=plant,
            legal=legal,
            usage=usage,
            encoded=self.encoded,
        )
        assert (legal is None) == bool(part.readers), f"{kind}: legal, or read by somebody"
        self.faults.append(one)
