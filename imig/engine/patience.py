"""Faults of the system, which are waited for, and faults of the data, which are not.

A disk that is full, a server that is down or a network that is gone may be back in a minute; a
picture that a stage cannot bear will raise again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from imig.errors import CannotOpenError, ServerDownError

Result = TypeVar("Result")

SYSTEM_ERRNOS: Final = frozenset(
    {
        errno.EIO, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EROFS,
        errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN,
        errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE,
        errno.ENOTCONN, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)  # fmt: skip
"""Of disks, memory, open files and networks."""
FIRST_PAUSE: Final = 0.5
"""Seconds; each further one is twice as long."""


def passes(error: BaseException) -> bool:
    """Whether what raised may be well in a while: the error itself, or what it was raised from."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, OSError) and (
            one.errno in SYSTEM_ERRNOS or isinstance(one, (ConnectionError, TimeoutError))
        ):
            return True
        one = one.__cause__
    return False


def is_system_fault(error: BaseException) -> bool:
    """Whether the system is at fault, whatever the scene."""
    return isinstance(error, (CannotOpenError, ServerDownError)) or passes(error)


class Patience:
    """Waits for the system, with growing pauses; of a worker, or of the driver.

    When it has been used up in vain, what fails next is waited for no more, until something that
    had failed succeeds: a dead disk costs the time once and not with every scene.

    Parameters
    ----------
    seconds:
        All pauses of a fault together.
    tell:
        Says a line to the person at the console.
    """

    def __init__(
        self,
        seconds: float,
        *,
        tell: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._tell = tell
        self._sleep = sleep
        self._used_up = False

    def run(self, work: Callable[[], Result], *, what: str) -> Result:
        """The result of `work`, which is tried again while the system is at fault."""
        try:
            return work()
        except Exception as error:
            if not passes(error):
                raise
            return self.retry(work, error, what=what)

    def retry(self, work: Callable[[], Result], error: Exception, *, what: str) -> Result:
        """The result of `work`, which has just raised `error`, a fault that `passes`.

        Raises what it raises when patience has come to its end, or something else is wrong.
        """
        for pause in self._pauses():
            if pause:
                self._tell(f"{what}: {error_to_text(error)}; again in {pause:g} s")
                self._sleep(pause)
            try:
                result = work()
            except Exception as again:
                if not passes(again):
                    raise
                error = again
            else:
                self._used_up = False
                return result
        self._used_up = True
        raise error

    def _pauses(self) -> Iterator[float]:
        if self._used_up:
            yield 0.0  # it may be well again
            return
        left, pause = self._seconds, FIRST_PAUSE
        while left > 0:
            yield min(pause, left)
            left -= pause
            pause *= 2


def error_to_text(error: BaseException) -> str:
    """Class and message, in a line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip()
