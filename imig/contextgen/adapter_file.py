"""Opens what people have as an adapter: a safetensors file, or the folder that a tool wrote.

PEFT writes a folder, with the scale in `adapter_config.json` and nowhere else; diffusers and imig
write one file. What is no safetensors file is told by its first bytes, not by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from imig.errors import DataError, UsageError

PEFT_FILE: Final = "adapter_model.safetensors"
PEFT_CONFIG: Final = "adapter_config.json"
_IN_A_FOLDER: Final = (PEFT_FILE, "pytorch_lora_weights.safetensors", "adapter.safetensors")
"""PEFT's, diffusers' and imig's own name, in the order in which a folder is searched."""
_PICKLES: Final = ("adapter_model.bin", "pytorch_lora_weights.bin")
_WEIGHTS: Final = {"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"}
"""Types of safetensors that PyTorch turns into float32."""
_NUMBERS: Final = _WEIGHTS | {"I8", "I16", "I32", "I64", "U8"}
"""Of an alpha, which is one number."""
_AGAIN: Final = "copy it again, or export it again from a checkpoint of its run"


@dataclass(frozen=True)
class AdapterFile:
    """What stands in an adapter's file, as it stands there."""

    path: Path
    """The safetensors file."""
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]
    """The entries of `__metadata__`."""
    peft: Mapping[str, Any] | None
    """PEFT's `adapter_config.json` beside the file, if there is one."""

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size


def read_adapter_file(path: Path) -> AdapterFile:
    """All of an adapter's file, or of the one in a folder.

    Raises
    ------
    UsageError
        There is no such file, or it is of another format.
    DataError
        It is damaged, or a weight in it has a type that is none of a LoRA.
    """
    found = find_adapter_file(path)
    with open_adapter(found) as file:
        header = file.metadata() or {}
        tensors = {key: _tensor(file, key, found) for key in file.keys()}  # noqa: SIM118
    return AdapterFile(path=found, tensors=tensors, header=header, peft=_peft_config(found))


def find_adapter_file(path: Path) -> Path:
    """The file itself, or the adapter in a folder that PEFT, diffusers or imig wrote.

    Raises UsageError when there is none.
    """
    try:
        if path.is_dir():
            return _in_folder(path)
        there = path.is_file()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the adapter {str(path)[:200]!r}: {error}") from error
    if not there:
        raise UsageError(
            f"there is no adapter file {path}",
            cure="`imig train` writes adapter.safetensors into its run folder",
        )
    return path


def _in_folder(folder: Path) -> Path:
    for name in _IN_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    for name in _PICKLES:
        if (folder / name).is_file():
            raise _pickle_refused(folder / name)
    raise UsageError(
        f"there is no adapter in the folder {folder}",
        cure=f"looked for {', '.join(_IN_A_FOLDER)}; give the file itself if it has another name",
    )


@contextmanager
def open_adapter(path: Path) -> Iterator[Any]:
    """The safetensors file, open; what it is instead is said where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise _not_safetensors(path, error) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", cure=_AGAIN) from error


def read_json_object(text: str | bytes, *, where: str) -> dict[str, Any]:
    """A JSON object of the file's metadata; DataError, with its beginning, where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(
            f"{where} is no JSON object: {text[:80]!r}",
            cure="export the adapter again from a checkpoint of its run",
        )
    return value


def _tensor(file: Any, key: str, path: Path) -> Tensor:
    kind = str(file.get_slice(key).get_dtype())
    allowed = _NUMBERS if key.endswith(".alpha") else _WEIGHTS
    if kind not in allowed:
        raise DataError(
            f"{path}: {key!r} is of type {kind}; a LoRA's weights are floating-point numbers",
            cure="imig reads no quantized adapters: export it again as float16, bfloat16 or "
            "float32",
        )
    tensor: Tensor = file.get_tensor(key)
    return tensor


def _peft_config(path: Path) -> dict[str, Any] | None:
    """PEFT's configuration of this file; a file under its name has no scale without it."""
    if path.name != PEFT_FILE:
        return None
    config = path.with_name(PEFT_CONFIG)
    try:
        return read_json_object(config.read_bytes(), where=str(config))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is PEFT's, and {PEFT_CONFIG} is not beside it: its scale stands there alone",
            cure=f"copy {PEFT_CONFIG} from where the file is from into {path.parent}",
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {config}: {error}") from error


def _not_safetensors(path: Path, error: SafetensorError) -> DataError | UsageError:
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return DataError(f"{path} is not a whole safetensors file: it is empty", cure=_AGAIN)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _pickle_refused(path)
    if start.startswith(b"version https://git-lfs"):
        return DataError(
            f"{path} is not the adapter but Git LFS's pointer to it",
            cure="`git lfs pull` in its repository, or download the file itself",
        )
    if start.lstrip()[:1] == b"<":
        return DataError(
            f"{path} is a web page, not an adapter",
            cure="download the file itself (it may need a login)",
        )
    if re.fullmatch(rb"[\t\n\r -~]+", start):
        words = " ".join(start.decode().split())
        return DataError(
            f"{path} is a text, not an adapter: {words!r}", cure="download the file itself"
        )
    if start.startswith(b"GGUF"):
        return UsageError(
            f"{path} is a GGUF file, which imig does not read",
            cure="take the safetensors file of the same adapter",
        )
    return DataError(f"{path} is not a whole safetensors file: {error}", cure=_AGAIN)


def _pickle_refused(path: Path) -> UsageError:
    return UsageError(
        f"{path} is a pickle of PyTorch: loading one can run code that is hidden in it, and imig "
        "reads safetensors only",
        cure='if you trust where it is from, convert it: python -c "import sys, torch; from '
        "safetensors.torch import save_file; save_file({k: v.contiguous() for k, v in torch.load("
        "sys.argv[1], map_location='cpu', weights_only=True).items()}, sys.argv[2])\" "
        f"{path.name} {path.stem}.safetensors",
    )
