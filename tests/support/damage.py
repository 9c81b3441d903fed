"""Small files of a program's own state, damaged in the ways that disks, people and kills do it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

Damage = Callable[[Path], None]


def _become(data: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(data)

    return damage


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inner").write_bytes(b"mine")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(1 << 26)


DAMAGES: Final[dict[str, Damage]] = {
    "empty": _become(b""),
    "half": _half,
    "zeros": _become(bytes(500)),
    "binary": _become(bytes(range(256)) * 4),
    "list": _become(b"[1, 2]"),
    "number": _become(b"7"),
    "null": _become(b"null"),
    "other-object": _become(b'{"a": 1}'),
    "wrong-types": _become(
        b'{"recipe_sha256": 1, "recipe": [], "scenes": "x", "models": 0, "input": "x", "rows": 7,'
        b' "identity": 3, "usage": [], "number": "x", "attempt": []}'
    ),
    "deep": _become(b'{"recipe": ' * 50_000),
    "deep-list": _become(b"[" * 200_000),
    "long-number": _become(b'{"scenes": ' + b"9" * 10_000 + b"}"),
    "no-utf-8": _become(b'{"recipe_sha256": "\xff\xfe"}'),
    "huge": _huge,
    "folder": _folder,
    "pipe": _pipe,
    "dangling-link": _dangling,
    "device": _device,
}


QUICK: Final = ("half", "wrong-types", "deep", "pipe")
"""Of them, what `make test` looks at; the rest has `make test-all`."""


def cases(*without: str) -> list[Any]:
    """The damages for `parametrize`."""
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.long)
        for name in DAMAGES
        if name not in without
    ]


def look(folder: Path) -> dict[str, str]:
    """What is in a folder: kinds, and bytes of small files; locks and what is read aside."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "lock":
            continue
        if path.is_symlink() or not path.is_file():
            seen[name] = oct(path.lstat().st_mode)
        else:
            with path.open("rb") as file:
                seen[name] = f"{path.stat().st_size} {file.read(1 << 20)!r}"
    return seen
