"""`features.npy`: headers that numpy would evaluate, and vectors that are none."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from functools import partial

import numpy as np

from support.hostile.planted import FEATURES, NOTHING, Group
from support.hostile.victim import SAMPLE, SHARD, Victim

NPY = Group(
    "Features for the search of duplicates",
    "numpy evaluates a file's header as Python and allocates the shape that it names; imig reads "
    "only the one header that it writes itself. No pickle is ever loaded.",
)
_PART = FEATURES.naming(SHARD, SAMPLE, "features.npy")


class Evil:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        import os

        return os.system, ("touch imig-owned",)


def _saved(values: object, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=pickled)
    return buffer.getvalue()


def _header(text: str, *, version: bytes = b"\x01\x00", data: bytes = bytes(64)) -> bytes:
    header = text.encode("latin-1")
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


def _shape(text: str) -> bytes:
    return _header(f"{{'descr': '<f2', 'fortran_order': False, 'shape': {text}, }}")


_UNIT = np.eye(1, 8, dtype=np.float16)[0]

DATA: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npy-pickle": ("a pickle that runs a command", lambda: pickle.dumps(Evil())),
    "npy-object": ("an array of objects, pickled",
                   lambda: _saved(np.array([Evil()], dtype=object), pickled=True)),
    "npy-empty": ("an empty file", lambda: b""),
    "npy-cut-off": ("half of the file", lambda: _saved(_UNIT)[:100]),
    "npy-longer": ("bytes behind the values", lambda: _saved(_UNIT) + b"x"),
    "npy-raw": ("values without a header", _UNIT.tobytes),
    "npy-two-dimensions": ("a table", lambda: _saved(np.zeros((3, 4), np.float16))),
    "npy-scalar": ("a single number", lambda: _saved(np.float16(1))),
    "npy-nan": ("NaN", lambda: _saved(np.full(8, np.nan, np.float16))),
    "npy-infinity": ("an infinite value", lambda: _saved(np.full(8, np.inf, np.float16))),
    "npy-zeros": ("zeros, which have no direction", lambda: _saved(np.zeros(8, np.float16))),
    "npy-float32": ("float32", lambda: _saved(_UNIT.astype(np.float32))),
    "npy-big-endian": ("float16 of the other byte order", lambda: _saved(_UNIT.astype(">f2"))),
    "npy-complex": ("complex numbers", lambda: _saved(_UNIT.astype(np.complex64))),
    "npy-structured": ("a structured type", lambda: _saved(np.zeros(2, [("a", "<f2")]))),
    "npy-dates": ("dates", lambda: _saved(np.zeros(2, "datetime64[s]"))),
    "npy-fortran": ("Fortran order",
                    lambda: _header("{'descr': '<f2', 'fortran_order': True, 'shape': (8,), }",
                                    data=_UNIT.tobytes())),
    "npy-version-3": ("version 3 of the format",
                      lambda: _header("{'descr': '<f2', 'fortran_order': False, 'shape': (8,), }",
                                      version=b"\x03\x00", data=_UNIT.tobytes())),
    "npy-shape-huge": ("a shape of 10^16 values", lambda: _shape("(10000000000000000,)")),
    "npy-shape-negative": ("a shape of -5 values", lambda: _shape("(-5,)")),
    "npy-shape-texts": ("a shape of texts", lambda: _shape("('a',)")),
    "npy-shape-evaluated": ("a shape that is a call",
                            lambda: _shape("(__import__('os').getpid(),)")),
    "npy-deep": ("a header of 9,000 minus signs", lambda: _header("-" * 9000 + "1")),
    "npy-token": ("a header that ends in a long integer of Python 2",
                  lambda: _header("{'descr': '<f2', 'fortran_order': False, 'shape': (5L")),
    "npy-type-within-type": ("a type within a type",
                             lambda: _header("{'descr': ('<f2', [('a', 'x')]), "
                                             "'fortran_order': False, 'shape': (5,), }")),
    "npy-header-endless": ("a header of 4 GB", lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
}  # fmt: skip


def _put(victim: Victim, make: Callable[[], bytes]) -> None:
    victim.put("features.npy", make())


for _kind, (_what, _make) in DATA.items():
    NPY.add(_kind, _what, _PART, partial(_put, make=_make))


@NPY.fault(NOTHING, legal="Which picture a feature is of cannot be seen without the model.")
def npy_of_another_picture(victim: Victim) -> None:
    """a good vector that is another picture's"""
    victim.put("features.npy", _saved(_UNIT))
