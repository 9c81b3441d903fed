"""One training step of ContextGen on FLUX: ours beside the way of the released trainer.

    python benchmarks/train_step.py [--size full|small] [--batch 1] [--steps 10] [--json FILE]

Random weights; LoRA of rank 512, a target of 768 px, 4 references of 512 px. `small` has the same
proportions and runs on any CPU. The operations of both ways are counted for the full size on every
machine; seconds and memory of the full size need a GPU, where both ways take turns in one process.
Before anything is timed, both must give the same losses and gradients on the same samples (small,
float32, captions without padding: with it the released way differs, for it lets all tokens see it).
Operations are counted for captions at their own length, the default, and for 512 tokens of text in
both ways (`attention.text_length: 512`): the same network on the same input, what is saved exactly.

Ours is what `imig train` runs: background tokens left out, references gone after the last block
that reads them, captions at their own length, FlexAttention's block masks on a GPU, a float32
adapter on a bfloat16 network. The released way is written again here (benchmarks/step_parts/
released.py): dense masks, everything in bfloat16, captions padded to 512 tokens. Both have the same
optimizer, and neither encodes captions or pictures.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

import diffusers
import peft
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.step_parts.checking import (
    GRADIENT_APART,
    LOSS_APART,
    Agreement,
    check_agreement,
)
from benchmarks.step_parts.ours import OurWay
from benchmarks.step_parts.released import ReleasedWay
from benchmarks.step_parts.samples import draw, tokens_of
from benchmarks.step_parts.setup import FULL, SETUPS, SMALL, Setup, random_transformer, twin_of
from benchmarks.step_parts.timing import Measured, Way, measure_in_turns
from benchmarks.step_parts.work import (
    FILLS,
    WANTED,
    Row,
    count_rows,
    our_work,
    released_work,
)

LARGE_BATCH = 4
"""Samples at a time in `pipelines/train-kontext.yaml`."""
WARM_UP = 3
GIB = 2**30
WORK = {OurWay.name: our_work, ReleasedWay.name: released_work}


@dataclass(frozen=True)
class Options:
    """What is measured."""

    batch: int
    steps: int
    fill: float
    checkpoint_blocks: float
    compiled: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    given = _parser().parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = Options(
        given.batch, given.steps, given.fill, given.checkpoint_blocks, compiled=given.compile
    )
    console = Console(width=max(Console().width, 110))
    rows = count_rows(FULL, checkpoint_blocks=options.checkpoint_blocks)
    console.print(work_table(rows, options))
    setup = SETUPS[given.size or ("full" if device.type == "cuda" else "small")]
    report = describe(setup, options, device, sys.argv[1:] if arguments is None else arguments)
    report |= {"work": work_report(rows)}
    if setup is FULL and device.type == "cpu":
        console.print("seconds and memory of the full size need a GPU: PyTorch sees none here")
    else:
        try:
            report |= measure(setup, options, device, console)
        except torch.cuda.OutOfMemoryError as error:
            console.print(f"{error}\nboth ways in one process do not fit: try a smaller --batch")
            return 1
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(
    setup: Setup, options: Options, device: torch.device, console: Console
) -> dict[str, Any]:
    """Checks that both ways agree, times them, and tries the recipe's batch; prints and reports."""
    agreement = check_agreement(SMALL, device=device, checkpoint_blocks=options.checkpoint_blocks)
    console.print(
        f"the same samples without padding: losses differ by {agreement.loss:.1e} of themselves "
        f"(allowed: {LOSS_APART:.0e}), gradients by {agreement.gradient:.1e} "
        f"({GRADIENT_APART[device.type]:.0e})"
    )
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    transformer = random_transformer(setup.flux, device=device, dtype=dtype, seed=0)
    twin = twin_of(transformer, setup.flux)
    ours = OurWay(
        transformer,
        setup,
        checkpoint_blocks=options.checkpoint_blocks,
        compiled=options.compiled,
    )
    released = ReleasedWay(twin, setup, checkpointed=options.checkpoint_blocks > 0)
    measured = time_ways([ours, released], setup, options, device)
    console.print(step_table(measured, setup, options, device))
    ratio = measured[0].median / measured[1].median
    console.print(f"ratio of the medians, ours to released: {ratio:.2f}")
    report = step_report(agreement, measured, device) | {"ratio_of_medians": ratio}
    if setup is FULL and options.batch < LARGE_BATCH:
        # its adapter and optimizer make room
        del released, twin
        gc.collect()
        report["large_batch"] = try_large_batch(ours, setup, options, device, console)
    return report


def time_ways(
    ways: Sequence[Way], setup: Setup, options: Options, device: torch.device
) -> list[Measured]:
    """Steps of all ways on the same batches, each of which is another."""
    fills = [options.fill - 0.02 * (seed % 3) for seed in range(WARM_UP + options.steps)]
    draws = [
        draw(setup, batch=options.batch, fill=fill, seed=seed) for seed, fill in enumerate(fills)
    ]
    batches = [tokens_of(setup, batch=options.batch, fill=fill) for fill in fills]
    flops = [[WORK[way.name](setup, one).training(recomputed=0) for one in batches] for way in ways]
    return measure_in_turns(ways, draws, flops, warm_up=WARM_UP, device=device)


