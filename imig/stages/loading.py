"""How a stage comes to its model. The model families are imported in the worker only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from imig.errors import UsageError
from imig.models.protocols import TASKS, Captioner, PictureAnswerer, Resizable
from imig.recipe.parts import EndpointConfig, ModelConfig
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


def load_as(protocol: type[Any], config: ModelConfig, *, key: str, batch_size: int) -> Any:
    """Load a model of a recipe's block.

    Parameters
    ----------
    protocol:
        The one of `imig.models.protocols` that the answer obeys.
    key:
        Where the model stands in the recipe, for the message.
    batch_size:
        Images that go through the network at once, at most.

    Raises
    ------
    UsageError
        The family is of another kind, or its weights cannot be loaded.
    """
    model = _load(config, batch_size=batch_size)
    if not isinstance(model, protocol):
        raise UsageError(
            f"{key}: the family {config.family!r} is not there to {TASKS[protocol]}",
            cure="`imig models list` says what each family is",
        )
    return model


def connect(protocol: type[Any], config: EndpointConfig, *, key: str, clients: int) -> Any:
    """A model behind a server, which obeys `protocol`; `clients` workers ask it at once."""
    if protocol is PictureAnswerer:
        from imig.endpoint.answers import EndpointAnswerer

        return EndpointAnswerer(config, name=key, clients=clients)
    if protocol is Captioner:
        from imig.endpoint.captions import EndpointCaptioner

        return EndpointCaptioner(config, name=key, clients=clients)
    raise UsageError(f"{key}: no server is asked to {TASKS[protocol]}")


def grounds_masks(config: ModelConfig) -> bool:
    """Whether the model gives a mask with each box; known without loading it.

    False for a family that there is not: the plan says what is wrong with it.
    """
    from imig.models.weights import find_family

    try:
        return find_family(config.family).grounds_masks
    except UsageError:
        return False


def record_of(config: ModelConfig | EndpointConfig) -> ModelRecord:
    """The manifest's record of a model, without loading it."""
    if isinstance(config, EndpointConfig):
        from imig.endpoint.endpoint import endpoint_record

        return endpoint_record(config)
    from imig.models.registry import model_record

    return model_record(config)


def _load(config: ModelConfig, *, batch_size: int) -> Any:
    from imig.models.registry import load_model

    loaded = _shared.get()
    model = None if loaded is None else loaded.get(config)
    if isinstance(model, Resizable):
        return model.with_batch_size(batch_size)
    if model is None:
        model = load_model(config, batch_size=batch_size)
    if loaded is not None:
        loaded[config] = model
    return model
