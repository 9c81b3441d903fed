"""What a part finds, written down at once: a line of JSON for each figure, check and failure."""

from __future__ import annotations

import gc
import json
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class Journal:
    """The record of one part; the process that looks after this one reads along."""

    path: Path
    part: str
    deadline: float
    """When the part should have ended: seconds since the epoch."""
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Figures of earlier parts, as ``part/name`` -> values."""
    folder: Path = Path()
    """For what a part must put on the disk; deleted at the end."""

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    def figure(self, name: str, **values: Any) -> None:
        """Something measured; units are in the values' names."""
        self.write("figure", name=name, values=values)

    def check(self, name: str, *, found: float, allowed: float) -> None:
        """Whether two ways of the same came out alike; not a number never holds."""
        self.write("check", name=name, found=found, allowed=allowed, holds=found <= allowed)

    def note(self, text: str) -> None:
        """What a reader of the figures must know: something smaller, something left out."""
        self.write("note", text=text)

    def attempt(self, name: str, run: Callable[[], T], *, seconds: float = 0.0) -> T | None:
        """The result of `run`, or None where it failed or would take longer than is left.

        A boundary: whatever a step raises is recorded with its traceback, and the next step runs.

        Parameters
        ----------
        seconds:
            About how long it takes; with less left it is not begun.
        """
        if self.left() < seconds:
            self.note(f"{name}: left out, {max(self.left(), 0):.0f} of about {seconds:.0f} s left")
            return None
        result = None
        started = time.perf_counter()
        try:
            result = run()
        except Exception:
            self.write("failure", name=name, traceback=traceback.format_exc())
        self.write("took", name=name, seconds=time.perf_counter() - started)
        release_memory()
        return result

    def first_that_fits(
        self, name: str, sizes: Sequence[S], run: Callable[[S], T]
    ) -> tuple[S, T] | None:
        """(size, result) of the first size that the GPU's memory holds; each that does not is said.

        Sizes come largest first. None where no size fits.
        """
        for size in sizes:
            try:
                return size, run(size)
            except RuntimeError as error:
                words = str(error).splitlines()[0]
                if not is_memory_error(error):
                    raise
            # outside of the `except`, whose traceback holds the tensors
            self.note(f"{name}: {size} does not fit: {words}")
            release_memory()
        return None

    def write(self, kind: str, **values: Any) -> None:
        """A line of the journal."""
        line = {"kind": kind, "part": self.part, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_plain(line)) + "\n")


def is_memory_error(error: RuntimeError) -> bool:
    """Whether a GPU's memory was too small; cuBLAS says it in words of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def release_memory() -> None:
    """Gives what nobody holds any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _plain(value: Any) -> Any:
    """As JSON has it, which knows no NaN and no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
