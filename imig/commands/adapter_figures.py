"""What the actions of `imig adapter` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imig.commands.common import console
from imig.printable import to_printable

if TYPE_CHECKING:
    from imig.contextgen.adapter_convert import Converted
    from imig.contextgen.adapter_info import AdapterInfo
    from imig.contextgen.adapter_merge import Merged
    from imig.contextgen.adapter_resize import Resized

_SHOWN = 5
"""Layers with the largest errors."""


def print_info(info: AdapterInfo) -> None:
    """A line a figure; what the file does not say is left out."""
    doubles, singles = info.blocks
    lines = {
        "style": info.style,
        "layers": f"{info.layers}, in {doubles} double and {singles} single blocks",
        "rank": _counts(info.ranks),
        "alpha": _counts(info.alphas) + (", rank-stabilised" if info.rslora else ""),
        "scale": _counts(info.scales),
        "weights": f"{_counts(info.dtypes)}, {info.parameters:,} parameters, "
        f"{_bytes(info.bytes)}" + (", with biases" if info.has_biases else ""),
        "base": info.base,
        "architecture": info.architecture,
        "title": info.title,
        "licence": info.licence,
        "date": info.date,
        "hash": info.hash,
        "training": ", ".join(
            _fact(key, value) for key, value in info.training.items() if value not in (None, False)
        ),
    }  # fmt: skip
    _say(info.path)
    for name, text in lines.items():
        if text:
            _say(f"  {name:<13} {text}")
    for note in info.notes:
        _say(f"note: {note}")


def print_converted(result: Converted) -> None:
    before, after = result.ranks
    rank = f"rank {before}" if before == after else f"rank {before} -> {after}"
    _say(
        f"{result.origin} -> {result.style}, {_dtype(result.dtype)}, {rank}, "
        f"{_bytes(result.bytes_before)} -> {_bytes(result.bytes)}"
    )
    if after > before:
        _say(
            f"note: fused layers have their parts' ranks together; `imig adapter resize --rank "
            f"{before}` makes them smaller again, and says what that costs"
        )
    if result.left_out:
        _say(f"note: not true any more, and left out of the header: {', '.join(result.left_out)}")
    _say(str(result.output))


def converted_json(result: Converted) -> dict[str, Any]:
    return {
        "output": str(result.output),
        "from": result.origin,
        "to": result.style,
        "dtype": _dtype(result.dtype),
        "largest_rank": {"before": result.ranks[0], "after": result.ranks[1]},
        "header_left_out": list(result.left_out),
        "bytes": {"before": result.bytes_before, "after": result.bytes},
    }


def print_resized(result: Resized) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("worst layers")
    for name in ("rank", "error"):
        table.add_column(name, justify="right")
    for one in result.worst[:_SHOWN]:
        table.add_row(one.name, f"{one.rank_before} -> {one.rank}", f"{one.error:.4f}")
    console().print(table, highlight=False)
    ranks = [one.rank for one in result.parts]
    span = str(min(ranks)) if min(ranks) == max(ranks) else f"{min(ranks)} to {max(ranks)}"
    most = max(one.rank_before for one in result.parts)
    _say(
        f"{len(result.parts)} layers: rank {most} -> {span}, {_bytes(result.bytes_before)} -> "
        f"{_bytes(result.bytes)}, error {result.error:.4f} of all that it changes"
    )
    _say(str(result.output))


def resized_json(result: Resized) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "output": str(result.output),
        "style": result.style,
        "dtype": _dtype(result.dtype),
        "error": result.error,
        "bytes": {"before": result.bytes_before, "after": result.bytes},
        "layers": [asdict(one) for one in result.parts],
    }


def print_merged(result: Merged) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("largest losses by rounding")
    table.add_column("error", justify="right")
    for one in result.worst[:_SHOWN]:
        table.add_row(one.name, f"{one.error:.4f}")
    console().print(table, highlight=False)
    _say(
        f"{len(result.parts)} tensors changed, {_bytes(result.bytes)} written, error "
        f"{result.error:.4f} of all that the adapter changes"
    )
    _say(str(result.output))


def merged_json(result: Merged) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "output": str(result.output),
        "error": result.error,
        "bytes": result.bytes,
        "tensors": [asdict(one) for one in result.parts],
    }


def _fact(key: str, value: object) -> str:
    """`steps 500`; of what is simply true, its name."""
    name = key.replace("_", " ")
    if value is True:
        return name
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _counts(counts: Mapping[Any, int]) -> str:
    """`512`, or `4 (2 layers), 8 (11 layers)`."""
    shown = {f"{key:.6g}" if isinstance(key, float) else str(key): n for key, n in counts.items()}
    if len(shown) == 1:
        return next(iter(shown))
    most = sorted(shown.items(), key=lambda one: -one[1])[:_SHOWN]
    words = ", ".join(f"{key} ({n} layer{'s' * (n != 1)})" for key, n in most)
    return words + (f" and {len(shown) - _SHOWN} others" if len(shown) > _SHOWN else "")


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _dtype(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _say(text: str) -> None:
    # Headers are strangers' words: escape sequences among them are not for the terminal.
    console().print(to_printable(text), highlight=False, soft_wrap=True, markup=False)
