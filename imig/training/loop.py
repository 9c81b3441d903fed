"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from imig.console.lines import say
from imig.contextgen.adapter import read_settings
from imig.contextgen.batch import ModelBatch, make_batch
from imig.contextgen.flops import batch_work, sizes_of
from imig.contextgen.sample import PictureSample
from imig.contextgen.tokens import Role
from imig.errors import DataError, ImigError, UsageError
from imig.sample import derive_seed
from imig.training.checkpoint import (
    SHAPE,
    Position,
    load_checkpoint,
    save_checkpoint,
    saved_shape,
)
from imig.training.data import MicroBatch, Skipped, make_loader
from imig.training.evaluate import draw_pictures, validation_loss
from imig.training.objective import dpo_loss, draw_timesteps, flow_loss
from imig.training.optimizer import clip_gradients, learning_rate
from imig.training.parallel import gradients_stay, joined_processes
from imig.training.processes import (
    gather_objects,
    highest,
    on_first_process,
    process_count,
    process_rank,
)
from imig.training.recipe import TrainRecipe
from imig.training.run_folder import open_run, run_lock
from imig.training.session import Session, open_session
from imig.training.skipped import SkippedRow
from imig.training.steps import (
    StepDivision,
    divide,
    new_shape,
    processes_to_text,
    require_same_step,
)
from imig.training.stop import Stopped, StopRequest
from imig.training.watch import StepFigures, Watch

ADAPTER_FILE = "adapter.safetensors"
STOPPED_BY_ANOTHER = 143
"""Exit code where another process of the training got the signal: as of SIGTERM."""
SKIPPED = "skipped"
"""The entry of a checkpoint's data that holds the `SkippedRow`s."""
DATASETS = "datasets"
"""The one with the fingerprints of the datasets."""
REFERENCE = "reference_sha256"
"""The one that says which file the reference of DPO came from."""


def train(
    recipe: TrainRecipe,
    folders: Sequence[str | Path],
    *,
    run: Path,
    resume: bool = False,
    console: Console | None = None,
    place: Callable[[str], str] | None = None,
) -> int:
    """Train, and leave `adapter.safetensors` in the run's folder; raises as `imig.api.train`.

    Parameters
    ----------
    run:
        Folder of checkpoints, metrics, pictures and adapter.
    place:
        Where a key of the recipe stands, in words, for errors; file and line on the command line.

    Returns
    -------
    The exit code: 0, or 128 and the signal's number (130, 143, ..) after one of
    `imig.training.stop.SIGNALS`, which save first.
    """
    with StopRequest() as stop, joined_processes(recipe.device) as device, ExitStack() as held:

        def open_alone() -> Path | None:
            checkpoint = open_run(run, resume=resume, steps=recipe.steps)
            held.enter_context(run_lock(run))
            return checkpoint

        checkpoint = on_first_process(open_alone)
        division = _share_steps(recipe, checkpoint)
        session = open_session(recipe, folders, device=device, division=division, place=place)
        recipe = session.recipe
        start = 0
        if checkpoint is not None:
            position = load_checkpoint(checkpoint, session.training, recipe=recipe)
            start = position.step
            session.skipped.restore(
                SkippedRow.model_validate(one) for one in position.data.get(SKIPPED, ())
            )
            _require_same_reference(session, position, run)
            if not resume:
                _require_same_data(session, position, run)
        if start >= recipe.steps:
            if not on_first_process(partial(_is_of_step, run / ADAPTER_FILE, start)):
                session.export(run / ADAPTER_FILE, step=start)
            if process_rank() == 0:
                done = (
                    f"{run} is finished already: it has all {recipe.steps} steps; another "
                    "--output trains anew"
                )
                say(console or Console(emoji=False), done)
            return 0
        with Watch(
            run,
            recipe.watch,
            steps=recipe.steps,
            start=start,
            device=device,
            settings=recipe.model_dump(mode="json"),
            console=console,
        ) as watch:
            on_first_process(lambda: session.skipped.write(run))
            _greet(session, watch, start=start)
            if checkpoint is not None and position.data.get(DATASETS) != session.data.fingerprints:
                watch.message(f"the datasets are other ones than until step {start}")
            return _train_from(session, watch, run, start=start, stop=stop)


