"""What one sees of a training: a line of progress, TensorBoard, `metrics.jsonl`, pictures.

::

    runs/<name>/
      metrics.jsonl                      figures of every `log_every`-th step, and validations
      tensorboard/                       the same, and the pictures
      pictures/step-000400-<id>.png

Figures of a step stay on the device until a line is due: reading a loss in each step would make the
processor wait for the GPU.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from torch import Tensor

from imig.console.bar import Bar
from imig.console.texts import seconds_to_clock
from imig.errors import UsageError
from imig.training.device_figures import device_peak_flops, peak_memory
from imig.training.metrics import append_metrics, cut_metrics
from imig.training.processes import process_count, process_rank
from imig.training.recipe import WatchConfig
from imig.training.watch_line import figures_to_text


@dataclass(frozen=True)
class StepFigures:
    """One optimizer step of this process."""

    loss: Tensor
    """() mean over the step's samples; may still be on the device."""
    gradient_norm: Tensor
    """() before clipping; of the steps since the last line the last one's is shown."""
    samples: int
    tokens: int
    """Without padding."""
    padded_tokens: int
    """With padding: what the network computed."""
    learning_rate: float
    flops: float | None = None
    """Of forward, backward and recomputation of this process's batches, where known: for MFU."""
    extra: Mapping[str, Tensor | float] = field(default_factory=dict)
    """More to average and show, such as DPO's margin; the same keys in every step."""


