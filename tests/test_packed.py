"""Lists whose entries are packed: they read as lists do."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest

from imig.packed import LUMP, Packed


@pytest.mark.parametrize("count", [0, 1, LUMP - 1, LUMP, LUMP + 1, 3 * LUMP + 5])
@pytest.mark.parametrize("packed_early", [False, True])
def test_it_reads_as_a_list(count: int, packed_early: bool) -> None:
    items = [f"row {number}" for number in range(count)]
    packed = Packed(items[: count // 3])
    if packed_early:
        packed.pack()
    packed += items[count // 3 :]
    assert list(packed) == items == list(packed), "it can be gone through again"
    assert len(packed) == count
    assert bool(packed) == bool(count)
    assert packed[:3] == items[:3]
    assert list(pickle.loads(pickle.dumps(packed))) == items
    for place in {0, count // 3, LUMP, count - 1, -1} & set(range(-count, count)):
        assert packed[place] == items[place]
    with pytest.raises(IndexError):
        packed[count]


def test_a_million_rows_would_not_be_a_million_objects() -> None:
    def row(number: int) -> dict[str, object]:
        return {"id": f"basic-{number:08d}", "boxes": [[number + i for i in range(4)]] * 3}

    tracemalloc.start()
    try:
        kept = [row(number) for number in range(5 * LUMP)]
        as_objects, _ = tracemalloc.get_traced_memory()
        del kept
        before, _ = tracemalloc.get_traced_memory()
        packed = Packed(row(number) for number in range(5 * LUMP))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(packed) == 5 * LUMP
    assert after - before < as_objects / 10
