"""Paths as people give them: `~`, addresses that are no paths, and commands that can be copied."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Final

from imig.errors import UsageError
from imig.printable import shortened

_SCHEME: Final = "[A-Za-z][A-Za-z0-9+.@-]+"
_ADDRESS: Final = re.compile(f"(?P<scheme>{_SCHEME})(?:::{_SCHEME})*:/")
"""``s3://bucket/x``, ``s3:/bucket/x`` (what `Path` makes of it), ``host:/x``, fsspec's
``simplecache::s3://``. A scheme has two letters at least; ``C:/x`` is a name."""
_COPY: Final = {
    "s3": "aws s3 cp --recursive FOLDER {address}",
    "gs": "gcloud storage cp --recursive FOLDER {address}",
    "gcs": "gcloud storage cp --recursive FOLDER {address}",
}
"""Scheme -> the command of that store which copies a folder there."""


def is_address(text: str | Path) -> bool:
    """Whether it says where on another machine something is, and not where on this one."""
    return _ADDRESS.match(str(text)) is not None


def expand_home(text: str | Path) -> Path:
    """A path of this machine, with ``~`` and ``~user`` for homes.

    As in a shell, ``./~x`` is a name that begins with ``~``; and so is ``~x`` where there is no
    such user, but such a file. What is given back is taken for nothing else when it is read again.

    Raises
    ------
    UsageError
        When there is no such home.
    """
    expanded = str(text)
    with suppress(ValueError):  # characters that no user's name has
        # os.path, not Path.expanduser, which forgets the dot of ./~x
        expanded = os.path.expanduser(expanded)
    path = Path(expanded)
    if expanded.startswith("~"):
        if not _is_there(path):
            user = path.parts[0].removeprefix("~")
            raise UsageError(
                f"{text}: there is no user {user!r} on this machine whose home this could be"
                if user
                else f"{text}: nothing says where your home is: HOME is not set",
                cure=f"give the whole path; a name that begins with ~ itself is given as ./{text}",
            )
        return _working_folder() / path
    # `Path` forgets the dot of ./~x, which said that it is a name
    return _working_folder() / path if _reads_otherwise(str(path)) else path


def input_path(text: str | Path) -> Path:
    """A path to read from this machine; it need not be there.

    Raises
    ------
    UsageError
        It is an address, an unknown home, empty, or nothing that a path can be.
    """
    if is_address(text) and ("://" in str(text) or not _is_there(Path(text))):
        raise UsageError(
            f"{text} is an address, and this is read from this machine only",
            cure=_from_file_address(str(text))
            or "copy it to this machine, and give the path of the copy; a file whose name looks "
            f"like this is given as ./{text}",
        )
    return _checked(text)


def output_path(text: str | Path) -> Path:
    """A path of this machine that something is to be written to; it need not be there.

    Raises
    ------
    UsageError
        It is an address, an unknown home, empty, or nothing that a path can be.
    """
    found = _ADDRESS.match(str(text))
    if found is not None:
        # `Path` has made one of two slashes
        address = re.sub(r":/+", "://", str(text), count=1)
        command = _COPY.get(found["scheme"].lower(), "").format(address=address)
        raise UsageError(
            f"{text} is an address, and this is written to this machine only",
            cure=_from_file_address(str(text))
            or "write into a folder of this machine, and copy that there"
            + (f": {command}" if command else "")
            + f"; a folder whose name looks like this is given as ./{text}",
        )
    path = _checked(text)
    for parent in path.parents:
        if _is_there(parent):
            if not parent.is_dir():
                raise UsageError(
                    f"cannot write {path}: {parent} is a file, and no folder",
                    cure="give another path",
                )
            break
    return path


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies below it, whatever links and mounts lead there.

    Neither need be there.
    """
    inner, outer = (Path(os.path.realpath(one)) for one in (path, folder))
    if outer in (inner, *inner.parents):
        return True
    # Mounted twice, or on a disk that tells no capitals from small letters.
    return any(_is_same(one, outer) for one in (inner, *inner.parents))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def shown_path(path: Path) -> Path:
    """The path as a person in this folder would type it."""
    try:
        here = Path.cwd()
    except OSError:
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path


def command_text(*words: object) -> str:
    """A command as a shell takes it: every word, text or a path, quoted where it must be.

    Paths (`Path`, not text) that would be read as an option, a home or an address begin with
    ``./``.
    """
    return " ".join(shlex.quote(_path_word(one)) for one in words)


def _path_word(word: object) -> str:
    text = str(word)
    if isinstance(word, Path) and (text.startswith("-") or _reads_otherwise(text)):
        return f"./{text}"
    return text


def _reads_otherwise(text: str) -> bool:
    return text.startswith("~") or is_address(text)


def _checked(text: str | Path) -> Path:
    if not str(text):
        raise UsageError("a path is empty", cure="give the path; a dot is the folder you are in")
    path = expand_home(text)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # whoever needs it says that it is not there
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{shortened(str(path))}: this path cannot be used: {reason}", cure="give another path"
        ) from error
    return path


def _from_file_address(text: str) -> str:
    """The cure for ``file:///x``; empty for what is elsewhere."""
    found = re.match(r"file:(?://(?:localhost)?)?(/[^/].*)", text, re.IGNORECASE)
    return f"it is on this machine: give the path itself, {found[1]}" if found else ""


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            "the folder that you are in is not there any more", cure="go into another: cd"
        ) from error