class Watch:
    """Shows and records a training; a context manager.

    Every process has one and calls `step`, because losses are averaged over all; only the first
    process writes and prints.

    Parameters
    ----------
    run:
        The run's folder.
    steps:
        Of the whole training.
    start:
        Steps that are done: what was recorded after them is cut off.
    device:
        Where the training computes.
    settings:
        The recipe as JSON values, for wandb.

    Raises
    ------
    UsageError
        wandb is asked for and not installed.
    """

    def __init__(
        self,
        run: Path,
        config: WatchConfig,
        *,
        steps: int,
        start: int = 0,
        device: torch.device | str = "cpu",
        settings: Mapping[str, Any] | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._config = config
        self._steps = steps
        self._device = torch.device(device)
        self._peak_flops = device_peak_flops(self._device)
        self._clock = clock
        self._window: list[StepFigures] = []
        self._window_began = clock()
        self._paused = 0.0
        self._last_step = start
        self._writer: Any = None
        self._wandb: Any = None
        self._bar: Bar | None = None
        if process_rank() == 0:
            self._open(start, settings or {}, console)

    def __enter__(self) -> Watch:
        if self._bar is not None:
            self._bar.__enter__()
        self._window_began = self._clock()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, *rest)
        if self._writer is not None:
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if kind is None else 1)

    def step(self, step: int, figures: StepFigures) -> None:
        """Take in a finished step, counted from 1; every `log_every`-th writes a line."""
        self._window.append(figures)
        if step % self._config.log_every == 0 or step == self._steps:
            self._log(step)
        elif self._bar is not None:
            self._bar.advance(step)

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures that are measured now and then, such as ``{"validation/loss": ..}``."""
        if self._bar is not None:
            self._write(step, figures)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            self._bar.print(f"step {step}: {shown}")

    def picture(self, tag: str, image: NDArray[np.uint8], step: int) -> None:
        """Keep a picture (h, w, 3); `tag` is the scene's id, and becomes a part of its name."""
        if self._bar is None:
            return
        path = self._run / "pictures" / f"step-{step:06d}-{tag.replace('/', '-')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        self._writer.add_image(f"pictures/{tag}", image, step, dataformats="HWC")
        if self._wandb is not None:
            picture = importlib.import_module("wandb").Image(image)
            self._wandb.log({f"pictures/{tag}": picture}, step=step)

    def message(self, text: str) -> None:
        """A line for the person who watches, above the progress."""
        if self._bar is not None:
            self._bar.print(text)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time within is not training: validating, drawing, saving."""
        began = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - began

    def _open(self, start: int, settings: Mapping[str, Any], console: Console | None) -> None:
        # Imported here: it takes seconds, and other processes do not need it.
        from torch.utils.tensorboard import SummaryWriter

        if self._config.wandb:
            self._wandb = _open_wandb(self._run, settings)
        self._run.mkdir(parents=True, exist_ok=True)
        cut_metrics(self._run / "metrics.jsonl", start)
        self._writer = SummaryWriter(str(self._run / "tensorboard"), purge_step=start + 1)
        self._bar = Bar(
            self._run.name,
            total=self._steps,
            done=start,
            console=console or Console(highlight=False, soft_wrap=True, emoji=False),
        )

    def _log(self, step: int) -> None:
        figures = self._figures(step)
        if self._bar is not None:
            self._write(step, figures)
            seconds = figures["seconds_per_step"] * (self._steps - step)
            shown = f"{figures_to_text(figures)}, {seconds_to_clock(seconds)} left"
            self._bar.show(step, shown)

    def _figures(self, step: int) -> dict[str, float]:
        """Of the steps since the last line, over all processes; ends the window."""
        steps = self._window
        values = {"loss": [one.loss for one in steps]}
        for name in steps[0].extra:
            values[name] = [torch.as_tensor(one.extra[name]) for one in steps]
        weights = [one.samples for one in steps]
        weighted = [_weighted_sum(one, weights, self._device) for one in values.values()]
        counts = [
            float(sum(weights)),
            float(sum(one.tokens for one in steps)),
            float(sum(one.padded_tokens for one in steps)),
            sum(math.nan if one.flops is None else one.flops for one in steps),
        ]
        sizes = torch.tensor(counts, dtype=torch.float64, device=self._device)
        summed = torch.cat((torch.stack(weighted), sizes))
        if process_count() > 1:
            dist.all_reduce(summed)
        # Reading them waits until the steps are done, so that the time below is theirs.
        *sums, samples, tokens, padded, flops = summed.tolist()
        now = self._clock()
        seconds = max(now - self._window_began - self._paused, 1e-9)
        count = step - self._last_step
        figures = {
            # over the samples of all steps and processes
            name: value / samples if samples else math.nan
            for name, value in zip(values, sums, strict=True)
        } | {
            "learning_rate": steps[-1].learning_rate,
            "gradient_norm": float(steps[-1].gradient_norm),
            "samples_per_second": samples / seconds,
            "tokens_per_second": tokens / seconds,
            "padding": 1 - tokens / padded if padded else 0.0,
            "memory_gib": peak_memory(self._device) / 2**30,
            "seconds_per_step": seconds / max(count, 1),
        }
        if self._peak_flops is not None and math.isfinite(flops):
            figures["mfu"] = flops / seconds / (self._peak_flops * process_count())
        self._window, self._window_began, self._paused = [], now, 0.0
        self._last_step = step
        return figures

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        append_metrics(self._run / "metrics.jsonl", step, figures)
        for name, value in figures.items():
            self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)
        self._writer.flush()
        if self._wandb is not None:
            self._wandb.log(dict(figures), step=step)


def _weighted_sum(values: list[Tensor], weights: list[int], device: torch.device) -> Tensor:
    """() float64."""
    stacked = torch.stack([one.detach().to(device) for one in values]).double()
    return (stacked * torch.tensor(weights, dtype=torch.float64, device=device)).sum()


def _open_wandb(run: Path, settings: Mapping[str, Any]) -> Any:
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise UsageError(
            "watch.wandb=true needs wandb, which is not installed",
            cure="`pip install wandb`, or leave watch.wandb out: TensorBoard has the same",
        ) from error
    run.mkdir(parents=True, exist_ok=True)
    # A resumed training goes on in the same run of wandb.
    identity = run / "wandb-id.txt"
    if not identity.is_file():
        identity.write_text(wandb.util.generate_id())
    return wandb.init(
        project="imig",
        name=run.name,
        id=identity.read_text().strip(),
        resume="allow",
        dir=str(run),
        config=dict(settings),
    )
