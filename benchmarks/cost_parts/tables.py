"""The tables of `benchmarks/full_size_cost.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.cost_parts.placing import PROPOSALS
from benchmarks.cost_parts.verdicts import RecipeCost, Verdict
from imig.estimate.networks import NETWORKS, Counted

GB = 1e9


def network_table(counts: Mapping[str, Counted]) -> Table:
    """Parameters, beside what is published."""
    table = _table(
        "Networks: parameters counted on `meta`, beside those published",
        ("network", "counted, M", "published, M", "apart", "as kept", "GB", "GB in bfloat16",
         "source"),
        left=("network", "as kept", "source"),
    )  # fmt: skip
    for name, count in counts.items():
        network = NETWORKS[name]
        table.add_row(
            name,
            f"{count.parameters / 1e6:,.1f}",
            f"{network.published / 1e6:,.1f}",
            f"{count.parameters / network.published - 1:+.1%}",
            str(network.dtype).removeprefix("torch."),
            f"{count.weight_bytes / GB:.2f}",
            f"{2 * count.parameters / GB:.2f}",
            network.source,
        )
    return table


def stage_table(cost: RecipeCost) -> Table:
    """Each network of each stage: how often, on what, how many operations."""
    table = _table(
        f"{cost.name}: a scene",
        ("stage", "network", "part", "sizes", "times", "TFLOP each", "TFLOP", "GPU s", "share"),
        left=("stage", "network", "part", "sizes"),
    )
    for stage in cost.stages:
        for number, one in enumerate(stage.passes):
            table.add_row(
                "" if number else stage.stage,
                one.network,
                one.part,
                _sizes(one.sizes),
                f"{one.times:g}",
                f"{one.operations / 1e12:,.3f}",
                f"{one.operations_a_scene / 1e12:,.2f}",
                f"{one.operations_a_scene / cost.rate:.3f}",
                f"{one.operations_a_scene / cost.operations:.1%}",
            )
        if stage.skipped:
            table.add_row(stage.stage, stage.skipped, end_section=True)
            continue
        table.add_row(
            "", "together", "", "", "", "",
            f"{stage.operations / 1e12:,.2f}",
            f"{cost.seconds[stage.stage]:.3f}",
            f"{stage.operations / cost.operations:.1%}",
            style="bold",
            end_section=True,
        )  # fmt: skip
    table.add_row(
        "all", "", "", "", "", "",
        f"{cost.operations / 1e12:,.2f}", f"{sum(cost.seconds.values()):.2f}", "",
        style="bold",
    )  # fmt: skip
    table.caption = (
        "sizes: tokens of FLUX: picture, text; of Qwen-Image: text, then rows and columns of the "
        "target and of each reference; pixels of pictures; tokens of texts; boxes of masks."
    )
    return table


def total_table(costs: Sequence[RecipeCost]) -> Table:
    """GPU time of the paper's number of samples."""
    table = _table(
        "GPU time of the paper's number of samples",
        ("recipe", "samples", "scenes in", "PFLOP a scene", "GPU s a scene", "GPU hours",
         "hours on 8, if evenly used", "days", "dominated by", "samples of the recipe's count"),
        left=("recipe", "dominated by"),
    )  # fmt: skip
    for cost in costs:
        largest = max(cost.seconds.values()) / sum(cost.seconds.values())
        own = "-" if cost.recipe_inputs is None else f"{cost.recipe_inputs * cost.survival:,.0f}"
        table.add_row(
            cost.name,
            f"{cost.samples:,}",
            f"{cost.inputs:,}",
            f"{cost.operations / 1e15:.2f}",
            f"{sum(cost.seconds.values()):.1f}",
            f"{cost.gpu_hours:,.0f}",
            f"{cost.gpu_hours / 8:,.0f}",
            f"{cost.gpu_hours / 8 / 24:.1f}",
            f"{cost.dominating} ({largest:.0%})",
            own,
        )
    return table


def memory_table(costs: Sequence[RecipeCost]) -> Table:
    """Memory of a worker of each stage."""
    table = _table(
        "Memory of a worker, GB (activations: an estimate)",
        ("recipe", "stage", "weights", "largest network", "largest layer", "batch", "activations",
         "with CUDA: none", "model", "sequential"),
        left=("recipe", "stage"),
    )  # fmt: skip
    for cost in costs:
        for stage in cost.stages:
            memory = cost.memories[stage.stage]
            offloads = ("none", "model", "sequential") if stage.generator else ("none",)
            table.add_row(
                cost.name,
                stage.stage,
                f"{memory.weights / GB:.2f}",
                f"{memory.largest_network / GB:.2f}",
                f"{memory.largest_layer / GB:.2f}",
                str(max((one.batch for one in stage.passes), default=0) or "-"),
                f"{memory.activations / GB:.2f}",
                *(f"{memory.worker(one) / GB:.1f}" for one in offloads),
            )
        table.add_section()
    table.caption = (
        "none, model, sequential: what `offload` keeps on the GPU; the rest waits in the machine's "
        "memory, which then holds all weights of the pipeline. Several workers hold a copy each."
    )
    return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Whether builds start and fit."""
    table = _table(
        "Does it start, does it fit, how long does it take",
        ("recipe", "settings", "GPUs", "gpus together", "starts", "GPUs needed",
         "fullest GPU, GB", "of", "fits", "s between scenes", "hours"),
        left=("recipe", "settings"),
    )  # fmt: skip
    for one in verdicts:
        table.add_row(
            one.recipe,
            one.what,
            str(one.gpus),
            f"{one.asked:.2f}",
            "yes" if one.starts else "NO",
            str(one.gpus_needed),
            f"{one.fullest_bytes / GB:.1f}",
            f"{one.card_bytes / GB:.0f}",
            "yes" if one.fits else "NO",
            f"{one.seconds_a_scene:.1f}",
            f"{one.hours:,.0f}",
        )
    table.caption = (
        "fullest GPU and hours: on as many GPUs as needed, offloading's transfers included. Rows "
        "of 24 GB are for an rtx4090, the others for --gpu with 80 GB. The proposals stand below."
    )
    return table


def proposal_table(costs: Sequence[RecipeCost]) -> Table:
    """What `resources` and `offload` may say."""
    table = _table(
        "Proposed resources (GPUs of 80 GB)",
        ("recipe", "GPUs", "stage", "gpus", "concurrency", "offload", "batch_size",
         "GPU s a scene", "by its workers"),
        left=("recipe", "stage", "offload"),
    )  # fmt: skip
    for cost in costs:
        for proposal in PROPOSALS[cost.name]:
            for number, stage in enumerate(cost.stages):
                setting = proposal.settings[stage.stage]
                seconds = cost.seconds[stage.stage]
                table.add_row(
                    "" if number else cost.name,
                    "" if number else str(proposal.gpus),
                    stage.stage,
                    f"{setting.gpus:g}",
                    str(setting.concurrency),
                    setting.offload if stage.generator else "-",
                    str(setting.batch_size or stage.batch_size),
                    f"{seconds:.2f}",
                    f"{seconds / setting.concurrency:.2f}",
                )
            table.add_section()
    return table


def _table(title: str, columns: Sequence[str], *, left: Sequence[str]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


def _sizes(sizes: Sequence[int]) -> str:
    """Repeated pairs are written once."""
    texts = [str(one) for one in sizes]
    if len(sizes) > 5:
        return f"{texts[0]}, {len(sizes) // 2} x ({texts[1]} x {texts[2]})"
    return ", ".join(texts)
