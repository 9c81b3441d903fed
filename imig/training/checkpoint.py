"""A training's state on disk, from which it goes on as if nothing had happened.

On one kind of machine, with the same number of processes, a resumed run has the same bits as an
undisturbed one. With another number of processes (or FSDP2 in place of DDP) it goes on with the
same samples and noise (`imig.training.steps`), and sums come out otherwise in their last digits:
adapter and optimizer are gathered into whole tensors when they are saved, and split again when they
are loaded.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim.lr_scheduler import LambdaLR

from imig.errors import DataError, UsageError
from imig.regular_file import read_regular_file
from imig.schema import first_problem
from imig.shards.atomic import atomic_write, atomic_write_bytes
from imig.training.optimizer import Average, fold_up
from imig.training.processes import gather_objects, on_first_process, process_count, process_rank
from imig.training.run_folder import (
    checkpoint_path,
    keep_last,
    latest_checkpoint,
    new_checkpoint,
    verify_checkpoint,
)
from imig.training.steps import StepShape

MAY_DIFFER = (
    "steps",
    "saving",
    "watch",
    "device",
    "compile",
    "parallel",
    "checkpoint_blocks",
    "data.workers",
    "data.cache",
    "data.max_damaged",
    # what a step is, the checkpoint itself says: `imig.training.steps.require_same_step`
    "batch_size",
    "accumulate",
    "samples_per_step",
)
"""Keys of a recipe that say how long, how and where it is computed, not what."""

SHAPE = "step"
"""The entry of a position's data that holds a `StepShape`."""

_Json = TypeVar("_Json", bound=BaseModel)


@dataclass(frozen=True)
class Training:
    """What changes while a training runs; `load_checkpoint` changes it in place."""

    model: nn.Module
    """Of it the parameters with `requires_grad` are saved: the adapter."""
    optimizer: torch.optim.Optimizer
    scheduler: LambdaLR
    average: Average | None = None


@dataclass(frozen=True)
class Position:
    """Where a training goes on."""

    step: int
    """Optimizer steps that are done."""
    data: dict[str, Any]
    """The data's position, as it was given to `save_checkpoint`."""


def save_checkpoint(
    run: Path,
    training: Training,
    *,
    step: int,
    data: Mapping[str, Any],
    recipe: BaseModel,
    keep: int,
) -> Path:
    """Write `run/checkpoints/step-<step>`, then delete all but the last `keep` checkpoints.

    All processes call this; the first one writes. A step that is saved already is left as it is.

    Parameters
    ----------
    data:
        The data's position as JSON values, the same on all processes.
    recipe:
        A training that is resumed must have the same, but for `MAY_DIFFER`.

    Raises
    ------
    DataError
        On every process, when the checkpoint cannot be written; the older ones are still there.
    """
    path = checkpoint_path(run, step)
    if on_first_process(path.is_dir):
        return path
    states = _gather_states(training)
    randoms = gather_objects(_random_state())
    progress = {"step": step, "data": dict(data), "processes": process_count()}

    def write() -> None:
        with new_checkpoint(path) as aside:
            for name, state in {**states, "random": randoms}.items():
                _write_state(aside / f"{name}.pt", state)
            values = recipe.model_dump(mode="json")
            document = {"sha256": recipe_sha256(recipe), "recipe": values}
            atomic_write_bytes(aside / "recipe.json", json.dumps(document, indent=2).encode())
            atomic_write_bytes(aside / "progress.json", json.dumps(progress, indent=2).encode())
        keep_last(run, keep)

    def write_or_say_what_is_left() -> None:
        try:
            write()
        except DataError as error:
            whole = latest_checkpoint(run)
            left = f" {whole.name} is whole: --resume goes on from there." if whole else ""
            raise DataError(error.message, cure=error.cure + left) from error

    on_first_process(write_or_say_what_is_left)
    return path


