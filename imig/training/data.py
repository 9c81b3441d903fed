"""Training data by number: a micro-batch is a function of (recipe seed, number, rank).

Nothing here has a state that a checkpoint would have to hold: the position in the data is the
number of the next micro-batch, and `make_loader` goes on from any.
"""

from __future__ import annotations

import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch.utils.data

from imig.contextgen.encoded_scene import scene_from_bytes
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.contextgen.settings import TextLength
from imig.errors import DataError, ImigError, UsageError
from imig.paths import command_text
from imig.sample import derive_seed
from imig.schema import EncodingRecord
from imig.shards.dataset import Dataset
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.views import SceneView
from imig.training.catalogue import Entry, read_catalogue
from imig.training.choices import Choice, caption_text, draw_choice
from imig.training.encoding import require_fit
from imig.training.order import Order, Planned
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig

Sample = PictureSample | EncodedSample


class TrainingData(torch.utils.data.Dataset[list[Sample]]):
    """The micro-batches of one rank.

    ``data[n]`` reads and prepares micro-batch n: 1 to `batch_size` samples with equal target sizes
    (`imig.training.order` says which). It is the same for ever; two ranks, and two numbers, share
    no turn of a scene. Scenes held out for validation are never among them. What `imig encode` has
    encoded comes as `EncodedSample`, and its pictures are not read.

    Parameters
    ----------
    folders:
        Dataset folders or addresses (``s3://..``; see `imig.shards.folders`). Their order counts.
    config:
        How scenes become samples.
    seed:
        The recipe's.
    batch_size, rank, world:
        Samples of one rank at a time, this rank, and the number of ranks. A resumed training needs
        the same batch size and world to see the same samples.
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
        drop_background: bool = True,
        text_length: TextLength = "caption",
        encode_as: Callable[[], EncodingRecord] | None = None,
    ) -> None:
        if not folders:
            raise UsageError("no dataset folder to train on", cure="Give `--shards DIR`.")
        self.datasets = [Dataset(folder) for folder in folders]
        self.fingerprints = [one.fingerprint for one in self.datasets]
        """Which datasets these are, in their order."""
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
            catalogue.training, config=config, seed=seed, batch_size=batch_size, world=world
        )

    @property
    def scenes(self) -> int:
        """Scenes to train on."""
        return len(self.order.entries)

    def plan(self, number: int) -> tuple[Planned, ...]:
        """What micro-batch `number` of this rank will hold; reads nothing."""
        return self.order.micro_batch(number, rank=self.rank)

    def __getitem__(self, number: int) -> list[Sample]:
        """Micro-batch `number` >= 0.

        Raises
        ------
        DataError
            When a sample is damaged. It is not skipped: what comes later would be another training.
        """
        return [self._load(self.order.entries[one.entry], one.choice) for one in self.plan(number)]

    def validation_sample(self, number: int) -> Sample:
        """Held-out sample `number`, of `len(self.validation)`; the same in every training.

        It keeps its caption, and its variant depends on nothing but its id and the probabilities.
        """
        entry = self.validation[number]
        return self._load(entry, self._validation_choice(entry))

    def validation_pictures(self, number: int) -> PictureSample:
        """`validation_sample` as pictures, to show it; also where it comes encoded."""
        entry = self.validation[number]
        return self._load_pictures(entry, self._validation_choice(entry))

    def _validation_choice(self, entry: Entry) -> Choice:
        generator = np.random.default_rng(derive_seed("validation", entry.id))
        choice = draw_choice(entry.references, config=self.config, generator=generator)
        return Choice(choice.variant)

    def _load(self, entry: Entry, choice: Choice) -> Sample:
        encoding = self._encodings[entry.dataset]
        if encoding is None:
            return self._load_pictures(entry, choice)
        dataset = self.datasets[entry.dataset]
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

    def _load_pictures(self, entry: Entry, choice: Choice) -> PictureSample:
        dataset = self.datasets[entry.dataset]
        with _naming(entry, dataset):
            return _prepare(dataset[entry.id], choice, config=self.config)


def make_loader(data: TrainingData, *, start: int = 0, workers: int = 0) -> Iterator[list[Sample]]:
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
        While iterating: when a sample is damaged, see `TrainingData`.
    """
    if not workers:
        yield from map(data.__getitem__, range(start, sys.maxsize))
    loader: torch.utils.data.DataLoader[bytes | ImigError] = torch.utils.data.DataLoader(
        _Packed(data),
        batch_size=None,
        sampler=range(start, sys.maxsize),
        collate_fn=_unchanged,
        num_workers=workers,
        multiprocessing_context="spawn",
        worker_init_fn=_ignore_interrupts,
        prefetch_factor=2,
    )
    for packed in loader:
        if isinstance(packed, ImigError):
            raise packed
        batch: list[Sample] = pickle.loads(packed)
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
            return pickle.dumps(self._data[number])
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
    except DataError as error:
        raise DataError(
            f"{error.message} (wanted for training sample {entry.id})",
            cure=f"`{command_text('imig', 'validate', dataset.path)}` lists what is damaged. "
            "Nothing is skipped, so that a training can be repeated; repair the dataset and "
            "resume.",
        ) from error


def _unchanged(packed: Any) -> Any:
    return packed


def _ignore_interrupts(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
