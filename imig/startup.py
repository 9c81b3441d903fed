"""Start fast: what takes seconds before the first scene is imports and weights."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def objects_that_stay() -> Iterator[None]:
    """For imports and loading: no search for garbage meanwhile, and none among the objects later.

    PyTorch and the model libraries make a million objects that live as long as the process. Python
    searches them again and again while they are made, for a quarter of the time that it takes, and
    with every full collection afterwards.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
