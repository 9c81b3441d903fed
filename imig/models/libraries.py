"""The large libraries, each imported when something of it is first used.

Every command that plans reads the table of families, and must not wait for PyTorch. A family writes
``from imig.models.libraries import torch`` and goes on as if that were the library itself; only in
the body of its module and of its class must nothing of it be used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import diffusers as diffusers
    import open_clip as open_clip
    import torch as torch
    import transformers as transformers
else:

    class _Library(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self.__name__), name)

    diffusers = _Library("diffusers")
    open_clip = _Library("open_clip")
    torch = _Library("torch")
    transformers = _Library("transformers")

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def inference_mode(method: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """`torch.inference_mode()` as a decorator that does not import torch."""

    @wraps(method)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        with torch.inference_mode():
            return method(*args, **kwargs)

    return call
