"""How a stage comes to its model. The model families are imported in the worker only."""

from __future__ import annotations

from imig.errors import UsageError
from imig.models.protocols import GeneratorSettings, Model
from imig.recipe import ModelConfig, Sampling, StageConfig
from imig.schema import ModelRecord


def load(config: ModelConfig, block: StageConfig) -> Model:
    """Load a model of a recipe's block, for batches as large as the block says."""
    from imig.models.registry import load_model

    return load_model(config, batch_size=block.resources.batch_size)


def record_of(config: ModelConfig) -> ModelRecord:
    """The manifest's record of a model, without loading it."""
    from imig.models.registry import model_record

    return model_record(config)


def wrong_family(config: ModelConfig, *, key: str, task: str) -> UsageError:
    """What to raise when the family named under `key` cannot do the stage's task."""
    return UsageError(
        f"{key}: the family {config.family!r} is not a {task}",
        cure="`imig models list` says what each family is",
    )


def generator_settings(sampling: Sampling) -> GeneratorSettings:
    """A recipe's `sampling` for a generator."""
    return GeneratorSettings(steps=sampling.steps, guidance=sampling.guidance)
