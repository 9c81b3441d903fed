"""Bare words become what their fields want: `path: 2024` is text, `count: 2024` a number.

YAML guesses the type of a bare word from its form; a recipe knows better. A value for a text field
is the text as it was written, of a file as of a `--set`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel

from imig.errors import UsageError
from imig.recipe.errors import kind_of
from imig.recipe.yaml_lines import Written

_OLD_NUMBER: Final = re.compile(r"[-+]?0[0-9_]+|.*:.*")
"""YAML 1.1 reads 010 as 8 and 1:30 as 90, which nobody means; YAML 1.2 has dropped both."""


def to_values(raw: Any, annotation: Any) -> Any:
    """`raw` with every `Written` replaced by what a field of that annotation wants.

    Parameters
    ----------
    raw:
        Dicts, lists, values, and `Written` among them, as `imig.recipe.yaml_lines` gives them.
    annotation:
        Of the field, or the pydantic class, that will check the values.

    Raises
    ------
    UsageError
        A setting for something else than text is no YAML, or the nesting is absurd.
    """
    try:
        return _to_values(raw, annotation)
    except RecursionError:
        raise UsageError("brackets are nested too deeply") from None


def _to_values(raw: Any, annotation: Any) -> Any:
    wanted = list(_members(annotation))
    if isinstance(raw, Written):
        return _word_to_value(raw, wanted)
    if isinstance(raw, Mapping):
        model = _model_of(raw, wanted)
        if model is None:
            of_values = next((_arguments(one)[1] for one in wanted if _origin(one) is dict), Any)
            return {key: _to_values(inner, of_values) for key, inner in raw.items()}
        fields = model.model_fields
        return {
            key: _to_values(inner, fields[key].annotation if key in fields else Any)
            for key, inner in raw.items()
        }
    if isinstance(raw, list):
        kinds = _item_annotations(wanted, len(raw))
        return [_to_values(inner, kind) for inner, kind in zip(raw, kinds, strict=True)]
    return raw


def without_other_kind(before: Any, after: Any, annotation: Any) -> Any:
    """`after` without the keys that went with the kind which it had `before`.

    A source that was `tabletop` in the file and became `folder` by a `--set` has no use for the
    file's `count`. Keys that were set, and keys that neither kind knows, stay.
    """
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return after
    wanted = list(_members(annotation))
    old, new = _model_of(before, wanted), _model_of(after, wanted)
    if old is None or new is None:
        return after
    if old is new:
        fields = new.model_fields
        return {
            key: without_other_kind(before[key], inner, fields[key].annotation)
            if key in before and key in fields
            else inner
            for key, inner in after.items()
        }
    gone = {
        key
        for key, inner in after.items()
        if key in old.model_fields and key not in new.model_fields and inner is before.get(key)
    }
    return {key: inner for key, inner in after.items() if key not in gone}


def _word_to_value(word: Written, wanted: list[Any]) -> Any:
    optional = NoneType in wanted
    others = [one for one in wanted if one is not NoneType]
    if others and all(one is str or _is_words(one) for one in others):
        return _word_to_text(word, optional=optional, any_text=str in others)
    if word.fault and wanted == [Any]:
        return word.text  # for a key that is not known, which is the fault to name
    if word.fault:
        raise UsageError(
            f"{word.setting}: the value is not YAML: {word.fault}",
            cure="quote it as YAML has it, and once more for the shell",
        )
    if isinstance(word.value, dict | list):
        return _to_values(word.value, Union[tuple(wanted)] if wanted else Any)  # noqa: UP007
    if isinstance(word.value, bool) and all(one in (int, float) for one in others):
        return word.text  # `count: yes` is not one
    is_number = isinstance(word.value, int | float) and not isinstance(word.value, bool)
    if is_number and _OLD_NUMBER.fullmatch(word.text.strip()):
        return word.text.strip()
    return word.value


def _word_to_text(word: Written, *, optional: bool, any_text: bool) -> str | None:
    if not any_text:
        # One of a few words: quotes and blanks around it are not part of it.
        if word.value is None and (optional or not word.text.strip()):
            return None
        return word.value if isinstance(word.value, str) else word.text.strip()
    if word.setting:
        return None if optional and word.text == "null" else word.text
    if word.value is None and (optional or not word.text):
        return None
    return word.text


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union, in unions too; of anything else, itself."""
    origin = _origin(annotation)
    if origin is Annotated:
        yield from _members(_arguments(annotation)[0])
    elif origin in (Union, UnionType):
        for one in _arguments(annotation):
            yield from _members(one)
    elif annotation is not None:
        yield annotation


def _model_of(raw: Mapping[str, Any], wanted: list[Any]) -> type[BaseModel] | None:
    """The class that will check a mapping: by its `kind` where there are several."""
    models = [one for one in wanted if isinstance(one, type) and issubclass(one, BaseModel)]
    if len(models) < 2:
        return models[0] if models else None
    kind = raw.get("kind")
    text = kind.text.strip() if isinstance(kind, Written) else kind
    return next((one for one in models if kind_of(one) == text), None)


def _item_annotations(wanted: list[Any], length: int) -> list[Any]:
    for one in wanted:
        arguments = _arguments(one)
        if _origin(one) is list:
            return [arguments[0]] * length
        if _origin(one) is tuple and arguments[-1] is Ellipsis:
            return [arguments[0]] * length
        if _origin(one) is tuple:
            return [*arguments, *[Any] * length][:length]
    return [Any] * length


def _is_words(annotation: Any) -> bool:
    """Whether it is a `Literal` of texts."""
    return _origin(annotation) is Literal and all(
        isinstance(one, str) for one in _arguments(annotation)
    )


_origin = typing.get_origin
_arguments = typing.get_args
