"""An adapter added to a base model's weights: a model of its own that needs no adapter.

The base is read and written tensor by tensor, so that memory holds one layer of it and the adapter,
whatever the model's size. Nothing is there under the output's name before all of it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from imig.contextgen.adapter_keys import halves_swapped
from imig.contextgen.adapter_names import (
    SWAPPED,
    block_counts,
    flux_layers,
    names_to_layers,
    part_widths,
)
from imig.contextgen.adapter_styles import Adapter, at_scale_one, read_adapter, require_effect
from imig.contextgen.base_weights import (
    FLOATS,
    INDEX,
    BaseWeights,
    find_base_weights,
    opened_weights,
)
from imig.contextgen.safetensors_file import DIGEST, TensorKind, streamed_tensors
from imig.errors import DataError, UsageError
from imig.paths import is_within
from imig.shards.atomic import temporary_path

_PREFIXES: Final = ("model.diffusion_model.", "diffusion_model.", "transformer.")
"""In front of the names in files of ComfyUI and others."""
_STEM: Final = INDEX.partition(".")[0]
"""Beginning of diffusers' names for files of weights."""
_WEIGHTS: Final = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".gguf", ".sft")


@dataclass(frozen=True)
class PartMerged:
    """What became of a weight of the base."""

    name: str
    error: float
    """Frobenius norm of what rounding to the base's type took from the change, by that of the
    change."""


@dataclass(frozen=True)
class Merged:
    """A model that was written."""

    output: Path
    parts: tuple[PartMerged, ...]
    error: float
    """As of a weight, over all of them together."""
    bytes: int
    """Of the files with weights."""

    @property
    def worst(self) -> list[PartMerged]:
        """The weights, those with the largest error first."""
        return sorted(self.parts, key=lambda one: (-one.error, one.name))


@dataclass(frozen=True)
class _Change:
    """What a tensor of the base grows by: the adapter's layers, at their rows."""

    rows: tuple[tuple[int, int, str], ...]
    """First row, end, and the layer."""
    swapped: bool
    is_bias: bool

    def tensor(self, adapter: Adapter, shape: torch.Size, *, strength: float) -> Tensor:
        """float32, of the base tensor's shape."""
        grown = torch.zeros(shape)
        for start, end, layer in self.rows:
            part = at_scale_one(adapter, layer)
            if part.bias is not None and self.is_bias:
                grown[start:end] = part.bias
            elif not self.is_bias:
                torch.mm(part.b, part.a, out=grown[start:end])
        grown *= strength
        return halves_swapped(grown) if self.swapped else grown


