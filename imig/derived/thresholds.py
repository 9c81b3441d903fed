"""The thresholds of a finished dataset: those it was built with, and those it is filtered with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from imig.duplicates.config import DuplicatesConfig
from imig.errors import UsageError
from imig.recipe.errors import explain_validation_error
from imig.recipe.identity import merged_recipes, stored_recipe_to_sha256
from imig.recipe.values import to_values
from imig.recipe.yaml_lines import Written, parse_setting
from imig.schema import INSTANCE_BOUNDS, SCENE_BOUNDS, FigureBound
from imig.stages.filter import FilterConfig
from imig.stages.verdict import Measured, box_area
from imig.stages.verdict_views import best_face, lowest_dino

_Block = TypeVar("_Block", bound=BaseModel)
_BLOCKS: Final[dict[str, type[BaseModel]]] = {
    "filter": FilterConfig,
    "duplicates": DuplicatesConfig,
}
_OPEN: Final = {
    "min_instances": 1,
    "max_instances": 1_000_000,
    "min_box_area": 0.0,
    "min_mask_coverage": 0.0,
    "max_duplicate_iou": 1.0,
}
"""A filter that no instance fails: where a dataset was not filtered, or its parts differently."""


@dataclass(frozen=True)
class Threshold:
    """A key of the recipe's block `filter` that figures are compared with."""

    key: str
    at_least: bool
    """Larger is stricter; else smaller is."""
    figures: Callable[[Measured], Iterable[float | None]]
    """Of a scene: what is compared; None where it was not computed."""


def _of_instances(figure: Callable[[Any], float | None]) -> Callable[[Measured], Iterator[Any]]:
    return lambda measured: (figure(one) for one in measured.scene.instances)


def _of_scene(one: FigureBound) -> Threshold:
    return Threshold(
        one.key, one.bound.at_least, lambda measured: [one.figure.of(measured.scene.scores)]
    )


def _of_instance(one: FigureBound) -> Threshold:
    return Threshold(
        one.key, one.bound.at_least, _of_instances(lambda each: one.figure.of(each.scores))
    )


def _box_areas(measured: Measured) -> Iterator[float]:
    pixels = measured.scene.width * measured.scene.height
    return (box_area(one) / pixels for one in measured.scene.instances)


def _mask_coverages(measured: Measured) -> Iterator[float | None]:
    yield from measured.mask_coverage
    for instance in measured.scene.instances:
        yield from (one.coverage for one in instance.references if one.kind in ("edit", "source"))


def _identity_similarities(measured: Measured) -> Iterator[float]:
    for instance in measured.scene.instances:
        row = instance.scores.identity_similarity or []
        yield from (value for other, value in enumerate(row) if other != instance.index)


def _overlaps(measured: Measured) -> Iterator[float]:
    for row in range(len(measured.scene.instances)):
        yield from measured.overlap[row, :row].tolist()


THRESHOLDS: Final = (
    Threshold("dino", True, _of_instances(lowest_dino)),
    Threshold("face", True, _of_instances(best_face)),
    *map(_of_instance, INSTANCE_BOUNDS),
    Threshold(
        "min_grounding_score",
        True,
        _of_instances(lambda one: None if one.grounding is None else one.grounding.score),
    ),
    Threshold("min_box_area", True, _box_areas),
    Threshold("min_mask_coverage", True, _mask_coverages),
    Threshold("max_identity_similarity", False, _identity_similarities),
    Threshold("max_duplicate_iou", False, _overlaps),
    *map(_of_scene, SCENE_BOUNDS),
    Threshold("min_instances", True, lambda measured: [len(measured.scene.instances)]),
    Threshold("max_instances", False, lambda measured: [len(measured.scene.instances)]),
)