def try_large_batch(
    ours: OurWay, setup: Setup, options: Options, device: torch.device, console: Console
) -> dict[str, Any]:
    """Ours alone with the recipe's batch: does it fit, and in how much memory?"""
    torch.cuda.empty_cache()
    larger = Options(
        LARGE_BATCH, 2, options.fill, options.checkpoint_blocks, compiled=options.compiled
    )
    try:
        (measured,) = time_ways([ours], setup, larger, device)
    except torch.cuda.OutOfMemoryError:
        console.print(f"ours, batch of {LARGE_BATCH}: out of memory")
        return {"batch": LARGE_BATCH, "fits": False}
    peak = measured.peak_bytes or 0
    console.print(
        f"ours, batch of {LARGE_BATCH}: {measured.median:.2f} s a step, {peak / GIB:.1f} GiB"
    )
    return {
        "batch": LARGE_BATCH,
        "fits": True,
        "seconds": measured.seconds,
        "peak_gib": peak / GIB,
        "mfu": measured.mfu(device),
    }


def work_table(rows: Sequence[Row], options: Options) -> Table:
    """The count of operations at full size."""
    table = Table(
        title=f"Operations of a sample at full size, forward and backward, "
        f"{options.checkpoint_blocks:.0%} of the blocks recomputed"
    )
    for title in (
        "batch", "fill", "caption", "tokens", "then", "released", "ours, TFLOP",
        "in whole blocks", "released, TFLOP", "ratio", f"<= {WANTED}",
    ):  # fmt: skip
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            str(row.batch),
            f"{row.fill:.0%}",
            str(row.text),
            str(row.tokens),
            str(row.trunk),
            str(row.released_tokens),
            f"{row.ours / 1e12:.0f}",
            f"{row.blocks / 1e12:.0f}",
            f"{row.released / 1e12:.0f}",
            f"{row.ratio:.3f}",
            "yes" if row.ratio <= WANTED else "NO",
        )
    table.caption = (
        "fill: share of the references' tokens with something of the subject. caption: tokens of "
        "the longest of the batch; the released way pads to 512. tokens: of a sample of ours, then "
        "after the references have left. in whole blocks: what FlexAttention computes, 128 x 128 "
        f"pairs at a time. The goal is set for a fill of {FILLS[0]:.0%}. With a caption of 512 "
        "tokens both ways compute the same; shorter ones leave out padding that the released way "
        "reads."
    )
    return table


def step_table(
    measured: Sequence[Measured], setup: Setup, options: Options, device: torch.device
) -> Table:
    """What was timed."""
    table = Table(
        title=f"A step of size {setup.name}, batch of {options.batch}, fill {options.fill:.0%}, "
        f"on {device_name(device)}; median of {options.steps}"
        + (", processor time" if device.type == "cpu" else "")
    )
    for title in ("way", "s a step", "fastest", "slowest", "GFLOP", "GFLOP/s", "MFU", "peak GiB"):
        table.add_column(title, justify="left" if title == "way" else "right")
    for one in measured:
        mfu = one.mfu(device)
        table.add_row(
            one.name,
            f"{one.median:.3f}",
            f"{min(one.seconds):.3f}",
            f"{max(one.seconds):.3f}",
            f"{sum(one.flops) / len(one.flops) / 1e9:.0f}",
            f"{one.flops_per_second / 1e9:.0f}",
            "-" if mfu is None else f"{mfu:.2f}",
            "-" if one.peak_bytes is None else f"{one.peak_bytes / GIB:.1f}",
        )
    return table


def describe(
    setup: Setup, options: Options, device: torch.device, arguments: Sequence[str]
) -> dict[str, Any]:
    """Where, when and with what."""
    return {
        "benchmark": "train_step",
        "command": shlex.join(["python", "benchmarks/train_step.py", *arguments]),
        "date": date.today().isoformat(),
        "machine": {
            "device": device_name(device),
            "system": platform.platform(),
            "threads": torch.get_num_threads(),
            "clock": "wall" if device.type == "cuda" else "processor time",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "peft": peft.__version__,
        },
        "setup": asdict(setup),
        "options": asdict(options),
    }


def device_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def work_report(rows: Sequence[Row]) -> dict[str, Any]:
    """The counts, for the JSON file."""
    return {
        "wanted_ratio": WANTED,
        "wanted_at_fill": FILLS[0],
        "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
    }


def step_report(
    agreement: Agreement, measured: Sequence[Measured], device: torch.device
) -> dict[str, Any]:
    """What was measured, for the JSON file; null is what this machine cannot tell."""
    return {
        "agreement": asdict(agreement),
        "steps": [
            {
                "way": one.name,
                "median_seconds": one.median,
                "seconds": one.seconds,
                "flops": sum(one.flops) / len(one.flops),
                "flops_per_second": one.flops_per_second,
                "mfu": one.mfu(device),
                "peak_gib": None if one.peak_bytes is None else one.peak_bytes / GIB,
            }
            for one in measured
        ],
    }


def _parser() -> argparse.ArgumentParser:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SETUPS, help="default: full on a GPU, else small")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help=f"after {WARM_UP} to warm up")
    parser.add_argument("--fill", type=float, default=FILLS[0], help="of the references, 0 to 1")
    parser.add_argument(
        "--checkpoint-blocks",
        type=float,
        default=1.0,
        help="share of our blocks that are recomputed; the released way has all, at 0 none",
    )
    parser.add_argument("--compile", action="store_true", help="our blocks (on a GPU)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