def _is_of_step(adapter: Path, step: int) -> bool:
    """Whether it is what the training had after the step: one killed after its last checkpoint has
    left that of an earlier one, or none."""
    try:
        training = read_settings(adapter).get("training")
    except ImigError:
        return False
    return isinstance(training, dict) and training.get("steps") == step


def _share_steps(recipe: TrainRecipe, checkpoint: Path | None) -> StepDivision:
    """How the processes of today share the steps of the run; raises as `imig.training.steps`."""
    processes = process_count()
    if checkpoint is None:
        shape = new_shape(recipe, processes=processes)
    else:
        shape = on_first_process(lambda: saved_shape(checkpoint))
        run = str(checkpoint.parent.parent)
        require_same_step(shape, recipe, processes=processes, run=run)
    return divide(shape, processes=processes, batch_size=recipe.batch_size)


def _train_from(session: Session, watch: Watch, run: Path, *, start: int, stop: StopRequest) -> int:
    """The steps after `start`, to the end or to a signal; the exit code."""
    recipe, done = session.recipe, start
    batches = make_loader(
        session.data, start=start * session.data.division.turns, workers=recipe.data.workers
    )
    try:
        for step in range(start + 1, recipe.steps + 1):
            watch.step(step, train_step(session, batches, step=step, check=stop.check))
            done = step
            stop.check()
            # before saving: what a checkpoint has passed is recorded, also after a kill
            _look(session, watch, step=step, check=stop.check)
            _tell_skipped(session, watch, run, step=step)
            if step == recipe.steps or step % recipe.saving.every == 0:
                with watch.pause():
                    _save(session, run, step=step)
    except Stopped:
        session.training.optimizer.zero_grad(set_to_none=True)  # of a step that is left
        began = time.monotonic()
        if done > start:
            _tell_skipped(session, watch, run, step=done)
            _save(session, run, step=done)
        watch.message(_stopped_to_text(done, start, recipe.steps, time.monotonic() - began))
        return stop.exit_code or STOPPED_BY_ANOTHER
    return 0


def _stopped_to_text(done: int, start: int, steps: int, seconds: float) -> str:
    if done == start:
        return f"stopped before step {start + 1} was done: nothing to save; --resume goes on"
    saved = f"stopped after step {done} and saved in {seconds:.2g} s"
    if done == steps:
        return f"{saved}; it was the last one, but for its validation and pictures"
    return f"{saved}; --resume goes on"


def _tell_skipped(session: Session, watch: Watch, run: Path, *, step: int) -> None:
    """Name the samples that have been left out since the last time, as far as there are any."""
    new = session.skipped.pop_untold()
    if not new:
        return
    on_first_process(lambda: session.skipped.write(run))
    watch.record(step, {"skipped": float(len(session.skipped))})
    for one in new:
        watch.message(
            f"{one.sample} is damaged and left out ({len(session.skipped)} of at most "
            f"{session.recipe.data.max_damaged}): {one.reason}"
        )


def _require_same_data(session: Session, position: Position, run: Path) -> None:
    """A run is finished for those who ask for it with the datasets that it was trained on."""
    if position.data.get(DATASETS) != session.data.fingerprints:
        raise UsageError(
            f"{run} has a training in it, which came to step {position.step}, on other datasets "
            "than these, or they have changed",
            cure="choose another --output; --resume takes these datasets for those",
        )


def _require_same_reference(session: Session, position: Position, run: Path) -> None:
    began_with = position.data.get(REFERENCE)
    if began_with is not None and began_with != session.reference_sha256:
        raise UsageError(
            f"{run} has adapter.start as the reference of objective dpo, and that file is another "
            f"one now: its SHA-256 was {began_with}",
            cure="give the file that it began with; or choose another --output to begin anew",
        )


