"""Errors that are written for the person at the keyboard.

Every error says what is wrong and where; `cure` says what to do about it. The command line prints
both without a traceback and exits with the class's `exit_code`.
"""

from __future__ import annotations

VALIDATE = "`imig validate` lists everything that is damaged."
"""The cure for a dataset of which something does not read."""


class ImigError(Exception):
    """Something the user can act on.

    Parameters
    ----------
    message:
        What is wrong and where (file, recipe line, sample id).
    cure:
        What to do about it: a command, a key to correct; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __reduce__(self) -> tuple[object, ...]:
        # Ray sends exceptions between processes; keyword arguments do not survive the default way.
        return (_rebuild, (type(self), self.message, self.cure))

    def __str__(self) -> str:
        return f"{self.message}\n  {self.cure}" if self.cure else self.message


def _rebuild(kind: type[ImigError], message: str, cure: str) -> ImigError:
    return kind(message, cure=cure)


class DataError(ImigError):
    """The data or the run is at fault: a damaged shard, too many failing scenes. Exit code 1."""

    exit_code = 1


class CannotOpenError(DataError):
    """A picture that the source has listed cannot be opened: missing, forbidden, a failing disk.

    The system is at fault and not the picture, so that the scene is quarantined and not rejected.
    """


class ServerDownError(DataError):
    """A server has not answered, however often it was asked: it is at fault and not the scene."""


class UnavailableError(DataError):
    """A disk, a store or the network does not give what a dataset has: the data may be right."""


class SourceLostError(DataError):
    """What a build reads is gone, or is not what it was: no scene is at fault, the build stops."""


class UsageError(ImigError):
    """The call is at fault: a wrong path, an unknown key, a missing weight. Exit code 2."""

    exit_code = 2
