"""Load a model of any family; say which models there are; fetch their weights."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from imig.errors import DataError, UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.device import choose_device, choose_dtype, make_deterministic
from imig.models.families import FAMILIES, FAMILY_CLASSES
from imig.models.family import Checkpoint, Family
from imig.models.hub import HubId, find_in_hub_cache, hub_cache, parse_hub_id
from imig.models.outside import is_outside, outside_class
from imig.models.pipeline_folder import CONFIGURATION, INDEX, components, read_index
from imig.models.protocols import TASKS, Model
from imig.models.weights import TINY, find_family, find_weights, resolve_weights, tiny_folder
from imig.recipe.parts import ModelConfig
from imig.schema import ModelRecord

# What a transformers or open_clip checkpoint needs beside its weights.
_CONFIGURATION_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*")
# Second copies of weights in another number format, which no family asks for.
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|non_ema)[.-]")


@dataclass(frozen=True)
class ModelRow:
    """A row of `imig models list`."""

    family: str
    task: str
    """One or several, divided by commas."""
    weights: str
    megabytes: float
    licence: str
    where: str
    """The path where it was found, or how to get it."""
    found: bool


def load_model(config: ModelConfig, *, batch_size: int) -> Model:
    """Load a model onto its device, ready for inference.

    The answer obeys the protocol of its family's task (`imig.models.protocols`).

    Parameters
    ----------
    config:
        Family, weights, device, dtype, offload.
    batch_size:
        Images that go through the network at once, at most.

    Raises
    ------
    UsageError
        Unknown family, missing or unfit weights, or a device that is not there.
    """
    family = find_family(config.family)
    if not set(family.tasks) & set(TASKS.values()):
        raise UsageError(
            f"family {family.name} is no model of a stage",
            cure="`imig train` and `imig generate` take its weights",
        )
    weights = resolve_weights(config)
    model: Model
    if family.layout == "program":
        # it runs without torch, whose import takes seconds
        model = _model_class(family)(weights)
        return model
    device = choose_device(config.device)
    make_deterministic()
    runtime = Runtime(
        device=device,
        dtype=choose_dtype(config.dtype, device),
        batch_size=batch_size,
        offload=config.offload,
        automatic=config.device == "auto",
    )
    model = _model_class(family)(weights, runtime)
    return model


def _model_class(family: Family) -> Any:
    if is_outside(family.name):
        return outside_class(family.name)
    return FAMILY_CLASSES[family.name]


def model_record(config: ModelConfig) -> ModelRecord:
    """The manifest's record of a model, without loading it. Raises UsageError as `load_model`."""
    weights = resolve_weights(config)
    return ModelRecord(family=weights.family, weights=weights.weights, revision=weights.revision)


def list_models() -> list[ModelRow]:
    """Every family's tiny and published checkpoints, and whether they are on this disk."""
    rows = []
    for family in FAMILIES.values():
        if family.tiny:
            rows.append(_tiny_row(family))
        rows.extend(_row(family, checkpoint) for checkpoint in family.checkpoints)
    return rows


def pull(family_name: str, weights: str | None = None) -> ResolvedWeights:
    """Download a checkpoint into the hub cache; `weights` defaults to the family's first.

    Raises
    ------
    UsageError
        `weights` is no hub id, the family has none there, or the offline switch is set
        (HF_HUB_OFFLINE).
    DataError
        The download failed.
    """
    family = find_family(family_name)
    if not family.checkpoints:
        raise UsageError(
            f"{family.name} is a program that ships with imig: there is nothing to pull",
            cure=f"model: {{family: {family.name}, weights: tiny}}",
        )
    if family.get:
        raise UsageError(f"{family.name} is not on the model hub", cure=family.get)
    wanted = weights or family.checkpoints[0].weights
    hub = parse_hub_id(wanted)
    if hub is None:
        raise UsageError(
            f"{wanted!r} is not a hub id (owner/name[/file][@revision])",
            cure=f"for example: imig models pull {family.name} {family.checkpoints[0].weights}",
        )
    if family.layout == "pipeline":
        _download_pipeline(family, hub)
    else:
        patterns = (hub.file,) if hub.file else (*family.weight_files, *_CONFIGURATION_PATTERNS)
        _download(hub, patterns=patterns, avoid_bin=not hub.file)
    known = {one.weights: one for one in family.checkpoints}
    for companion in known[wanted].companions if wanted in known else ():
        _download(HubId(companion, None, None), patterns=("*.json", "*.txt"), avoid_bin=True)
    return find_weights(ModelConfig(family=family.name, weights=wanted))


