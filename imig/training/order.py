"""Which samples every micro-batch of every rank holds: a pure function of seed and number.

Four steps, each a stream that depends on nothing but the recipe, the scenes and the ones before:

1. *Draws.* Subsets take turns by their weights; each goes through its own epochs, and every epoch
   has each of its scenes once, shards shuffled, scenes shuffled inside groups of shards.
2. *Batches.* A draw waits until as many of its grid (target size) have come as make a batch. So no
   draw is dropped or taken twice, a batch has one grid, and a step's batches are whole; a grid with
   fewer scenes than a batch makes batches of that size. What waits may cross into the next epoch.
3. *Windows* of `bucket_window` batches a rank. In a window the samples of a grid are sorted by
   length and cut anew, so that a batch's samples are about equally long (of two ways to sort, the
   one with less padding).
4. *Steps.* The window's batches are sorted by their cost, each next `world` of them are the batches
   of all ranks at one time, and the order of these is shuffled.

A window holds at most about an epoch: more would bring the same scene, whose length is about the
same every time, several times into a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from imig.sample import derive_seed
from imig.training.catalogue import Entry
from imig.training.choices import Choice, draw_choice
from imig.training.recipe import DataConfig

SHARDS_IN_A_GROUP = 8
"""Scenes are shuffled among so many shards: reading stays in few files for a while."""

Grid = tuple[int, int]


class Draw(NamedTuple):
    """A scene's turn."""

    entry: int
    """Its place among the training entries."""
    epoch: int
    """How often it had its turn before."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One sample of a micro-batch."""

    entry: int
    epoch: int
    choice: Choice
    text: int
    references: int
    """Estimated tokens, as in `Entry`, of what was chosen."""


def subset_turns(weights: Mapping[str, float]) -> Iterator[str]:
    """Whose turn it is, for ever: after n turns each subset had its share of n, give or take one.

    The subset that lags most behind its share is next (smooth weighted round robin).
    """
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in sorted(weights.items()) if weight > 0}
    lag = dict.fromkeys(shares, 0.0)
    while True:
        for name, share in shares.items():
            lag[name] += share
        chosen = max(lag, key=lambda name: round(lag[name], 9))
        lag[chosen] -= 1
        yield chosen


def epoch_order(shards: Sequence[Sequence[int]], *, seed: int) -> list[int]:
    """All entries of some shards once: shards shuffled, entries shuffled in groups of shards."""
    generator = np.random.default_rng(seed)
    shuffled = [shards[i] for i in generator.permutation(len(shards))]
    order: list[int] = []
    for start in range(0, len(shuffled), SHARDS_IN_A_GROUP):
        group = [entry for shard in shuffled[start:][:SHARDS_IN_A_GROUP] for entry in shard]
        order += [group[i] for i in generator.permutation(len(group))]
    return order


def draw_stream(
    entries: Sequence[Entry], *, weights: Mapping[str, float], seed: int
) -> Iterator[Draw]:
    """Step 1: scenes in the order of their turns, for ever.

    Parameters
    ----------
    weights:
        Of the subsets that the entries are of; subsets that no entry is of are left out.
    """
    shards: dict[str, dict[tuple[int, str], list[int]]] = {}
    for number, entry in enumerate(entries):
        of_subset = shards.setdefault(entry.subset, {})
        of_subset.setdefault((entry.dataset, entry.shard), []).append(number)

    def subset_stream(subset: str) -> Iterator[Draw]:
        epoch = 0
        while True:
            order = epoch_order(
                list(shards[subset].values()), seed=derive_seed(seed, "order", subset, epoch)
            )
            yield from (Draw(entry, epoch) for entry in order)
            epoch += 1

    streams = {subset: subset_stream(subset) for subset in shards}
    for subset in subset_turns({subset: weights[subset] for subset in shards}):
        yield next(streams[subset])


def batch_stream(
    entries: Sequence[Entry], *, weights: Mapping[str, float], seed: int, batch_size: int
) -> Iterator[tuple[Draw, ...]]:
    """Step 2: draws of one grid each, in the order in which the batches become full."""
    scenes = Counter(entry.grid for entry in entries if weights[entry.subset] > 0)
    waiting: dict[Grid, list[Draw]] = {grid: [] for grid in scenes}
    for draw in draw_stream(entries, weights=weights, seed=seed):
        grid = entries[draw.entry].grid
        waiting[grid].append(draw)
        if len(waiting[grid]) == min(batch_size, scenes[grid]):
            yield tuple(waiting[grid])
            waiting[grid] = []


