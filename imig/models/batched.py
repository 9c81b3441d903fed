"""What families have in common: their two arguments, and batches of a size of one's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights found on this disk; the first argument of every family's class."""

    family: str
    weights: str
    """As the recipe has it."""
    path: Path
    """The weight file, or the folder with weights, configuration and processor."""
    files: tuple[Path, ...]
    """The weight files themselves."""
    revision: str
    """Hub commit, or the first 12 digits of the sha256 of the weight files (of their code, for a
    program)."""
    config: str | None = None
    """The recipe's `config`, for families whose weights come without one."""

    @property
    def name(self) -> str:
        """family:weights@revision, as recorded in scenes and manifest."""
        weights = self.weights.split("@")[0]
        return f"{self.family}:{weights}@{self.revision}"


@dataclass(frozen=True)
class Runtime:
    """Where and how a family runs; the second argument of every family's class."""

    device: torch.device
    dtype: torch.dtype
    """Of the weights, where the family leaves a choice."""
    batch_size: int
    """Pictures, or captions, that go through a network at once, at most."""
    offload: Literal["none", "model", "sequential"] = "none"
    """See `imig.recipe.parts.ModelConfig`; only for families that take it."""
    automatic: bool = False
    """Whether the recipe leaves the device to imig (`device: auto`): a family whose library cannot
    use the GPU runs on the CPU then."""


class Batched:
    """A family whose networks see at most so many pictures, or captions, at once."""

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        self.name = weights.name
        self._family = weights.family
        self._device = runtime.device
        self._dtype = runtime.dtype
        self._batch_size = runtime.batch_size

    def with_batch_size(self, batch_size: int) -> Self:
        """The same networks, for batches of another size: nothing is loaded again."""
        twin = copy.copy(self)
        twin._batch_size = batch_size
        return twin
