"""The damaged samples that a training has left out: counted, named, and bounded by its recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from imig.errors import DataError
from imig.shards.atomic import atomic_write_bytes, remove_file
from imig.training.data import Skipped

SKIPPED_FILE: Final = "skipped.json"


class SkippedRow(BaseModel):
    """One sample."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    sample: str
    step: int
    """Where it was wanted first."""
    reason: str


class SkippedSamples:
    """The same on every process of a training; a checkpoint holds them.

    Parameters
    ----------
    limit:
        The recipe's `data.max_damaged`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: dict[tuple[str, str], SkippedRow] = {}
        self._untold: list[SkippedRow] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[SkippedRow]:
        """In the order in which they were met."""
        return list(self._rows.values())

    def restore(self, rows: Iterable[SkippedRow]) -> None:
        """Those of a checkpoint, in place of what is here."""
        self._rows = {(one.dataset, one.sample): one for one in rows}

    def pop_untold(self) -> list[SkippedRow]:
        """Those that were met since this was asked."""
        untold, self._untold = self._untold, []
        return untold

    def take(self, found: Iterable[Skipped], *, step: int) -> None:
        """Count what was left out in a step.

        Raises
        ------
        DataError
            They are more than the recipe allows; names all of them.
        """
        for one in sorted(found):
            key = (one.dataset, one.sample)
            if key not in self._rows:
                self._rows[key] = SkippedRow(
                    dataset=one.dataset, sample=one.sample, step=step, reason=one.reason
                )
                self._untold.append(self._rows[key])
        if len(self._rows) > self._limit:
            names = ", ".join(one.sample for one in self._rows.values())
            raise DataError(
                f"step {step}: {len(self._rows)} damaged samples, and data.max_damaged is "
                f"{self._limit}: {names}; the last: {self.rows[-1].reason}",
                cure="`imig validate` lists what is damaged: repair the dataset and resume, or "
                "allow for more of them with --set data.max_damaged=N",
            )

    def write(self, run: Path) -> None:
        """`skipped.json` in the run's folder; no file where there is none.

        Raises DataError when it cannot be written.
        """
        path = run / SKIPPED_FILE
        if not self._rows:
            remove_file(path)
            return
        rows = [one.model_dump(mode="json") for one in self._rows.values()]
        atomic_write_bytes(path, (json.dumps(rows, indent=1) + "\n").encode())
