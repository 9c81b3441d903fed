"""What the full-size recipes cost: operations, GPU time and GPU memory. Counted, nothing measured.

    python benchmarks/full_size_cost.py [--gpu h100|a100|rtx4090] [--utilisation 0.4]
        [--instances 4] [--survival 0.8] [--recipes basic complex flexible] [--json FILE]

No GPU is used, and no figure here was measured on one. For the recipes basic, complex and flexible
as they stand, with their own steps, sizes, batches and models:

* Parameters and operations are counted. Each network is built from its published architecture on
  torch's `meta` device, which costs no memory, and runs forward once at the size that the recipe
  asks for, under torch.utils.flop_counter.FlopCounterMode: matrix products and convolutions, two
  operations a multiply-add. Attention is counted whole: on `meta` it falls apart into two matrix
  products, which the counter sees. Not counted: norms, activations, sampling of Grounding DINO's
  deformable attention, samplers, image files, everything on the CPU, prompts (written at an
  endpoint by a language model of its own), and faces (a stage that is skipped by default).
* How often a network runs for a scene follows from the recipe and the stages' code. Assumed are
  the instances of a scene (`--instances`), the tokens of prompts and phrases, and square edited
  views. Qwen-Image-Edit's two passes a step are both counted at the longer prompt's length.
* Scenes that go in = samples wanted / survival (`--survival`, ASSUMED). All of them are counted
  through all stages, though one that an early stage turns down never reaches the later ones.
* Seconds = operations / (peak of the GPU x utilisation). The peak is the maker's figure for dense
  bfloat16 matrix products. The utilisation is ASSUMED (`--utilisation`), one figure for all
  networks. Small networks, and SAM, whose attention is not fused, reach less.
* Memory of a worker = weights as imig keeps them + activations + CUDA's own (ASSUMED). Weights are
  bfloat16, but float32 for Grounding DINO and SAM. Activations are an ESTIMATE: what lives at once
  of a forward pass with the recipe's batch, seen on `meta`, with fused attention and without what
  allocator and libraries add.
* GPUs: a build starts only when its workers' `gpus` together are no more than there are
  (`imig.engine.cluster`). Which workers share one is worked out as Ray places them. Workers on a
  GPU are taken to share its time without loss; offloaded weights travel at an ASSUMED speed, and
  nothing else is taken to go on meanwhile.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script has its own folder there only

import diffusers
import torch
import transformers
from rich.console import Console

from benchmarks.cost_parts import tables
from benchmarks.cost_parts.placing import PROPOSALS
from benchmarks.cost_parts.verdicts import (
    RecipeCost,
    Verdict,
    as_it_stands,
    on_small_card,
    proposed,
)
from imig.estimate.memory import CONTEXT_BYTES, TRANSFER, StageMemory, stage_memory
from imig.estimate.networks import NETWORKS, counted
from imig.estimate.passes import StageCost, stage_costs
from imig.recipe.file import load_recipe

SAMPLES: Final = {"basic": 50_000, "complex": 50_000, "flexible": 10_000}
"""Of the paper's subsets."""
PEAKS: Final = {"h100": 989e12, "a100": 312e12, "rtx4090": 165e12}
"""Operations a second, dense bfloat16 with float32 sums: the makers' data sheets."""
SMALL: Final = "rtx4090"
"""The card of 24 GB."""


@dataclass(frozen=True)
class Options:
    """What is assumed."""

    gpu: str
    utilisation: float
    instances: int
    survival: float

    @property
    def rate(self) -> float:
        """Operations a second."""
        return PEAKS[self.gpu] * self.utilisation


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    given = _parser().parse_args(arguments)
    options = Options(given.gpu, given.utilisation, given.instances, given.survival)
    console = Console(width=max(Console().width, 130))
    costs = [cost_of(name, options) for name in given.recipes]
    used = [name for name in NETWORKS if any(name in one.networks for one in costs)]
    console.print(tables.network_table({name: counted(name) for name in used}))
    for cost in costs:
        console.print(tables.stage_table(cost))
    console.print(tables.total_table(costs))
    console.print(tables.memory_table(costs))
    verdicts = [verdict for cost in costs for verdict in verdicts_of(cost, options)]
    console.print(tables.verdict_table(verdicts))
    console.print(tables.proposal_table(costs))
    for note in notes(options):
        console.print(f"* {note}")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        command = sys.argv[1:] if arguments is None else arguments
        report = describe(options, command) | report_of(used, costs, verdicts)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def cost_of(name: str, options: Options) -> RecipeCost:
    """A shipped recipe's cost."""
    recipe = load_recipe(name).recipe
    stages = stage_costs(recipe, instances=options.instances)
    count = getattr(recipe.source, "count", None)
    return RecipeCost(
        name=name,
        samples=SAMPLES[name],
        recipe_inputs=None if count is None else int(count),
        survival=options.survival,
        rate=options.rate,
        stages=tuple(stages),
        memories={one.stage: stage_memory(one) for one in stages},
    )