def load_checkpoint(checkpoint: Path, training: Training, *, recipe: BaseModel) -> Position:
    """Put a training where it was when the checkpoint was written. All processes call this.

    Raises
    ------
    DataError
        A file is damaged (nothing has been changed then), or it is of another model.
    UsageError
        The recipe is another one.
    """
    randoms, scheduler, progress = on_first_process(lambda: _read_small(checkpoint, recipe))
    with _of_our_form(checkpoint):
        _load_averages(checkpoint, training)
        _load_model(training.model, _read_on_first(checkpoint, "adapter"), checkpoint)
        set_optimizer_state_dict(
            training.model,
            training.optimizer,
            _read_on_first(checkpoint, "optimizer"),
            options=_load_options(),
        )
        training.scheduler.load_state_dict(scheduler)
        _apply_schedule(training)
        if progress.processes == process_count():
            _restore_random_state(randoms[process_rank()])
    return Position(step=progress.step, data=progress.data)


@contextmanager
def _of_our_form(checkpoint: Path) -> Iterator[None]:
    """What PyTorch and dicts raise over a state that was whole and means nothing here."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{checkpoint} cannot be used: {type(error).__name__}: {str(error)[:300]}",
            cure="its files are as they were written: another version of imig or PyTorch wrote "
            "them, go on with that one, or begin anew with another --output (adapter.start may be "
            "this one's adapter)",
        ) from error


class _Progress(BaseModel):
    """`progress.json`."""

    step: int = Field(ge=0)
    data: dict[str, Any]
    processes: int = Field(ge=1)


class _SavedRecipe(BaseModel):
    """`recipe.json`."""

    recipe: dict[str, Any]


def saved_shape(checkpoint: Path) -> StepShape:
    """What the steps of a checkpoint's run consist of.

    Raises
    ------
    DataError
        The checkpoint is damaged.
    """
    try:
        progress = _read_json(checkpoint / "progress.json", _Progress)
        if SHAPE in progress.data:
            return StepShape.model_validate(progress.data[SHAPE])
        # Before there was such an entry, steps were what this many processes made of the recipe.
        saved = _read_json(checkpoint / "recipe.json", _SavedRecipe)
        return StepShape.model_validate({**saved.recipe, "processes": progress.processes})
    except (DataError, ValidationError) as error:
        verify_checkpoint(checkpoint)  # says what is damaged, if that is it
        raise DataError(
            f"{checkpoint} does not say what its steps consist of: {error}",
            cure="another version of imig wrote it: go on with that one, or begin anew with "
            "another --output (adapter.start may be this one's adapter)",
        ) from error


def recipe_sha256(recipe: BaseModel) -> str:
    """Hex SHA-256 of a recipe with all its defaults."""
    text = json.dumps(recipe.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differing_keys(saved: Mapping[str, Any], recipe: BaseModel) -> list[str]:
    """Dotted keys in which a saved recipe differs from `recipe`, without those of `MAY_DIFFER`.

    Keys that are new since it was saved count with their defaults.
    """
    try:
        before = type(recipe).model_validate(saved).model_dump(mode="json")
    except ValidationError:
        before = dict(saved)
    old, new = _flatten(before), _flatten(recipe.model_dump(mode="json"))
    names = [
        key for key in {**old, **new} if (key in old, old.get(key)) != (key in new, new.get(key))
    ]
    return [
        key
        for key in names
        if not any(key == free or key.startswith(f"{free}.") for free in MAY_DIFFER)
    ]


def _gather_states(training: Training) -> dict[str, Any]:
    """Name of the file -> what is in it; whole tensors on the CPU, on the first process only."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    model = training.model
    fold_up(model)
    states: dict[str, Any] = {
        "adapter": _adapter_state(model, options),
        "optimizer": get_optimizer_state_dict(model, training.optimizer, options=options),
        "scheduler": training.scheduler.state_dict(),
    }
    if training.average is not None:
        with training.average.swapped(model):
            # On a CPU the state dict has the parameters themselves: copied before they swap back.
            values = _adapter_state(model, options)
            copied = {name: value.clone() for name, value in values.items()}
        states["average"] = {"updates": training.average.updates, "values": copied}
    return states


