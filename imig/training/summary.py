"""What an adapter's file says of its training: for `imig adapter info`, and for model browsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imig.contextgen.modelspec import lora_architecture, modelspec_entries, weights_licence
from imig.training.recipe import TrainRecipe


def training_summary(
    recipe: TrainRecipe,
    *,
    step: int,
    scenes: int,
    samples_per_step: int,
    skipped: Sequence[str] = (),
) -> dict[str, Any]:
    """JSON values. Trainings that do the same have the same, whenever and wherever they run.

    Parameters
    ----------
    step:
        Optimizer steps that are done.
    scenes:
        That are trained on.
    skipped:
        Ids of damaged samples that were left out.
    """
    return {
        "steps": step,
        "samples_per_step": samples_per_step,
        "scenes": scenes,
        "objective": recipe.objective.kind,
        "optimizer": recipe.optimizer.kind,
        "learning_rate": recipe.optimizer.learning_rate,
        "ema": recipe.ema,
        "rank": recipe.adapter.rank,
        "alpha": recipe.adapter.alpha,
        "starts_from_an_adapter": recipe.adapter.start is not None,
        "seed": recipe.seed,
        **({"skipped_samples": list(skipped)} if skipped else {}),
    }


def summary_entries(
    recipe: TrainRecipe, summary: Mapping[str, Any], transformer: Mapping[str, Any]
) -> dict[str, str]:
    """ModelSpec's entries; `transformer` is the configuration of the base.

    Raises UsageError when SOURCE_DATE_EPOCH is no time.
    """
    average = "" if summary["ema"] is None else f", moving average {summary['ema']:g}"
    start = ", from another adapter" if summary["starts_from_an_adapter"] else ""
    return modelspec_entries(
        title=f"{recipe.name}, step {summary['steps']}",
        description=(
            f"ContextGen LoRA of rank {summary['rank']} for {recipe.model.weights}: "
            f"{summary['steps']} steps of {summary['samples_per_step']} samples on "
            f"{summary['scenes']} scenes, {summary['objective']}, {summary['optimizer']} at "
            f"{summary['learning_rate']:g}{average}{start}. Trained with imig."
        ),
        architecture=lora_architecture(transformer),
        width=recipe.data.target_width,
        licence=weights_licence(recipe.model.weights),
    )
