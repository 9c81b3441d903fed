"""How long does the search for duplicates take, in how much memory, and what does it miss?

    python benchmarks/duplicates.py                           # 10^4 to 10^6 scenes
    python benchmarks/duplicates.py --scenes 10000 --output duplicates.json

Scenes are synthetic: hashes of 64 fair bits; features of width 512 around 200 directions, so that
strangers have cosines of 0.3 to 0.8 as CLIP's features have. Every tenth scene is a copy of an
earlier one: of the hash with 0 to 4 bits changed, of the feature with a cosine of 0.95 to 1. Each
line runs in a process of its own, whose peak memory is measured (Linux's VmHWM).

The search by hash is exact. That by feature is exact up to `EXACT_LIMIT` scenes; beyond, recall is
the share of planted copies with a cosine above the threshold that it finds, and for up to
50,000 scenes also the share of what an exact search finds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.cosine import EXACT_LIMIT, exact_near_features
from imig.duplicates.find import find_duplicates
from imig.duplicates.signatures import Signed

WIDTH, DIRECTIONS = 512, 200
COPIES = 10
SIMILARITY, DISTANCE = 0.97, 4
_CHUNK = 50_000
COMPARED = 50_000
"""Up to so many an exact search by feature is run beside."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, nargs="+", default=[10**4, 5 * 10**4, 10**5, 10**6])
    parser.add_argument("--only", choices=("hash", "feature"), default=None)
    parser.add_argument("--output", type=Path, default=None, metavar="FILE.json")
    options = parser.parse_args()
    rows = []
    for scenes in options.scenes:
        for name, measure in (("hash", measure_hashes), ("feature", measure_features)):
            if options.only in (None, name):
                rows.append(_in_process(measure, scenes))
                print(json.dumps(rows[-1]), flush=True)
    Console().print(to_table(rows))
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


def measure_hashes(scenes: int) -> dict[str, Any]:
    """Search of copies by hash."""
    hashes, copies = make_hashes(scenes)
    signed = sign(scenes, hashes=hashes)
    before = _peak_megabytes(again=True)
    started = time.perf_counter()
    found = find_duplicates(signed, DuplicatesConfig(hash_distance=DISTANCE))
    seconds = time.perf_counter() - started
    gone = {int(one.id) for one in found}
    return {
        "by": f"hash, distance {DISTANCE}",
        "scenes": scenes,
        "seconds": round(seconds, 2),
        "megabytes": round(_peak_megabytes() - before),
        "found": len(found),
        "recall_planted": sum(one in gone for one in copies) / len(copies),
        "recall_exact": 1.0,
    }


def measure_features(scenes: int) -> dict[str, Any]:
    """Search of copies by feature."""
    features, copies = make_features(scenes)
    signed = sign(scenes, features=features)
    before = _peak_megabytes(again=True)
    started = time.perf_counter()
    config = DuplicatesConfig(hash_distance=None, similarity=SIMILARITY)
    found = find_duplicates(signed, config)
    seconds = time.perf_counter() - started
    peak = _peak_megabytes() - before
    gone = {int(one.id) for one in found}
    near = [copy for copy, of in copies.items() if _cosine(features, copy, of) >= SIMILARITY]
    exact = 1.0
    if EXACT_LIMIT < scenes <= COMPARED:
        everything = np.arange(scenes)
        later = {
            int(one)
            for pairs in exact_near_features(features, everything, SIMILARITY)
            for one in pairs.second
        }
        exact = len(gone & later) / len(later)
    return {
        "by": f"feature, cosine {SIMILARITY}",
        "scenes": scenes,
        "seconds": round(seconds, 2),
        "megabytes": round(peak),
        "found": len(found),
        "recall_planted": sum(one in gone for one in near) / len(near),
        "recall_exact": exact if scenes <= COMPARED else None,
    }


def make_hashes(scenes: int) -> tuple[np.ndarray, list[int]]:
    """Hashes, and which are copies."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, scenes, dtype=np.uint64, endpoint=False)
    copies = list(range(COPIES, scenes, COPIES))
    for copy in copies:
        value = int(hashes[_original(generator, copy)])
        for bit in generator.choice(64, generator.integers(0, DISTANCE + 1), replace=False):
            value ^= 1 << int(bit)
        hashes[copy] = value
    return hashes, copies


def make_features(scenes: int) -> tuple[np.ndarray, dict[int, int]]:
    """Features, and which is a copy of which."""
    generator = np.random.default_rng(0)
    common = generator.normal(size=WIDTH)
    directions = common + generator.normal(size=(DIRECTIONS, WIDTH))
    features = np.empty((scenes, WIDTH), dtype=np.float16)
    copies: dict[int, int] = {}
    for start in range(0, scenes, _CHUNK):
        rows = min(_CHUNK, scenes - start)
        chunk = directions[generator.integers(DIRECTIONS, size=rows)]
        chunk += 1.2 * generator.normal(size=(rows, WIDTH))
        chunk /= np.linalg.norm(chunk, axis=1, keepdims=True)
        for row in range(COPIES - start % COPIES, rows, COPIES):
            of = _original(generator, start + row)
            original = features[of].astype(np.float64) if of < start else chunk[of - start]
            noise = generator.normal(size=WIDTH)
            angle = np.arccos(generator.uniform(0.95, 1))
            copy = original + np.tan(angle) * noise / np.linalg.norm(noise)
            chunk[row] = copy / np.linalg.norm(copy)
            copies[start + row] = of
        features[start : start + rows] = chunk
    return features, copies


def _original(generator: np.random.Generator, before: int) -> int:
    """A scene that is no copy: a copy of a copy may stay, when the latter goes."""
    return int(generator.integers(before // COPIES)) * COPIES + int(generator.integers(1, COPIES))


def sign(
    scenes: int, *, hashes: np.ndarray | None = None, features: np.ndarray | None = None
) -> Signed:
    """As `Signatures` has them when all scenes are collected."""
    return Signed(
        ids=[f"{number:08d}" for number in range(scenes)],
        hashes=np.zeros(scenes, dtype=np.uint64) if hashes is None else hashes,
        hashed=np.full(scenes, hashes is not None),
        features=np.zeros((0, 1), dtype=np.float16) if features is None else features,
        rows=np.arange(scenes) if features is not None else np.full(scenes, -1),
    )


def to_table(rows: list[dict[str, Any]]) -> Table:
    """For a terminal."""
    table = Table(title="Search for duplicates", title_justify="left")
    for name in ("by", "scenes", "s", "MB", "found", "recall: planted", "of exact"):
        table.add_column(name, justify="left" if name == "by" else "right")
    for row in rows:
        exact = row["recall_exact"]
        table.add_row(
            row["by"],
            f"{row['scenes']:,}",
            f"{row['seconds']:.2f}",
            f"{row['megabytes']:,}",
            f"{row['found']:,}",
            f"{row['recall_planted']:.2%}",
            "-" if exact is None else f"{exact:.2%}",
        )
    return table


def _cosine(features: np.ndarray, one: int, other: int) -> float:
    a, b = features[one].astype(np.float64), features[other].astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _in_process(measure: Callable[[int], dict[str, Any]], scenes: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (scenes,))


def _peak_megabytes(*, again: bool = False) -> float:
    """Of this process so far; `again`: from now on, and what it has now."""
    if again:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
