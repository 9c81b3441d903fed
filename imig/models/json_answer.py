"""The JSON answer in what a language model said.

Models surround it with thoughts, words and code fences, draft it first, and write nearly JSON.
`imig.models.json_reading` says how it is read, `imig.models.thoughts` what counts as thoughts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from imig.models.json_reading import Reading, read_values

_DEEPEST: Final = 5
"""Envelopes within envelopes."""

Obeys = Callable[[dict[str, Any]], bool]


def answer_to_json(text: str, *, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The last complete object in an answer that obeys the schema.

    It may stand in an array, in the single fitting value of another object (``{"answer": {..}}``),
    or as JSON in a string. Objects within thoughts do not count.

    Parameters
    ----------
    schema:
        JSON schema of the object; None: any object.

    Raises
    ------
    ValueError
        There is none, or the answer breaks off: then also when a complete one stands before, which
        was a draft.
    """
    reading = _read(text, schema)
    found = [one for value in reading.values for one in _within(value, _obeys(schema))]
    if not found:
        raise ValueError(_why_none(reading, schema))
    return found[-1]


def answer_to_objects(
    text: str, *, schema: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """All complete objects in an answer that obey the schema, in their order, drafts included.

    For questions with several answers: an array, a list within an object, lines of JSON, or objects
    between words. Parameters and errors are those of `answer_to_json`.
    """
    reading = _read(text, schema)
    obeys = _obeys(schema)
    found = [one for value in reading.values for one in _within(value, obeys, several=True)]
    if not found:
        raise ValueError(_why_none(reading, schema))
    return found


def is_whole_answer(text: str, *, schema: Mapping[str, Any]) -> bool:
    """Whether a text is one object that obeys the schema, and nothing else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and _obeys(schema)(value)


def _read(text: str, schema: Mapping[str, Any] | None) -> Reading:
    reading = read_values(text)
    if reading.breaks_off:
        raise ValueError("no JSON object in the answer: it is broken JSON, or breaks off")
    names = {name.casefold(): name for name in (schema or {}).get("properties", {})}
    reading.values = [_with_names(value, names) for value in reading.values]
    return reading


def _with_names(value: Any, names: Mapping[str, str], *, depth: int = 0) -> Any:
    """Keys as the schema has them where a model wrote them in another case, or with blanks."""
    if depth > _DEEPEST or not names:
        return value
    if isinstance(value, list):
        return [_with_names(one, names, depth=depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Any] = {}
    for key, inner in value.items():
        name = names.get(key.strip().casefold(), key)
        own = key if name != key and name in value else name
        renamed[own] = _with_names(inner, names, depth=depth + 1)
    return renamed


def _obeys(schema: Mapping[str, Any] | None) -> Obeys:
    import jsonschema

    validator = jsonschema.Draft202012Validator(dict(schema or {}))

    def obeys(value: dict[str, Any]) -> bool:
        try:
            # Halves of characters can be written in JSON, and nowhere else.
            json.dumps(value, ensure_ascii=False).encode()
            return bool(validator.is_valid(value))
        except (UnicodeEncodeError, RecursionError):
            return False

    return obeys


def _within(
    value: Any, obeys: Obeys, *, several: bool = False, depth: int = 0
) -> list[dict[str, Any]]:
    """The objects in a value that obey: itself, those of an array, those in its envelope."""
    if depth > _DEEPEST:
        return []
    if isinstance(value, str):
        inner = read_values(value).values if value.lstrip()[:1] in ("{", "[") else []
        return [
            one for part in inner for one in _within(part, obeys, several=several, depth=depth + 1)
        ]
    if isinstance(value, list):
        return [
            one for part in value for one in _within(part, obeys, several=several, depth=depth + 1)
        ]
    if not isinstance(value, dict):
        return []
    if obeys(value):
        return [value]
    held = [_within(part, obeys, several=several, depth=depth + 1) for part in value.values()]
    held = [found for found in held if found]
    if several:
        return [one for found in held for one in found]
    # Of two that fit, which one is the answer, nobody knows.
    return held[0] if len(held) == 1 else []


def _why_none(reading: Reading, schema: Mapping[str, Any] | None) -> str:
    if reading.thoughts:
        return "no JSON object in the answer, only thoughts"
    if reading.broken:
        return "no JSON object in the answer: it is broken JSON"
    objects = [value for value in reading.values if isinstance(value, dict)]
    if not objects:
        return "no JSON object in the answer"
    import jsonschema

    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(dict(schema or {})).iter_errors(objects[-1])
    )
    reason = " ".join(error.message.split())[:200] if error else "half a character"
    return f"the JSON object in the answer is not the one that was asked for: {reason}"
