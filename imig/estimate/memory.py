"""What a stage's worker keeps in a GPU's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from imig.estimate.networks import counted
from imig.estimate.passes import StageCost

CONTEXT_BYTES: Final = 500_000_000
"""Assumed: what CUDA and its libraries take of the GPU for each process."""
TRANSFER: Final = 25e9
"""Assumed: bytes a second between the machine's memory and the GPU (PCIe 4.0 x16 has 32e9)."""


@dataclass(frozen=True)
class StageMemory:
    """Bytes of a worker, by what they are."""

    weights: int
    """All of its networks, as imig keeps them."""
    largest_network: int
    """With `offload: model` the rest waits in the machine's memory."""
    largest_layer: int
    """With `offload: sequential`."""
    activations: int
    """Estimate: intermediate results that live at once, of the network that has most."""

    def resident(self, offload: str) -> int:
        """Weights on the GPU."""
        return {
            "none": self.weights,
            "model": self.largest_network,
            "sequential": self.largest_layer,
        }[offload]

    def worker(self, offload: str) -> int:
        """All of it: an estimate."""
        return self.resident(offload) + self.activations + CONTEXT_BYTES


def stage_memory(stage: StageCost) -> StageMemory:
    """The memory of a worker of a stage."""
    counts = [counted(name) for name in stage.networks]
    own = [one.weight_bytes for one in counts] or [stage.uncounted_bytes]
    layers = [one.largest_layer * one.bytes_each for one in counts] or own
    return StageMemory(
        weights=sum(own),
        largest_network=max(own),
        largest_layer=max(layers),
        activations=max((one.activation_bytes for one in stage.passes), default=0),
    )


def with_batch(stage: StageCost, batch: int | None) -> StageCost:
    """The stage with another batch size; None leaves its own.

    What is run one by one whatever the batch size says, stays so.
    """
    own = stage.batch_size
    if batch is None or own == batch:
        return stage
    return replace(
        stage,
        batch_size=batch,
        resources=stage.resources.model_copy(update={"batch_size": batch}),
        passes=tuple(
            replace(one, batch=batch) if one.batch == own else one for one in stage.passes
        ),
        pictures_at_once=batch if stage.pictures_at_once == own else stage.pictures_at_once,
    )


def transfer_seconds(stage: StageCost, offload: str) -> float:
    """Seconds a scene in which offloaded weights travel, where nothing else goes on meanwhile.

    `model`: every network comes and goes once a batch. `sequential`: the largest network comes once
    a step, the others once a batch; nothing goes back.
    """
    if offload == "none" or not stage.generator:
        return 0.0
    memory = stage_memory(stage)
    if offload == "model":
        moved = 2 * memory.weights
    else:
        moved = memory.weights + (stage.steps - 1) * memory.largest_network
    return moved * stage.pictures / stage.pictures_at_once / TRANSFER