def verdicts_of(cost: RecipeCost, options: Options) -> list[Verdict]:
    """The recipe as it stands, on a small card, and as proposed."""
    return [
        as_it_stands(cost),
        on_small_card(cost, PEAKS[SMALL] * options.utilisation),
        *(proposed(cost, one) for one in PROPOSALS[cost.name]),
    ]


def notes(options: Options) -> list[str]:
    """The assumptions, to be read with the tables."""
    return [
        "Nothing here was measured on a GPU: operations and weights are counted, the rest follows "
        "from them and from these assumptions.",
        f"ASSUMED: a utilisation of {options.utilisation:g} of {options.gpu}'s "
        f"{PEAKS[options.gpu] / 1e12:g} TFLOP/s (dense bfloat16), for every network. Seconds scale "
        "with 1 / utilisation.",
        f"ASSUMED: {options.instances} instances a scene, and {options.survival:.0%} of the scenes "
        "survive; all are counted through all stages.",
        "Attention is counted by FlopCounterMode as two matrix products, masked pairs included.",
        "Left out: prompts (a language model at an endpoint, on GPUs of its own), faces, CPU work, "
        "loading, reading and writing.",
        f"ASSUMED: {CONTEXT_BYTES / 1e9:g} GB a process for CUDA; {TRANSFER / 1e9:g} GB/s for "
        "offloaded weights. Activations are an estimate.",
    ]


def describe(options: Options, arguments: Sequence[str]) -> dict[str, Any]:
    """When, with what and under which assumptions."""
    assert __doc__
    return {
        "benchmark": "full_size_cost",
        "command": shlex.join(["python", "benchmarks/full_size_cost.py", *arguments]),
        "date": date.today().isoformat(),
        "measured_on_a_gpu": False,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
        "assumptions": asdict(options)
        | {
            "peak_flops_per_second": PEAKS[options.gpu],
            "cuda_bytes_per_process": CONTEXT_BYTES,
            "offload_bytes_per_second": TRANSFER,
        },
        "notes": notes(options),
    }


def report_of(
    used: Sequence[str], costs: Sequence[RecipeCost], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """The tables, for the JSON file; bytes, seconds and floating point operations."""
    return {
        "networks": {
            name: asdict(counted(name))
            | {"published": NETWORKS[name].published, "source": NETWORKS[name].source}
            for name in used
        },
        "recipes": {cost.name: _recipe_report(cost, verdicts) for cost in costs},
    }


def _recipe_report(cost: RecipeCost, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "samples": cost.samples,
        "inputs": cost.inputs,
        "inputs_of_the_recipe": cost.recipe_inputs,
        "operations_per_scene": cost.operations,
        "gpu_seconds_per_scene": sum(cost.seconds.values()),
        "gpu_hours": cost.gpu_hours,
        "hours_on_8_gpus_if_evenly_used": cost.gpu_hours / 8,
        "dominating_stage": cost.dominating,
        "stages": {
            stage.stage: _stage_report(stage, cost.seconds, cost.memories[stage.stage])
            for stage in cost.stages
        },
        "resources": [asdict(one) for one in verdicts if one.recipe == cost.name],
    }


def _stage_report(
    stage: StageCost, seconds: Mapping[str, float], memory: StageMemory
) -> dict[str, Any]:
    return {
        "operations_per_scene": stage.operations,
        "gpu_seconds_per_scene": seconds[stage.stage],
        "batch_size": stage.batch_size,
        "memory_bytes": asdict(memory),
        "skipped": stage.skipped or None,
        "passes": [
            {key: getattr(one, key) for key in ("network", "part", "sizes", "times", "batch")}
            | {"operations": one.operations, "activation_bytes_estimate": one.activation_bytes}
            for one in stage.passes
        ],
    }


def _parser() -> argparse.ArgumentParser:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", choices=PEAKS, default="h100")
    parser.add_argument(
        "--utilisation", type=_share, default=0.4, help="of the GPU's peak, above 0 to 1: assumed"
    )
    parser.add_argument("--instances", type=_positive, default=4, help="of a scene: assumed")
    parser.add_argument(
        "--survival", type=_share, default=0.8, help="share of scenes that pass: assumed"
    )
    parser.add_argument("--recipes", nargs="+", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
