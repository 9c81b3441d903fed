"""Near pairs of features by their cosine: exact up to `EXACT_LIMIT`, in cells beyond.

Beyond, every feature goes into the cells of its `PROBES` nearest centres, and only features that
share a cell are compared: pairs that share none are missed. Centres come from a k-means whose start
is fixed, so the same features give the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imig.duplicates.keep_first import Pairs, Positions

EXACT_LIMIT = 40_000
"""Features; more take cells (40,000 of width 512: about 20 s on two cores)."""
CELL_SIZE = 1000
"""Features a cell, were each in one."""
PROBES = 3
_TILE = 2048
_CHUNK = 1 << 15
_ROUNDS = 5
_TRAINING = 40  # features a centre that k-means looks at
_SLACK = 1e-3  # of float32 products; what they let through is computed again in float64
_DECIMALS = 6
"""Cosines are rounded: on which side of a threshold one falls must not depend on its neighbours."""

Features = NDArray[np.float16]
Matrix = NDArray[np.float32]


def near_features(features: Features, positions: Positions, similarity: float) -> Iterator[Pairs]:
    """Pairs of `positions` (sorted rows of `features`) whose cosine is `similarity` or more.

    The cost of a pair is 1 - cosine.
    """
    if len(positions) <= EXACT_LIMIT:
        yield from exact_near_features(features, positions, similarity)
    else:
        yield from _in_cells(features, positions, similarity)


def exact_near_features(
    features: Features, positions: Positions, similarity: float
) -> Iterator[Pairs]:
    """`near_features` with all pairs compared, whatever their number."""
    for start in range(0, len(positions), _TILE):
        rows = positions[start : start + _TILE]
        matrix = _load(features, rows)
        yield from _compare(features, rows, rows, matrix, matrix, similarity)
        for other in range(start + _TILE, len(positions), _TILE):
            columns = positions[other : other + _TILE]
            yield from _compare(
                features, rows, columns, matrix, _load(features, columns), similarity
            )


def _compare(
    features: Features,
    rows: Positions,
    columns: Positions,
    left: Matrix,
    right: Matrix,
    similarity: float,
) -> Iterator[Pairs]:
    # numpy searches one dimension many times faster than two
    found = np.flatnonzero((left @ right.T >= similarity - _SLACK).ravel())
    first, second = rows[found // len(columns)], columns[found % len(columns)]
    ordered = first < second
    first, second = first[ordered], second[ordered]
    for start in range(0, len(first), _TILE):
        block = slice(start, start + _TILE)
        cosine = _cosine(features, first[block], second[block])
        near = cosine >= similarity
        if near.any():
            yield Pairs(first[block][near], second[block][near], 1 - cosine[near])


def _cosine(features: Features, a: Positions, b: Positions) -> NDArray[np.float64]:
    left, right = (features[rows].astype(np.float64) for rows in (a, b))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine: NDArray[np.float64] = np.round(np.einsum("ij,ij->i", left, right) / norms, _DECIMALS)
    return cosine


def _load(features: Features, rows: Positions) -> Matrix:
    matrix = features[rows].astype(np.float32)
    return _normalised(matrix)


def _normalised(matrix: Matrix) -> Matrix:
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    result: Matrix = matrix / np.maximum(norms, 1e-12)
    return result


def _in_cells(features: Features, positions: Positions, similarity: float) -> Iterator[Pairs]:
    mean, centres = _centres(features, positions)
    cells = _assign(features, positions, mean, centres)
    order = np.argsort(cells.ravel(), kind="stable")
    owners = order // cells.shape[1]
    edges = np.searchsorted(cells.ravel()[order], np.arange(cells.max() + 2))
    for cell in range(len(edges) - 1):
        members = np.sort(owners[edges[cell] : edges[cell + 1]])
        for block in exact_near_features(features, positions[members], similarity):
            # A pair that shares several cells is reported by the first of them.
            first, second = (np.searchsorted(positions, column) for column in block[:2])
            shared = cells[first][:, :, None] == cells[second][:, None, :]
            lowest = np.where(shared, cells[first][:, :, None], cell).min(axis=(1, 2))
            is_new = lowest == cell
            yield Pairs(*(column[is_new] for column in block))


def _centres(features: Features, positions: Positions) -> tuple[Matrix, Matrix]:
    """Spherical k-means of a sample that is spread evenly over the positions, about its mean.

    About the mean: all pictures have much in common, and a centre that is nothing but that would be
    near to everything.
    """
    count = -(-len(positions) // CELL_SIZE)
    wanted = min(len(positions), _TRAINING * count)
    sample = _load(features, positions[np.linspace(0, len(positions) - 1, wanted).astype(int)])
    mean: Matrix = sample.mean(axis=0)
    sample = _normalised(sample - mean)
    centres = sample[:: len(sample) // count][:count].copy()
    for _ in range(_ROUNDS):
        nearest = np.argmax(sample @ centres.T, axis=1)
        order = np.argsort(nearest, kind="stable")
        found, starts = np.unique(nearest[order], return_index=True)
        # A centre that nothing is near to stays where it is.
        centres[found] = np.add.reduceat(sample[order], starts, axis=0)
        centres = _normalised(centres)
    return mean, centres


def _assign(features: Features, positions: Positions, mean: Matrix, centres: Matrix) -> Positions:
    """(n, PROBES) numbers of each feature's nearest centres."""
    probes = min(PROBES, len(centres))
    found = np.empty((len(positions), probes), dtype=np.int64)
    for start in range(0, len(positions), _CHUNK):
        rows = _normalised(_load(features, positions[start : start + _CHUNK]) - mean)
        products = rows @ centres.T
        found[start : start + _CHUNK] = np.argpartition(-products, probes - 1, axis=1)[:, :probes]
    return found