class Order:
    """The micro-batches of all ranks, by number.

    Going forward costs microseconds a sample. Going back, and the first access, replays steps 1 and
    2 from the start: some 6 seconds for a million samples, without reading anything.

    Parameters
    ----------
    entries:
        The training scenes; not empty.
    config:
        See `DataConfig`; each subset of the entries must have a weight there, one of them above 0.
    seed:
        The recipe's.
    batch_size:
        Samples of one rank at a time.
    world:
        Number of ranks.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        config: DataConfig,
        seed: int,
        batch_size: int,
        world: int = 1,
    ) -> None:
        self.entries = entries
        self.config = config
        self.seed = seed
        self.batch_size = batch_size
        self.world = world
        drawn = sum(config.subset_weights[entry.subset] > 0 for entry in entries)
        self.window = max(1, min(config.bucket_window, drawn // (batch_size * world)))
        """Micro-batches of a rank in a window."""
        self._steps: list[list[tuple[Planned, ...]]] = []
        self._rewind()

    def micro_batch(self, number: int, *, rank: int = 0) -> tuple[Planned, ...]:
        """What a rank trains on at a time: 1 to `batch_size` samples of one grid."""
        window, step = divmod(number, self.window)
        if window < self._next_window - 1:
            self._rewind()
        while self._next_window <= window:
            batches = list(islice(self._batches, self.window * self.world))
            if self._next_window == window:
                self._steps = self._plan_window(batches, window=window)
            self._next_window += 1
        return self._steps[step][rank]

    def _rewind(self) -> None:
        self._batches = batch_stream(
            self.entries,
            weights=self.config.subset_weights,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        self._next_window = 0
        self._steps = []

    def _plan_window(
        self, batches: Sequence[tuple[Draw, ...]], *, window: int
    ) -> list[list[tuple[Planned, ...]]]:
        """Steps 3 and 4: for each step of the window, the micro-batches of all ranks."""
        pools: dict[Grid, list[list[Planned]]] = {}
        for batch in batches:
            grid = self.entries[batch[0].entry].grid
            pools.setdefault(grid, []).append([self._choose(draw) for draw in batch])
        planned: list[tuple[int, tuple[Planned, ...]]] = []
        for grid, pool in pools.items():
            samples = [one for batch in pool for one in batch]
            size = len(pool[0])
            cuts = [_cut(sorted(samples, key=key), size=size) for key in (_by_length, _by_caption)]
            costs = [[_cost(batch, grid) for batch in cut] for cut in cuts]
            best = min((0, 1), key=lambda i: sum(costs[i]))
            planned += zip(costs[best], cuts[best], strict=True)
        planned.sort(key=lambda pair: pair[0])  # stable: equal costs keep their order
        generator = np.random.default_rng(derive_seed(self.seed, "window", window))
        steps = [
            [planned[start + rank][1] for rank in generator.permutation(self.world)]
            for start in range(0, len(planned), self.world)
        ]
        return [steps[i] for i in generator.permutation(len(steps))]

    def _choose(self, draw: Draw) -> Planned:
        entry = self.entries[draw.entry]
        generator = np.random.default_rng(
            derive_seed(self.seed, "choice", entry.dataset, entry.id, draw.epoch)
        )
        choice = draw_choice(entry.references, config=self.config, generator=generator)
        return Planned(
            entry=draw.entry,
            epoch=draw.epoch,
            choice=choice,
            text=1 if choice.drop_caption else entry.text,
            references=entry.references[choice.variant],
        )

    def __getstate__(self) -> dict[str, object]:
        # A generator does not pickle; a worker process starts its own.
        return {
            "entries": self.entries,
            "config": self.config,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world": self.world,
            "window": self.window,
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._rewind()


def _by_length(sample: Planned) -> tuple[int, int]:
    """Text and references are padded apart; references differ more."""
    return sample.references, sample.text


def _by_caption(sample: Planned) -> tuple[bool, int]:
    """Dropped captions together, which pays where pictures are small; no jump between the two."""
    if sample.choice.drop_caption:
        return True, -sample.references
    return False, sample.references


def _cost(batch: Sequence[Planned], grid: Grid) -> int:
    """Tokens of a batch, padding included; they take the time."""
    text = max(one.text for one in batch)
    references = max(one.references for one in batch)
    return len(batch) * (text + references + 2 * grid[0] * grid[1])


def _cut(samples: Sequence[Planned], *, size: int) -> list[tuple[Planned, ...]]:
    """Batches of exactly `size` samples in their order, no scene twice in one where that can be.

    A repeated scene changes places with a sample of the nearest batch where neither repeats.
    """
    batches = [list(samples[start : start + size]) for start in range(0, len(samples), size)]
    for number, batch in enumerate(batches):
        others = sorted(range(len(batches)), key=lambda other: abs(other - number))
        for place, sample in enumerate(batch):
            if _times(sample, batch) > 1:
                _change_places(batches, batch, place, others=others)
    return [tuple(batch) for batch in batches]


def _times(sample: Planned, batch: Sequence[Planned]) -> int:
    return sum(one.entry == sample.entry for one in batch)


def _change_places(
    batches: Sequence[list[Planned]], batch: list[Planned], place: int, *, others: Sequence[int]
) -> None:
    for other in (batches[number] for number in others):
        if _times(batch[place], other):
            continue
        for theirs, sample in enumerate(other):
            if not _times(sample, batch):
                batch[place], other[theirs] = sample, batch[place]
                return
