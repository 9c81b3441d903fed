"""Where cases come from: one source a file. `open_against` tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from imig.errors import UsageError
from imig.evaluation.against.layouts import LayoutCases
from imig.evaluation.against.shards import ShardsCases
from imig.evaluation.case import Against
from imig.paths import input_path, is_address
from imig.shards.manifest import MANIFEST_NAME

BENCHMARKS: Final[dict[str, Callable[[Path], Against]]] = {}
"""Name -> what reads the benchmark's published files; ``--against coco-mig=FILE``."""


def open_against(place: str) -> Against:
    """The cases at a place.

    Parameters
    ----------
    place:
        A dataset's folder or address, a layout file or a folder of them, or a benchmark's name with
        the path of its published files behind an equals sign: ``coco-mig=mig_bench.json``.

    Raises
    ------
    UsageError
        There is nothing of these kinds.
    """
    name, equals, path = place.partition("=")
    if equals and name in BENCHMARKS:
        return BENCHMARKS[name](input_path(path))
    if place in BENCHMARKS:
        raise UsageError(
            f"--against {place}: nothing says where the benchmark's files are",
            cure=f"give them: --against {place}=PATH; docs/evaluation.md says where to get them",
        )
    if is_address(place):
        return ShardsCases(place)
    given = input_path(place)
    if (given / MANIFEST_NAME).exists():
        return ShardsCases(given)
    if given.exists():
        return LayoutCases(given)
    raise UsageError(
        f"there is no {given}",
        cure="--against takes a dataset's folder, a layout file or a folder of them, or a "
        f"benchmark: {', '.join(f'{one}=PATH' for one in BENCHMARKS)}",
    )
