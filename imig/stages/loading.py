"""How a stage comes to its model. The model families are imported in the worker only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from imig.errors import UsageError
from imig.models.protocols import GeneratorSettings
from imig.recipe import ModelConfig, Sampling, StageConfig
from imig.schema import ModelRecord

_shared: ContextVar[dict[ModelConfig, Any] | None] = ContextVar("_shared", default=None)


@contextmanager
def shared_models() -> Iterator[None]:
    """Stages that are set up within the block share the models that are alike in the recipe."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def load_as(
    kind: type[Any], config: ModelConfig, block: StageConfig, *, key: str, task: str
) -> Any:
    """Load a model of a recipe's block, for batches as large as the block says.

    Parameters
    ----------
    kind:
        The protocol of `imig.models.protocols` that the answer obeys. (A type checker takes no
        protocol where it wants a class to make one of, hence Any.)
    key, task:
        Where the model stands in the recipe, and what the stage wants of it: for the message.

    Raises
    ------
    UsageError
        The family is of another kind, or its weights cannot be loaded.
    """
    model = _load(config, batch_size=block.resources.batch_size)
    if not isinstance(model, kind):
        raise UsageError(
            f"{key}: the family {config.family!r} is not a {task}",
            cure="`imig models list` says what each family is",
        )
    return model


def _load(config: ModelConfig, *, batch_size: int) -> Any:
    from imig.models.batched import Batched
    from imig.models.registry import load_model

    loaded = _shared.get()
    model = None if loaded is None else loaded.get(config)
    if isinstance(model, Batched):
        return model.with_batch_size(batch_size)
    if model is None:
        model = load_model(config, batch_size=batch_size)
    if loaded is not None:
        loaded[config] = model
    return model


def record_of(config: ModelConfig) -> ModelRecord:
    """The manifest's record of a model, without loading it."""
    from imig.models.registry import model_record

    return model_record(config)


def generator_settings(sampling: Sampling) -> GeneratorSettings:
    """A recipe's `sampling` for a generator."""
    return GeneratorSettings(steps=sampling.steps, guidance=sampling.guidance)
