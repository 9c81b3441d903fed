"""The formats there are."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import ValidationError

from imig.errors import UsageError
from imig.interop.ai_toolkit import AI_TOOLKIT
from imig.interop.coco import COCO
from imig.interop.cvat import CVAT
from imig.interop.fiftyone import FIFTYONE
from imig.interop.format import Exporter, Format, FormatSettings, Importer
from imig.interop.imig100k import IMIG100K
from imig.interop.label_studio import LABEL_STUDIO
from imig.interop.pairs import PAIRS
from imig.interop.plain_folders import FOLDERS
from imig.interop.simpletuner import SIMPLETUNER
from imig.interop.yolo import YOLO
from imig.outside import import_class
from imig.recipe.errors import explain_validation_error
from imig.recipe.values import to_values
from imig.recipe.yaml_lines import parse_setting

Kind = TypeVar("Kind", Importer[Any], Exporter[Any])

FORMATS: Final[tuple[Format, ...]] = (
    FOLDERS,
    AI_TOOLKIT,
    COCO,
    CVAT,
    FIFTYONE,
    IMIG100K,
    LABEL_STUDIO,
    PAIRS,
    SIMPLETUNER,
    YOLO,
)
"""In the order in which they are listed."""


def find_importer(name: str) -> type[Importer[Any]]:
    """Of a format here, or from outside: ``package.module:Class``.

    Raises UsageError for one that is not there, or is only written.
    """
    if ":" in name:
        return _from_outside(name, Importer)  # type: ignore[type-abstract]
    importer = _find(name).importer
    if importer is None:
        raise UsageError(f"imig only writes {name}: `imig export {name} DIR --output NEW`")
    return importer


def find_exporter(name: str) -> type[Exporter[Any]]:
    """Of a format here, or from outside: ``package.module:Class``.

    Raises UsageError for one that is not there, or is only read.
    """
    if ":" in name:
        return _from_outside(name, Exporter)  # type: ignore[type-abstract]
    exporter = _find(name).exporter
    if exporter is None:
        raise UsageError(f"imig only reads {name}: `imig import {name} SOURCE --output NEW`")
    return exporter


def to_settings(kind: type[FormatSettings], overrides: list[str]) -> FormatSettings:
    """`--set key=value`, any number of times, as a format's settings.

    Raises
    ------
    UsageError
        A key that the format does not have, or a wrong value.
    """
    values: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        key = key.strip()
        if not separator:
            raise UsageError(
                f"--set {text}: not of the form key=value", cure="`imig formats` lists the keys"
            )
        field = kind.model_fields.get(key)
        written = parse_setting(value, setting=f"--set {text}")
        values[key] = to_values(written, Any if field is None else field.annotation)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        at, message, cure = explain_validation_error(error, values, kind)
        known = ", ".join(kind.model_fields) or "none"
        raise UsageError(
            f"--set {'.'.join(at)}: {message.removeprefix(': ')}",
            cure=cure or f"its settings are: {known}",
        ) from error


def formats_text() -> str:
    """A paragraph a format: what it is, which ways it goes, its settings."""
    paragraphs = []
    for one in FORMATS:
        ways = [("import", one.importer), ("export", one.exporter)]
        lines = [
            f"{one.name}  ({', '.join(way for way, kind in ways if kind)})",
            f"  {one.summary}",
        ]
        for way, kind in ways:
            fields = kind.settings_type.model_fields if kind is not None else {}
            for key, field in fields.items():
                shown = "" if field.default is None or field.is_required() else field.default
                default = f" (default: {shown})" if shown != "" else ""
                lines.append(f"  {way} --set {key}=..  {field.description or ''}{default}".rstrip())
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _from_outside(name: str, kind: type[Kind]) -> type[Kind]:
    found = import_class(name)
    if not issubclass(found, kind):
        raise UsageError(
            f"{name} is no {kind.__name__} of imig.interop.format", cure="see docs/extending.md"
        )
    return found


def _find(name: str) -> Format:
    for one in FORMATS:
        if one.name == name:
            return one
    raise UsageError(
        f"there is no format {name!r}",
        cure=f"the formats are {', '.join(one.name for one in FORMATS)}",
    )
