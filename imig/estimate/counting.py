"""Count a network without its weights: operations and live memory of a forward pass on `meta`.

Tensors on torch's `meta` device have a shape and no values, so a network of any size costs no
memory and runs in seconds.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

Run = Callable[[], object]


@contextmanager
def on_meta() -> Iterator[None]:
    """Everything that is made inside is on `meta`, without gradients.

    Some models check the values of what they were given, which `meta` has not: such checks pass.
    """
    unchecked = mock.patch("torch._check_tensor_all_with", return_value=None)
    with torch.device("meta"), torch.no_grad(), unchecked:
        yield


def build(make: Callable[[], Any], *, dtype: torch.dtype) -> Any:
    """A network for inference on `meta`."""
    with on_meta(), _without_warnings():
        # a few parameters are made on the CPU whatever the default device is
        return make().eval().requires_grad_(False).to(device="meta", dtype=dtype)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """diffusers says of each network that it had better be loaded than converted."""
    logger = logging.getLogger("diffusers.models.modeling_utils")
    logger.addFilter(_nothing)  # its import, which may come only now, sets the level anew
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def count_parameters(module: nn.Module) -> int:
    """Numbers in all parameters, shared ones once."""
    return sum(one.numel() for one in module.parameters())


def largest_layer(module: nn.Module) -> int:
    """Numbers in the parameters of the largest module that has no modules inside."""
    return max(
        sum(one.numel() for one in part.parameters(recurse=False)) for part in module.modules()
    )


def count_operations(run: Run) -> int:
    """Floating point operations (two a multiply-add) of matrix products and convolutions.

    Attention counts whole, masked pairs included: on `meta` torch's fused attention falls apart
    into two matrix products, which the counter sees.
    """
    with on_meta(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def peak_bytes(run: Run) -> int:
    """Bytes of the intermediate results that live at the same time, at most.

    Weights are not among them, and fused attention makes no table of pairs. What an allocator, CUDA
    and its libraries need on top is not seen here: an estimate.
    """
    fused = mock.patch("torch.nn.functional.scaled_dot_product_attention", _fused_attention)
    with on_meta(), fused, _LiveBytes() as live:
        run()
    peak: int = live.peak
    return peak


def _fused_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations make, until they are let go.

    A storage that an operation only passes on, such as a weight, is none that it made.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        given = {_key(one) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, Tensor) and _key(one) not in given:
                self._add(one)
        return result

    def _add(self, tensor: Tensor) -> None:
        key = _key(tensor)
        if key in self._live:
            return
        storage = tensor.untyped_storage()
        self._live[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self._now -= self._live.pop(key, 0)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
