"""One line of a file of prompts."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.errors import DataError
from imig.schema import Subject
from imig.text import bytes_to_text, mend_text

CURE = (
    'a line is JSON: {"prompt": "..", "nouns": ["..", ".."]}, for the flexible subset with '
    '"subjects": [{"phrase": "..", "noun": "..", "prompt": ".."}]'
)


class PromptRecord(BaseModel):
    """A prompt for one target, and what it asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1, pattern=r"\S")
    nouns: list[str] = Field(
        default=[], description="Noun phrases of the subjects, in the prompt's order."
    )
    subjects: list[Subject] = Field(
        default=[], description="flexible: what to draw alone first; elsewhere empty."
    )
    style: str | None = None
    template: dict[str, str | int] = Field(
        default={}, description="What was combined to ask for this prompt: kind -> choice."
    )
    writer: str | None = Field(default=None, description="Who wrote it: `grammar`, or the model.")


def line_to_record(line: bytes, *, place: str) -> PromptRecord:
    """A line of a file -> its record, the texts mended.

    Raises DataError, which names `place`, for a wrong one.
    """
    text = bytes_to_text(line, where=place)
    try:
        record = _json_to_record(text)
        # Again: of what is mended away nothing may be left.
        return PromptRecord.model_validate(_mended(record.model_dump()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        message = f"{place}: {key + ': ' if key else ''}{first['msg']}"
        raise DataError(message, cure=CURE) from error


def _json_to_record(text: str) -> PromptRecord:
    try:
        return PromptRecord.model_validate_json(text)
    except ValidationError:
        # Python's parser takes halves of characters ("\\ud83d"), which can be mended.
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise
    return PromptRecord.model_validate(_mended(value))


def _mended(value: Any) -> Any:
    """JSON values with their texts mended; keys stay."""
    if isinstance(value, str):
        return mend_text(value)
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {key: _mended(one) for key, one in value.items()}
    return value


def record_to_line(record: PromptRecord) -> bytes:
    """The record as it stands in a file, the line's end included."""
    return (record.model_dump_json(exclude_defaults=True) + "\n").encode()
