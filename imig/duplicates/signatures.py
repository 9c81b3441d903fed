"""What duplicates are found by, of many scenes: ids, hashes and features."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imig.duplicates.cosine import Features
from imig.duplicates.hamming import Hashes
from imig.errors import DataError


@dataclass
class Signatures:
    """Collected scene by scene. Features wait in a file without a name: they need not fit into
    memory."""

    ids: list[str] = field(default_factory=list)
    _hashes: list[int | None] = field(default_factory=list)
    _rows: list[int | None] = field(default_factory=list)
    """The row of each scene's feature in the file."""
    _width: int = 0
    _file: IO[bytes] | None = None
    _features: int = 0

    def add(
        self, scene_id: str, *, hash_: str | None, features: NDArray[np.float16] | None = None
    ) -> None:
        """Take note of a scene; None where it has no hash or no feature.

        Raises
        ------
        DataError
            When the feature has another width than the ones before.
        """
        self.ids.append(scene_id)
        self._hashes.append(None if hash_ is None else int(hash_, 16))
        self._rows.append(None if features is None else self._store(scene_id, features))

    def sorted_by_id(self) -> Signed:
        """Everything in the order of the ids."""
        order = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        hashes = [self._hashes[one] for one in order]
        rows = [self._rows[one] for one in order]
        return Signed(
            ids=[self.ids[one] for one in order],
            hashes=np.array([one or 0 for one in hashes], dtype=np.uint64),
            hashed=np.array([one is not None for one in hashes], dtype=bool),
            features=self._stored(),
            rows=np.array([-1 if one is None else one for one in rows], dtype=np.int64),
        )

    def _store(self, scene_id: str, features: NDArray[np.float16]) -> int:
        self._width = self._width or len(features)
        if len(features) != self._width:
            raise DataError(
                f"sample {scene_id} has a feature of {len(features)} values, others have "
                f"{self._width}: they are of different models and cannot be compared",
                cure="look at hashes alone: --set duplicates.similarity=null",
            )
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        try:
            self._file.write(features.tobytes())
        except OSError as error:
            raise DataError(
                f"cannot keep features in {tempfile.gettempdir()}: {error.strerror}",
                cure="make room there, or name another folder with the variable TMPDIR",
            ) from error
        self._features += 1
        return self._features - 1

    def _stored(self) -> Features:
        if self._file is None:
            return np.zeros((0, 1), dtype=np.float16)
        self._file.flush()
        shape = (self._features, self._width)
        return np.memmap(self._file, dtype=np.float16, mode="r", shape=shape)


@dataclass(frozen=True)
class Signed:
    """Scenes in the order of their ids. Positions count in this order."""

    ids: list[str]
    hashes: Hashes
    hashed: NDArray[np.bool_]
    """Whether the scene has a hash."""
    features: Features
    """(f, d): those that there are, in another order."""
    rows: NDArray[np.int64]
    """The scene's row in `features`, -1 where it has none."""

    def __len__(self) -> int:
        return len(self.ids)

    def known(self) -> Iterator[str]:
        """What is stored of at least one scene."""
        if self.hashed.any():
            yield "hashes"
        if len(self.features):
            yield "features"
