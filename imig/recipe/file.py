"""Read recipes from disk, and say where and how they are wrong.

Every error names file and line (or the `--set` that brought the value in) and, for a misspelt key,
the nearest right one. The meaning of the keys is in `imig.recipe.root`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from imig.errors import UsageError
from imig.paths import command_text, expand_home, input_path, shown_path
from imig.recipe.errors import explain_validation_error, nearest
from imig.recipe.extra import stages_from_outside
from imig.recipe.parts import ENDPOINT_DECISIVE, ENDPOINT_MARK, ModelConfig, Resources, StageConfig
from imig.recipe.root import STAGE_NAMES, Recipe
from imig.recipe.values import to_values, without_other_kind
from imig.recipe.yaml_lines import (
    KeyPath,
    LinedYaml,
    Written,
    parse_json,
    parse_setting,
    parse_yaml,
    read_text,
)

if TYPE_CHECKING:
    from imig.training.recipe import TrainRecipe

AnyRecipe = TypeVar("AnyRecipe", bound=BaseModel)

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class LoadedRecipe:
    """A build's recipe, and where each of its keys came from."""

    recipe: Recipe
    raw: Mapping[str, Any]
    """What file and overrides say, before defaults."""
    path: Path
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str]
    """Key path -> the text of the `--set` that gave it."""

    def line_of(self, key_path: str) -> int | None:
        """The line of a dotted key path, or of its nearest ancestor that the file has."""
        key = tuple(key_path.split("."))
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)

    def where(self, key_path: str) -> str:
        """``pipelines/demo.yaml:14``, or ``--set ground.nms_iou=0.5`` where that is the origin."""
        key: KeyPath = tuple(key_path.split("."))
        return _where(key, path=self.path, lines=self.lines, overrides=self.overrides)

    @property
    def sha256(self) -> str:
        return recipe_to_sha256(self.recipe)


def load_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe and apply `--set` overrides.

    Parameters
    ----------
    name_or_path:
        A YAML file, or the name of a recipe that ships with imig (`shipped_recipes`).
    overrides:
        Texts ``a.b=value``. Where the key wants text, the value is that, from the first to the last
        character (``null`` is none, where there may be none); elsewhere it is YAML. ``a.0=value``
        replaces the first of a list. ``filter=null`` removes a stage, ``models=tiny`` sets the
        weights of every model and applies the recipe's block `tiny` before the others.

    Raises
    ------
    UsageError
        When there is no such recipe or something in it is wrong.
    """
    path = find_recipe(str(name_or_path))
    document = _read(path)
    raw = dict(document.value)
    for stage in (*STAGE_NAMES, "duplicates"):
        # `crop:` with nothing behind it means the stage with its defaults; `crop: null` removes it.
        if (stage,) in document.bare:
            raw[stage] = {}
    settings = [_parse_override(text) for text in overrides]
    origins = _apply_tiny(raw, settings, path=path, lines=document.lines)
    origins |= _apply_overrides(raw, settings)
    values = _to_values(dict(document.value), raw, Recipe)
    recipe = _validate(Recipe, values, path=path, lines=document.lines, origins=origins)
    loaded = LoadedRecipe(
        recipe=recipe, raw=values, path=path, lines=document.lines, overrides=origins
    )
    configs = stages_from_outside(recipe, loaded.where)
    return replace(loaded, recipe=_resolve(recipe, configs, loaded.where))


def load_training_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> TrainRecipe:
    """Read a training recipe and apply `--set` overrides; errors as those of `load_recipe`."""
    # Imported here: a build needs nothing of the training.
    from imig.training.recipe import TrainRecipe

    path = find_recipe(str(name_or_path))
    document = _read(path)
    raw = dict(document.value)
    origins = _apply_overrides(raw, [_parse_override(text) for text in overrides])
    values = _to_values(dict(document.value), raw, TrainRecipe)
    recipe = _validate(TrainRecipe, values, path=path, lines=document.lines, origins=origins)
    if recipe.adapter.start is not None:
        # It is opened when the model is there, which may take minutes.
        where = _where(("adapter", "start"), path=path, lines=document.lines, overrides=origins)
        _located(recipe.adapter.start, input_path, where)
    return recipe


def place_in_training_recipe(
    name_or_path: str | Path, key_path: str, *, overrides: Sequence[str] = ()
) -> str:
    """Where a key stands: ``pipelines/train-tiny.yaml:13``, or ``--set adapter.rank=8``."""
    path = find_recipe(str(name_or_path))
    document = _read(path)
    parsed = [_parse_override(text) for text in overrides]
    origins = _apply_overrides(dict(document.value), parsed)
    key: KeyPath = tuple(key_path.split("."))
    return _where(key, path=path, lines=document.lines, overrides=origins)


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe: a shipped recipe's name, or a path."""
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    if name_or_path:
        path = input_path(name_or_path)
        if path.is_file():
            return path
        if path.is_dir():
            raise UsageError(
                f"{path} is a folder, and a recipe is a file",
                cure="give one of its files, for example "
                + command_text(next(_recipes_in(path), path / "recipe.yaml")),
            )
        if path.suffix in _SUFFIXES or len(path.parts) > 1:
            raise UsageError(
                f"there is no recipe file {path}", cure="`imig recipes` lists what ships with imig"
            )
    guess = nearest(name_or_path, shipped)
    names = ", ".join(sorted(shipped))
    raise UsageError(
        f"there is no recipe {name_or_path!r}",
        cure=f"did you mean {guess!r}?" if guess else f"shipped recipes: {names}; or give a path",
    )


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that ship with imig."""
    return {path.stem: path for path in sorted(shipped_folder("pipelines").glob("*.yaml"))}


def _recipes_in(folder: Path) -> Iterator[Path]:
    names = sorted(os.listdir(folder))
    return (folder / name for name in names if Path(name).suffix in _SUFFIXES)


def shipped_folder(name: str) -> Path:
    """`pipelines` or `schemas`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def recipe_description(path: Path) -> str:
    """The first comment line of a recipe file."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The whole effective recipe, defaults included, as JSON values."""
    return recipe.model_dump(mode="json")


