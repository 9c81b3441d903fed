"""ContextGen on diffusers' FLUX: stock blocks, each under its mask, references only where read.

The forward pass is our own because the references leave the sequence in the middle of the network
(REFERENCE 3.6a, 2), which no hook of diffusers allows; everything that it calls is diffusers'.
"""

from __future__ import annotations

from typing import Any

import torch
import torch._dynamo
import torch.fx.experimental._config
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from imig.contextgen.attention import MaskedFluxAttention, Rotary
from imig.contextgen.batch import ModelBatch
from imig.contextgen.settings import AttentionConfig
from imig.contextgen.visibility import Kind, Mask, attention_mask

RECOMPILE_LIMIT = 64


def block_kinds(blocks: int, ica: str) -> list[Kind]:
    """Which of the blocks, double then single, has ICA: `middle`, `first`, `last`, `all`, `none`.

    Thirds of all blocks: of FLUX's 19 + 38 the middle third is single blocks 0-18 (REFERENCE 3.2).
    """
    first, second = blocks // 3, blocks - blocks // 3
    start, end = {
        "first": (0, first),
        "middle": (first, second),
        "last": (second, blocks),
        "all": (0, blocks),
        "none": (0, 0),
    }[ica]
    return ["ica" if start <= block < end else "cla" for block in range(blocks)]


class ContextGen(nn.Module):
    """Predicts the velocity of the target's tokens.

    Parameters
    ----------
    transformer:
        Its attention processors are replaced.
    attention:
        Which block sees what, and the two exact reductions.
    checkpoint_blocks:
        Share of the blocks, evenly spread, that are recomputed in the backward pass.
    """

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        *,
        attention: AttentionConfig,
        checkpoint_blocks: float = 0.0,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.attention = attention
        self.checkpoint_blocks = checkpoint_blocks
        self.compiled = False
        transformer.set_attn_processor(MaskedFluxAttention())
        self.kinds = block_kinds(len(self.blocks), attention.ica)

    @property
    def blocks(self) -> list[nn.Module]:
        """Double blocks, then single blocks."""
        flux = self.transformer
        return [*flux.transformer_blocks, *flux.single_transformer_blocks]

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Compile the blocks (torch.compile); those of a kind share it, for all lengths.

        Checkpointing stays outside of a compiled block.
        """
        # With and without mask and gradients, one sample or several, DPO's reference: more ways
        # than the 8 after which PyTorch would run a block uncompiled.
        torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
        # Or captions as long as a head is wide would be taken for something that never changes.
        torch.fx.experimental._config.use_duck_shape = False
        for block in self.blocks:
            block.compile(dynamic=True, backend=backend)
        self.compiled = True

    def references_leave_before(self) -> int:
        """The number of the first block that runs without references."""
        if not self.attention.drop_references:
            return len(self.kinds)
        return max((i + 1 for i, kind in enumerate(self.kinds) if kind == "ica"), default=0)

    def forward(
        self, batch: ModelBatch, *, noisy: Tensor, t: Tensor, guidance: float = 1.0
    ) -> Tensor:
        """Velocity (b, n, c) float32 of the target tokens.

        Parameters
        ----------
        noisy:
            (b, n, c) x_t of the target tokens.
        t:
            (b,) float32 in [0, 1]; 1 is pure noise.
        guidance:
            Given to models that were distilled with guidance, not used by others.
        """
        flux: Any = self.transformer
        tokens = batch.tokens
        dtype = batch.conditions.dtype
        image = flux.x_embedder(torch.cat((noisy.to(dtype), batch.conditions), dim=1))
        text = flux.context_embedder(batch.text)
        if self.compiled:
            text, image = map(_like_what_blocks_give, (text, image))
        time = self._embed_time(t, guidance, batch.pooled)
        leave = self.references_leave_before()
        masks = self._masks(batch, leave)
        rotary = self._rotary(tokens.positions)
        for number, block in enumerate(self.blocks):
            if number == leave and tokens.length > tokens.trunk:
                tokens = tokens.first(tokens.trunk)
                image = image[:, : tokens.trunk - tokens.text]
                cosines, sines = (one[:, : tokens.trunk] for one in rotary)
                if self.compiled:
                    image, cosines, sines = map(_own, (image, cosines, sines))
                rotary = cosines, sines
            mask = masks["trunk" if number >= leave else self.kinds[number]]
            text, image = self._run_block(number, block, image, text, time, rotary, mask)
        target = flux.norm_out(image[:, : tokens.target], time)
        velocity: Tensor = flux.proj_out(target)
        return velocity.float()

    def _embed_time(self, t: Tensor, guidance: float, pooled: Tensor) -> Tensor:
        flux: Any = self.transformer
        # float32 up to the sinusoids: bfloat16 has 3 digits, and t is multiplied by 1000
        steps = t.float() * 1000
        if flux.config.guidance_embeds:
            strength = torch.full_like(steps, guidance * 1000)
            embedded: Tensor = flux.time_text_embed(steps, strength, pooled)
        else:
            embedded = flux.time_text_embed(steps, pooled)
        return embedded

    def _masks(self, batch: ModelBatch, leave: int) -> dict[str, Mask]:
        """A mask for each kind of block that there is."""
        variant = self.attention.variant
        masks: dict[str, Mask] = {
            kind: attention_mask(batch.tokens, kind=kind, variant=variant)
            for kind in sorted(set(self.kinds[:leave]))
        }
        if leave < len(self.kinds):
            trunk = batch.tokens.first(batch.tokens.trunk)
            masks["trunk"] = attention_mask(trunk, kind="cla", variant=variant)
        return masks

    def _rotary(self, positions: Tensor) -> Rotary:
        """`FluxPosEmbed` takes the indices of one sample: flatten the batch, embed, and split."""
        flux: Any = self.transformer
        cosines, sines = flux.pos_embed(positions.flatten(0, 1))
        return cosines.unflatten(0, positions.shape[:2]), sines.unflatten(0, positions.shape[:2])

    def _run_block(
        self,
        number: int,
        block: nn.Module,
        image: Tensor,
        text: Tensor,
        time: Tensor,
        rotary: Rotary,
        mask: Mask,
    ) -> tuple[Tensor, Tensor]:
        arguments = (image, text, time, rotary, {"mask": mask})
        if torch.is_grad_enabled() and is_checkpointed(number, self.checkpoint_blocks):
            result = checkpoint(block, *arguments, use_reentrant=False)
        else:
            result = block(*arguments)
        text, image = result
        return (_own(text), _own(image)) if self.compiled else (text, image)


def _own(states: Tensor) -> Tensor:
    """The same in memory of its own: a block would be compiled once more for each kind of view."""
    return states.clone(memory_format=torch.contiguous_format)


def _like_what_blocks_give(states: Tensor) -> Tensor:
    """With a gradient where there are some, or the first block would be compiled for itself."""
    return _own(states.requires_grad_() if torch.is_grad_enabled() else states)


def is_checkpointed(block: int, share: float) -> bool:
    """Whether a block is one of the `share` of all blocks, evenly spread, that are recomputed."""
    return int((block + 1) * share + 1e-9) > int(block * share + 1e-9)
