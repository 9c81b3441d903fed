"""One line of a file of prompts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imig.errors import DataError
from imig.schema import Subject

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
    """A line of a file -> its record. Raises DataError, which names `place`, for a wrong one."""
    try:
        return PromptRecord.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        message = f"{place}: {key + ': ' if key else ''}{first['msg']}"
        raise DataError(message, cure=CURE) from error


def record_to_line(record: PromptRecord) -> bytes:
    """The record as it stands in a file, the line's end included."""
    return (record.model_dump_json(exclude_defaults=True) + "\n").encode()
