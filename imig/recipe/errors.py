"""What pydantic finds wrong in a recipe, in the words of the person who wrote it."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imig.printable import shortened
from imig.recipe.yaml_lines import KeyPath


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The most similar of `words`, if any is similar at all."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return found[0] if found else None


def explain_validation_error(
    error: ValidationError, raw: Mapping[str, Any], root: type[BaseModel]
) -> tuple[KeyPath, str, str]:
    """The first error as (key path, message, cure); `root` is the class that refused `raw`."""
    details = error.errors(include_url=False)
    # An unknown key explains the missing one that was meant, so it comes first.
    first = min(details, key=lambda one: one["type"] != "extra_forbidden")
    key = _location_to_key(first["loc"], raw)
    message, cure = _explain(first, key, raw, root)
    if first["type"] == "union_tag_invalid":
        key = (*key, "kind")
    return key, message, cure


def _explain(
    error: ErrorDetails, key: KeyPath, raw: Mapping[str, Any], root: type[BaseModel]
) -> tuple[str, str]:
    kind, name = error["type"], ".".join(key)
    block, last = ".".join(key[:-1]), key[-1] if key else ""
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(key[:-1], raw, root)
        prefix = f"{block}: " if block else ""
        return f"{prefix}unknown key {last!r}", _suggest(last, known)
    if kind == "missing":
        return (
            f"the key {name!r} is missing",
            f"add it to the recipe, or give it with --set {name}=VALUE",
        )
    if kind == "union_tag_not_found":
        return f"{name}: the key 'kind' is missing", "kind is one of " + _kinds(key, root)
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        expected = [one.strip(" '") for one in str(context["expected_tags"]).split(",")]
        return f"{name}.kind: unknown kind {tag!r}", _suggest(tag, expected)
    given = error.get("input")
    if kind == "model_type":
        return f"{name}: expected a mapping of keys, got {shortened(repr(given))}", ""
    if kind == "string_unicode":
        return (
            f"{name}: {shortened(repr(given))} has bytes in it that are no text",
            "rename what is called so, or give a link to it that has another name; where the name "
            "is UTF-8 and the system is set to ASCII, set PYTHONUTF8=1",
        )
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = message.replace("a valid tuple", "a list")
    message = message[0].lower() + message[1:]
    if kind == "value_error":
        return f"{name}: {message}", ""
    if kind == "literal_error":
        listed = str(context["expected"]).replace(" or ", ",")
        words = [one.strip(" '") for one in listed.split(",")]
        return f"{name}: {message}, got {shortened(repr(given))}", _suggest(str(given), words)
    shown = "a mapping" if isinstance(given, dict) else shortened(repr(given))
    return f"{name}: {message}, got {shown}", ""


def _suggest(word: str, words: Iterable[str]) -> str:
    words = sorted(words)
    guess = nearest(word, words)
    return f"did you mean {guess!r}?" if guess else f"one of {', '.join(words)}"


def _location_to_key(location: tuple[int | str, ...], raw: Mapping[str, Any]) -> KeyPath:
    """pydantic's location without the tags that it adds for a union's member."""
    key: list[str] = []
    value: Any = raw
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        elif not is_last:
            continue
        key.append(str(part))
    return tuple(key)


def _keys_at(key: KeyPath, raw: Mapping[str, Any], root: type[BaseModel]) -> list[str]:
    """The keys that the block at `key` may have."""
    model = root
    value: Any = raw
    for part in key:
        value = value.get(part) if isinstance(value, Mapping) else None
        field = model.model_fields.get(part)
        candidates = [] if field is None else list(_models_in(field.annotation))
        if not candidates:
            return []
        kind = value.get("kind") if isinstance(value, Mapping) else None
        model = next((one for one in candidates if kind_of(one) == kind), candidates[0])
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _models_in(typing.get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    arguments = typing.get_args(field.annotation) if field else ()
    return str(arguments[0]) if arguments else None


def _kinds(key: KeyPath, root: type[BaseModel]) -> str:
    """The kinds that the union at a key of the top level may have."""
    models = _models_in(root.model_fields[key[0]].annotation)
    return ", ".join(str(kind_of(one)) for one in models)
