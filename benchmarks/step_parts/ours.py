"""A step as `imig train` makes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.step_parts.samples import Draw
from benchmarks.step_parts.setup import Setup
from imig.contextgen.adapter import adapter_parameters, add_adapter
from imig.contextgen.batch import make_batch
from imig.contextgen.model import ContextGen
from imig.contextgen.settings import AttentionConfig
from imig.training.objective import flow_loss
from imig.training.optimizer import make_optimizer
from imig.training.recipe import OptimizerConfig

OPTIMIZER = OptimizerConfig(kind="prodigy", slice_p=11)
"""Of `pipelines/train-kontext.yaml`; for both ways, so that it makes no difference."""
ATTENTION = AttentionConfig()


class OurWay:
    """Both reductions, captions at their own length, block masks on a GPU, adapter in float32.

    Parameters
    ----------
    transformer:
        Frozen, without an adapter.
    compiled:
        Compiles the blocks, where they are on a GPU.
    """

    name = "ours"

    def __init__(
        self,
        transformer: Any,
        setup: Setup,
        *,
        checkpoint_blocks: float,
        compiled: bool = False,
        seed: int = 0,
    ) -> None:
        weight = next(transformer.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        with self._device:  # peft would draw 2 billion numbers on the CPU
            add_adapter(transformer, rank=setup.rank, alpha=setup.rank, seed=seed)
        self.model = ContextGen(
            transformer, attention=ATTENTION, checkpoint_blocks=checkpoint_blocks
        )
        if compiled and self._device.type == "cuda":
            self.model.compile_blocks()
        self.parameters: list[nn.Parameter] = list(adapter_parameters(transformer).values())
        self.optimizer = make_optimizer(self.parameters, OPTIMIZER)

    def losses(self, given: Draw) -> Tensor:
        """(b,) float32, with a graph."""
        batch = make_batch(given.samples, attention=ATTENTION).to(self._device, self._dtype)
        reduced = self._dtype == torch.bfloat16
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=reduced):
            return flow_loss(
                self.model,
                batch,
                noise=given.noise.to(self._device),
                t=given.t.to(self._device),
                guidance=1.0,
            )
