"""Everything that a training works with, made from its recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imig.contextgen.adapter import (
    adapter_off,
    adapter_parameters,
    adapter_state,
    adapter_used,
    add_adapter,
    counted_rank,
    load_adapter,
    save_adapter,
)
from imig.contextgen.adapter_file import find_adapter_file
from imig.contextgen.adapter_styles import DTYPES
from imig.contextgen.components import (
    LatentCodec,
    TextEncoders,
    find_components,
    load_transformer,
)
from imig.contextgen.encode import encode_pictures
from imig.contextgen.model import ContextGen
from imig.contextgen.modelspec import source_date
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.settings import TextLength
from imig.models.device import choose_dtype, mixed_precision
from imig.paths import input_path
from imig.shards.manifest import file_sha256
from imig.training.checkpoint import Training
from imig.training.data import TrainingData
from imig.training.encoding import encoding_record
from imig.training.generate_settings import carried_settings
from imig.training.optimizer import Average, make_optimizer, make_scheduler
from imig.training.parallel import share_model, whole
from imig.training.processes import on_first_process, process_count, process_rank
from imig.training.recipe import TrainRecipe
from imig.training.skipped import SkippedSamples
from imig.training.start import recipe_with_scale
from imig.training.steps import StepDivision, divide, new_shape
from imig.training.summary import summary_entries, training_summary

REFERENCE_ADAPTER = "reference"


@dataclass(frozen=True)
class Session:
    """A training that is set up: only `training` and `skipped` change while it runs."""

    recipe: TrainRecipe
    """With rank and alpha of the adapter that it starts from, where it starts from one."""
    device: torch.device
    dtype: torch.dtype
    """Of the frozen network."""
    model: ContextGen
    shared: nn.Module
    """`model` as the processes run it together."""
    training: Training
    data: TrainingData
    skipped: SkippedSamples
    encode: Callable[[Sequence[PictureSample | EncodedSample]], list[EncodedSample]]
    reference: Callable[[], AbstractContextManager[object]]
    """Within its context the model is DPO's reference."""
    reference_sha256: str | None
    """Of the adapter's file that is DPO's reference; None: there is no such file."""
    components: Path
    """The folder of the pipeline."""
    adapter_rank: float
    """For `imig.contextgen.flops`."""
    adapter_origin: str
    """What the training starts from, in words; empty where it starts anew."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return list(adapter_parameters(self.model.transformer).values())

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 products of the float32 adapter where the network is bfloat16 too."""
        return mixed_precision(self.device, self.dtype)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the adapter is its moving average, where the recipe keeps one."""
        if self.training.average is None:
            yield
        else:
            with self.training.average.swapped(self.shared):
                yield

    def export(self, path: Path, *, step: int) -> None:
        """Write the adapter (its average, where there is one) as a diffusers LoRA.

        All processes call this; the first one writes.

        Parameters
        ----------
        step:
            How many are done, for the file's summary of the training.

        Raises
        ------
        DataError
            On every process, when the file cannot be written; the one that was there still is.
        """
        transformer = self.model.transformer
        summary = training_summary(
            self.recipe,
            step=step,
            scenes=self.data.scenes,
            samples_per_step=self.data.division.shape.samples,
            skipped=[one.sample for one in self.skipped.rows],
        )
        with self.averaged():
            state = {}
            for key, value in adapter_state(transformer).items():
                full = whole(value)  # by all of them; kept by the one that writes
                if process_rank() == 0:
                    state[key] = full.cpu()

            def write() -> None:
                save_adapter(
                    transformer,
                    path,
                    settings=carried_settings(self.recipe) | {"training": summary},
                    state=state,
                    dtype=DTYPES[self.recipe.saving.dtype],
                    metadata=summary_entries(self.recipe, summary, transformer.config),
                )

            on_first_process(write)


def open_session(
    recipe: TrainRecipe,
    folders: Sequence[str | Path],
    *,
    device: torch.device,
    division: StepDivision | None = None,
    place: Callable[[str], str] | None = None,
) -> Session:
    """Load the data's records and the model, and set up what trains it.

    Parameters
    ----------
    division:
        How the processes share the steps of a run that has begun; None: it begins.
    place:
        Where a key of the recipe stands, in words, for errors.

    Raises
    ------
    UsageError
        Weights, adapter or dataset are not there, or do not fit each other or the recipe.
    DataError
        A dataset is damaged.
    """
    source_date()  # a wrong one is an error now, and not after the training
    if division is None:
        shape = new_shape(recipe, processes=process_count())
        division = divide(shape, processes=process_count(), batch_size=recipe.batch_size)
    components = find_components(recipe.model.weights).path
    dtype = choose_dtype(recipe.model.dtype, device)
    data = TrainingData(
        folders,
        config=recipe.data,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        rank=process_rank(),
        division=division,
        drop_background=recipe.attention.drop_background,
        text_length=recipe.attention.text_length,
        encode_as=partial(encoding_record, recipe, components=components, dtype=dtype),
    )
    transformer = load_transformer(components, dtype=dtype, device=device)
    adapters = _add_adapters(transformer, recipe, place=place)
    recipe = adapters.recipe
    adapter_rank = counted_rank(transformer)
    model = ContextGen(
        transformer, attention=recipe.attention, checkpoint_blocks=recipe.checkpoint_blocks
    )
    if recipe.compile and device.type == "cuda":
        model.compile_blocks()
    shared = share_model(model, recipe.parallel, device=device)
    parameters = adapter_parameters(transformer)
    optimizer = make_optimizer(parameters.values(), recipe.optimizer)
    training = Training(
        # not the DDP wrapper, so that a checkpoint does not depend on it
        model=model,
        optimizer=optimizer,
        scheduler=make_scheduler(optimizer, recipe.optimizer, recipe.steps),
        average=None if recipe.ema is None else Average(parameters, decay=recipe.ema),
    )
    return Session(
        recipe=recipe,
        device=device,
        dtype=dtype,
        model=model,
        shared=shared,
        training=training,
        data=data,
        skipped=SkippedSamples(recipe.data.max_damaged),
        encode=_Encoding(
            components, device=device, dtype=dtype, text_length=recipe.attention.text_length
        ),
        reference=adapters.reference,
        reference_sha256=adapters.reference_sha256,
        components=components,
        adapter_rank=adapter_rank,
        adapter_origin=adapters.origin,
    )


@dataclass(frozen=True)
class _Adapters:
    recipe: TrainRecipe
    origin: str
    reference: Callable[[], AbstractContextManager[object]]
    """The context in which the model is DPO's reference."""
    reference_sha256: str | None = None


