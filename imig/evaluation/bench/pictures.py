"""Which pictures a bench draws, in which batches, and which of them are there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imig.contextgen.sample import PictureSample
from imig.contextgen.scene_layout import picture_seed
from imig.display.result_files import read_record
from imig.errors import UsageError
from imig.evaluation.case import Case
from imig.layout.reference_size import picture_size

ADAPTER, GIVEN = "adapter_sha256", "given_sha256"
UNCOMPARED = frozenset({"adapter", "settings"})
"""Keys of a picture's record that decide nothing: a file's name, and words."""
SHOWN_DIFFERENCES = 3


@dataclass(frozen=True)
class BenchPicture:
    """A picture to draw."""

    case: str
    seed: int

    @property
    def name(self) -> str:
        """Its file's."""
        return f"{self.case}-{self.seed}.png"


Batch = tuple[BenchPicture, ...]
"""Pictures of one size that are drawn together."""


def list_pictures(
    cases: Iterable[Case], *, seeds: int, first_seed: int | None
) -> dict[str, list[BenchPicture]]:
    """The pictures of each case, by its id.

    Parameters
    ----------
    seeds:
        Pictures a case, of seeds that follow each other.
    first_seed:
        Of every case; None: the case's own, else one that its id decides.
    """
    pictures = {}
    for case in cases:
        first = first_seed
        if first is None:
            first = picture_seed(case.id) if case.seed is None else case.seed
        pictures[case.id] = [BenchPicture(case.id, first + one) for one in range(seeds)]
    return pictures


def cut_batches(
    cases: Iterable[Case],
    pictures: Mapping[str, Sequence[BenchPicture]],
    *,
    width: int | None,
    size: int,
) -> list[Batch]:
    """All pictures, in batches of at most `size`; those of all first seeds come first.

    Pictures of a batch are equally large; cases with as many instances stand together, so that
    little is padded. Batches depend on the cases alone, never on what is drawn already: in the last
    digits a picture depends on those that are drawn with it.

    Parameters
    ----------
    width:
        To which pictures are scaled; None: none is.
    """
    alike: dict[tuple[int, int], list[Case]] = {}
    for case in cases:
        alike.setdefault(picture_size(*case.size, target_width=width), []).append(case)
    for some in alike.values():
        some.sort(key=lambda one: (-len(one.instances), one.id))
    seeds = max(map(len, pictures.values()), default=0)
    return [
        tuple(pictures[case.id][seed] for case in some[start : start + size])
        for seed in range(seeds)
        for _, some in sorted(alike.items())
        for start in range(0, len(some), size)
    ]


def given_to_sha256(given: PictureSample) -> str:
    """Of all that the model is given of a case: text, layout image, references and boxes."""
    digest = hashlib.sha256(given.caption.encode())
    digest.update(_array(given.layout))
    for one in given.references:
        digest.update(_array(one.image) + _array(one.mask))
        digest.update(repr([float(value) for value in one.box]).encode())
    return digest.hexdigest()


def _array(values: np.ndarray[Any, Any]) -> bytes:
    return repr(values.shape).encode() + np.ascontiguousarray(values).tobytes()


def differences(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    """How a picture's record differs from the one that it would get, in words."""
    if found is None:
        return ["nothing says how it was drawn"]
    wanted = json.loads(json.dumps(wanted))
    said = []
    for key, value in wanted.items():
        old = found.get(key)
        if key in UNCOMPARED or old == value:
            continue
        said += (
            [_said(key, old, value)] if not isinstance(value, dict) else _inside(key, old, value)
        )
    return said


def _inside(key: str, old: Any, new: Mapping[str, Any]) -> list[str]:
    if not isinstance(old, dict):
        return [_said(key, old, new)]
    return [
        _said(f"{key}.{one}", old.get(one), new[one]) for one in new if old.get(one) != new[one]
    ]


def _said(key: str, old: Any, new: Any) -> str:
    if key == ADAPTER:
        return "another adapter" if old and new else "with an adapter" if old else "without adapter"
    if key == GIVEN:
        return "the case has changed: caption, boxes or references"
    return f"{key} was {old!r}, now {new!r}"


def require_same(
    folder: Path, wanted: Mapping[BenchPicture, Mapping[str, Any]]
) -> set[BenchPicture]:
    """Pictures of a folder that would be drawn again just so.

    Raises
    ------
    UsageError
        A picture is there that was drawn otherwise; says how many, and the differences of one.
    """
    kept, others = set(), []
    for picture, record in wanted.items():
        path = folder / picture.name
        differs = differences(read_record(path), record)
        if differs:
            others.append((path, differs))
        else:
            kept.add(picture)
    if others:
        path, differs = others[0]
        more = f" (and {len(differs) - SHOWN_DIFFERENCES} more)" if len(differs) > 3 else ""
        raise UsageError(
            f"{len(others)} pictures in {folder} were drawn otherwise. {path.name}: "
            f"{'; '.join(differs[:SHOWN_DIFFERENCES])}{more}",
            cure="give another --output, or draw them anew with --overwrite",
        )
    return kept
