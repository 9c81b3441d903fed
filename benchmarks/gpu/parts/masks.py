"""FlexAttention under imig's block masks, beside PyTorch's attention with the same mask, dense.

Both are `imig.contextgen.attention.attend`, forward and backward, at FLUX's heads. What is true is
the dense way in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.sizes import dtype_of, setup_of
from benchmarks.gpu.timing import relative_error, seconds_back_to_back, seconds_of, wait_for
from benchmarks.step_parts.samples import tokens_of
from benchmarks.step_parts.setup import Setup
from imig.contextgen import attention
from imig.contextgen.flops import visible_pairs
from imig.contextgen.tokens import TokenTable, token_table
from imig.contextgen.visibility import Kind, Mask, block_mask, dense_mask
from imig.models.device import mixed_precision

APART: Final = {torch.bfloat16: 2e-2, torch.float32: 1e-5}
"""Allowed ‖found - true‖ / ‖true‖ of results and gradients; bfloat16 has 8 bits."""
KINDS: Final[tuple[Kind, ...]] = ("cla", "ica")
VARIANT: Final = "released"
BACKWARD: Final = 2.5
"""Operations of the backward pass of attention, in those of the forward pass."""
LENGTHS: Final = 20
FILL: Final = 0.6
NO_BACKWARD = "FlexAttention has no backward pass on a CPU: its gradients are checked on a GPU only"


@dataclass(frozen=True)
class Case:
    """A batch of tokens."""

    name: str
    tokens: TokenTable
    """On the CPU."""


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values, (b, length, heads, dim) each, and the gradient of the result."""

    states: tuple[Tensor, Tensor, Tensor]
    gradient: Tensor

    def float(self) -> Heads:
        query, key, value = (
            one.detach().float().requires_grad_(one.requires_grad) for one in self.states
        )
        return Heads((query, key, value), self.gradient.float())


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    if device.type == "cpu":
        journal.note(NO_BACKWARD)
    setup = setup_of(small=small)
    cases = [
        _case("trimmed", setup, text=setup.text, trimmed=True),
        _case("whole", setup, text=setup.padded_text, trimmed=False),
    ]
    journal.attempt("compile", partial(_compile, journal, cases[0], setup, device))
    for case in cases:
        for kind in KINDS:
            name = f"{case.name} {kind}"
            journal.attempt(name, partial(_compare, journal, name, case, kind, setup, device))
    layouts = partial(_check_layouts, journal, cases[0], setup, device)
    journal.attempt("layouts of gradients", layouts)
    for case in cases:
        name = f"mask of {case.name}"
        journal.attempt(name, partial(_make_mask, journal, name, case, device))
    lengths = partial(_run_lengths, journal, setup, device)
    journal.attempt(f"{LENGTHS} lengths", lengths, seconds=0 if small else 15)


def _case(name: str, setup: Setup, *, text: int, trimmed: bool, batch: int = 1) -> Case:
    samples = tokens_of(setup, batch=batch, fill=FILL, text=text)
    return Case(name, token_table(samples, drop_background=trimmed))


def _heads(tokens: TokenTable, setup: Setup, device: torch.device, *, seed: int) -> Heads:
    rows, length = tokens.role.shape
    shape = rows, length, setup.flux.num_attention_heads, setup.flux.attention_head_dim
    generator = torch.Generator(device).manual_seed(seed)
    query, key, value, gradient = (
        torch.randn(shape, generator=generator, device=device, dtype=dtype_of(device))
        for _ in range(4)
    )
    states = query, key, value
    if device.type == "cuda":
        for one in states:
            one.requires_grad_()
    return Heads(states, gradient)


def _attend(heads: Heads, mask: Mask) -> list[Tensor]:
    """The result, and the gradients of query, key and value where there are some."""
    query, key, value = heads.states
    if isinstance(mask, BlockMask) and query.device.type == "cpu":
        # as `attend` does it, uncompiled: compiling takes a CPU half a minute
        query, key, value = (one.transpose(1, 2) for one in heads.states)
        return [flex_attention(query, key, value, block_mask=mask).transpose(1, 2)]
    result = attention.attend(query, key, value, mask)
    if not query.requires_grad:
        return [result]
    return [result.detach(), *torch.autograd.grad(result, heads.states, heads.gradient)]


def _compile(journal: Journal, case: Case, setup: Setup, device: torch.device) -> None:
    """The first call, forward and backward, which compiles on a GPU."""
    heads = _heads(case.tokens, setup, device, seed=0)
    mask = block_mask(case.tokens.to(device), kind="cla", variant=VARIANT)
    started = time.perf_counter()
    _attend(heads, mask)
    wait_for(device)
    journal.figure("first call", seconds=time.perf_counter() - started)


