"""Optimizer steps on FLUX's adapter: 1.85 billion numbers in 686 tensors at rank 512."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from io import StringIO
from typing import Any, Final

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.parts.card import copy_bytes
from benchmarks.gpu.sizes import setup_of
from benchmarks.gpu.timing import peak_memory, relative_error, seconds_of
from benchmarks.step_parts.setup import Setup
from imig.contextgen.adapter import TARGETS
from imig.errors import UsageError
from imig.training.optimizer import clip_gradients, make_optimizer
from imig.training.recipe import OptimizerConfig

Make = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]

SLICE: Final = 11
"""Of `pipelines/train-kontext.yaml`."""
RATE: Final = 1e-4
CHECKED: Final = ((16, 24), (24, 16), (8,))
"""Shapes on which different ways to the same step are compared."""
STEPS: Final = 3
APART: Final = 1e-6
"""In float64: a step moves numbers by less than float32 could tell apart."""
MOVED: Final = {"adamw": 7, "clipping": 1}
"""Numbers of four bytes that must be read or written for each parameter."""


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    journal.attempt("agreement", partial(_agree, journal, device))
    shapes = adapter_shapes(setup_of(small=small))
    parameters = journal.attempt("parameters", partial(_parameters, journal, shapes, device))
    if parameters is None:
        return
    ways = _ways()
    clipping = partial(clip_gradients, parameters, 0.5)
    journal.attempt("clipping", partial(_time, journal, "clipping", clipping, parameters))
    for name, make in ways.items():
        run = partial(_step, journal, name, make, parameters)
        journal.attempt(name, run, seconds=0 if small else 3)


def adapter_shapes(setup: Setup) -> list[tuple[int, ...]]:
    """Of the adapter's tensors, A and B of each layer."""
    with torch.device("meta"):
        transformer: nn.Module = FluxTransformer2DModel(**asdict(setup.flux))
    shapes: list[tuple[int, ...]] = []
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and re.fullmatch(TARGETS, name):
            shapes += [(setup.rank, module.in_features), (module.out_features, setup.rank)]
    return shapes


def _parameters(
    journal: Journal, shapes: Sequence[tuple[int, ...]], device: torch.device
) -> list[nn.Parameter]:
    made = _random(shapes, device)
    count = sum(one.numel() for one in made)
    journal.figure("parameters", tensors=len(made), numbers=count, gib=4 * count / 2**30)
    return made


def _random(
    shapes: Sequence[tuple[int, ...]], device: torch.device, dtype: torch.dtype = torch.float32
) -> list[nn.Parameter]:
    """Parameters with gradients; the same numbers at every call."""
    generator = torch.Generator(device).manual_seed(0)
    made = []
    for shape in shapes:
        value, gradient = (
            torch.randn(shape, generator=generator, device=device, dtype=dtype) for _ in range(2)
        )
        parameter = nn.Parameter(value)
        parameter.grad = gradient.mul_(0.01)
        made.append(parameter)
    return made


def _ways() -> dict[str, Make]:
    """Ours as recipes name them, then PyTorch's own choices and the released trainer's package."""
    ours: dict[str, Make] = {
        "adamw, ours": partial(make_optimizer, config=OptimizerConfig(kind="adamw")),
        "prodigy, ours": partial(
            make_optimizer, config=OptimizerConfig(kind="prodigy", slice_p=SLICE)
        ),
        "adamw8bit, ours": partial(make_optimizer, config=OptimizerConfig(kind="adamw8bit")),
    }
    theirs: dict[str, Make] = {
        "adamw, fused": partial(torch.optim.AdamW, lr=RATE, fused=True),
        "adamw, foreach": partial(torch.optim.AdamW, lr=RATE, foreach=True),
        "adamw, one by one": partial(torch.optim.AdamW, lr=RATE, foreach=False),
        "prodigyopt": partial(_prodigyopt, slice_p=SLICE),
    }
    return {**ours, **theirs}


def _prodigyopt(parameters: Sequence[nn.Parameter], *, slice_p: int) -> torch.optim.Optimizer:
    package: Any = importlib.import_module("prodigyopt")
    with redirect_stdout(StringIO()):  # it says that it decouples the decay
        optimizer: torch.optim.Optimizer = package.Prodigy(
            parameters,
            weight_decay=OptimizerConfig().weight_decay,
            use_bias_correction=True,
            safeguard_warmup=True,
            slice_p=slice_p,
        )
    return optimizer


def _step(journal: Journal, name: str, make: Make, parameters: list[nn.Parameter]) -> None:
    try:
        optimizer = make(parameters)
    except (UsageError, ImportError) as error:
        journal.note(f"{name}: {error}")
        return
    _time(journal, name, optimizer.step, parameters)


def _time(
    journal: Journal, name: str, run: Callable[[], object], parameters: list[nn.Parameter]
) -> None:
    """Milliseconds, and what of them the memory's speed alone would take."""
    device = parameters[0].device
    with peak_memory(device) as peak:
        seconds = seconds_of(run, device=device, repeats=5)
    moved = MOVED.get(name.partition(",")[0])
    speed = copy_bytes(journal)
    count = sum(one.numel() for one in parameters)
    limit = None if moved is None or speed is None else 4 * moved * count / speed
    journal.figure(
        name,
        ms=seconds.median * 1e3,
        slowest_ms=seconds.slowest * 1e3,
        memory_limit_ms=None if limit is None else limit * 1e3,
        peak_gib=peak.gib,
    )


def _agree(journal: Journal, device: torch.device) -> None:
    """A few steps on a few numbers: each way comes to where the plainest of its kind comes."""
    kinds: Mapping[str, tuple[Make, Mapping[str, Make]]] = {
        "adamw": (
            partial(torch.optim.AdamW, lr=RATE, foreach=False),
            {
                "fused": partial(torch.optim.AdamW, lr=RATE, fused=True),
                "foreach": partial(torch.optim.AdamW, lr=RATE, foreach=True),
            },
        ),
        "prodigy": (
            partial(_prodigyopt, slice_p=1),
            {"ours": partial(make_optimizer, config=OptimizerConfig(kind="prodigy", slice_p=1))},
        ),
    }
    for kind, (plain, others) in kinds.items():
        true = _after_steps(plain, device)
        for name, make in others.items():
            found = relative_error(_after_steps(make, device), true)
            journal.check(f"{kind}, {name} and plain", found=found, allowed=APART)


def _after_steps(make: Make, device: torch.device) -> Tensor:
    """How far each number has moved from where it began, all in one row."""
    parameters = _random(CHECKED, device, torch.float64)
    start = torch.cat([one.detach().flatten() for one in parameters])
    optimizer = make(parameters)
    for _ in range(STEPS):
        optimizer.step()
    return torch.cat([one.detach().flatten() for one in parameters]) - start