def _adapter_state(model: nn.Module, options: StateDictOptions) -> dict[str, Tensor]:
    """Name -> value of what is trained, without the prefixes of DDP and torch.compile."""
    return cast(dict[str, Tensor], get_model_state_dict(model, options=options))


def _read_small(checkpoint: Path, recipe: BaseModel) -> tuple[list[Any], Any, _Progress]:
    """Random states, scheduler and progress of a checkpoint that was found to be whole."""
    verify_checkpoint(checkpoint)
    saved = _read_json(checkpoint / "recipe.json", _SavedRecipe)
    if names := differing_keys(saved.recipe, recipe):
        raise UsageError(
            f"the training in {checkpoint.parent.parent} was begun with another recipe; "
            f"different: {', '.join(names)}",
            cure="give it the recipe and the --set of then, or begin anew with another --output "
            "(adapter.start may be this one's adapter)",
        )
    progress = _read_json(checkpoint / "progress.json", _Progress)
    return _read(checkpoint, "random"), _read(checkpoint, "scheduler"), progress


def _read_json(path: Path, kind: type[_Json]) -> _Json:
    try:
        return kind.model_validate_json(read_regular_file(path))
    except (OSError, ValidationError) as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else error.strerror
        # Its checksum is right.
        raise DataError(
            f"cannot read {path}: {reason}",
            cure="another version of imig wrote it, or it was edited: go on with that version, or "
            "begin anew with another --output",
        ) from error


def _write_state(path: Path, state: Any) -> None:
    with atomic_write(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # PyTorch's own writer says so when the disk is full, in words of its own.
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                f"PyTorch could not write all of it, and {free / 2**20:.1f} MiB are free there"
            ) from error


def _read(checkpoint: Path, name: str) -> Any:
    path = checkpoint / f"{name}.pt"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Its checksum is right, so another version of PyTorch wrote it, or it was edited by hand.
        raise DataError(
            f"cannot read {path}: {str(error)[:300]}",
            cure="go on with the version of PyTorch that wrote it, or begin anew with another "
            "--output",
        ) from error


def _read_on_first(checkpoint: Path, name: str) -> dict[str, Any]:
    """A state on the first process, which `_load_options` has it share; empty on the others."""
    states: list[dict[str, Any]] = [{}]

    def read() -> None:
        states[0] = _read(checkpoint, name)

    on_first_process(read)
    return states[0]


def _load_options() -> StateDictOptions:
    return StateDictOptions(
        full_state_dict=True,
        broadcast_from_rank0=process_count() > 1,
        ignore_frozen_params=True,
        strict=False,
    )


def _load_model(model: nn.Module, state: dict[str, Tensor], checkpoint: Path) -> None:
    fold_up(model)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    here = _adapter_state(model, StateDictOptions(ignore_frozen_params=True))
    expected = {name: tuple(value.shape) for name, value in here.items()}

    def check() -> None:
        names = {**expected, **shapes}
        if wrong := [one for one in names if expected.get(one) != shapes.get(one)]:
            raise DataError(
                f"{checkpoint} is of another model or adapter: {len(wrong)} of {len(expected)} "
                f"tensors differ, the first is {wrong[0]}",
                cure="give --resume the weights and the adapter's settings that the run began with",
            )

    on_first_process(check)
    set_model_state_dict(model, dict(state), options=_load_options())


def _load_averages(checkpoint: Path, training: Training) -> None:
    if training.average is None:
        return
    state = _read_on_first(checkpoint, "average")
    _load_model(training.model, state.get("values", {}), checkpoint)
    training.average.capture()
    training.average.updates = on_first_process(lambda: int(state["updates"]))


def _apply_schedule(training: Training) -> None:
    """The next step's rate by today's schedule: `steps` may be another number than it was."""
    scheduler = training.scheduler
    groups = zip(
        training.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    )
    for group, base, factor in groups:
        group["lr"] = base * factor(scheduler.last_epoch)


def _random_state() -> dict[str, Any]:
    """Of Python, numpy, torch and this process's GPU, in types that torch loads without pickle."""
    # Numpy's old global state: ours never draws from it, but a library that we call may.
    _, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _restore_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