def _add_adapters(
    transformer: Any, recipe: TrainRecipe, *, place: Callable[[str], str] | None
) -> _Adapters:
    """Add what is trained.

    A DPO that starts from an adapter has that adapter, frozen, as its reference: with a half
    trained model in its place every resumption would move the goal (REFERENCE 3.6).
    """
    config = recipe.adapter
    off = partial(adapter_off, transformer)
    if config.start is None:
        add_adapter(transformer, rank=config.rank, alpha=config.alpha, seed=recipe.seed)
        return _Adapters(recipe, "", off)
    start = input_path(config.start)
    scale = load_adapter(transformer, start, trainable=True, as_trained=True)
    recipe = recipe_with_scale(recipe, scale, place=place)
    origin = f"starts from {start}: {scale}"
    if recipe.objective.kind != "dpo":
        return _Adapters(recipe, origin, off)
    load_adapter(transformer, start, name=REFERENCE_ADAPTER, trainable=False, as_trained=True)
    used = partial(adapter_used, transformer, REFERENCE_ADAPTER)
    digest = on_first_process(lambda: file_sha256(find_adapter_file(start)))
    return _Adapters(recipe, origin, used, digest)


class _Encoding:
    """Encodes what comes as pictures; loads text encoders and VAE when the first does."""

    def __init__(
        self, folder: Path, *, device: torch.device, dtype: torch.dtype, text_length: TextLength
    ) -> None:
        self._folder, self._device, self._dtype = folder, device, dtype
        self._text_length = text_length
        self._parts: tuple[TextEncoders, LatentCodec] | None = None

    def __call__(self, samples: Sequence[PictureSample | EncodedSample]) -> list[EncodedSample]:
        pictures = [one for one in samples if isinstance(one, PictureSample)]
        if not pictures:
            return [one for one in samples if isinstance(one, EncodedSample)]
        encoded = iter(self._encode(pictures))
        return [
            next(encoded) if isinstance(one, PictureSample) else one.to(self._device)
            for one in samples
        ]

    def _encode(self, pictures: list[PictureSample]) -> list[EncodedSample]:
        if self._parts is None:
            self._parts = (
                TextEncoders.load(
                    self._folder, self._dtype, self._device, text_length=self._text_length
                ),
                LatentCodec.load(self._folder, self._dtype, self._device),
            )
        text, codec = self._parts
        return encode_pictures(pictures, text=text, codec=codec)
