"""Read recipes from disk, and say where and how they are wrong.

Every error names file and line (or the `--set` that brought the value in) and, for a misspelt key,
the nearest right one. The meaning of the keys is in `imig.recipe`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from imig.errors import DataError, UsageError
from imig.recipe import STAGE_NAMES, ModelConfig, Recipe, Resources
from imig.recipe_errors import explain_validation_error, nearest
from imig.recipe_parts import ENDPOINT_DECISIVE, ENDPOINT_MARK
from imig.text import bytes_to_text
from imig.yaml_lines import KeyPath, LinedYaml, parse_yaml

if TYPE_CHECKING:
    from imig.training.recipe import TrainRecipe

AnyRecipe = TypeVar("AnyRecipe", bound=BaseModel)

_SUFFIXES = (".yaml", ".yml")


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
        Texts ``a.b=value``, the value in YAML; ``filter=null`` removes a stage, ``models=tiny``
        sets the weights of every model and applies the recipe's block `tiny` before the others.

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
    origins = _apply_tiny(raw, overrides, path=path, lines=document.lines)
    origins |= _apply_overrides(raw, overrides)
    recipe = _validate(Recipe, raw, path=path, lines=document.lines, origins=origins)
    return LoadedRecipe(
        recipe=_resolve(recipe), raw=raw, path=path, lines=document.lines, overrides=origins
    )


def load_training_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> TrainRecipe:
    """Read a training recipe and apply `--set` overrides; errors as those of `load_recipe`."""
    # Imported here: a build needs nothing of the training.
    from imig.training.recipe import TrainRecipe

    path = find_recipe(str(name_or_path))
    document = _read(path)
    raw = dict(document.value)
    origins = _apply_overrides(raw, overrides)
    return _validate(TrainRecipe, raw, path=path, lines=document.lines, origins=origins)


def place_in_training_recipe(
    name_or_path: str | Path, key_path: str, *, overrides: Sequence[str] = ()
) -> str:
    """Where a key stands: ``pipelines/train-tiny.yaml:13``, or ``--set adapter.rank=8``."""
    path = find_recipe(str(name_or_path))
    document = _read(path)
    origins = _apply_overrides(dict(document.value), overrides)
    key: KeyPath = tuple(key_path.split("."))
    return _where(key, path=path, lines=document.lines, overrides=origins)


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe: an existing path, or a shipped recipe's name."""
    path = Path(name_or_path).expanduser()
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        if path.is_file():
            return path
        raise UsageError(
            f"there is no recipe file {path}", cure="`imig recipes` lists what ships with imig"
        )
    shipped = shipped_recipes()
    if name_or_path in shipped:
        return shipped[name_or_path]
    guess = nearest(name_or_path, shipped)
    names = ", ".join(sorted(shipped))
    raise UsageError(
        f"there is no recipe {name_or_path!r}",
        cure=f"did you mean {guess!r}?" if guess else f"shipped recipes: {names}; or give a path",
    )


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that ship with imig."""
    return {path.stem: path for path in sorted(shipped_folder("pipelines").glob("*.yaml"))}


def shipped_folder(name: str) -> Path:
    """`pipelines` or `schemas`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
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
    if not isinstance(value, dict):
        return value
    if ENDPOINT_MARK in value:
        value = {key: value[key] for key in ENDPOINT_DECISIVE}
    return {key: without_means(inner) for key, inner in value.items() if key != "resources"}


def _read(path: Path) -> LinedYaml:
    try:
        text = bytes_to_text(path.read_bytes(), where=str(_shown(path)))
    except DataError as error:
        raise UsageError(error.message, cure=error.cure) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    document = parse_yaml(text, _shown(path))
    if not isinstance(document.value, dict):
        raise UsageError(
            f"{_shown(path)}:1: a recipe is a mapping of keys to values",
            cure="`imig recipes` lists recipes to start from",
        )
    return document


def _apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[KeyPath, str]:
    """Apply all, in place; key path -> the text that set it."""
    return {_apply_override(raw, text): f"--set {text}" for text in overrides}


def _apply_tiny(
    raw: dict[str, Any], overrides: Sequence[str], *, path: Path, lines: Mapping[KeyPath, int]
) -> dict[KeyPath, str]:
    """With `models: tiny`, what the block `tiny` says, in place; key path -> file and line."""
    asked = [text.partition("=")[2] for text in overrides if text.startswith("models=")]
    weights = asked[-1].strip() if asked else raw.get("models")
    changes = raw.get("tiny")
    if weights != "tiny" or not isinstance(changes, dict):
        return {}
    origins: dict[KeyPath, str] = {}
    for key, value in changes.items():
        name = tuple(str(key).split("."))
        _set(raw, name, value)
        origins[name] = _where(("tiny", str(key)), path=path, lines=lines, overrides={})
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
            f"{_shown(path)} is the recipe of a training", cure=f"imig train --recipe {path.stem}"
        )
    if kind is not Recipe and "source" in raw:
        raise UsageError(f"{_shown(path)} is the recipe of a build", cure=f"imig build {path.stem}")


def _apply_override(raw: dict[str, Any], text: str) -> KeyPath:
    """Set one `a.b=value` in `raw` (in place); returns the key path."""
    name, separator, value_text = text.partition("=")
    key = tuple(name.strip().split("."))
    if not separator or not all(key):
        raise UsageError(
            f"--set {text}: not of the form a.b=value",
            cure="for example --set ground.box_threshold=0.4",
        )
    try:
        value = yaml.safe_load(value_text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not YAML: {error}") from error
    _set(raw, key, value)
    return key


def _set(raw: dict[str, Any], key: KeyPath, value: Any) -> None:
    inner = raw
    for part in key[:-1]:
        # Copied on the way down, so that YAML aliases and the caller's mapping stay as they are.
        below = inner.get(part)
        inner[part] = dict(below) if isinstance(below, dict) else {}
        inner = inner[part]
    inner[key[-1]] = value


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
    return f"{_shown(path)}{line}"


def _shown(path: Path) -> Path:
    """The path as a person in this folder would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _resolve(recipe: Recipe) -> Recipe:
    """Apply `models`, forget what has been applied, and expand ``~`` in paths."""
    resolved = _resolve_value(recipe, weights=recipe.models)
    assert isinstance(resolved, Recipe)
    return resolved.model_copy(update={"models": None, "tiny": {}})


def _resolve_value(value: Any, *, weights: str | None) -> Any:
    if isinstance(value, ModelConfig):
        # A config file belongs to the weights that it came with.
        config = value.config if weights is None else None
        return value.model_copy(
            update={
                "weights": _expand(weights or value.weights),
                "config": None if config is None else _expand(config),
            }
        )
    if isinstance(value, Resources) and weights == "tiny":
        return value.model_copy(update={"gpus": 0.0})
    if isinstance(value, BaseModel):
        update = {
            name: _expand(inner)
            if name == "path" and isinstance(inner, str)
            else _resolve_value(inner, weights=weights)
            for name, inner in value
        }
        return value.model_copy(update=update)
    return value


def _expand(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~") else path
