"""Stand-ins for the trainer's tests: a made-up network of two parameters, and batches for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imig.contextgen.batch import ModelBatch, make_batch
from imig.contextgen.sample import EncodedSample, TextEmbedding
from imig.contextgen.settings import AttentionConfig


class FakeContextGen(nn.Module):
    """Not ContextGen: velocity = scale * x_t + shift * t. Enough to compute losses by hand."""

    def __init__(self, *, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.shift = nn.Parameter(torch.tensor(shift))
        self.seen: list[tuple[Tensor, Tensor, float, bool]] = []
        """(noisy, t, guidance, gradients on) of each call."""

    def forward(self, batch: ModelBatch, *, noisy: Tensor, t: Tensor, guidance: float) -> Tensor:
        self.seen.append((noisy.detach(), t, guidance, torch.is_grad_enabled()))
        return self.scale * noisy + self.shift * t[:, None, None]


def encoded_samples(
    count: int = 2, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> list[EncodedSample]:
    """Samples of 2 x 3 tokens with 4 channels, random targets and layouts, no references."""
    generator = torch.Generator().manual_seed(seed)
    return [
        EncodedSample(
            id=f"basic-{number:08d}",
            text=TextEmbedding(torch.randn(3, 8, generator=generator), torch.zeros(5)),
            grid=(2, 3),
            layout=torch.randn(6, 4, generator=generator).to(dtype),
            references=(),
            target=torch.randn(6, 4, generator=generator).to(dtype),
        )
        for number in range(count)
    ]


def small_batch(count: int = 2, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> ModelBatch:
    """A batch of `encoded_samples`."""
    return make_batch(encoded_samples(count, seed=seed, dtype=dtype), attention=AttentionConfig())


class FakeAdapted(nn.Module):
    """Not FLUX: two frozen layers, each with a trainable low-rank pair; odd numbers of rows."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = FakeAdaptedLayer(6, 5, generator=generator)
        self.second = FakeAdaptedLayer(5, 3, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.tanh(self.first(x)))
        return y


class FakeAdaptedLayer(nn.Module):
    """A layer of `FakeAdapted`; rank 3."""

    def __init__(self, inputs: int, outputs: int, *, generator: torch.Generator) -> None:
        super().__init__()
        base = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        self.base = nn.Parameter(base, requires_grad=False)
        self.down = nn.Parameter(torch.randn(3, inputs, generator=generator) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.base + self.up @ self.down).T


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a training changes, by name."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}
