"""`K.features.npy`: the target's feature, for the search of duplicates.

A plain NumPy file of one float16 vector of length 1 in the Euclidean norm. All samples of a dataset
have it of one width, or none has it.
"""

from __future__ import annotations

import io
import re
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imig.errors import VALIDATE, DataError

FEATURES_MEMBER: Final = "features.npy"
NORM_TOLERANCE: Final = 0.01
"""float16 rounds every coordinate by up to 0.05 %."""

# What `numpy.save` writes of such a vector. numpy's own reader evaluates the header as Python, and
# allocates whatever shape it names.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f2', 'fortran_order': False, "
    rb"'shape': \((?P<length>[0-9]{1,6}),\), \} *\n",
    re.DOTALL,
)


def features_to_bytes(features: ArrayLike) -> bytes:
    """The bytes of the member for a feature of any norm and real dtype.

    Raises
    ------
    ValueError
        When it is no vector, or has no direction (all zeros, or not finite).
    """
    vector = np.asarray(features, dtype=np.float64)
    norm = float(np.linalg.norm(vector))
    if vector.ndim != 1 or not np.isfinite(norm) or norm == 0:
        raise ValueError(f"a feature is a vector with a direction, not {vector.shape}, norm {norm}")
    buffer = io.BytesIO()
    np.save(buffer, (vector / norm).astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def features_from_bytes(data: bytes, *, place: str) -> NDArray[np.float16]:
    """The vector of a member; `place` is for the message.

    Raises
    ------
    DataError
        When the bytes are damaged, or it is no float16 vector of norm 1.
    """
    header = _HEADER.match(data)
    if header is None:
        message = f"cannot be read as one float16 vector of NumPy's: it begins {data[:80]!r}"
        raise DataError(f"{place}: {FEATURES_MEMBER} {message}", cure=VALIDATE)
    stored = len(data) - header.end()
    if stored != 2 * int(header["length"]):
        message = f"{stored} bytes instead of {header['length'].decode()} values"
        raise DataError(f"{place}: {FEATURES_MEMBER} has {message}", cure=VALIDATE)
    vector = np.frombuffer(data, dtype="<f2", offset=header.end())
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not abs(norm - 1) <= NORM_TOLERANCE:
        raise DataError(f"{place}: {FEATURES_MEMBER} has the norm {norm:.4g}, not 1", cure=VALIDATE)
    return vector
