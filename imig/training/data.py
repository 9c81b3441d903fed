"""Training data by number: a micro-batch is a function of (recipe seed, number, rank).

Nothing here has a state that a checkpoint would have to hold: the position in the data is the
number of the next micro-batch, and `make_loader` goes on from any.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch.utils.data

from imig.contextgen.sample import PictureSample
from imig.errors import DataError, ImigError, UsageError
from imig.sample import derive_seed
from imig.shards.dataset import Dataset
from imig.shards.views import SceneView
from imig.training.catalogue import Entry, read_catalogue
from imig.training.choices import Choice, caption_text, draw_choice
from imig.training.order import Order, Planned
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig


class TrainingData(torch.utils.data.Dataset[list[PictureSample]]):
    """The micro-batches of one rank.

    ``data[n]`` reads and prepares micro-batch n: 1 to `batch_size` samples with equal target sizes
    (`imig.training.order` says which). It is the same for ever; two ranks, and two numbers, share
    no turn of a scene. Scenes held out for validation are never among them.

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

    Raises
    ------
    UsageError
        When there are no folders or a path is no dataset, or its subsets have no weight.
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
    ) -> None:
        if not folders:
            raise UsageError("no dataset folder to train on", cure="Give `--shards DIR`.")
        self.datasets = [Dataset(folder) for folder in folders]
        self.config = config
        self.seed = seed
        self.rank = rank
        catalogue = read_catalogue(self.datasets, config=config, drop_background=drop_background)
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

    def __getitem__(self, number: int) -> list[PictureSample]:
        """Micro-batch `number` >= 0.

        Raises
        ------
        DataError
            When a sample is damaged. It is not skipped: what comes later would be another training.
        """
        return [self._load(self.order.entries[one.entry], one.choice) for one in self.plan(number)]

    def validation_sample(self, number: int) -> PictureSample:
        """Held-out sample `number`, of `len(self.validation)`; the same in every training.

        It keeps its caption, and its variant depends on nothing but its id and the probabilities.
        """
        entry = self.validation[number]
        generator = np.random.default_rng(derive_seed("validation", entry.id))
        choice = draw_choice(entry.references, config=self.config, generator=generator)
        return self._load(entry, Choice(choice.variant))

    def validation_samples(self) -> Iterator[PictureSample]:
        """All held-out samples that are measured, in a fixed order; prepared one by one."""
        return map(self.validation_sample, range(len(self.validation)))

    def _load(self, entry: Entry, choice: Choice) -> PictureSample:
        dataset = self.datasets[entry.dataset]
        try:
            return _prepare(dataset[entry.id], choice, config=self.config)
        except DataError as error:
            raise DataError(
                f"{error.message} (wanted for training sample {entry.id})",
                cure=f"`imig validate {dataset.path}` lists what is damaged. Nothing is skipped, "
                "so that a training can be repeated; repair the dataset and resume.",
            ) from error


def make_loader(
    data: TrainingData, *, start: int = 0, workers: int = 0
) -> Iterator[list[PictureSample]]:
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
    loader: torch.utils.data.DataLoader[list[PictureSample] | ImigError] = (
        torch.utils.data.DataLoader(
            _Reporting(data),
            batch_size=None,
            sampler=range(start, sys.maxsize),
            collate_fn=_unchanged,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_ignore_interrupts if workers else None,
            prefetch_factor=2 if workers else None,
        )
    )
    for batch in loader:
        if isinstance(batch, ImigError):
            raise batch
        yield batch


class _Reporting(torch.utils.data.Dataset[list[PictureSample] | ImigError]):
    """Hands errors for people over as values: torch would bury them in a worker's traceback."""

    def __init__(self, data: TrainingData) -> None:
        self._data = data

    def __getitem__(self, number: int) -> list[PictureSample] | ImigError:
        try:
            return self._data[number]
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


def _unchanged(batch: list[PictureSample] | ImigError) -> list[PictureSample] | ImigError:
    return batch


def _ignore_interrupts(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
