"""`imig card`: today's card for a dataset that an older imig has made, or whose card was lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Final

from imig.errors import VALIDATE, DataError, UsageError
from imig.hub.files import SPLITS, dataset_prefixes
from imig.output.folder import forget_lock, hold
from imig.paths import input_path
from imig.schema import Manifest
from imig.shards.card import (
    CARD_NAME,
    PICTURES_FOLDER,
    is_jpeg,
    read_front_matter,
    split_name,
    stated_licence,
    write_card,
    write_split_card,
)
from imig.shards.dataset import Dataset
from imig.shards.hub_columns import Part
from imig.shards.index import (
    INDEX_NAME,
    INSTANCE_RECORDS,
    IndexRow,
    plain_to_instance_records,
)

_GIVEN: Final = tuple(
    one.name
    for one in fields(IndexRow)
    if one.type in ("str", "int", "list[str]") and one.default_factory is MISSING
)
"""Columns in which every row has something."""


def renew_cards(path: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `README.md` and `croissant.json` of a dataset anew, or of the two of `imig split`.

    The licence that the old card states stays; shards, index and manifest do too.

    Parameters
    ----------
    overwrite:
        Take the place of cards that somebody else has written.

    Returns
    -------
    The cards.

    Raises
    ------
    UsageError
        The folder is no finished dataset, has a card that imig has not written, or another command
        writes into it.
    DataError
        The dataset is damaged.
    """
    folder = input_path(path)
    prefixes = dataset_prefixes(folder)
    cards = [folder / prefix / CARD_NAME for prefix in prefixes]
    if prefixes != [""]:
        cards.append(folder / CARD_NAME)
    fronts = [read_front_matter(card) for card in cards]
    for card, front in zip(cards, fronts, strict=True):
        if card.exists() and front is None and not overwrite:
            raise UsageError(
                f"{card} is not imig's: somebody else has written it",
                cure="--overwrite writes another in its place",
            )
    with _held([folder / prefix for prefix in prefixes]):
        parts = [_read_part(folder, prefix) for prefix in prefixes]
        for part, front in zip(parts, fronts, strict=False):
            root = folder / part.prefix
            pictures = sorted((root / PICTURES_FOLDER).glob("*.jpg"))
            shown = [one for one in pictures if is_jpeg(one)]
            licence = stated_licence(front) or None
            write_card(root, part.manifest, part.rows, pictures=shown, licence=licence)
        if prefixes != [""]:
            if overwrite:
                cards[-1].unlink(missing_ok=True)
            write_split_card(folder, parts, licence=stated_licence(fronts[-1] or fronts[0]) or None)
    return cards


@contextmanager
def _held(datasets: Sequence[Path]) -> Iterator[None]:
    """Nobody else writes into them meanwhile; nothing of that stays behind."""
    with hold(*datasets):
        try:
            yield
        finally:
            for one in datasets:
                forget_lock(one)


def _read_part(folder: Path, prefix: str) -> Part:
    dataset = Dataset(folder / prefix)
    manifest: Manifest = dataset.manifest
    split = SPLITS[prefix] if prefix else split_name(manifest)
    return Part(folder / prefix, manifest, list(_read_rows(dataset)), split, prefix=prefix)


def _read_rows(dataset: Dataset) -> Iterator[IndexRow]:
    """The index, without the scores, which no card shows."""
    columns = [one.name for one in fields(IndexRow) if one.name != "scores"]
    for row in dataset.read_columns(*columns).to_pylist():
        lacking = [name for name in _GIVEN if row[name] is None]
        try:
            instances = plain_to_instance_records(row.pop(INSTANCE_RECORDS) or ())
        except TypeError:
            lacking.append(INSTANCE_RECORDS)
        if lacking:
            raise DataError(
                f"{dataset.folder.place(INDEX_NAME)}: {row['id']} lacks {', '.join(lacking)}",
                cure=VALIDATE,
            )
        yield IndexRow(**row, scores={}, instance_records=instances)
