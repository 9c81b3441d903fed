"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from imig.console.lines import say
from imig.contextgen.batch import ModelBatch, make_batch
from imig.contextgen.flops import batch_work, sizes_of
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.tokens import Role
from imig.errors import DataError, UsageError
from imig.sample import derive_seed
from imig.training.checkpoint import Position, load_checkpoint, save_checkpoint
from imig.training.data import make_loader
from imig.training.evaluate import draw_pictures, validation_loss
from imig.training.objective import dpo_loss, draw_timesteps, flow_loss
from imig.training.optimizer import clip_gradients, learning_rate
from imig.training.parallel import gradients_stay, joined_processes
from imig.training.processes import any_process, on_first_process, process_rank
from imig.training.recipe import TrainRecipe
from imig.training.run_folder import open_run, run_lock
from imig.training.session import Session, open_session
from imig.training.stop import StopRequest
from imig.training.watch import StepFigures, Watch

ADAPTER_FILE = "adapter.safetensors"


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
    The exit code: 0, or 130 and 143 after Ctrl-C and SIGTERM, which save first.
    """
    with StopRequest() as stop, joined_processes(recipe.device) as device, ExitStack() as held:

        def open_alone() -> Path | None:
            checkpoint = open_run(run, resume=resume, steps=recipe.steps)
            held.enter_context(run_lock(run))
            return checkpoint

        checkpoint = on_first_process(open_alone)
        session = open_session(recipe, folders, device=device, place=place)
        recipe = session.recipe
        start = 0
        if checkpoint is not None:
            position = load_checkpoint(checkpoint, session.training, recipe=recipe)
            start = position.step
            if not resume:
                _require_same_data(session, position, run)
        if start >= recipe.steps:
            if not on_first_process((run / ADAPTER_FILE).is_file):
                session.export(run / ADAPTER_FILE, step=start)
            if process_rank() == 0:
                done = (
                    f"{run} is finished already: it has all {recipe.steps} steps; another "
                    "--output trains anew"
                )
                say(console or Console(emoji=False), done)
            return 0
        batches = make_loader(
            session.data, start=start * recipe.accumulate, workers=recipe.data.workers
        )
        settings = recipe.model_dump(mode="json")
        with Watch(
            run,
            recipe.watch,
            steps=recipe.steps,
            start=start,
            device=device,
            settings=settings,
            console=console,
        ) as watch:
            _greet(session, watch, start=start)
            for step in range(start + 1, recipe.steps + 1):
                watch.step(step, train_step(session, batches, step=step))
                last = step == recipe.steps
                stopping = not last and stop.requested_anywhere(device=device)
                if not stopping:
                    # before saving: what a checkpoint has passed is recorded, also after a kill
                    _look(session, watch, step=step)
                if last or stopping or step % recipe.saving.every == 0:
                    with watch.pause():
                        _save(session, run, step=step)
                if stopping:
                    watch.message(f"stopped after step {step} and saved; --resume goes on")
                    return stop.exit_code or 130
    return 0


def _require_same_data(session: Session, position: Position, run: Path) -> None:
    """A run is finished for those who ask for it with the datasets that it was trained on."""
    if position.data.get("datasets") != session.data.fingerprints:
        raise UsageError(
            f"{run} has a training in it, which came to step {position.step}, on other datasets "
            "than these, or they have changed",
            cure="choose another --output; --resume takes these datasets for those",
        )


def train_step(
    session: Session, batches: Iterator[Sequence[PictureSample | EncodedSample]], *, step: int
) -> StepFigures:
    """One optimizer step, counted from 1, over the next `accumulate` batches.

    Noise and times are drawn from (recipe's seed, step, batch, process): a resumed training draws
    the same.

    Raises
    ------
    DataError
        The loss or the gradients are not finite; names the samples. Nothing has been changed.
    """
    recipe = session.recipe
    losses: list[tuple[tuple[str, ...], Tensor]] = []
    extras: dict[str, list[Tensor]] = {}
    samples = tokens = padded = 0
    flops = 0.0
    for number in range(recipe.accumulate):
        batch = make_batch(session.encode(next(batches)), attention=recipe.attention)
        flops += _flops(session, batch)
        samples += len(batch.ids)
        padded += batch.tokens.role.numel()
        tokens += int((batch.tokens.role != Role.PADDING).sum())
        batch = batch.to(session.device, session.dtype)
        seed = derive_seed(recipe.seed, "noise", step, number, process_rank())
        more_to_come = number + 1 < recipe.accumulate
        with gradients_stay(session.shared, more_to_come):
            loss, extra = batch_loss(session, batch, seed=seed)
            (loss.mean() / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
        losses.append((batch.ids, loss.detach()))
        for name, value in extra.items():
            extras.setdefault(name, []).append(value)
    norm = clip_gradients(session.parameters, recipe.optimizer.clip)
    _check_finite(losses, norm, step=step, device=session.device)
    training = session.training
    rate = learning_rate(training.optimizer)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    training.scheduler.step()
    if training.average is not None:
        training.average.update()
    return StepFigures(
        loss=torch.cat([one for _, one in losses]).mean(),
        gradient_norm=norm,
        samples=samples,
        tokens=tokens,
        padded_tokens=padded,
        learning_rate=rate,
        flops=flops,
        extra={name: torch.stack(values).mean() for name, values in extras.items()},
    )


def batch_loss(
    session: Session, batch: ModelBatch, *, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses of the samples, (b,) float32 with a graph, and figures to watch without one."""
    objective = session.recipe.objective
    generator = torch.Generator().manual_seed(seed)
    t = draw_timesteps(len(batch.ids), objective=objective, generator=generator)
    noise = torch.randn(batch.layout.shape, generator=generator)
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


def _check_finite(
    losses: Sequence[tuple[tuple[str, ...], Tensor]],
    norm: Tensor,
    *,
    step: int,
    device: torch.device,
) -> None:
    """Before the optimizer steps; all processes stop together."""
    finite = bool(torch.cat([loss for _, loss in losses]).isfinite().all() & norm.isfinite())
    if not any_process(not finite, device=device):
        return
    guilty = [
        name
        for ids, loss in losses
        for name, good in zip(ids, loss.isfinite().tolist(), strict=True)
        if not good
    ]
    everyone = [name for ids, _ in losses for name in ids]
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
    began = time.monotonic()
    first = session.data[0]
    if any(isinstance(one, PictureSample) for one in first):
        session.encode(first)  # loads what encodes
        began = time.monotonic()
        session.encode(first)
        cost = (time.monotonic() - began) * recipe.accumulate
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
            "batch": step * session.recipe.accumulate,
            "datasets": session.data.fingerprints,
        },
        recipe=session.recipe,
        keep=session.recipe.saving.keep,
    )
    session.export(run / ADAPTER_FILE, step=step)


def _look(session: Session, watch: Watch, *, step: int) -> None:
    """Validation and pictures, when they are due."""
    config, last = session.recipe.watch, step == session.recipe.steps
    if session.data.validation and _is_due(step, config.validate_every, last):
        with watch.pause(), session.averaged():
            loss = validation_loss(session)
        watch.record(step, {"validation/loss": loss})
    if session.data.validation and _is_due(step, config.picture_every, last):
        with watch.pause(), session.averaged():
            for name, picture in draw_pictures(session):
                watch.picture(name, picture, step)


def _is_due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (last or step % every == 0)