def train_step(
    session: Session,
    batches: Iterator[MicroBatch],
    *,
    step: int,
    check: Callable[[], None] = lambda: None,
) -> StepFigures:
    """One optimizer step, counted from 1, over this process's next batches of it.

    Noise and times are drawn from (recipe's seed, step, batch): a resumed training draws the same,
    on whatever number of processes. Every sample weighs as much as it would in an undamaged step:
    the place of one that is left out counts as a gradient of zero.

    Parameters
    ----------
    check:
        Called by all processes between batches; what it raises leaves the step undone.

    Raises
    ------
    DataError
        The loss or the gradients are not finite, or more samples are damaged than may be; names the
        samples. Nothing has been changed.
    """
    recipe, division = session.recipe, session.data.division
    losses: list[tuple[tuple[str, ...], Tensor]] = []
    extras: dict[str, list[Tensor]] = {}
    skipped: list[Skipped] = []
    samples = tokens = padded = 0
    flops = 0.0
    for number in range(division.turns):
        if number:
            check()
        part = next(batches)
        skipped += part.skipped
        batch = make_batch(session.encode(part.samples), attention=recipe.attention)
        flops += _flops(session, batch)
        samples += len(part.places)
        padded += batch.tokens.role.numel()
        tokens += int((batch.tokens.role != Role.PADDING).sum())
        batch = batch.to(session.device, session.dtype)
        seed = derive_seed(recipe.seed, "noise", step, part.turn.row, part.turn.column)
        # 1.0 unless samples are left out, or a batch could not be cut evenly
        share = len(part.places) * division.parts / part.size
        more_to_come = number + 1 < division.turns
        with gradients_stay(session.shared, more_to_come):
            loss, extra = batch_loss(
                session, batch, seed=seed, size=part.size, places=part.places or (0,)
            )
            (loss.mean() * share / division.turns).backward()  # type: ignore[no-untyped-call]
        if part.places:
            losses.append((batch.ids, loss.detach()))
        for name, value in extra.items():
            extras.setdefault(name, []).append(value)
    norm = clip_gradients(session.parameters, recipe.optimizer.clip)
    _agree(session, losses, norm, skipped, step=step)
    training = session.training
    rate = learning_rate(training.optimizer)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    training.scheduler.step()
    if training.average is not None:
        training.average.update()
    return StepFigures(
        loss=_mean_loss(losses, session.device),
        gradient_norm=norm,
        samples=samples,
        tokens=tokens,
        padded_tokens=padded,
        learning_rate=rate,
        flops=flops,
        extra={name: torch.stack(values).mean() for name, values in extras.items()},
    )


def _mean_loss(losses: Sequence[tuple[tuple[str, ...], Tensor]], device: torch.device) -> Tensor:
    """() over the samples; 0 where this process had none."""
    if not losses:
        return torch.zeros((), device=device)
    return torch.cat([one for _, one in losses]).mean()