def _download_pipeline(family: Family, hub: HubId) -> None:
    """Fetch the components that the pipeline's index names, and no other copy of the weights."""
    if hub.file:
        raise UsageError(
            f"{family.name} loads a whole pipeline, not the file {hub.file}",
            cure=f"imig models pull {family.name} {hub.repo}",
        )
    _download(hub, patterns=(INDEX, "README.md", "LICENSE*"), avoid_bin=True)
    cached = find_in_hub_cache(hub)
    if cached is None:
        raise DataError(f"{hub.repo}: {INDEX} was fetched, but is not in {hub_cache()}")
    folder, commit = cached
    index = read_index(family, folder)
    patterns = tuple(
        f"{name}/{pattern}"
        for name in components(index)
        for pattern in (*CONFIGURATION, "*.safetensors")
    )
    # the same commit, whatever happened to the branch in between
    _download(replace(hub, revision=commit), patterns=patterns, avoid_bin=True)


def _download(hub: HubId, *, patterns: tuple[str, ...], avoid_bin: bool) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,  # of whichever HTTP client the hub uses
        OfflineModeIsEnabled,
    )

    try:
        names = HfApi().list_repo_files(hub.repo, revision=hub.revision)
        wanted = [
            name
            for name in names
            if any(fnmatch(name, one) for one in patterns)
            and not (avoid_bin and _VARIANT.search(name))
        ]
        if avoid_bin and any(name.endswith(".safetensors") for name in wanted):
            wanted = [name for name in wanted if not name.endswith((".bin", ".pt", ".pth"))]
        if not wanted:
            raise UsageError(
                f"{hub.repo} holds none of: {', '.join(patterns)}",
                cure="`imig models list` names checkpoints that fit",
            )
        snapshot_download(
            hub.repo, revision=hub.revision, cache_dir=hub_cache(), allow_patterns=wanted
        )
    except OfflineModeIsEnabled as error:
        raise UsageError(
            f"cannot pull {hub.repo}: the hub's offline switch is set",
            cure="unset HF_HUB_OFFLINE, or copy the hub cache from a machine with network",
        ) from error
    except HfHubHTTPError as error:
        raise DataError(f"the hub refused {hub.repo}: {error}") from error
    except (OSError, HTTPError) as error:
        raise DataError(
            f"could not download {hub.repo}: {error}",
            cure="is there a network? What arrived is kept: the same command goes on from there",
        ) from error


def _tiny_row(family: Family) -> ModelRow:
    folder = tiny_folder(family)
    kind = "*.py" if family.layout == "program" else "*.safetensors"
    weights = sorted(folder.rglob(kind))
    # of a program the size says nothing
    size = 0 if kind == "*.py" else sum(one.stat().st_size for one in weights) / 1e6
    return ModelRow(
        family=family.name,
        task=", ".join(family.tasks),
        weights=TINY,
        megabytes=round(size, 1),
        licence="Apache-2.0",
        where=str(folder) if weights else "make weights",
        found=bool(weights),
    )


def _row(family: Family, checkpoint: Checkpoint) -> ModelRow:
    try:
        where = str(find_weights(ModelConfig(family=family.name, weights=checkpoint.weights)).path)
        found = True
    except UsageError:
        where = family.get or f"imig models pull {family.name} {checkpoint.weights}"
        found = False
    return ModelRow(
        family=family.name,
        task=", ".join(family.tasks),
        weights=checkpoint.weights,
        megabytes=checkpoint.megabytes,
        licence=checkpoint.licence,
        where=where,
        found=found,
    )
