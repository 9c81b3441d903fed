"""A training step of ContextGen on FLUX: ours beside the released way (benchmarks/train_step.py).

12 billion random weights; both ways take turns in one process where the card's memory holds both,
else one follows the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch._dynamo.utils import counters

from benchmarks.gpu.journal import Journal, release_memory
from benchmarks.gpu.parts.card import matrix_flops
from benchmarks.gpu.sizes import TINY, dtype_of, setup_of
from benchmarks.gpu.timing import wait_for
from benchmarks.step_parts.checking import GRADIENT_APART, LOSS_APART, check_agreement
from benchmarks.step_parts.ours import OurWay
from benchmarks.step_parts.released import ReleasedWay
from benchmarks.step_parts.samples import draw, tokens_of
from benchmarks.step_parts.setup import SMALL, Setup, random_transformer, twin_of
from benchmarks.step_parts.timing import Measured, Way, measure_in_turns, timed_step
from benchmarks.step_parts.work import our_work, released_work

GIB: Final = 2**30
FILL: Final = 0.6
WORK: Final = {OurWay.name: our_work, ReleasedWay.name: released_work}
BATCHES: Final = (4, 3, 2)
"""The recipe's, and what is tried where that does not fit."""
SMALL_RANK: Final = 128


@dataclass(frozen=True)
class Load:
    """What a step is given."""

    batch: int
    steps: int
    warm_up: int = 1


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    setup = setup_of(small=small)
    journal.attempt("agreement", partial(_agree, journal, TINY if small else SMALL, device))
    base = journal.attempt("random weights", partial(_random_weights, journal, setup, device))
    if base is None:
        return
    bench = _Bench(journal, setup, base, device)
    few = 2 if small else 5
    lower = replace(setup, rank=min(SMALL_RANK, setup.rank // 2))
    steps: list[tuple[str, Callable[[], object], float]] = [
        ("batch of 1", partial(bench.both, "batch of 1", Load(1, few)), 25),
        ("ours, batch of 4", partial(bench.largest, OurWay.name, few - 2 or 1), 20),
        (
            f"rank {lower.rank}",
            partial(bench.both, f"rank {lower.rank}", Load(1, few), setup=lower),
            25,
        ),
        ("less recomputed", partial(bench.least_recomputed, Load(1, few)), 15),
        ("ours compiled", partial(bench.ours_compiled, Load(1, few)), 120),
        ("released, batch of 4", partial(bench.largest, ReleasedWay.name, 1), 30),
    ]
    for name, run, seconds in steps:
        journal.attempt(name, run, seconds=0 if small else seconds)


def _agree(journal: Journal, setup: Setup, device: torch.device) -> None:
    """Both ways on the same samples in float32, with a model of hundredths of the size."""
    found = check_agreement(setup, device=device, checkpoint_blocks=1.0)
    journal.check("losses, ours and released", found=found.loss, allowed=LOSS_APART)
    allowed = GRADIENT_APART[device.type]
    journal.check("gradients, ours and released", found=found.gradient, allowed=allowed)


def _random_weights(journal: Journal, setup: Setup, device: torch.device) -> Any:
    started = time.perf_counter()
    made = random_transformer(setup.flux, device=device, dtype=dtype_of(device), seed=0)
    wait_for(device)
    count = sum(one.numel() for one in made.parameters())
    journal.figure("random weights", parameters=count, seconds=time.perf_counter() - started)
    return made


@dataclass
class _Bench:
    """Steps on one set of weights, which every way shares and none changes."""

    journal: Journal
    setup: Setup
    base: Any
    device: torch.device

    def both(self, name: str, load: Load, *, setup: Setup | None = None) -> None:
        """Ours and the released way, in turns where both fit."""
        setup = setup or self.setup
        ways: list[Callable[[], Way]] = [
            partial(self._ours, setup),
            partial(self._released, setup),
        ]
        fits = self.journal.first_that_fits(
            f"{name}, both at once",
            ("in turns",),
            lambda _: self._measure(setup, load, [make() for make in ways]),
        )
        if fits is None:
            measured = [one for make in ways for one in self._measure(setup, load, [make()])]
        else:
            measured = fits[1]
        for one in measured:
            self._write(f"{one.name}, {name}", one, load)
        ours, released = measured
        self.journal.figure(f"ours to released, {name}", ratio=ours.median / released.median)

    def largest(self, way: str, steps: int) -> None:
        """One way alone at the recipe's batch, or at the largest smaller one that fits."""
        make = self._ours if way == OurWay.name else self._released
        fits = self.journal.first_that_fits(
            f"{way}, batch",
            BATCHES,
            lambda batch: self._measure(self.setup, Load(batch, steps), [make(self.setup)]),
        )
        if fits is not None:
            batch, (measured,) = fits
            self._write(f"{way}, batch of {batch}", measured, Load(batch, steps))

    def ours_compiled(self, load: Load) -> None:
        """Ours with compiled blocks; the first step compiles."""
        if self.device.type == "cpu":
            self.journal.note("compiled: blocks are compiled on a GPU only")
        self.ours_alone("ours, compiled", load, compiled=True)

    def least_recomputed(self, load: Load) -> None:
        """Ours with as many blocks kept for the backward pass as the memory holds."""
        self.journal.first_that_fits(
            "ours, share of blocks that are recomputed",
            (0.0, 0.5, 0.75),
            lambda share: self.ours_alone(f"ours, {share:.0%} recomputed", load, recomputed=share),
        )

    def ours_alone(
        self, name: str, load: Load, *, recomputed: float = 1.0, compiled: bool = False
    ) -> None:
        """Ours with other settings than those of the recipe."""
        way = self._ours(self.setup, recomputed=recomputed, compiled=compiled)
        given = draw(self.setup, batch=load.batch, fill=FILL, seed=99)
        before = counters["stats"]["unique_graphs"]
        first = timed_step(way, given, self.device)
        (measured,) = self._measure(self.setup, load, [way])
        graphs = counters["stats"]["unique_graphs"] - before
        self._write(name, measured, load, first_step_seconds=first, compiled_graphs=graphs)

    def _ours(self, setup: Setup, *, recomputed: float = 1.0, compiled: bool = False) -> Way:
        transformer = twin_of(self.base, setup.flux)
        return OurWay(transformer, setup, checkpoint_blocks=recomputed, compiled=compiled)

    def _released(self, setup: Setup) -> Way:
        return ReleasedWay(twin_of(self.base, setup.flux), setup, checkpointed=True)

    def _measure(self, setup: Setup, load: Load, ways: Sequence[Way]) -> list[Measured]:
        release_memory()
        fills = [FILL - 0.02 * (number % 3) for number in range(load.warm_up + load.steps)]
        draws = [
            draw(setup, batch=load.batch, fill=fill, seed=number)
            for number, fill in enumerate(fills)
        ]
        batches = [tokens_of(setup, batch=load.batch, fill=fill) for fill in fills]
        flops = [
            [WORK[way.name](setup, one).training(recomputed=0) for one in batches] for way in ways
        ]
        return measure_in_turns(ways, draws, flops, warm_up=load.warm_up, device=self.device)

    def _write(self, name: str, measured: Measured, load: Load, **more: float) -> None:
        matrix = matrix_flops(self.journal) if self.device.type == "cuda" else None
        self.journal.figure(
            name,
            **asdict(load),
            seconds=measured.median,
            seconds_each=measured.seconds,
            tflop=sum(measured.flops) / len(measured.flops) / 1e12,
            mfu=measured.mfu(self.device),
            of_matrix_product=None if matrix is None else measured.flops_per_second / matrix,
            peak_gib=None if measured.peak_bytes is None else measured.peak_bytes / GIB,
            **more,
        )