def recipe_to_sha256(recipe: Recipe) -> str:
    """Hex SHA-256 of everything in the recipe that decides what is built.

    `engine` and `resources` say how it is built and stay out, except `engine.block_size`: the
    composition of a model's batches depends on it, and with it the last bits of its figures. Of
    an endpoint only model and temperature count.
    """
    values = without_means(recipe_to_dict(recipe))
    values["engine"] = {"block_size": recipe.engine.block_size}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def without_means(value: Any) -> Any:
    """JSON values of a recipe without what says only how, and where, the work is done."""
    if isinstance(value, list):
        return [without_means(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if ENDPOINT_MARK in value:
        value = {key: value[key] for key in ENDPOINT_DECISIVE}
    return {key: without_means(inner) for key, inner in value.items() if key != "resources"}


def _read(path: Path) -> LinedYaml:
    parse = parse_json if path.suffix.lower() == ".json" else parse_yaml
    document = parse(read_text(path), shown_path(path))
    if not isinstance(document.value, dict):
        raise UsageError(
            f"{shown_path(path)}:1: a recipe is a mapping of keys to values",
            cure="`imig recipes` lists recipes to start from",
        )
    return document


def _to_values(
    before: Mapping[str, Any], raw: Mapping[str, Any], kind: type[BaseModel]
) -> dict[str, Any]:
    """The document after its settings, as what the fields of the recipe want; `before`: without."""
    values: dict[str, Any] = to_values(without_other_kind(before, raw, kind), kind)
    return values


def _apply_overrides(
    raw: dict[str, Any], settings: Sequence[tuple[KeyPath, Written]]
) -> dict[KeyPath, str]:
    """Apply all, in place; key path -> the text that set it."""
    for key, value in settings:
        _set(raw, key, value, origin=value.setting)
    return {key: value.setting for key, value in settings}


def _apply_tiny(
    raw: dict[str, Any],
    settings: Sequence[tuple[KeyPath, Written]],
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
) -> dict[KeyPath, str]:
    """With `models: tiny`, what the block `tiny` says, in place; key path -> file and line."""
    asked = [value.text for key, value in settings if key == ("models",)]
    weights = asked[-1] if asked else raw.get("models")
    changes = raw.get("tiny")
    if weights != "tiny" or not isinstance(changes, dict):
        return {}
    origins: dict[KeyPath, str] = {}
    for key, value in changes.items():
        name = tuple(key.split("."))
        origin = _where(("tiny", key), path=path, lines=lines, overrides={})
        _set(raw, name, value, origin=origin)
        origins[name] = origin
    return origins


def _validate(
    kind: type[AnyRecipe],
    raw: Mapping[str, Any],
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
    origins: Mapping[KeyPath, str],
) -> AnyRecipe:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        _refuse_other_kind(kind, raw, path)
        key, message, cure = explain_validation_error(error, raw, kind)
        place = _where(key, path=path, lines=lines, overrides=origins)
        raise UsageError(f"{place}: {message}", cure=cure) from error


def _refuse_other_kind(kind: type[BaseModel], raw: Mapping[str, Any], path: Path) -> None:
    """A recipe of a training given to a build, or the other way round, is wrong in every line."""
    if kind is Recipe and "adapter" in raw:
        raise UsageError(
            f"{shown_path(path)} is the recipe of a training",
            cure=command_text("imig", "train", "--recipe", _name_to_give(path)),
        )
    if kind is not Recipe and "source" in raw:
        raise UsageError(
            f"{shown_path(path)} is the recipe of a build",
            cure=command_text("imig", "build", _name_to_give(path)),
        )


def _name_to_give(path: Path) -> str | Path:
    """What a command calls a recipe: the name of one that ships with imig, else its file."""
    return path.stem if shipped_recipes().get(path.stem) == path else shown_path(path)


def _parse_override(text: str) -> tuple[KeyPath, Written]:
    """Key path and value of `a.b=value`."""
    name, separator, value = text.partition("=")
    key = tuple(name.strip().split("."))
    if not separator or not all(key):
        raise UsageError(
            f"--set {text}: not of the form a.b=value",
            cure="for example --set ground.box_threshold=0.4",
        )
    return key, parse_setting(value, setting=f"--set {text}")


def _set(raw: dict[str, Any], key: KeyPath, value: Any, *, origin: str) -> None:
    """Set a key in place; `origin` is for messages."""
    inner: dict[str, Any] | list[Any] = raw
    for end, part in enumerate(key, start=1):
        place: Any = part
        if isinstance(inner, list):
            place = int(part) if part.isdecimal() else len(inner)
            if place >= len(inner):
                raise UsageError(
                    f"{origin}: {'.'.join(key[: end - 1])} is a list of {len(inner)}, which has no "
                    f"{part!r}",
                    cure=f"count from 0, or give the whole: {'.'.join(key[: end - 1])}=[..]",
                )
        if end == len(key):
            inner[place] = value
            return
        below = inner[place] if isinstance(inner, list) else inner.get(place)
        below = below.value if isinstance(below, Written) else below
        if below is not None and not isinstance(below, dict | list):
            raise UsageError(f"{origin}: {'.'.join(key[:end])} is {below!r}, which has no keys")
        # Copied on the way down, so that YAML aliases and the caller's mapping stay as they are.
        inner[place] = below.copy() if below is not None else {}
        inner = inner[place]


def _where(
    key: KeyPath,
    *,
    path: Path,
    lines: Mapping[KeyPath, int],
    overrides: Mapping[KeyPath, str],
) -> str:
    ancestors = [key[:end] for end in range(len(key), 0, -1)]
    below = [text for given, text in overrides.items() if given[: len(key)] == key]
    # An override replaces what the file has at and below its key, and may make a block wrong.
    for text in [overrides[one] for one in ancestors if one in overrides] + below:
        return text
    line = next((f":{lines[one]}" for one in ancestors if one in lines), "")
    return f"{shown_path(path)}{line}"


def _resolve(recipe: Recipe, configs: Sequence[StageConfig], where: Callable[[str], str]) -> Recipe:
    """Apply `models`, forget what has been applied, and expand ``~`` in paths.

    `configs` are the settings of the stages from outside, which are stored with their defaults.
    """
    resolved = _resolve_value(recipe, "", weights=recipe.models, where=where)
    assert isinstance(resolved, Recipe)
    extra = tuple(
        given.with_settings(
            _resolve_value(config, f"extra.{number}", weights=recipe.models, where=where)
        )
        for number, (given, config) in enumerate(zip(recipe.extra, configs, strict=True))
    )
    return resolved.model_copy(update={"models": None, "tiny": {}, "extra": extra})


def _resolve_value(
    value: Any, key: str, *, weights: str | None, where: Callable[[str], str]
) -> Any:
    def below(name: str) -> str:
        return f"{key}.{name}".removeprefix(".")

    def expanded(text: str, name: str) -> str:
        return _expand(text, where("models" if name == "weights" and weights else below(name)))

    if isinstance(value, ModelConfig):
        # A config file belongs to the weights that it came with.
        config = value.config if weights is None else None
        return value.model_copy(
            update={
                "weights": expanded(weights or value.weights, "weights"),
                "config": None if config is None else expanded(config, "config"),
            }
        )
    if isinstance(value, Resources) and weights == "tiny":
        return value.model_copy(update={"gpus": 0.0})
    if isinstance(value, BaseModel):
        update = {
            name: expanded(inner, name)
            if name == "path" and isinstance(inner, str)
            else _resolve_value(inner, below(name), weights=weights, where=where)
            for name, inner in value
        }
        return value.model_copy(update=update)
    return value


def _expand(path: str, where: str) -> str:
    return str(_located(path, expand_home, where)) if path.startswith("~") else path


def _located(path: str, check: Callable[[str], Path], where: str) -> Path:
    """What `check` gives; what it raises names the recipe's line."""
    try:
        return check(path)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", cure=error.cure) from error
