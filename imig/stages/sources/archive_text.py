"""Captions and noun phrases in a sample's JSON, by whatever name others store them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from imig.errors import DataError
from imig.text import bytes_to_text

CAPTION_KEYS: Final = (
    "caption", "text", "prompt", "captions", "texts", "prompts", "topcaption", "description",
    "alttext", "alt",
)  # fmt: skip
"""Keys of captions, the likeliest first; letters and digits alone count, in any case.

``caption`` is img2dataset's and imig's own, ``text`` and ``TEXT`` are LAION's, ``top_caption`` is
LAION-COCO's, ``prompt`` DiffusionDB's.
"""

_NO_CAPTION: Final = re.compile(r"negative|id$|count|length|len$|score|url|path|lang|similarity")
_NO_LICENCE: Final = frozenset({"", "?", "none", "null", "n/a", "unknown"})
"""``?`` is LAION's."""
_LIST_SEPARATORS: Final = re.compile(r"[,;\n]")
_LONGEST_NEARLY_JSON: Final = 100_000
"""Characters; to mend what is longer would keep a build busy."""
_INNER_KEYS: Final = ("caption", "text", "prompt", "value", "raw", "en", "name", "label")


def bytes_to_json(data: bytes, *, where: str) -> Any:
    """The first JSON value of a member; of JSON lines the first line.

    Nearly JSON (single quotes, as Python prints a dict; a comma too many) is read as it is meant.
    None: not JSON.
    """
    try:
        text = data.decode(json.detect_encoding(data), "strict").removeprefix("\ufeff")
    except UnicodeDecodeError:
        try:
            text = bytes_to_text(data, where=where)
        except DataError:
            return None  # another tool's metadata: the picture is what counts
    try:
        # A raw newline in a string is no reason to lose the caption.
        return json.JSONDecoder(strict=False).raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return _nearly_json(text)


def _nearly_json(text: str) -> Any:
    if len(text) > _LONGEST_NEARLY_JSON or text.lstrip()[:1] not in ("{", "["):
        return None
    from imig.models.json_reading import read_values

    reading = read_values(text)
    whole = not reading.breaks_off and not reading.broken
    return reading.values[0] if reading.values and whole else None


def json_to_caption(value: Any) -> tuple[str, str]:
    """The first caption that is not blank, and the key that has it; ("", "") where none is."""
    if isinstance(value, str):
        return (value, "the text itself") if value.strip() else ("", "")
    if isinstance(value, list):
        # A list of captions, or of annotations: the first that says something.
        return next((found for one in value if (found := _item_to_caption(one))[0]), ("", ""))
    if not isinstance(value, Mapping):
        return "", ""
    for key in _caption_keys(value):
        if text := value_to_text(value[key]):
            return text, key
    return "", ""


def _item_to_caption(item: Any) -> tuple[str, str]:
    if isinstance(item, str):
        return (item, "the first of a list") if item.strip() else ("", "")
    return json_to_caption(item) if isinstance(item, Mapping) else ("", "")


def _caption_keys(value: Mapping[str, Any]) -> Iterator[str]:
    """Keys that may have a caption, the likeliest first; others' order is the file's."""
    plain = {key: re.sub(r"[\W_]", "", key).lower() for key in value}
    for wanted in CAPTION_KEYS:
        yield from (key for key, name in plain.items() if name == wanted)
    for part in ("caption", "prompt"):
        yield from (
            key
            for key, name in plain.items()
            if part in name and name not in CAPTION_KEYS and not _NO_CAPTION.search(name)
        )


def value_to_text(value: Any) -> str:
    """A caption in a JSON value: a text, the first text of a list, or one in a mapping."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if isinstance(value, list):
        return next((text for one in value if (text := value_to_text(one))), "")
    if isinstance(value, Mapping):
        keys = [key for key in _INNER_KEYS if key in value]
        keys += [key for key in value if key not in keys]
        return next((text for key in keys if (text := _plain_text(value[key]))), "")
    return ""


def _plain_text(value: Any) -> str:
    if isinstance(value, list):
        value = next((one for one in value if isinstance(one, str) and one.strip()), "")
    return value if isinstance(value, str) and value.strip() else ""


def value_to_phrases(value: Any) -> list[str]:
    """Noun phrases in a JSON value: a list of texts, of mappings that name, or one text."""
    if isinstance(value, str):
        return [one.strip() for one in _LIST_SEPARATORS.split(value) if one.strip()]
    if isinstance(value, Mapping):
        value = list(value)
    if not isinstance(value, list):
        return []
    texts = (one if isinstance(one, str) else value_to_text(one) for one in value)
    return [text for text in texts if text.strip()]


def json_to_nouns(value: Any) -> list[str]:
    """What the key ``nouns`` (in any case) of a JSON mapping lists."""
    if not isinstance(value, Mapping):
        return []
    found = next((value[key] for key in value if key.lower() == "nouns"), None)
    return value_to_phrases(found)


def json_to_licence(value: Any) -> str:
    """What a sample's JSON says of its picture's licence; "" where it says nothing.

    The key ``licence`` or ``license`` (in any case) of the JSON, or of its ``source``, as datasets
    of imig have it: a text, or a mapping with ``name``, ``id`` or ``url``, as COCO's licences.
    """
    for key in ("licence", "license", "source.licence", "source.license"):
        found = look_up(value, key) if isinstance(value, Mapping) else None
        if isinstance(found, str) and found.strip().lower() not in _NO_LICENCE:
            return found
        if isinstance(found, Mapping):
            named = [found.get(one) for one in ("name", "id", "url")]
            texts = [one for one in named if isinstance(one, str)]
            said = [one for one in texts if one.strip().lower() not in _NO_LICENCE]
            if said:
                return " ".join(said)
    return ""


def look_up(value: Any, path: str) -> Any:
    """The value at ``a.b`` (case as written, else any); figures count in lists. None: not there."""
    if not path:
        return value
    if isinstance(value, list):
        first, _, rest = path.partition(".")
        if first.isdecimal() and len(first) < 9:
            return look_up(value[int(first)], rest) if int(first) < len(value) else None
        # A list of mappings: the first that has it.
        found = (look_up(one, path) for one in value if isinstance(one, Mapping))
        return next((one for one in found if one is not None), None)
    if not isinstance(value, Mapping):
        return None
    lower = {key.lower(): key for key in reversed(value)}
    for end in [len(path), *(i for i in range(len(path) - 1, 0, -1) if path[i] == ".")]:
        key = path[:end] if path[:end] in value else lower.get(path[:end].lower())
        if key is not None and (found := look_up(value[key], path[end + 1 :])) is not None:
            return found
    return None


def key_paths(value: Any, *, prefix: str = "", depth: int = 3) -> list[str]:
    """Keys of a JSON value as `look_up` takes them, for a message."""
    if isinstance(value, list):
        value = next((one for one in value if isinstance(one, Mapping)), None)
    if not isinstance(value, Mapping) or depth == 0:
        return []
    found = []
    for key, inner in value.items():
        found.append(f"{prefix}{key}")
        found += key_paths(inner, prefix=f"{prefix}{key}.", depth=depth - 1)
    return found
