"""`metrics.jsonl`: one line of figures each time something was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from imig.errors import DataError
from imig.shards.atomic import atomic_write_bytes


def append_metrics(path: Path, step: int, figures: Mapping[str, float]) -> None:
    """Adds a line ``{"step": .., ..}``; what is not finite becomes null, which JSON has.

    Raises
    ------
    DataError
        The disk is full, or the folder cannot be written.
    """
    values = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The lines, in the order in which they were written; none when there is no file.

    The last line is left out when the process was killed while it wrote it.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line for text in lines if (line := _parse(text)) is not None]


def cut_metrics(path: Path, step: int) -> None:
    """Removes what was measured after a step: a resumed training will measure it again."""
    if path.is_file():
        lines = [line for line in read_metrics(path) if (line["step"] or 0) <= step]
        atomic_write_bytes(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _parse(text: str) -> dict[str, float | None] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None
