"""Pickles that leave a mark where somebody loads them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import torch


class Mark:
    """Loading its pickle makes an empty file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def plain_pickle(path: Path, mark: Path) -> Path:
    """What `pickle.dump` writes, and PyTorch did for long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"weight": Mark(mark)}, protocol=2))
    return path


def torch_archive(path: Path, mark: Path) -> Path:
    """What `torch.save` writes: a zip with a pickle in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": Mark(mark)}, path)
    return path


WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    "plain": plain_pickle,
    "archive": torch_archive,
}
