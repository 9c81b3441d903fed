"""Writes safetensors files whose bytes depend on nothing but their content.

`save_tensors` takes tensors that are there; `TensorFile` is written tensor by tensor, for models
that are larger than the memory. Both appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from imig.shards.atomic import atomic_write

DIGEST: Final = "modelspec.hash_sha256"
"""Entry of the metadata for the SHA-256 of all that follows the header (ModelSpec)."""
_NO_DIGEST: Final = f"0x{'0' * 64}"
_LENGTH_BYTES = 8
"""Of the JSON header's length, little endian, at the head of a file (safetensors' format)."""
_CHUNK = 1 << 20


def save_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    metadata: Mapping[str, str],
    digest: bool = False,
) -> None:
    """Write tensors, aside first and then renamed; equal content gives equal bytes.

    safetensors' own writer has tensors in a fixed order, but several entries of metadata in one
    that changes from process to process.

    Parameters
    ----------
    digest:
        Add the entry `DIGEST`.

    Raises
    ------
    DataError
        The file cannot be written: no room, no permission.
    """
    entries = dict(metadata) | ({DIGEST: _NO_DIGEST} if digest else {})
    plain = {name: one.contiguous() for name, one in tensors.items()}
    with atomic_write(path) as aside, _full_disk_is_an_os_error():
        aside.touch()
        mode = aside.stat().st_mode
        save_file(plain, aside, entries)
        aside.chmod(mode)  # as other files are, and not for its owner alone
        _finish_header(aside, digest=digest)


@dataclass(frozen=True)
class TensorKind:
    """What a safetensors header says of a tensor."""

    dtype: str
    """In the format's words: `BF16`."""
    shape: tuple[int, ...]
    size: int
    """Bytes."""


@contextmanager
def streamed_tensors(
    path: Path, kinds: Mapping[str, TensorKind], *, metadata: Mapping[str, str]
) -> Iterator[TensorWriter]:
    """A file of tensors that are given one by one, all of `kinds` in their order.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name, kind in kinds.items():
        header[name] = {
            "dtype": kind.dtype,
            "shape": list(kind.shape),
            "data_offsets": [offset, offset + kind.size],
        }
        offset += kind.size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // _LENGTH_BYTES) * _LENGTH_BYTES)
    with atomic_write(path) as aside:
        with aside.open("wb") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            writer = TensorWriter(file, kinds)
            yield writer
        writer.require_all()


class TensorWriter:
    """Of `streamed_tensors`."""

    def __init__(self, file: BinaryIO, kinds: Mapping[str, TensorKind]) -> None:
        self._file = file
        self._awaited = list(kinds.items())[::-1]

    def add(self, name: str, tensor: Tensor) -> None:
        """The next tensor: name, bytes and order are those that were announced."""
        awaited, kind = self._awaited.pop()
        data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
        if (name, data.nbytes) != (awaited, kind.size):
            raise ValueError(f"{name} with {data.nbytes} bytes, in the place of {awaited}: {kind}")
        self._file.write(data.data)

    def require_all(self) -> None:
        """Raises ValueError where tensors are still to come."""
        if self._awaited:
            raise ValueError(f"{len(self._awaited)} tensors were not written")


@contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    """safetensors has an exception of its own for what the system says; we pass tensors only."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _finish_header(path: Path, *, digest: bool) -> None:
    """Rewrite the header, in its place: metadata in the order of the keys, and the digest."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        if digest:
            header["__metadata__"][DIGEST] = _digest(file)
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        # Only the order and digits differ, so the length cannot; the tensors start right behind it.
        assert len(text) <= length, "safetensors escapes its header otherwise than Python"
        file.seek(_LENGTH_BYTES)
        file.write(text.ljust(length))


def _digest(file: BinaryIO) -> str:
    """Of what is left of the file."""
    sha256 = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        sha256.update(chunk)
    return f"0x{sha256.hexdigest()}"
