"""Steps of sampling a second: ContextGen from a layout, and FLUX from a prompt.

Few steps are timed, and a picture's 28 are said from them. Random weights draw noise as fast as
trained ones draw pictures.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, Final

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.parts._flux_vae import WIDTH, make_vae
from benchmarks.gpu.parts.card import matrix_flops
from benchmarks.gpu.sizes import dtype_of, setup_of
from benchmarks.gpu.timing import peak_memory, relative_error, seconds_of, wait_for
from benchmarks.step_parts.ours import ATTENTION
from benchmarks.step_parts.samples import draw, tokens_of
from benchmarks.step_parts.setup import Setup, fill_randomly, random_transformer, twin_of
from benchmarks.step_parts.work import our_work
from imig.contextgen.adapter import adapter_parameters, add_adapter
from imig.contextgen.batch import ModelBatch, make_batch
from imig.contextgen.flops import BlockLoad, forward_work
from imig.contextgen.model import ContextGen
from imig.contextgen.sampling import sample
from imig.layout.reference_size import TOKEN
from imig.models.device import mixed_precision
from imig.models.pipelines import generators

FILL: Final = 0.6
STEPS: Final = 28
"""Of a picture, as published."""
FEW: Final = 4
APART: Final = {torch.bfloat16: 0.1, torch.float32: 1e-4}
"""Allowed between an adapter beside its layer and one that was added into the layer's weights:
bfloat16 rounds the sum, and 57 random blocks pass that on to each other."""
GUIDANCE: Final = 3.5
BATCHES: Final = (4, 2)


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    setup = setup_of(small=small)
    dtype = dtype_of(device)
    base = journal.attempt(
        "random weights",
        partial(random_transformer, setup.flux, device=device, dtype=dtype, seed=0),
    )
    if base is None:
        return
    sides = (96, 128) if small else (768, 1024)
    journal.attempt("contextgen", partial(_draw_layouts, journal, setup, base, sides))
    side = sides[-1]
    for batch in (1, BATCHES[0]):
        name = f"flux, {side} px, batch of {batch}"
        run = partial(_draw_prompts, journal, name, setup, base, side, batch, small=small)
        journal.attempt(name, run, seconds=0 if small else 10)
    if device.type == "cuda":
        compiled = partial(_draw_compiled, journal, setup, base, sides[0])
        journal.attempt("contextgen, compiled", compiled, seconds=0 if small else 45)


def _draw_layouts(journal: Journal, setup: Setup, base: Any, sides: tuple[int, ...]) -> None:
    """Without an adapter, with one beside its layers, and with one added into the weights."""
    model = ContextGen(twin_of(base, setup.flux), attention=ATTENTION).eval()
    transformer: Any = model.transformer
    for side in sides:
        _time_layout(journal, f"no adapter, {side} px", model, setup, side, rank=0)
    device = next(transformer.parameters()).device
    with device:
        add_adapter(transformer, rank=setup.rank, alpha=setup.rank, seed=0)
    generator = torch.Generator(device).manual_seed(2)
    for name, parameter in adapter_parameters(transformer).items():
        fill_randomly(name, parameter, generator)
        parameter.data.mul_(0.1)  # small beside the layer, as a trained one is
    transformer.requires_grad_(False)  # as `imig generate` loads one
    for side in sides:
        _time_layout(journal, f"adapter, {side} px", model, setup, side, rank=setup.rank)
    apart = _velocity(model, setup, sides[0])
    # the weights change in place, and other parts of this benchmark share them
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            layer: Any = module
            layer.base_layer.weight = torch.nn.Parameter(
                layer.base_layer.weight.clone(), requires_grad=False
            )
            layer.merge()
    merged = _velocity(model, setup, sides[0])
    allowed = APART[transformer.dtype]
    found = relative_error(merged, apart)
    journal.check("velocity, adapter merged and beside", found=found, allowed=allowed)
    for side in sides:
        _time_layout(journal, f"adapter merged, {side} px", model, setup, side, rank=0)


def _draw_compiled(journal: Journal, setup: Setup, base: Any, side: int) -> None:
    model = ContextGen(twin_of(base, setup.flux), attention=ATTENTION).eval()
    model.compile_blocks()
    started = time.perf_counter()
    _velocity(model, setup, side)
    first = time.perf_counter() - started
    _time_layout(
        journal, f"compiled, {side} px", model, setup, side, rank=0, first_step_seconds=first
    )


def _time_layout(
    journal: Journal,
    name: str,
    model: ContextGen,
    setup: Setup,
    side: int,
    *,
    rank: int,
    **more: float,
) -> None:
    """One picture at a time, as `imig generate` draws it; latents only."""
    setup = replace(setup, target=side)
    batch = _batch(model, setup)
    device = batch.layout.device
    with mixed_precision(device, batch.text.dtype), peak_memory(device) as peak:
        run = partial(sample, model, batch, seeds=[0], steps=FEW)
        seconds = seconds_of(run, device=device, repeats=2, warm_up=1).median / FEW
    tokens = tokens_of(setup, batch=1, fill=FILL)
    flops = our_work(replace(setup, rank=rank), tokens).forward
    _write(journal, name, seconds, flops, device, peak_gib=peak.gib, **more)


def _batch(model: ContextGen, setup: Setup) -> ModelBatch:
    weight = next(model.transformer.parameters())
    given = draw(setup, batch=1, fill=FILL, seed=0)
    return make_batch(given.samples, attention=ATTENTION).to(weight.device, weight.dtype)


@torch.no_grad()
def _velocity(model: ContextGen, setup: Setup, side: int) -> Tensor:
    batch = _batch(model, replace(setup, target=side))
    device = batch.layout.device
    generator = torch.Generator(device).manual_seed(1)
    noisy = torch.randn(batch.layout.shape, generator=generator, device=device)
    with mixed_precision(device, batch.text.dtype):
        velocity: Tensor = model(batch, noisy=noisy, t=torch.full((1,), 0.5, device=device))
    wait_for(device)
    return velocity


def _draw_prompts(
    journal: Journal, name: str, setup: Setup, base: Any, side: int, batch: int, *, small: bool
) -> None:
    """diffusers' pipeline as the family `flux` calls it, its texts encoded already."""
    device = base.device
    pipeline = _pipeline(setup, base, small=small)
    sizes = (batch,) if batch == 1 else BATCHES
    fits = journal.first_that_fits(
        name, sizes, lambda count: _pipeline_seconds(pipeline, setup, side, count)
    )
    if fits is None:
        return
    count, (a_step, rest) = fits
    image = (side // TOKEN) ** 2
    text = setup.padded_text
    load = BlockLoad(count * text, count * image, count * (text + image) ** 2)
    flops = forward_work(setup.sizes, [load] * setup.flux.blocks, rank=0).forward
    _write(
        journal,
        f"flux, {side} px, batch of {count}",
        a_step,
        flops,
        device,
        rest_seconds=rest,
        pictures_per_minute=60 * count / (STEPS * a_step + rest),
    )


def _pipeline(setup: Setup, base: Any, *, small: bool) -> Any:
    library: Any = diffusers
    pipeline = library.FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=make_vae(width=8 if small else WIDTH, device=base.device, dtype=base.dtype),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=twin_of(base, setup.flux),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _pipeline_seconds(pipeline: Any, setup: Setup, side: int, count: int) -> tuple[float, float]:
    """Seconds of a step, and of all that is not a step (noise, decoding, PIL)."""
    device, dtype = pipeline.transformer.device, pipeline.transformer.dtype
    text = torch.randn(count, setup.padded_text, setup.flux.joint_attention_dim)
    pooled = torch.randn(count, setup.flux.pooled_projection_dim)

    def run(steps: int) -> None:
        pipeline(
            prompt_embeds=text.to(device, dtype),
            pooled_prompt_embeds=pooled.to(device, dtype),
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=generators(range(count)),
        )

    few, more = (
        seconds_of(partial(run, steps), device=device, repeats=1, warm_up=1).median
        for steps in (1, 1 + FEW)
    )
    return (more - few) / FEW, max(0.0, few - (more - few) / FEW)


def _write(
    journal: Journal, name: str, seconds: float, flops: float, device: torch.device, **more: Any
) -> None:
    matrix = matrix_flops(journal) if device.type == "cuda" else None
    journal.figure(
        name,
        steps_per_second=1 / seconds,
        seconds_of_28_steps=STEPS * seconds,
        tflops=flops / seconds / 1e12,
        of_matrix_product=None if matrix is None else flops / seconds / matrix,
        **more,
    )
