"""A step the way the released trainer makes it (REFERENCE 3.6), on diffusers' model and peft.

Written apart from `imig.contextgen`, whose masks and positions it is compared with: dense masks of
all pairs on PyTorch's own attention, every token of every reference up to the last block, captions
padded to one length, everything in the network's dtype. In its favour, and so that only the model
is compared: captions and pictures are encoded already, the optimizer is ours, and gradients are
clipped without reading the norm of each parameter.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from torch import Tensor, nn

from benchmarks.step_parts.ours import OPTIMIZER
from benchmarks.step_parts.samples import Draw, targets
from benchmarks.step_parts.setup import Setup
from imig.contextgen.adapter import adapter_parameters, add_adapter
from imig.contextgen.sample import EncodedSample
from imig.contextgen.tokens import SampleTokens
from imig.training.optimizer import make_optimizer


class KindOfBlock:
    """diffusers' attention, under the mask of its block's kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._stock = FluxAttnProcessor()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        masks: dict[str, Tensor] | None = None,
    ) -> Any:
        """Called by diffusers' `FluxAttention`; `masks` come with `joint_attention_kwargs`."""
        mask = attention_mask if masks is None else masks[self._kind]
        mixed = self._stock(attn, hidden_states, encoder_hidden_states, mask, image_rotary_emb)
        if isinstance(mixed, Tensor) and mixed.requires_grad:
            # or PyTorch gives cuDNN's plan for these blocks to double ones (`attend` of ours)
            mixed.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]
        return mixed


class ReleasedWay:
    """The released trainer's forward pass and loss.

    Parameters
    ----------
    transformer:
        Frozen, without an adapter.
    checkpointed:
        Recomputes every block in the backward pass, as diffusers does it.
    padded:
        Pads captions, with tokens that every other one sees.
    """

    name = "released"

    def __init__(
        self,
        transformer: Any,
        setup: Setup,
        *,
        checkpointed: bool,
        padded: bool = True,
        seed: int = 0,
    ) -> None:
        weight = next(transformer.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        with self._device:
            add_adapter(transformer, rank=setup.rank, alpha=setup.rank, seed=seed)
        self.transformer, self._setup, self._padded = transformer, setup, padded
        self.parameters: list[nn.Parameter] = list(adapter_parameters(transformer).values())
        for parameter in self.parameters:
            parameter.data = parameter.data.to(self._dtype)
        # double blocks, and the last half of the single ones, have CLA (REFERENCE 3.2)
        first = [
            f"single_transformer_blocks.{n}." for n in range(setup.flux.num_single_layers // 2)
        ]
        transformer.set_attn_processor(
            {
                name: KindOfBlock("ica" if name.startswith(tuple(first)) else "cla")
                for name in transformer.attn_processors
            }
        )
        if checkpointed:
            transformer.enable_gradient_checkpointing()
        self.optimizer = make_optimizer(self.parameters, OPTIMIZER)

    def losses(self, given: Draw) -> Tensor:
        """(b,) float32, with a graph."""
        device, dtype = self._device, self._dtype
        noise, t = given.noise.to(device), given.t.to(device)
        target = targets(given.samples).to(device)
        text = torch.stack([self._text(one) for one in given.samples]).to(device, dtype)
        conditions = torch.stack([_conditions(one) for one in given.samples]).to(device)
        noisy = (1 - t[:, None, None]) * target + t[:, None, None] * noise
        image = torch.cat((noisy, conditions), dim=1).to(dtype)
        pooled = torch.stack([one.text.pooled for one in given.samples]).to(device, dtype)
        (velocity,) = self.transformer(
            hidden_states=image,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=t,
            guidance=torch.ones_like(t),
            img_ids=image_positions(given.samples[0]).to(device),
            txt_ids=torch.zeros(text.shape[1], 3, device=device),
            joint_attention_kwargs={"masks": self._masks(given, text.shape[1])},
            return_dict=False,
        )
        wrong: Tensor = velocity[:, : target.shape[1]].float() - (noise - target)
        return wrong.square().mean(dim=(1, 2))

    def _text(self, sample: EncodedSample) -> Tensor:
        tokens = sample.text.tokens
        if not self._padded:
            return tokens
        return F.pad(tokens, (0, 0, 0, self._setup.padded_text - len(tokens)))

    def _masks(self, given: Draw, text: int) -> dict[str, Tensor]:
        masks = [dense_masks(one, text=text, device=self._device) for one in given.samples]
        return {
            kind: torch.stack([one[number] for one in masks])[:, None]
            for number, kind in enumerate(("cla", "ica"))
        }


def _conditions(sample: EncodedSample) -> Tensor:
    return torch.cat([sample.layout, *(one.latents for one in sample.references)])


def dense_masks(
    sample: EncodedSample | SampleTokens, *, text: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """CLA's and ICA's mask, (length, length) bool each, rows are queries (REFERENCE 3.2)."""
    rows, columns = sample.grid
    trunk = text + 2 * rows * columns
    length = trunk + sum(one.valid.numel() for one in sample.references)
    cla = torch.zeros(length, length, dtype=torch.bool, device=device)
    cla[:trunk, :trunk] = True
    cla[trunk:, :text] = True
    ica = cla.clone()
    hidden, start = [], trunk
    for one in sample.references:
        stop = start + one.valid.numel()
        cla[start:stop, start:stop] = True
        ica[start:stop, start:stop] = True
        x1, y1, x2, y2 = (edge / 16 for edge in one.box)
        inside = torch.zeros(rows, columns, dtype=torch.bool)
        inside[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)] = True
        boxed = (text + inside.flatten().nonzero().flatten()).to(device)
        ica[boxed, start:stop] = True
        hidden.append((start + (~one.valid.flatten()).nonzero().flatten()).to(device))
        start = stop
    for mask in (cla, ica):
        mask[:, torch.cat(hidden)] = False
    return cla, ica


def image_positions(sample: EncodedSample | SampleTokens) -> Tensor:
    """(tokens, 3) float32: those of target, layout and references (REFERENCE 3.3).

    diffusers takes those of one sample for the whole batch; here all samples have the same.
    """
    row, column = sample.grid
    parts = [_positions(sample.grid, 0, (0, 0)), _positions(sample.grid, 1, (0, 0))]
    for one in sample.references:
        height, width = one.valid.shape
        parts.append(_positions((height, width), 1, (row, column)))
        row, column = row + height, column + width
    return torch.cat(parts)


def _positions(grid: tuple[int, int], time: int, start: tuple[int, int]) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = (torch.full_like(rows, time), rows + start[0], columns + start[1])
    return torch.stack(places, dim=-1).flatten(0, 1).float()
