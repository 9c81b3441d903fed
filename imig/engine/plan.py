"""The plan of a build: checked and printed before any model is loaded or Ray is started."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from imig.endpoint.endpoint import FAMILY as ENDPOINT_FAMILY
from imig.engine.groups import Group, StageLoad, group_stages
from imig.engine.machine import Machine
from imig.engine.plan_checks import check_figures, check_inputs, check_subset_stages
from imig.engine.plan_source import SceneSource, check_missing, check_output
from imig.errors import DataError, ImigError, UsageError
from imig.models.families import FAMILIES
from imig.models.outside import is_outside, require_methods
from imig.models.protocols import TASKS
from imig.models.weights import ResolvedWeights, find_family, resolve_weights
from imig.recipe.file import LoadedRecipe
from imig.recipe.parts import EndpointConfig, ModelConfig, Resources
from imig.schema import ModelRecord, SkippedStage
from imig.shards.names import shard_name
from imig.stages.base import ModelUse, Stage, model_uses
from imig.stages.sources.base import SourceError
from imig.stores.path import OutputPath
from imig.stores.places import output_folder


@dataclass(frozen=True)
class Step:
    """A stage and what its workers take."""

    stage: Stage
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class PlannedModel:
    """A model of the recipe and where its weights are."""

    key: str
    """In the recipe, e.g. ``ground.model``."""
    config: ModelConfig
    weights: ResolvedWeights


@dataclass(frozen=True)
class Plan:
    """What a build will do."""

    loaded: LoadedRecipe
    steps: tuple[Step, ...]
    """The first one is the source."""
    models: tuple[PlannedModel, ...]
    scenes: int
    output: OutputPath
    skipped: tuple[SkippedStage, ...] = ()
    """Stages that do nothing on this machine."""

    @property
    def source(self) -> SceneSource:
        return cast(SceneSource, self.steps[0].stage)

    def groups(self, machine: Machine) -> list[Group]:
        """Which stages share workers, and how many there are of each kind."""
        engine = self.loaded.recipe.engine
        return group_stages(self.loads, fuse=engine.fuse, machine=machine, blocks=self.blocks)

    @cached_property
    def loads(self) -> list[StageLoad]:
        """What each stage asks of its workers."""
        return [
            StageLoad(
                name=step.stage.name,
                resources=step.resources,
                models={
                    one.config: sum(path.stat().st_size for path in one.weights.files)
                    for one in self.models
                    if one.key.startswith(f"{step.stage.key}.")
                },
                asks_server=any(one.family == ENDPOINT_FAMILY for one in step.stage.models()),
            )
            for step in self.steps
        ]

    @property
    def block_size(self) -> int:
        return self.loaded.recipe.engine.block_size

    @property
    def blocks(self) -> int:
        return -(-self.scenes // self.block_size)

    @property
    def blocks_per_shard(self) -> int:
        return -(-self.loaded.recipe.write.scenes_per_shard // self.block_size)

    @property
    def shards(self) -> int:
        """Shards that the input covers; one that keeps no sample is not written."""
        return -(-self.blocks // self.blocks_per_shard)

    def block_range(self, block: int) -> tuple[int, int]:
        """First scene of a block, and the one after its last."""
        start = block * self.block_size
        return start, min(start + self.block_size, self.scenes)

    def shard_blocks(self, shard: int) -> range:
        """The blocks of a shard."""
        start = shard * self.blocks_per_shard
        return range(start, min(start + self.blocks_per_shard, self.blocks))

    def shard_name(self, shard: int) -> str:
        return shard_name(self.loaded.recipe.subset, shard)

    @cached_property
    def model_records(self) -> list[ModelRecord]:
        """All models, each once, in the order of the stages."""
        records = [record for step in self.steps for record in step.stage.models()]
        return list({record.model_dump_json(): record for record in records}.values())


def make_plan(loaded: LoadedRecipe, *, output: str | OutputPath, limit: int | None = None) -> Plan:
    """Plan a recipe's build.

    Raises
    ------
    UsageError
        The output is no path of this machine, or lies where the source does. A stage reads what
        nobody writes, a family is unknown, weights are missing, or the source has nothing; names
        the recipe line and the cure.
    DataError
        None of the source's pictures can be opened, or more are missing than the build would bear.
    """
    from imig.recipe.stages import build_stages

    folder = output_folder(output)
    try:
        stages = build_stages(loaded.recipe, output=folder if isinstance(folder, Path) else None)
    except SourceError as error:
        raise _located_source(loaded, error) from error
    skipped = tuple(_skipped(loaded, stages))
    check_subset_stages(loaded)
    check_figures(loaded)
    models = tuple(_find_models(loaded, stages, without={one.stage for one in skipped}))
    steps = tuple(Step(stage, stage.config.resources) for stage in stages)
    check_inputs(loaded, stages)
    source = cast(SceneSource, stages[0])
    try:
        count = source.count()
        check_output(source, folder)
        scenes = count if limit is None else min(count, limit)
        check_missing(source, scenes=scenes, limit=loaded.recipe.engine.max_error_rate)
    except (UsageError, DataError) as error:
        raise _located_source(loaded, error) from error
    return Plan(
        loaded=loaded,
        steps=steps,
        models=models,
        scenes=scenes,
        output=folder,
        skipped=skipped,
    )


def _skipped(loaded: LoadedRecipe, stages: Sequence[Stage]) -> Iterator[SkippedStage]:
    for stage in stages:
        try:
            reason = stage.skipped()
        except UsageError as error:
            raise _located(loaded, stage.key, error) from error
        if reason is not None:
            yield SkippedStage(stage=stage.name, reason=reason)


def _find_models(
    loaded: LoadedRecipe, stages: Sequence[Stage], *, without: Container[str]
) -> Iterator[PlannedModel]:
    """Where the weights are, but for stages that are skipped."""
    for stage in stages:
        for use in model_uses(stage.config):
            if isinstance(use.config, EndpointConfig):
                continue
            key = f"{stage.key}.{use.field}"
            _check_family(loaded, key, use)
            if stage.name in without:
                continue
            try:
                weights = resolve_weights(use.config)
            except UsageError as error:
                raise _located(loaded, f"{key}.weights", error) from error
            yield PlannedModel(key=key, config=use.config, weights=weights)


def _check_family(loaded: LoadedRecipe, key: str, use: ModelUse) -> None:
    assert isinstance(use.config, ModelConfig)
    try:
        tasks = find_family(use.config.family).tasks
        if TASKS[use.protocol] in tasks and is_outside(use.config.family):
            require_methods(use.config.family, use.protocol)
    except UsageError as error:
        raise _located(loaded, f"{key}.family", error) from error
    wanted = TASKS[use.protocol]
    if wanted not in tasks:
        fitting = sorted(family.name for family in FAMILIES.values() if wanted in family.tasks)
        raise UsageError(
            f"{loaded.where(key + '.family')}: {key} must {wanted}, and the family "
            f"{use.config.family!r} is there to {', '.join(tasks)}",
            cure=f"one of {', '.join(fitting)}",
        )


def _located(loaded: LoadedRecipe, key: str, error: ImigError) -> ImigError:
    kind = UsageError if isinstance(error, UsageError) else DataError
    return kind(f"{loaded.where(key)}: {error.message}", cure=error.cure)


def _located_source(loaded: LoadedRecipe, error: ImigError) -> ImigError:
    key = error.key if isinstance(error, SourceError) else "source.path"
    return _located(loaded, key, error)
