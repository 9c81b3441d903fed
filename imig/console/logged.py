"""What modules log on their way, such as a store that does not answer, told to whoever looks on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def warnings_told_to(tell: Callable[[str], object]) -> Iterator[None]:
    """Tell each warning that a module of imig logs within the block, a text without its level."""
    handler = _Teller(tell)
    logger = logging.getLogger("imig")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())