def merge_adapter(
    path: Path,
    base: Path,
    output: Path,
    *,
    strength: float = 1.0,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Merged:
    """Write the base with the adapter added to its weights, in the base's form.

    Parameters
    ----------
    base:
        A safetensors file (diffusers' names of layers, or Black Forest Labs'), the folder of a
        transformer, or that of a pipeline, whose other parts are copied.
    output:
        A file where the base is one, else a folder.
    strength:
        What the adapter's effect is multiplied with.
    dtype:
        Of the weights; None: each its own. A change that is small beside a weight of few digits is
        rounded away in part.
    overwrite:
        Replace a file, or a folder that holds a model.
    progress:
        Called with the number of tensors that are written, and that there are.

    Raises
    ------
    UsageError
        There is no such adapter or base, they do not fit each other, the base is quantized, or the
        output is in the way.
    DataError
        A file is damaged, a weight would be no finite number, or the output cannot be written.
    """
    adapter = read_adapter(path)
    require_effect(adapter)
    found = find_base_weights(base)
    _check_output(output, found, path, overwrite=overwrite)
    changes = _plan(adapter, found)
    run = _Run(adapter, found, changes, strength=strength, dtype=dtype, progress=progress)
    if found.root.is_file():
        run.write(found.files[0], output)
        written = [output]
    else:
        with _whole_folder(output) as aside:
            written = [output / one for one in run.write_folder(aside)]
    return Merged(
        output=output,
        parts=tuple(run.parts),
        error=run.error,
        bytes=sum(one.stat().st_size for one in written),
    )


class _Run:
    """The writing, and what it measures."""

    def __init__(
        self,
        adapter: Adapter,
        base: BaseWeights,
        changes: Mapping[str, _Change],
        *,
        strength: float,
        dtype: torch.dtype | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._dtype = dtype
        self._adapter, self._base, self._changes = adapter, base, changes
        self._strength, self._progress = strength, progress
        self._total = sum(len(one) for one in base.kinds.values())
        self._done = 0
        self._lost = self._whole = 0.0
        self.parts: list[PartMerged] = []

    @property
    def error(self) -> float:
        return (self._lost / self._whole) ** 0.5 if self._whole else 0.0

    def write_folder(self, aside: Path) -> list[Path]:
        """All of the base's folder; gives the files with weights, relative to it."""
        root, written = self._base.root, []
        # beside the weights of an index may lie the same ones again, in one file or another type
        passed_over = {root, *(one.parent for one in self._base.files)}
        for one in sorted(root.rglob("*")):
            name = one.relative_to(root)
            if not one.is_file() or any(part.startswith(".") for part in name.parts):
                continue
            target = aside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if one in self._base.kinds:
                self.write(one, target)
                written.append(name)
            elif one.parent not in passed_over or one.suffix not in _WEIGHTS:
                shutil.copyfile(one, target)
        if self._dtype is not None and written:
            _correct_total(aside / written[0].with_name(INDEX), [aside / one for one in written])
        return written

    def write(self, source: Path, target: Path) -> None:
        """One file of the base."""
        kinds = {name: self._kind(one) for name, one in self._base.kinds[source].items()}
        with (
            opened_weights(source) as file,
            streamed_tensors(
                target, kinds, metadata=self._metadata(file.metadata() or {})
            ) as writer,
        ):
            for name in kinds:
                tensor = file.get_tensor(name)
                if name in self._changes:
                    tensor = self._changed(name, tensor)
                elif self._dtype is not None and tensor.dtype in FLOATS.values():
                    tensor = tensor.to(self._dtype)
                writer.add(name, tensor)
                self._done += 1
                self._progress(self._done, self._total)

    def _kind(self, kind: TensorKind) -> TensorKind:
        """As the tensor is written."""
        if self._dtype is None or kind.dtype not in FLOATS:
            return kind
        name = next(name for name, one in FLOATS.items() if one == self._dtype)
        size = kind.size // FLOATS[kind.dtype].itemsize * self._dtype.itemsize
        return replace(kind, dtype=name, size=size)

    def _metadata(self, header: Mapping[str, str]) -> dict[str, str]:
        kept = {key: text for key, text in header.items() if key != DIGEST}
        merged = f"{self._base.root.name}, {self._adapter.file.path.name}"
        return kept | {"format": "pt", "modelspec.merged_from": merged}

    def _changed(self, name: str, tensor: Tensor) -> Tensor:
        change = self._changes[name].tensor(self._adapter, tensor.shape, strength=self._strength)
        exact = tensor.float()
        exact += change
        merged = exact.to(self._dtype or tensor.dtype, copy=True)
        if not torch.isfinite(merged).all():
            raise DataError(
                f"{self._base.root}: {name!r} would have numbers that are not finite with the "
                "adapter added",
                cure="the base is damaged, or --strength too large",
            )
        exact -= merged
        lost, whole = _energy(exact), _energy(change)
        self._lost, self._whole = self._lost + lost, self._whole + whole
        self.parts.append(PartMerged(name, (lost / whole) ** 0.5 if whole else 0.0))
        return merged


def _energy(tensor: Tensor) -> float:
    """The sum of the squares."""
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2


def _correct_total(index: Path, files: Sequence[Path]) -> None:
    """An index says how many bytes the weights have, which another type changes."""
    if not index.is_file():
        return
    content = json.loads(index.read_bytes())
    total = 0
    for one in files:
        with opened_weights(one) as file:
            total += sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    content["metadata"] = dict(content.get("metadata") or {}, total_size=total)
    index.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _plan(adapter: Adapter, base: BaseWeights) -> dict[str, _Change]:
    """What each tensor of the base grows by; every layer of the adapter has its place."""
    kinds = {name: kind for one in base.kinds.values() for name, kind in one.items()}
    bare = {name: _without_prefix(name) for name in kinds}
    aliases = names_to_layers(flux_layers(*block_counts(bare.values())))
    changes: dict[str, _Change] = {}
    for name, kind in kinds.items():
        layer, _, end = bare[name].rpartition(".")
        alias = layer.replace(".", "_")
        into = aliases.get(alias, ())
        if end not in ("weight", "bias") or adapter.layers.keys().isdisjoint(into):
            continue
        is_bias = end == "bias"
        rows = _rows(adapter, into, kind, is_bias=is_bias)
        if rows:
            changes[name] = _Change(rows=rows, swapped=alias == SWAPPED, is_bias=is_bias)
            _check_fits(changes[name], name, kind, base, adapter)
    _check_all_placed(adapter, changes, base)
    return changes


def _rows(
    adapter: Adapter, into: Sequence[str], kind: TensorKind, *, is_bias: bool
) -> tuple[tuple[int, int, str], ...]:
    there = {
        name: adapter.layers[name]
        for name in into
        if name in adapter.layers and not (is_bias and adapter.layers[name].bias is None)
    }
    if not there:
        return ()
    widths = part_widths(
        into,
        inputs=next(iter(there.values())).a.shape[1],
        outputs=kind.shape[0] if kind.shape else 0,
        where=f"the base's layer of {', '.join(into)}",
    )
    ends = list(accumulate(widths))
    return tuple(
        (end - width, end, name)
        for name, width, end in zip(into, widths, ends, strict=True)
        if name in there
    )


def _check_all_placed(adapter: Adapter, changes: Mapping[str, _Change], base: BaseWeights) -> None:
    placed = {(layer, one.is_bias) for one in changes.values() for _, _, layer in one.rows}
    for name, layer in adapter.layers.items():
        for what, wanted in (("weight", True), ("bias", layer.bias is not None)):
            if wanted and (name, what == "bias") not in placed:
                raise UsageError(
                    f"{adapter.file.path} changes the {what} of {name!r}, which {base.root} does "
                    "not have",
                    cure="they belong to different models: give the base that it was trained for",
                )


def _check_fits(
    change: _Change, name: str, kind: TensorKind, base: BaseWeights, adapter: Adapter
) -> None:
    if kind.dtype not in FLOATS:
        raise UsageError(
            f"{base.root}: {name!r} is of type {kind.dtype}: what the adapter changes would be "
            "rounded away",
            cure="take the base in bfloat16, float16 or float32",
        )
    for start, end, layer in change.rows:
        one = adapter.layers[layer]
        shape = (len(one.b),) if change.is_bias else (len(one.b), one.a.shape[1])
        if (end - start, *kind.shape[1:]) != shape:
            raise UsageError(
                f"{adapter.file.path}: layer {layer!r} is {shape}, and {name!r} of {base.root} is "
                f"{(end - start, *kind.shape[1:])}",
                cure="they belong to models of different sizes: give the base it was trained for",
            )


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _check_output(output: Path, base: BaseWeights, adapter: Path, *, overwrite: bool) -> None:
    cure = "give another --output"
    if is_within(output, base.root) or is_within(base.root, output) or is_within(adapter, output):
        raise UsageError(f"{output} is, or is in, or holds, what is read", cure=cure)
    if not output.exists() and not output.is_symlink():
        return
    if base.root.is_file() == output.is_dir():
        raise UsageError(
            f"{output} is a {'folder' if output.is_dir() else 'file'}, and {base.root} is none",
            cure=cure,
        )
    if output.is_dir() and not any(output.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{output} exists", cure="--overwrite replaces it")
    if output.is_dir() and (strange := _strange_file(output, base.root)) is not None:
        raise UsageError(
            f"{output} holds something else than a model, {strange} for one: it would go", cure=cure
        )


def _strange_file(output: Path, base: Path) -> Path | None:
    """A file of a folder, relative to it, that is none of a model like the base; None: all are."""
    if not any((output / name).is_file() for name in ("model_index.json", "config.json")):
        return next((one.relative_to(output) for one in sorted(output.iterdir())), None)
    for one in sorted(output.rglob("*")):
        name, plain_folder = one.relative_to(output), one.is_dir() and not one.is_symlink()
        weights = one.name.startswith(_STEM)  # in more or fewer files than the base has
        if not plain_folder and not weights and not (base / name).is_file():
            return name
    return None


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A folder that takes its name when all of it is there; what was there before goes then."""
    aside = temporary_path(output)
    before = output.with_name(f"{aside.name}-before")
    try:
        aside.mkdir(parents=True)
        yield aside
        if output.exists():
            output.rename(before)
        aside.rename(output)
    except OSError as error:
        raise DataError(
            f"cannot write {output}: {error.strerror or error}",
            cure="make room on the disk, or choose a folder that you may write to",
        ) from error
    finally:
        if before.exists() and not output.exists():
            before.rename(output)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)