def _compare(
    journal: Journal, name: str, case: Case, kind: Kind, setup: Setup, device: torch.device
) -> None:
    heads = _heads(case.tokens, setup, device, seed=1)
    tokens = case.tokens.to(device)
    with mixed_precision(device, dtype_of(device)):  # where a training step makes them
        masks: dict[str, Mask] = {
            "flex": block_mask(tokens, kind=kind, variant=VARIANT),
            "dense": dense_mask(tokens, kind=kind, variant=VARIANT),
        }
    true = _attend(heads.float(), masks["dense"])
    allowed = APART[dtype_of(device)]
    errors = {}
    for way, mask in masks.items():
        found = _attend(heads, mask)
        apart = [relative_error(one, other) for one, other in zip(found, true, strict=False)]
        errors[way] = apart
        for what, value in zip(("result", "query", "key", "value"), apart, strict=False):
            journal.check(f"{name}, {way}, {what}", found=value, allowed=allowed)
    del true
    # a head's operations are the same whichever way computes them
    pairs = visible_pairs(case.tokens, kind=kind, variant=VARIANT)
    width = setup.flux.attention_head_dim * setup.flux.num_attention_heads
    factor = 1 + BACKWARD if heads.states[0].requires_grad else 1
    flops = 4 * width * pairs * factor
    repeats = 20 if device.type == "cuda" else 3
    seconds = {
        way: seconds_back_to_back(partial(_attend, heads, mask), device=device, repeats=repeats)
        for way, mask in (masks | {"unmasked": None}).items()
    }
    length = case.tokens.length
    journal.figure(
        name,
        tokens=length,
        visible=pairs / length**2,
        **{f"{way}_ms": value * 1e3 for way, value in seconds.items()},
        flex_of_dense=seconds["flex"] / seconds["dense"],
        flex_tflops=flops / seconds["flex"] / 1e12,
        unmasked_tflops=4 * width * length**2 * factor / seconds["unmasked"] / 1e12,
    )


def _check_layouts(journal: Journal, case: Case, setup: Setup, device: torch.device) -> None:
    """Gradients that are slices of wider rows, as a single block's are, after plain ones.

    Without a mask cuDNN computes them, whose plans know the layout that they were made for.
    """
    plain = _heads(case.tokens, setup, device, seed=2)
    rows = plain.gradient.flatten(2)
    wide = torch.cat((rows, torch.zeros_like(rows)), dim=-1)[..., : rows.shape[-1]]
    sliced = Heads(plain.states, wide.view(plain.gradient.shape))
    true = _attend(plain.float(), None)
    for name, heads in (("plain", plain), ("sliced", sliced)):
        found = _attend(heads, None)
        apart = max(relative_error(one, other) for one, other in zip(found, true, strict=True))
        allowed = APART[dtype_of(device)]
        journal.check(f"no mask, {name} gradient", found=apart, allowed=allowed)


def _make_mask(journal: Journal, name: str, case: Case, device: torch.device) -> None:
    """Ours beside PyTorch's way to the same mask, which evaluates all pairs."""
    tokens = case.tokens.to(device)
    length = tokens.length
    for kind in KINDS:
        with mixed_precision(device, dtype_of(device)):
            ours = block_mask(tokens, kind=kind, variant=VARIANT)
        make: Callable[[], Any] = partial(
            create_block_mask, ours.mask_mod, 1, None, length, length, device=str(device)
        )
        theirs = make()
        different = (ours.to_dense() != theirs.to_dense()).sum()
        # those where all pairs are visible, of each row of blocks
        different += (ours.full_kv_num_blocks != theirs.full_kv_num_blocks).sum()
        journal.check(f"{name} {kind}, other blocks", found=float(different), allowed=0)
        ours_seconds = seconds_of(
            partial(block_mask, tokens, kind=kind, variant=VARIANT), device=device, repeats=5
        )
        their_seconds = seconds_of(make, device=device, repeats=3, warm_up=1)
        journal.figure(
            f"{name} {kind}",
            ours_ms=ours_seconds.median * 1e3,
            create_block_mask_ms=their_seconds.median * 1e3,
        )


def _run_lengths(journal: Journal, setup: Setup, device: torch.device) -> None:
    """How often FlexAttention is compiled again over samples of other lengths, and what it costs.

    On a CPU PyTorch traces it again as often, and what it would compile is run as it is.
    """
    flex: Any = attention._compiled_flex_attention()
    if device.type == "cpu":
        torch._dynamo.reset()
        flex = torch.compile(flex_attention, dynamic=True, backend="eager")
    for batch in (1, 4):
        before, slow, started = counters["stats"]["unique_graphs"], 0, time.perf_counter()
        for number in range(LENGTHS):
            text = setup.text + 3 * number
            case = _case("", setup, text=text, trimmed=True, batch=batch)
            heads = _heads(case.tokens, setup, device, seed=number)
            kind = KINDS[number % len(KINDS)]
            mask = block_mask(case.tokens.to(device), kind=kind, variant=VARIANT)
            begun = time.perf_counter()
            states = [one.transpose(1, 2) for one in heads.states]
            result = flex(*states, block_mask=mask)
            if result.requires_grad:
                result.backward(heads.gradient.transpose(1, 2))
            wait_for(device)
            slow += time.perf_counter() - begun > 1
        journal.figure(
            f"{LENGTHS} lengths, batch of {batch}",
            compiled=counters["stats"]["unique_graphs"] - before,
            compiled_in_all=counters["stats"]["unique_graphs"],
            calls_over_a_second=slow,
            seconds=time.perf_counter() - started,
        )