@dataclass(frozen=True)
class NewThresholds:
    """What a dataset is filtered with, and what it was built with."""

    filter: FilterConfig
    duplicates: DuplicatesConfig | None
    built: FilterConfig | None
    """None: not filtered, or its parts differently."""
    settings: dict[str, Any]
    """What was asked for, by key."""

    def recipe(self, old: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The recipe with these thresholds, and its hash."""
        blocks: dict[str, Any] = {"filter": self.filter.model_dump(mode="json")}
        if self.duplicates is not None:
            blocks["duplicates"] = self.duplicates.model_dump(mode="json")
        return {**old, **blocks}, stored_recipe_to_sha256({**old, **blocks})

    def looser(self) -> Iterator[str]:
        """Thresholds that let through what the build turned down, in words."""
        if self.built is None:
            return
        for one in THRESHOLDS:
            old, new = getattr(self.built, one.key), getattr(self.filter, one.key)
            if _is_looser(one, old=old, new=new):
                yield f"filter.{one.key}: {_shown(new)}, built with {_shown(old)}"
        if self.built.agreement and not self.filter.agreement:
            yield "filter.agreement: false, built with true"


def new_thresholds(recipe: dict[str, Any], overrides: Sequence[str]) -> NewThresholds:
    """The blocks `filter` and `duplicates` of a manifest's recipe, with `--set` applied.

    Raises
    ------
    UsageError
        An override names something else, or a value is wrong.
    """
    built = _common_block(recipe, "filter")
    values: dict[str, Any] = {"filter": dict(_OPEN if built is None else built)}
    duplicates = _common_block(recipe, "duplicates")
    if duplicates is not None:
        values["duplicates"] = dict(duplicates)
    settings: dict[str, Any] = {}
    for text in overrides:
        block, key, word = _parse(text)
        field = _BLOCKS[block].model_fields.get(key)
        value = to_values(word, Any if field is None else field.annotation)
        values.setdefault(block, {})[key] = value
        settings[f"{block}.{key}"] = value
    return NewThresholds(
        filter=_validate(FilterConfig, "filter", values["filter"]),
        duplicates=(
            _validate(DuplicatesConfig, "duplicates", values["duplicates"])
            if "duplicates" in values
            else None
        ),
        built=None if built is None else _validate(FilterConfig, "filter", built),
        settings=settings,
    )


def _common_block(recipe: dict[str, Any], block: str) -> dict[str, Any] | None:
    """The block of the recipe; where datasets were merged, the one that all of them have."""
    if recipe.get(block) is not None:
        return dict(recipe[block])
    blocks = [one.get(block) for one in merged_recipes(recipe)]
    return dict(blocks[0]) if blocks[0] and all(one == blocks[0] for one in blocks) else None


def _parse(text: str) -> tuple[str, str, Written]:
    name, separator, value = text.partition("=")
    block, _, key = name.strip().partition(".")
    if not separator:
        raise UsageError(
            f"--set {text}: not of the form a.b=value", cure="for example --set filter.dino=0.85"
        )
    if block not in _BLOCKS or not key:
        raise UsageError(
            f"--set {text}: only keys below filter. and duplicates. can change here; the others "
            "decide how scenes were made, and they are made",
            cure="for example --set filter.dino=0.85; `imig build` builds anew with another recipe",
        )
    if key.partition(".")[0] == "resources":
        raise UsageError(f"--set {text}: nothing runs on workers here", cure="leave it out")
    return block, key, parse_setting(value, setting=f"--set {text}")


def _validate(kind: type[_Block], name: str, values: dict[str, Any]) -> _Block:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        key, message, cure = explain_validation_error(error, values, kind)
        place = ".".join((name, *key))
        message = message.removeprefix(key[-1] if key else "").removeprefix(": ")
        raise UsageError(f"{place}: {message}", cure=cure) from error


def _is_looser(threshold: Threshold, *, old: float | None, new: float | None) -> bool:
    if threshold.key == "face":
        # Without it no face stands in for anything: null is the strictest.
        return new is not None and (old is None or new < old)
    if old is None:
        return False
    return new is None or (new < old if threshold.at_least else new > old)


def _shown(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"
