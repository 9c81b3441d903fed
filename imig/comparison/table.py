"""What differs between two datasets, for a person and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from imig.comparison.datasets import DatasetDifference, SettingChange
from imig.comparison.scenes import Change
from imig.printable import shortened, to_printable

_IDS: Final = 5
"""Of added and of removed scenes that are printed."""


def difference_to_lines(found: DatasetDifference) -> Iterator[str]:
    """Lines for a terminal, ``-`` and ``+`` in front of what only one of the two has."""
    yield f"- {to_printable(found.before)}"
    yield f"+ {to_printable(found.after)}"
    if found.settings:
        yield ""
        yield from _aligned([_setting_cells(one) for one in found.settings])
    yield ""
    yield (
        f"scenes: {found.equal} equal, {len(found.changed)} changed, {len(found.removed)} removed, "
        f"{len(found.added)} added"
    )
    yield from _ids("-", found.removed)
    yield from _ids("+", found.added)
    if found.tallies:
        yield ""
        yield from _aligned(_tally_rows(found))
    for scene in found.details:
        yield ""
        yield f"{scene.id}"
        yield from _aligned([_change_cells(one) for one in scene.changes])
    if len(found.changed) > len(found.details):
        yield ""
        more = len(found.changed) - len(found.details)
        yield f"{more} more scenes changed: --scenes N lists more"
    yield ""
    yield from _notes(found)


def difference_to_json(found: DatasetDifference) -> dict[str, Any]:
    """All of it; ids of added, removed and changed scenes whole."""
    return {
        "before": found.before,
        "after": found.after,
        "differ": found.differ,
        "settings": [asdict(one) for one in found.settings],
        "making": [asdict(one) for one in found.making],
        "scenes": {
            "equal": found.equal,
            "changed": len(found.changed),
            "removed": len(found.removed),
            "added": len(found.added),
            "read": found.read,
            "reordered": found.reordered,
            "pictures": found.pictures,
        },
        "removed": found.removed,
        "added": found.added,
        "changed": found.changed,
        "changes": {kind: asdict(tally) for kind, tally in found.tallies.items()},
        "details": [asdict(one) for one in found.details],
    }


def _notes(found: DatasetDifference) -> Iterator[str]:
    if found.making:
        names = dict.fromkeys(one.key or one.group for one in found.making)
        yield f"no difference by itself: {', '.join(map(to_printable, names))}"
    if found.reordered:
        yield "no difference by itself: scenes that both have come in another order"
    if not found.pictures and found.read:
        yield "pictures and masks of references were not compared"
    in_both = found.equal + len(found.changed)
    yield f"read {found.read} of {in_both} scenes; the others lie in shards with equal checksums"


def _ids(sign: str, ids: Sequence[str]) -> Iterator[str]:
    yield from (f"{sign} {one}" for one in ids[:_IDS])
    if len(ids) > _IDS:
        yield f"{sign} and {len(ids) - _IDS} more; --json lists them"


def _setting_cells(one: SettingChange) -> list[str]:
    at = f"{one.group}.{one.key}".rstrip(".").replace(".[", "[")
    return [to_printable(at), f"{_value(one.before)} -> {_value(one.after)}"]


def _tally_rows(found: DatasetDifference) -> list[list[str]]:
    rows = [["changed", "scenes", "places", "smallest IoU", "largest difference"]]
    for kind, one in found.tallies.items():
        figures = (_figure(value) for value in (one.min_iou, one.max_difference))
        rows.append([kind, str(one.scenes), str(one.places), *figures])
    return rows


def _change_cells(one: Change) -> list[str]:
    overlap = "" if one.iou is None else f"  IoU {one.iou:.4f}"
    return [f"  {to_printable(one.place)}", f"{_value(one.before)} -> {_value(one.after)}{overlap}"]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(to_printable(text))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns one below the other; no line ends in blanks."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
