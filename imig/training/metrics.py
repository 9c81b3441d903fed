"""`metrics.jsonl`: one line of figures each time something was measured."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Mapping
from pathlib import Path

from imig.errors import DataError
from imig.shards.atomic import atomic_write_bytes


def append_metrics(path: Path, step: int, figures: Mapping[str, float]) -> None:
    """Add a line ``{"step": .., ..}``; what is not finite becomes null, which JSON has.

    Raises
    ------
    DataError
        The disk is full, or the folder cannot be written.
    """
    values = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}",
            cure="make room on the disk, or remove what is in its place; --resume goes on from the "
            "last checkpoint",
        ) from error


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The lines, in the order in which they were written; none when there is no file.

    What is no line of figures is left out: a process that was killed wrote half of it.
    """
    lines = path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []
    return [line for text in lines if (line := _parse(text)) is not None]


def cut_metrics(path: Path, step: int) -> None:
    """Remove what was measured after a step: a resumed training will measure it again."""
    if path.is_file():
        lines = [line for line in read_metrics(path) if (line["step"] or 0) <= step]
        atomic_write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _parse(text: str) -> dict[str, float | None] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    step = line.get("step") if isinstance(line, dict) else None
    return line if isinstance(step, (int, float)) else None
