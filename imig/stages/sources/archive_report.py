"""What a webdataset source has understood, for the plan, and what is odd, for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from imig.errors import DataError
from imig.stages.pictures import UNREAD_SUFFIXES
from imig.stages.sources.archive_keys import is_picture, is_side_picture
from imig.stages.sources.archive_samples import Entry, Samples
from imig.stages.sources.archive_text import key_paths
from imig.stages.sources.base import name_some, printable, unread_to_remark
from imig.stages.sources.webdataset import SampleText

SHOWN: Final = 3
"""First samples of the plan's table."""
_KINDS: Final = 8
_COLUMN: Final = 40

_RULES: Final = {
    "first-dot": "a sample's key ends before the first dot of its name, as webdataset has it",
    "last-dot": "a sample's key ends before the last dot of its picture's name (source.key)",
    "pattern": "a sample's key is what the star of source.members.image stands for",
}
_DECIDED: Final = (
    "a sample's key ends before the last dot of its picture's name: before the first, one key "
    "would have the pictures of several samples (source.key: first-dot decides otherwise)"
)


def describe_samples(
    samples: Samples,
    entry_to_text: Callable[[Entry], SampleText],
    entries_to_json: Callable[[list[Entry]], list[Any]],
    *,
    mapped: Mapping[str, str],
) -> list[str]:
    """Lines of the plan: the rule for keys, what members are taken for, the first samples.

    `mapped` is role -> the JSON key that the recipe names.
    """
    entries = samples.entries
    pictures = [(entry, entry.picture()) for entry in entries]
    image = Counter(one.lower() for _, one in pictures if one is not None)
    caption = Counter(texts[0].lower() for entry in entries if (texts := entry.texts()))
    values = Counter(names[0].lower() for entry in entries if (names := entry.jsons()))
    every = Counter(name.lower() for entry in entries for name in entry.members)
    used = {*image, *caption, *values}
    lines = [
        f"tars: {len(samples.archives):,}, samples: {len(entries):,}, "
        f"with a picture: {image.total():,}; "
        + (_DECIDED if samples.decided else _RULES[samples.rule]),
        f"image: {_kinds(image)}",
        f"caption: {_asked_for(mapped['caption']) if 'caption' in mapped else _kinds(caption)}",
    ]
    if "nouns" in mapped:
        lines.append(f"nouns: {_asked_for(mapped['nouns'])}")
    if values:
        keys = [path for one in entries_to_json(_first(entries)) for path in key_paths(one)]
        named = ", ".join(map(printable, list(dict.fromkeys(keys))[:_KINDS])) or "none"
        lines.append(f"json: {_kinds(values)}; keys of the first: {named}")
    left = Counter({name: count for name, count in every.items() if name not in used})
    if left:
        lines.append(f"not used: {_kinds(left)}")
    if samples.hidden:
        lines.append(f"hidden files left out: {samples.hidden:,}")
    if samples.same_keys:
        lines.append(f"keys in more than one tar, each a sample of its own: {samples.same_keys:,}")
    return lines + _table([_row(entry, entry_to_text) for entry in _first(entries)])


def samples_to_remarks(samples: Samples) -> list[str]:
    """What is odd, a line for each kind, with how many and the first ones."""
    entries, place = samples.entries, samples.place
    remarks = [printable(fault) for fault in samples.faults]
    with_picture = [entry for entry in entries if entry.picture() is not None]
    texts = [entry.has_text() for entry in with_picture]
    silent = [entry for entry, has in zip(with_picture, texts, strict=True) if not has]
    alone = [entry for entry in entries if entry.picture() is None]
    counted = [
        ("tars without members", samples.empty),
        (
            "names that stand twice in a tar; the last one is taken, as when the tar is unpacked",
            samples.repeated,
        ),
        ("links that lead to no file of their tar, left out", samples.dangling),
        ("samples of which two tars hold a part each, put together", samples.joined),
        ("samples without a picture, which will be turned down", [place(one) for one in alone]),
        (
            "pictures that are not taken, since another has their sample's key (source.key and "
            "source.members decide otherwise)",
            _lost_pictures(samples),
        ),
    ]
    if any(texts):
        has = _kinds(Counter(_text_kind(one) for one in with_picture if one.has_text()))
        what = f"samples with a picture but none of what others have ({has})"
        counted.append((what, [place(one) for one in silent]))
    remarks += [f"{what}: {len(names):,} ({name_some(names)})" for what, names in counted if names]
    unread = Counter(
        suffix
        for entry in alone
        for name in entry.members
        if (suffix := f".{name.rpartition('.')[2].lower()}") in UNREAD_SUFFIXES
    )
    return [*remarks, *unread_to_remark(unread)]


def _lost_pictures(samples: Samples) -> list[str]:
    """Pictures that no other sample has the like of: no roles, but pictures of their own."""
    others = [
        (entry, name)
        for entry in samples.entries
        if (picture := entry.picture()) is not None and not picture.startswith("target.")
        for name in entry.members
        if name != picture and is_picture(name) and not is_side_picture(name)
    ]
    roles = Counter(name.lower() for _, name in others)
    return [
        f"{samples.place(entry)}.{name}"
        for entry, name in others
        if roles[name.lower()] == 1 or name[0].isdigit()
    ]


def _text_kind(entry: Entry) -> str:
    return [*entry.texts(), *entry.jsons(), *(entry.chosen or {}).get("nouns", ())][0].lower()


def _first(entries: Sequence[Entry]) -> list[Entry]:
    """The first samples that have a picture, else the first ones."""
    found: list[Entry] = []
    for entry in entries:
        if entry.picture() is not None:
            found.append(entry)
        if len(found) == SHOWN:
            break
    return found or list(entries[:SHOWN])


def _row(entry: Entry, entry_to_text: Callable[[Entry], SampleText]) -> tuple[str, ...]:
    picture = entry.picture() or "none"
    try:
        text = entry_to_text(entry)
    except (OSError, DataError) as error:
        return entry.key, picture, f"cannot be read: {error}".partition("\n")[0], ""
    caption = f"{' '.join(text.caption.split())} ({text.caption_from})"
    nouns = f"{', '.join(text.nouns)} ({text.nouns_from})"
    return (
        entry.key,
        picture,
        caption if text.caption_from else "none",
        nouns if text.nouns else "none",
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    cells = [
        ("key", "image", "caption", "nouns"),
        *(tuple(_shortened(printable(cell)) for cell in row) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _shortened(text: str) -> str:
    """In the middle: the end says where a caption comes from."""
    if len(text) <= _COLUMN:
        return text
    half = (_COLUMN - 2) // 2
    return f"{text[:half]}..{text[-half:]}"


def _asked_for(key: str) -> str:
    return f"json:{printable(key)}, as source.members says"


def _kinds(counts: Counter[str]) -> str:
    """``jpg 1,200, png 30``, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = ", ".join(f"{printable(name)} {count:,}" for name, count in ranked[:_KINDS])
    more = f", and {len(ranked) - _KINDS} other kinds" if len(ranked) > _KINDS else ""
    return shown + more or "none"