def batch_loss(
    session: Session, batch: ModelBatch, *, seed: int, size: int, places: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses of the samples, (b,) float32 with a graph, and figures to watch without one.

    Parameters
    ----------
    size, places:
        Of how many samples the whole batch was planned, and which of them these are: noise and
        times are drawn for all.
    """
    objective, at = session.recipe.objective, list(places)
    generator = torch.Generator().manual_seed(seed)
    t = draw_timesteps(size, objective=objective, generator=generator)[at]
    noise = torch.randn((size, *batch.layout.shape[1:]), generator=generator)[at]
    t, noise = t.to(session.device), noise.to(session.device)
    with session.autocast():
        if objective.kind == "flow":
            loss = flow_loss(session.shared, batch, noise=noise, t=t, guidance=objective.guidance)
            return loss, {}
        figures = dpo_loss(
            session.shared,
            batch,
            noise=noise,
            t=t,
            guidance=objective.guidance,
            beta=objective.beta,
            reference=session.reference,
        )
    return figures.loss, {
        "winner": figures.winner.mean(),
        "loser": figures.loser.mean(),
        "margin": figures.margin.mean(),
        "accuracy": figures.accuracy,
    }


_ALL_WELL, _SOME_SKIPPED, _NOT_FINITE = range(3)


def _agree(
    session: Session,
    losses: Sequence[tuple[tuple[str, ...], Tensor]],
    norm: Tensor,
    skipped: Sequence[Skipped],
    *,
    step: int,
) -> None:
    """Before the optimizer steps: all processes go on, or all stop, and know the same skipped."""
    finite = norm.isfinite()
    for _, loss in losses:
        finite = finite & loss.isfinite().all()
    mine = (_SOME_SKIPPED if skipped else _ALL_WELL) if bool(finite) else _NOT_FINITE
    worst = highest(mine, device=session.device)
    if worst == _SOME_SKIPPED:
        found = chain.from_iterable(gather_objects(list(skipped)))
        session.skipped.take(found, step=step)
    if worst != _NOT_FINITE:
        return
    own = [
        name
        for ids, loss in losses
        for name, good in zip(ids, loss.isfinite().tolist(), strict=True)
        if not good
    ]
    # All processes say the same: what one of them met has no name on the others.
    guilty = [*chain.from_iterable(gather_objects(own))]
    everyone = [*chain.from_iterable(gather_objects([name for ids, _ in losses for name in ids]))]
    what = (
        f"the loss of {', '.join(guilty)}" if guilty else "the gradient, not the loss, of one of "
    )
    raise DataError(
        f"step {step}: not a finite number: {what if guilty else what + ', '.join(everyone)}",
        cure="look at these samples with `imig preview`; or begin anew with a lower "
        "optimizer.learning_rate and another --output (adapter.start may be this one's adapter)",
    )


def _flops(session: Session, batch: ModelBatch) -> float:
    """Of this batch's forward and backward passes; DPO has two, and two more forward.

    What checkpointing computes again does not count: MFU is about the model's own operations.
    """
    model, recipe = session.model, session.recipe
    work = batch_work(
        sizes_of(model.transformer),
        batch.tokens,
        model.kinds,
        variant=recipe.attention.variant,
        leave=model.references_leave_before(),
        rank=session.adapter_rank,
    )
    training = work.training(recomputed=0.0)
    return training if recipe.objective.kind == "flow" else 2 * (training + work.forward)


def _greet(session: Session, watch: Watch, *, start: int) -> None:
    recipe, data = session.recipe, session.data
    count = sum(one.numel() for one in session.parameters)
    watch.message(
        f"{recipe.name}: {data.scenes} scenes to train on, {len(data.validation)} held out; "
        f"adapter of {count / 1e6:.2f} M parameters on {recipe.model.weights}, {session.device}"
    )
    if session.adapter_origin:
        watch.message(session.adapter_origin)
    if start:
        watch.message(f"going on after step {start}")
    shape, division = data.division.shape, data.division
    if division.processes != shape.processes or division.parts > 1:
        watch.message(
            f"steps of {shape}, by {processes_to_text(division.processes)} of {division.turns} x "
            f"{shape.batch_size // division.parts}: samples and noise are the same"
        )
    began = time.monotonic()
    first = data.micro_batch(start * division.turns).samples
    if any(isinstance(one, PictureSample) for one in first):
        session.encode(first)  # loads what encodes
        began = time.monotonic()
        session.encode(first)
        cost = (time.monotonic() - began) * division.turns
        watch.message(
            f"the shards are not encoded: text and pictures are, again in every step, about "
            f"{cost:.2g} s of each (`imig encode` does it once)"
        )


def _save(session: Session, run: Path, *, step: int) -> None:
    save_checkpoint(
        run,
        session.training,
        step=step,
        data={
            SHAPE: session.data.division.shape.model_dump(mode="json"),
            DATASETS: session.data.fingerprints,
            REFERENCE: session.reference_sha256,
            SKIPPED: [one.model_dump(mode="json") for one in session.skipped.rows],
        },
        recipe=session.recipe,
        keep=session.recipe.saving.keep,
    )
    session.export(run / ADAPTER_FILE, step=step)


def _look(session: Session, watch: Watch, *, step: int, check: Callable[[], None]) -> None:
    """Validation and pictures, when they are due."""
    config, last = session.recipe.watch, step == session.recipe.steps
    if session.data.validation and _is_due(step, config.validate_every, last):
        with watch.pause(), session.averaged():
            loss = validation_loss(session, step=step, check=check)
        watch.record(step, {"validation/loss": loss})
    if session.data.validation and _is_due(step, config.picture_every, last):
        with watch.pause(), session.averaged():
            for name, picture in draw_pictures(session, check=check):
                watch.picture(name, picture, step)


def _is_due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (last or step % every == 0)
