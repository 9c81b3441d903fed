"""Open a file that a source has listed: whose fault it is when that fails.

A file that cannot be opened (missing, forbidden, a failing disk) is a fault of the system: the
scene is quarantined. When nothing of what was listed is there any more, no scene is at fault and
the build stops. A file that opens and is no picture is turned down, as every bad picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from imig.errors import CannotOpenError, ImigError, SourceLostError
from imig.regular_file import (
    FileTooLargeError,
    NotAFileError,
    open_regular_file,
    read_regular_file,
)
from imig.stages.pictures import PictureError
from imig.stores.path import OutputPath

MIN_BYTES_LIMIT: Final = 1 << 26
BYTES_A_PIXEL: Final = 16
"""What the largest file of `max_pixels` pixels may take: four channels of 32 bits, uncompressed."""
MAX_TEXT_BYTES: Final = 1 << 24
"""Of a caption's file or member: 40 times the longest caption that is kept, in any encoding."""
LOOKED_FOR: Final = 20
"""Files, spread over all of them, of which one must be there for the others to be looked for."""


def max_bytes(max_pixels: int) -> int:
    """Bytes beyond which a file is no picture of at most `max_pixels` pixels."""
    return max(MIN_BYTES_LIMIT, BYTES_A_PIXEL * max_pixels)


def read_listed_file(path: Path, *, shown: str, limit: int) -> bytes:
    """The bytes of a file that the source has listed.

    Parameters
    ----------
    shown:
        What errors call it: the path as it is listed. Errors go into reports, and reports to
        people who must not see this machine's folders.
    limit:
        Bytes beyond which it is not read.

    Raises
    ------
    CannotOpenError
        The system does not give it.
    PictureError
        It is no regular file, or larger than the limit.
    """
    try:
        return read_regular_file(path, max_bytes=limit)
    except NotAFileError as error:
        figures: dict[str, float | int | str] = {"error": f"OSError: {error.strerror}"}
        raise PictureError("unreadable image", figures) from error
    except FileTooLargeError as error:
        raise PictureError("too many bytes", {"error": str(error.strerror)}) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise cannot_open(shown, error) from None  # the cause names the whole path


def cannot_open(shown: str, error: OSError | ValueError) -> CannotOpenError:
    """The error for what the system does not give."""
    if isinstance(error, ValueError):
        return CannotOpenError(f"cannot open {shown}: no file can have such a name")
    return CannotOpenError(f"cannot open {shown}: {error.strerror or error}")


def can_open(path: Path) -> bool:
    """Whether the system gives the file now."""
    try:
        with open_regular_file(path):
            return True
    except NotAFileError:
        return True
    except (OSError, ValueError):
        return False


def is_there(path: OutputPath) -> bool:
    """Whether there is such a file, links followed; never raises.

    What a store does not say is taken to be there: that it does not answer is no loss.
    """
    try:
        return path.is_file()
    except ImigError:
        return True
    except (OSError, ValueError):  # too long, forbidden, or with characters that no name has
        return False


def spread(numbers: Sequence[int]) -> list[int]:
    """At most `LOOKED_FOR` of them, the first and the last among them."""
    if len(numbers) <= LOOKED_FOR:
        return list(numbers)
    step = (len(numbers) - 1) / (LOOKED_FOR - 1)
    return [numbers[round(place * step)] for place in range(LOOKED_FOR)]


def require_some(paths: Sequence[OutputPath], *, what: str) -> None:
    """Raise SourceLostError when none of the paths is there any more.

    `what` says in the plural what has been looked for, e.g. ``pictures below /data/photos``.
    """
    if any(map(is_there, paths)):
        return
    raise SourceLostError(
        f"the source is gone: no {what} can be found any more",
        cure="bring it back (is the disk mounted?), and run the same command again: finished work "
        "is kept, and no scene has been given up",
    )
