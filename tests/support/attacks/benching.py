"""Attacks on `imig bench`: its cases, and what lies where it draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from support.attacks.attack import Attack
from support.attacks.pieces import DAMAGED, ODD

PICTURE: Final = "out/pictures/one-5.png"
FILES: Final[dict[str, tuple[Callable[[Path], object], int]]] = {
    "a folder": (Path.mkdir, 2),
    "a pipe": (os.mkfifo, 2),
    "a device": (lambda path: path.symlink_to("/dev/zero"), 2),
    "a link to itself": (lambda path: path.symlink_to(path.name), 0),
    "a link to nothing": (lambda path: path.symlink_to("gone"), 0),
}
"""In place of a picture, and the exit code: a link that leads nowhere is no picture, and goes."""


def attack(what: str, plant: Callable[[Path], object], *more: str, **expected: Any) -> Attack:
    words = ["bench", "layouts", "--weights", "tiny", "--recipe", "train-tiny", "--steps", "1"]
    words += ["--no-evaluate", "--workers", "1", "--output", "out", *more]
    return Attack(
        id=f"bench: {what}", command=tuple(words), uses=("layouts",), plant=plant, **expected
    )


def make(name: str, how: Callable[[Path], object], place: Path) -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    how(place / name)


def _write(data: Callable[[], bytes], path: Path) -> None:
    path.write_bytes(data())


def each() -> Iterator[Attack]:
    for kind, data in {**DAMAGED, **ODD}.items():
        there = partial(make, PICTURE, partial(_write, data))
        yield attack(f"left picture: {kind}", there, code=2, says=("one-5.png", "--overwrite"))
        yield attack(f"left picture, overwrite: {kind}", there, "--overwrite", code=0)
        if kind in DAMAGED:
            hit = partial(make, "layouts/ball.png", partial(_write, data))
            yield attack(f"reference: {kind}", hit, code=1, says=("2 of 2 cases", "ball.png"))
    for kind, (how, code) in FILES.items():
        yield attack(f"left picture: {kind}", partial(make, PICTURE, how), code=code)
    for name, code in (("out", 2), ("out/pictures", 1)):
        there = partial(make, name, lambda path: path.write_bytes(b"x"))
        yield attack(f"{name}: a file", there, code=code)
    for kind, (how, _) in FILES.items():
        if "link" not in kind:
            yield attack(f"lock: {kind}", partial(make, "out/.bench.lock", how), code=2)
