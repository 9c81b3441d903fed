"""GPUs by name: how much memory they have, and which are in this machine."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from imig.errors import UsageError

GIB: Final = 1 << 30

NAMED: Final[dict[str, float]] = {
    "t4": 14.6,
    "v100-16": 15.8,
    "v100-32": 31.7,
    "rtx3090": 23.6,
    "rtx4090": 23.5,
    "rtx5090": 31.4,
    "a10": 22.1,
    "l4": 22.0,
    "l40s": 44.4,
    "a6000": 47.4,
    "a100-40": 39.4,
    "a100-80": 79.2,
    "h100": 79.1,
    "h200": 139.8,
    "b200": 178.4,
}
"""GiB that torch reports as `total_memory`, which is less than the maker's figure: the driver keeps
some, and error correction takes a part of an A10's or an L4's."""
_ALIASES: Final = {"3090": "rtx3090", "4090": "rtx4090", "5090": "rtx5090", "a100": "a100-80"}
_QUERY: Final = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_ASKING_SECONDS: Final = 20


@dataclass(frozen=True)
class Card:
    """A GPU."""

    name: str
    memory: int
    """Bytes."""


@dataclass(frozen=True)
class Cards:
    """GPUs of one kind: the smallest, where a machine has several kinds."""

    card: Card
    count: int | None
    """None: as many as are asked for."""


def parse_cards(text: str) -> Cards:
    """``h100``, ``4090``, ``8xh100``, ``24`` (GiB), ``2x47.5``.

    Raises
    ------
    UsageError
        There is no such card.
    """
    match = re.fullmatch(r"(?:(\d+)x)?(.+)", text.strip().lower())
    count, name = match.groups() if match else (None, text)
    if count is not None and int(count) < 1:
        raise UsageError(f"{text}: no card at all", cure="for example 8xh100")
    name = _ALIASES.get(name, name)
    memory = NAMED.get(name) or _gib(name)
    if memory is None:
        raise UsageError(
            f"no card {text!r}",
            cure=f"one of {', '.join(NAMED)}, or its memory in GiB; 8xh100 for eight of them",
        )
    shown = name if name in NAMED else "a card"
    return Cards(Card(shown, round(memory * GIB)), None if count is None else int(count))


def cards_here() -> Cards | None:
    """What `nvidia-smi` says there is; None: no GPU. Takes no memory of any."""
    try:
        answer = subprocess.run(
            _QUERY, capture_output=True, text=True, timeout=_ASKING_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return smallest_of(answer.stdout.splitlines())


def smallest_of(lines: Sequence[str]) -> Cards | None:
    """Of the lines ``NVIDIA H100 80GB HBM3, 81559``: name, and MiB."""
    found = []
    for line in lines:
        name, _, size = line.rpartition(",")
        if size.strip().isdecimal():
            found.append(Card(name.strip(), int(size) << 20))
    return Cards(min(found, key=lambda one: one.memory), len(found)) if found else None


def _gib(text: str) -> float | None:
    try:
        value = float(text.removesuffix("gib").removesuffix("gb"))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
