"""What an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

REFUSED: Final = -1
"""As an exit code: 1 or 2, before anything is written. Whether a file is damaged or another one was
meant cannot be told."""
EITHER: Final = -2
"""Refused like that, or with code 0."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Something hostile in the inputs of one command."""

    id: str
    """Which kind of input, what of it, and what is done to it: ``coco: picture: cut-off``."""
    command: tuple[str, ...]
    """Of `imig`, called in the folder of the inputs; writes into `out`."""
    uses: tuple[str, ...]
    """The folders of the stage that it reads."""
    plant: Callable[[Path], object] = field(repr=False)
    """Into a copy of them."""
    code: int
    """Exit code."""
    says: tuple[str, ...] = ()
    """What must be in what is printed, or in the quarantine."""
    kept: int | None = None
    """With code 0: scenes or pictures that come through; None: all."""
