"""A diffusers pipeline on disk: a folder with `model_index.json` and a folder a component.

Read without diffusers, so that a plan is checked in no time: is it a pipeline that the family
calls, is the copy complete, and what is its revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from imig.errors import UsageError
from imig.models.family import Family

INDEX: Final = "model_index.json"
NEVER_LOADED: Final = frozenset({"safety_checker"})
"""Components that no family loads: what is drawn is filtered by the recipe."""
CONFIGURATION: Final = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files beside the weights that a component may need."""

_MEGABYTE: Final = 1 << 20
_SAMPLES: Final = 16
_WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "model.safetensors")
_SETTINGS: Final = (
    "config.json",
    "scheduler_config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)


def read_index(family: Family, folder: Path) -> dict[str, Any]:
    """`model_index.json` of a folder.

    Raises UsageError when there is none, or it is of a pipeline that the family does not call.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UsageError(
            f"{family.name}: no {INDEX} in {folder}",
            cure="give the folder of a whole diffusers pipeline; `imig models list` names some",
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            f"{family.name}: {path} is not JSON: {error}", cure="copy it again from its source"
        ) from error
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind not in family.pipelines:
        raise UsageError(
            f"{family.name}: {folder} holds a {kind}, not a {' or '.join(family.pipelines)}",
            cure=f"`imig models list` names checkpoints of the family {family.name}",
        )
    return dict(index)


def components(index: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Component (and its folder) -> library and class, of those that a pipeline loads."""
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if isinstance(value, list)
        and len(value) == 2
        and None not in value
        and name not in NEVER_LOADED
    }


def pipeline_files(family: Family, folder: Path) -> tuple[Path, ...]:
    """The weight files of all components, whole or in shards; safetensors only.

    Raises
    ------
    UsageError
        The folder is no pipeline of the family, or a component, a weight file or a shard is not
        there.
    """
    files: list[Path] = []
    for name in components(read_index(family, folder)):
        place = folder / name
        if not any((place / one).is_file() for one in _SETTINGS):
            raise _incomplete(family, f"{place} holds none of {', '.join(_SETTINGS)}")
        if (place / "config.json").is_file() and not _is_tokenizer(place):
            files.extend(_component_files(family, place))
    if not files:
        raise _incomplete(family, f"no component of {folder} has weights")
    return tuple(files)


def pipeline_revision(folder: Path, files: Sequence[Path]) -> str:
    """Twelve hexadecimal digits that stand for a pipeline folder.

    A hash of its configuration files and, of each weight file, of name, size and 16 blocks of 1 MB
    spread evenly from its first byte to its last: weights of tens of gigabytes are not read whole
    at each start. Files up to 16 MB count whole. Retraining changes weights everywhere; what is
    not noticed is damage between the blocks.
    """
    settings = [
        one for pattern in CONFIGURATION for one in folder.glob(f"*/{pattern}") if one.is_file()
    ]
    every = (folder / INDEX, *sorted(settings), *files)
    stats = [one.stat() for one in every]
    stamps = tuple((one.st_size, one.st_mtime_ns) for one in stats)
    return _revision(folder, every, stamps)


@lru_cache(maxsize=64)
def _revision(folder: Path, files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    digest = hashlib.sha256()
    for one, (size, _) in zip(files, stamps, strict=True):
        digest.update(f"{one.relative_to(folder).as_posix()} {size}\n".encode())
        with one.open("rb") as file:
            if size <= _SAMPLES * _MEGABYTE:
                digest.update(file.read())
                continue
            for number in range(_SAMPLES):
                file.seek((size - _MEGABYTE) * number // (_SAMPLES - 1))
                digest.update(file.read(_MEGABYTE))
    return digest.hexdigest()[:12]


def _is_tokenizer(place: Path) -> bool:
    # Some repositories copy the text encoder's config.json beside the tokenizer.
    return (place / "tokenizer_config.json").is_file() and not any(place.glob("*.safetensors*"))


def _component_files(family: Family, place: Path) -> list[Path]:
    for name in _WEIGHTS:
        if (place / name).is_file():
            return [place / name]
        index = place / f"{name}.index.json"
        if index.is_file():
            return _shards(family, index)
    raise _incomplete(family, f"{place} holds no weights; looked for {' or '.join(_WEIGHTS)}")


def _shards(family: Family, index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _incomplete(family, f"{index} is not an index of shards") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise _incomplete(
            family,
            f"{index.parent} lacks {len(missing)} of {len(names)} shards, for example {missing[0]}",
        )
    return [index.parent / name for name in names]


def _incomplete(family: Family, message: str) -> UsageError:
    return UsageError(
        f"{family.name}: {message}",
        cure="the copy is incomplete: copy the whole folder again, or fetch it with "
        f"`imig models pull {family.name}`, which goes on where it stopped",
    )
