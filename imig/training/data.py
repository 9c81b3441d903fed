"""Training data by number: a micro-batch is a function of (recipe seed, number, rank).

Nothing here has a state that a checkpoint would have to hold: the position in the data is the
number of the next micro-batch, and `make_loader` goes on from any. Damaged samples are left out, if
at all, for what their bytes are and nothing else, so that every run leaves out the same.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch.utils.data

from imig.contextgen.encoded_scene import scene_from_bytes
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.settings import TextLength
from imig.errors import DataError, ImigError, UnavailableError, UsageError
from imig.paths import command_text, output_path
from imig.processes import signals_held
from imig.sample import derive_seed
from imig.schema import EncodingRecord
from imig.shards.cache import ShardCache
from imig.shards.dataset import Dataset
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.views import SceneView
from imig.training.ahead import shards_ahead
from imig.training.catalogue import Entry, read_catalogue
from imig.training.choices import Choice, caption_text, draw_choice
from imig.training.encoding import require_fit
from imig.training.order import Order, Planned
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig
from imig.training.steps import StepDivision, StepShape, Turn
from imig.training.stop import SIGNALS

Sample = PictureSample | EncodedSample
_STAND_INS = 64
"""Micro-batches that are searched for a sample that reads, where none of a turn does."""


class Skipped(NamedTuple):
    """A damaged sample that was left out."""

    dataset: str
    sample: str
    reason: str


@dataclass(frozen=True)
class MicroBatch:
    """What a process trains on at a time: a batch of the step, or a part of one."""

    samples: list[Sample]
    """Never empty: where none is left, some sample stands in, because all processes compute."""
    turn: Turn
    """Which batch of the step, and which part."""
    size: int
    """Samples of the whole batch as it was planned."""
    places: tuple[int, ...]
    """Of the samples in the whole batch; empty where one only stands in, and counts nothing."""
    skipped: tuple[Skipped, ...] = ()


class TrainingData(torch.utils.data.Dataset[list[Sample]]):
    """The micro-batches of one rank.

    ``data[n]`` reads and prepares micro-batch n: 1 to `batch_size` samples with equal target sizes
    (`imig.training.order` says which). It is the same for ever; two ranks, and two numbers, share
    no turn of a scene. Scenes held out for validation are never among them. What `imig encode` has
    encoded comes as `EncodedSample`, and its pictures are not read. `micro_batch` leaves out what
    is damaged where the recipe allows it.

    Parameters
    ----------
    folders:
        Dataset folders or addresses (``s3://..``; see `imig.shards.folders`). Their order counts.
    config:
        How scenes become samples.
    seed:
        The recipe's.
    batch_size, rank, world:
        Samples of one rank at a time, this rank, and the number of ranks.
    division:
        How the ranks share steps of another shape than ``(world, 1, batch_size)``, which goes
        before `batch_size` and `world`: as a training was begun, whoever goes on with it.
    drop_background:
        Whether background tokens of references stay out of the sequence; lengths depend on it.
    text_length:
        `AttentionConfig.text_length`; lengths depend on it too.
    encode_as:
        How this training encodes pictures: what encoded datasets must agree with. None: pictures
        come of these, too.

    Raises
    ------
    UsageError
        When there are no folders or a path is no dataset, its subsets have no weight, or it was
        encoded otherwise than `encode_as`.
    DataError
        When a record is damaged, or no scene is left to train on.

    Warns
    -----
    UserWarning
        When scenes without any usable reference are left out.
    """

    def __init__(
        self,
        folders: Sequence[str | Path],
        *,
        config: DataConfig,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        division: StepDivision | None = None,
        drop_background: bool = True,
        text_length: TextLength = "caption",
        encode_as: Callable[[], EncodingRecord] | None = None,
    ) -> None:
        if not folders:
            raise UsageError("no dataset folder to train on", cure="Give `--shards DIR`.")
        if division is None:
            shape = StepShape(processes=world, accumulate=1, batch_size=batch_size)
            division = StepDivision(shape, world)
        self.division = division
        self.datasets = [Dataset(folder) for folder in folders]
        self.fingerprints = [one.fingerprint for one in self.datasets]
        """Which datasets these are, in their order."""
        self.sources = _with_cache(self.datasets, config)
        """The same datasets as training samples are read: through the cache, where there is one.
        Held-out samples lie in all shards, and would have every one of them fetched."""
        self.config = config
        self.seed = seed
        self.rank = rank
        self._encodings = _find_encodings(self.datasets, encode_as)
        catalogue = read_catalogue(
            self.datasets,
            config=config,
            drop_background=drop_background,
            text_length=text_length,
        )
        places = ", ".join(str(folder) for folder in folders)
        if catalogue.unusable:
            warnings.warn(
                f"{len(catalogue.unusable)} scenes of {places} have no usable reference and are "
                f"left out: {', '.join(catalogue.unusable[:3])}..",
                stacklevel=2,
            )
        _check_subsets(catalogue.training, config=config, places=places)
        self.validation: list[Entry] = catalogue.validation
        self.unusable: list[str] = catalogue.unusable
        self.order = Order(
            catalogue.training,
            config=config,
            seed=seed,
            batch_size=division.shape.batch_size,
            world=division.shape.processes,
        )

    @property
    def scenes(self) -> int:
        """Scenes to train on."""
        return len(self.order.entries)

    def plan(self, number: int) -> tuple[Planned, ...]:
        """What micro-batch `number` of this rank will hold; reads nothing."""
        turn, batch = self._planned_batch(number)
        return tuple(batch[place] for place in self.division.places(turn, size=len(batch)))

    def _planned_batch(self, number: int) -> tuple[Turn, tuple[Planned, ...]]:
        """The turn of this rank, and the whole batch that it is about."""
        step, turn_number = divmod(number, self.division.turns)
        turn = self.division.turn(turn_number, rank=self.rank)
        row = step * self.division.shape.accumulate + turn.row
        return turn, self.order.micro_batch(row, rank=turn.column)

    def __getitem__(self, number: int) -> list[Sample]:
        """Micro-batch `number` >= 0.

        Raises
        ------
        DataError
            When a sample is damaged. It is not skipped: `micro_batch` does that.
        """
        return [self._load_planned(one) for one in self.plan(number)]

    def micro_batch(self, number: int) -> MicroBatch:
        """Micro-batch `number` >= 0, without damaged samples if the recipe allows for any.

        Raises
        ------
        DataError
            When a sample is damaged and none may be, and when none reads.
        UnavailableError
            When a disk or a store does not give what it has: no sample is left out for that.
        """
        turn, batch = self._planned_batch(number)
        samples: dict[int, Sample] = {}
        skipped: list[Skipped] = []
        for place in self.division.places(turn, size=len(batch)):
            with self._skipping(self.order.entries[batch[place].entry], skipped):
                samples[place] = self._load_planned(batch[place])
        return MicroBatch(
            samples=list(samples.values()) or [self._stand_in(number, batch)],
            turn=turn,
            size=len(batch),
            places=tuple(samples),
            skipped=tuple(skipped),
        )

    @contextmanager
    def _skipping(self, entry: Entry, skipped: list[Skipped]) -> Iterator[None]:
        """Note a damaged sample in place of raising, where the recipe allows for any."""
        try:
            yield
        except UnavailableError:
            raise
        except DataError as error:
            if not self.config.max_damaged:
                raise
            dataset = str(self.datasets[entry.dataset].path)
            skipped.append(Skipped(dataset, entry.id, error.message))

    def _stand_in(self, number: int, batch: Sequence[Planned]) -> Sample:
        """Any sample that reads; of the same batch if possible."""
        batches = (
            batch if one == number else self.plan(one) for one in range(number, number + _STAND_INS)
        )
        for planned in chain.from_iterable(batches):
            try:
                return self._load_planned(planned)
            except UnavailableError:
                raise
            except DataError as error:
                last = error
        raise DataError(
            f"no sample of {_STAND_INS} batches reads; the last: {last.message}", cure=last.cure
        )

    def _load_planned(self, one: Planned) -> Sample:
        entry = self.order.entries[one.entry]
        return self._load(entry, one.choice, self.sources[entry.dataset])

    def validation_sample(self, number: int) -> Sample:
        """Held-out sample `number`, of `len(self.validation)`; the same in every training.

        It keeps its caption, and its variant depends on nothing but its id and the probabilities.
        """
        entry = self.validation[number]
        return self._load(entry, self._validation_choice(entry), self.datasets[entry.dataset])

    def validation_pictures(self, number: int) -> PictureSample:
        """`validation_sample` as pictures, to show it; also where it comes encoded."""
        entry, dataset = self.validation[number], self.datasets[self.validation[number].dataset]
        return self._load_pictures(entry, self._validation_choice(entry), dataset)

    def validation_scene(self, number: int, *, pictures: bool = False) -> MicroBatch:
        """`validation_sample` as `micro_batch` gives samples; with `pictures`, after its pictures.

        Raises as `micro_batch` does.
        """
        skipped: list[Skipped] = []
        for other in chain(range(number, len(self.validation)), range(number)):
            noted = skipped if other == number else []
            with self._skipping(self.validation[other], noted):
                shown = [self.validation_pictures(other)] if pictures else []
                return MicroBatch(
                    samples=[*shown, self.validation_sample(other)],
                    turn=Turn(0, 0, 0),
                    size=1,
                    places=(0,) if other == number else (),
                    skipped=tuple(skipped),
                )
        raise DataError(
            f"no held-out sample reads; the first: {skipped[0].reason}",
            cure="`imig validate` lists what is damaged",
        )

    def _validation_choice(self, entry: Entry) -> Choice:
        generator = np.random.default_rng(derive_seed("validation", entry.id))
        choice = draw_choice(entry.references, config=self.config, generator=generator)
        return Choice(choice.variant)

    def _load(self, entry: Entry, choice: Choice, dataset: Dataset) -> Sample:
        encoding = self._encodings[entry.dataset]
        if encoding is None:
            return self._load_pictures(entry, choice, dataset)
        with _naming(entry, dataset):
            scene = scene_from_bytes(
                dataset.read_member(entry.id, ENCODED_MEMBER),
                sample=entry.id,
                encoding=encoding,
                place=dataset.place_of(entry.id),
            )
            if choice.variant not in scene.layouts:
                raise DataError(
                    f"{dataset.place_of(entry.id)}: {ENCODED_MEMBER} has no layout of the kind "
                    f"{choice.variant}, of which the index has references"
                )
            return scene.to_sample(choice.variant, drop_caption=choice.drop_caption)

    def _load_pictures(self, entry: Entry, choice: Choice, dataset: Dataset) -> PictureSample:
        with _naming(entry, dataset):
            return _prepare(dataset[entry.id], choice, config=self.config)


def make_loader(
    data: TrainingData, *, start: int = 0, workers: int = 0
) -> Generator[MicroBatch, None, None]:
    """Micro-batches `start`, `start` + 1, .. of a rank, for ever.

    Parameters
    ----------
    workers:
        Processes that prepare micro-batches ahead, each two of them. They change nothing about
        what comes. They are spawned, not forked (threads and CUDA of the training do not survive a
        fork), and leave Ctrl-C to the training.

    Raises
    ------
    DataError
        While iterating: when a sample is damaged, see `TrainingData.micro_batch`.
    """
    with shards_ahead(data, start=start) as reached:
        for number, batch in enumerate(_load_in_order(data, start, workers), start):
            reached(number)
            yield batch


def _load_in_order(data: TrainingData, start: int, workers: int) -> Iterator[MicroBatch]:
    if not workers:
        yield from map(data.micro_batch, range(start, sys.maxsize))
    loader: torch.utils.data.DataLoader[bytes | ImigError] = torch.utils.data.DataLoader(
        _Packed(data),
        batch_size=None,
        sampler=range(start, sys.maxsize),
        collate_fn=_unchanged,
        num_workers=workers,
        multiprocessing_context="spawn",
        worker_init_fn=_heed_nobody_but_the_parent,
        prefetch_factor=2,
    )
    with signals_held(SIGNALS):
        packs = iter(loader)  # starts the workers
    for packed in packs:
        if isinstance(packed, ImigError):
            raise packed
        batch: MicroBatch = pickle.loads(packed)
        yield batch


class _Packed(torch.utils.data.Dataset[bytes | ImigError]):
    """Micro-batches on their way out of a worker.

    As bytes: torch would open a file for each tensor of each sample, and soon have too many open.
    Errors for people as values: torch would bury them in a worker's traceback.
    """

    def __init__(self, data: TrainingData) -> None:
        self._data = data

    def __getitem__(self, number: int) -> bytes | ImigError:
        try:
            return pickle.dumps(self._data.micro_batch(number))
        except ImigError as error:
            return error


def _prepare(scene: SceneView, choice: Choice, *, config: DataConfig) -> PictureSample:
    return scene_to_pictures(
        scene,
        variant=choice.variant,
        caption=caption_text(
            scene.record.caption, drop=choice.drop_caption, instruction=config.instruction
        ),
        config=config,
    )


def _check_subsets(entries: Sequence[Entry], *, config: DataConfig, places: str) -> None:
    if not entries:
        raise DataError(
            f"there is no scene to train on in {places}",
            cure="Scenes need references, and data.validation_fraction must leave some.",
        )
    subsets = sorted({entry.subset for entry in entries})
    missing = [subset for subset in subsets if subset not in config.subset_weights]
    if missing:
        raise UsageError(
            f"data.subset_weights has no weight for {', '.join(missing)}, of which there are "
            f"scenes in {places}",
            cure=f"--set data.subset_weights.{missing[0]}=1 (0 leaves them out)",
        )
    if not any(config.subset_weights[subset] > 0 for subset in subsets):
        raise UsageError(
            f"data.subset_weights leaves out all of {', '.join(subsets)}, and there is nothing "
            f"else in {places}",
            cure=f"--set data.subset_weights.{subsets[0]}=1",
        )


def _with_cache(datasets: Sequence[Dataset], config: DataConfig) -> list[Dataset]:
    if config.cache is None:
        return list(datasets)
    cache = ShardCache(output_path(config.cache.folder), config.cache.size)
    return [one.cached(cache) for one in datasets]


def _find_encodings(
    datasets: Sequence[Dataset], encode_as: Callable[[], EncodingRecord] | None
) -> list[EncodingRecord | None]:
    """How each dataset was encoded, None where its pictures are wanted."""
    encodings = [dataset.manifest.encoding for dataset in datasets]
    if encode_as is None or not any(encodings):
        return [None] * len(datasets)
    wanted = encode_as()
    for dataset, encoding in zip(datasets, encodings, strict=True):
        if encoding is not None:
            require_fit(encoding, wanted, place=str(dataset.path))
    return encodings


@contextmanager
def _naming(entry: Entry, dataset: Dataset) -> Iterator[None]:
    """Say of damage within what it stops, and what to do."""
    try:
        yield
    except UnavailableError as error:
        raise UnavailableError(
            f"{error.message} (wanted for training sample {entry.id})", cure=error.cure
        ) from error
    except DataError as error:
        raise DataError(
            f"{error.message} (wanted for training sample {entry.id})",
            cure=f"`{command_text('imig', 'validate', dataset.path)}` lists what is damaged: "
            "repair the dataset and resume; or leave such samples out: --set data.max_damaged=10",
        ) from error


def _unchanged(packed: Any) -> Any:
    return packed


def _heed_nobody_but_the_parent(_: int) -> None:
    """Of a worker, in which `SIGNALS` are blocked.

    torchrun, `timeout` and a terminal signal a whole process group, Slurm and systemd every process
    of a job. The training takes note of it and still wants the batches of the step at hand; a
    worker that died would end it without a checkpoint. torch ends its workers with SIGTERM, too.
    """

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
