"""Training data: what comes when, to which rank, from where; nothing twice, nothing left out."""

import hashlib
import multiprocessing
import pickle
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_sample, seal, write_tiny_dataset

import imig
from imig.contextgen.encode import valid_tokens
from imig.contextgen.sample import PictureSample
from imig.contextgen.tokens import ReferenceTokens, Role, SampleTokens, token_table
from imig.errors import DataError, UsageError
from imig.layout.reference_size import TOKEN
from imig.sample import Sample as SceneSample
from imig.schema import Subset
from imig.shards.writer import write_tar
from imig.training.catalogue import Entry, is_held_out, read_catalogue
from imig.training.data import Sample, TrainingData, make_loader
from imig.training.lengths import estimate_text_tokens
from imig.training.order import Order, Planned, draw_stream, epoch_order, subset_turns
from imig.training.recipe import DataConfig
from imig.training.stop import SIGNALS

CONFIG = DataConfig(
    target_width=96, reference_side=32, validation_fraction=0.2, bucket_window=4
)  # the tiny dataset's targets are 96 pixels wide


def held_out_samples(data: TrainingData) -> list[Sample]:
    return [data.validation_sample(number) for number in range(len(data.validation))]


def _entries(
    count: int, *, grids: Sequence[tuple[int, int]] = ((4, 6),), subset: str = "basic"
) -> list[Entry]:
    generator = np.random.default_rng(count)
    return [
        Entry(
            dataset=0,
            id=f"{subset}-{number:08d}",
            subset=subset,
            shard=f"{subset}-{number // 5}.tar",
            grid=grids[number % len(grids)],
            text=int(generator.integers(5, 40)),
            references={"crop": int(generator.integers(5, 90))},
        )
        for number in range(count)
    ]


def _order(
    entries: Sequence[Entry], *, batch_size: int = 4, world: int = 1, window: int = 4, seed: int = 0
) -> Order:
    config = CONFIG.model_copy(update={"bucket_window": window})
    return Order(entries, config=config, seed=seed, batch_size=batch_size, world=world)


def _pictures(batch: Sequence[Sample]) -> list[PictureSample]:
    """A batch of plain shards."""
    assert all(isinstance(one, PictureSample) for one in batch)
    return [one for one in batch if isinstance(one, PictureSample)]


def _padding_share(batches: Sequence[Sequence[PictureSample]]) -> float:
    """Share of all tokens of some batches that is padding, as the model's batches have it."""
    tables = [
        token_table(
            [
                SampleTokens(
                    text=estimate_text_tokens(sample.caption),
                    grid=(sample.layout.shape[0] // TOKEN, sample.layout.shape[1] // TOKEN),
                    references=tuple(
                        ReferenceTokens(
                            torch.from_numpy(valid_tokens(one.mask, side=TOKEN)), one.box
                        )
                        for one in sample.references
                    ),
                )
                for sample in batch
            ],
            drop_background=True,
        ).role
        for batch in batches
    ]
    padding = sum(int((role == Role.PADDING).sum()) for role in tables)
    return padding / sum(role.numel() for role in tables)


def _bytes(batches: Sequence[Sequence[Sample]]) -> str:
    """Everything of some batches."""

    def digest(pixels: np.ndarray | None) -> str:
        return "" if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest()

    return "\n".join(
        repr((one.id, one.caption, digest(one.layout), digest(one.target)))
        + repr([(r.name, r.box, digest(r.image), digest(r.mask)) for r in one.references])
        for batch in map(_pictures, batches)
        for one in batch
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data") / "shards", 24, scenes_per_shard=5)


def _data(
    folder: str | Path, *, batch_size: int = 2, rank: int = 0, world: int = 1
) -> TrainingData:
    return TrainingData(
        [folder], config=CONFIG, seed=3, batch_size=batch_size, rank=rank, world=world
    )


# The order


def test_subsets_take_turns_by_weight() -> None:
    turns = list(islice(subset_turns({"basic": 7.5, "complex": 7.5, "flexible": 1.0}), 1600))
    assert Counter(turns) == {"basic": 750, "complex": 750, "flexible": 100}
    for end in range(1, 1600, 37):
        assert abs(Counter(turns[:end])["flexible"] - end / 16) <= 1
    assert set(islice(subset_turns({"basic": 1, "complex": 0}), 10)) == {"basic"}


def test_an_epoch_has_everything_once_and_reads_few_shards_at_a_time() -> None:
    shards = [list(range(start, start + 10)) for start in range(0, 400, 10)]
    order = epoch_order(shards, seed=1)
    assert sorted(order) == list(range(400))
    assert order != epoch_order(shards, seed=2)
    for start in range(0, 400, 80):
        assert len({number // 10 for number in order[start : start + 80]}) == 8
    assert order[:80] != sorted(order[:80])


def test_every_subset_runs_through_its_own_epochs() -> None:
    entries = [*_entries(12), *_entries(8, subset="flexible")]
    weights = {"basic": 3.0, "flexible": 1.0}
    draws = list(islice(draw_stream(entries, weights=weights, seed=0), 96))
    assert Counter(entries[draw.entry].subset for draw in draws) == {"basic": 72, "flexible": 24}
    for epoch in range(3):
        basic = [draw.entry for draw in draws if draw.epoch == epoch and draw.entry < 12]
        assert sorted(basic) == list(range(12)), epoch


@pytest.mark.parametrize(
    ("subsets", "cached", "enough"), [(1, 20, True), (1, 6, False), (3, 60, True), (3, 20, False)]
)
def test_twenty_shards_for_each_subset_are_fetched_once_an_epoch(
    subsets: int, cached: int, enough: bool
) -> None:
    """What `data.cache.size` promises; a cache in which the least recently used give way."""
    names = ["basic", "complex", "flexible"][:subsets]
    entries = [entry for name in names for entry in _entries(320, subset=name)]
    shards = len({entry.shard for entry in entries})
    config = CONFIG.model_copy(update={"subset_weights": dict.fromkeys(names, 1.0)})
    order = Order(entries, config=config, seed=0, batch_size=4)
    cache: dict[str, None] = {}
    fetched = 0
    for number in range(len(entries) // 4):
        for one in order.micro_batch(number):
            shard = entries[one.entry].shard
            fetched += shard not in cache
            cache.pop(shard, None)
            cache[shard] = None
            if len(cache) > cached:
                del cache[next(iter(cache))]
    assert (fetched < 1.1 * shards) == enough, (fetched, shards)


@pytest.mark.parametrize(("batch_size", "world"), [(4, 1), (2, 3), (1, 2)])
def test_ranks_share_an_epoch_without_repeats_or_gaps(batch_size: int, world: int) -> None:
    entries = _entries(batch_size * world * 12)
    order = _order(entries, batch_size=batch_size, world=world)
    seen = Counter(
        (one.entry, one.epoch)
        for number in range(24)
        for rank in range(world)
        for one in order.micro_batch(number, rank=rank)
    )
    assert seen == {(entry, epoch): 1 for entry in range(len(entries)) for epoch in range(2)}


def test_mixed_grids_stay_apart_and_lose_nothing() -> None:
    # 60, 60 and 2 scenes of the grids; 2 are fewer than a batch.
    entries = _entries(120, grids=((4, 6), (6, 6)))
    entries += _entries(122, grids=((6, 8),))[120:]
    order = _order(entries, batch_size=7, world=2)
    batches = [order.micro_batch(n, rank=rank) for n in range(200) for rank in range(2)]
    for batch in batches:
        grids = {entries[one.entry].grid for one in batch}
        assert len(grids) == 1
        assert len(batch) == (2 if grids == {(6, 8)} else 7)
    turns = Counter(one.entry for batch in batches for one in batch)
    assert set(turns) == set(range(122))
    # No scene has more than its turn: what differs is what waits for a batch or is an epoch ahead.
    assert max(turns.values()) - min(turns.values()) <= 2
    assert max(Counter((one.entry, one.epoch) for b in batches for one in b).values()) == 1


def test_any_number_can_be_asked_for_in_any_order() -> None:
    entries = _entries(50, grids=((4, 6), (6, 6)))
    forward = _order(entries, world=2)
    expected = [forward.micro_batch(number, rank=1) for number in range(40)]
    asked = pickle.loads(pickle.dumps(forward))
    for number in (39, 0, 17, 16, 38, 5):
        assert asked.micro_batch(number, rank=1) == expected[number]
    other = _order(entries, world=2, seed=1)
    assert [other.micro_batch(number, rank=1) for number in range(40)] != expected


def test_samples_of_a_batch_and_batches_of_a_step_are_about_equally_long() -> None:
    entries = _entries(256)
    order = _order(entries, batch_size=4, world=4, window=16)

    def cost(batch: Sequence[Planned]) -> int:
        return max(one.text for one in batch) + max(one.references for one in batch)

    longest, spread, uneven = [], [], []
    for number in range(16):
        step = [order.micro_batch(number, rank=rank) for rank in range(4)]
        costs = [cost(batch) for batch in step]
        longest.append(max(costs))
        uneven.append(max(costs) - min(costs))
        for batch in step:
            references = [one.references for one in batch]
            spread.append(max(references) - min(references))
    assert np.mean(spread) < 8  # of numbers from 5 to 90
    assert np.mean(uneven) < 8  # of costs from 6 to 130
    assert longest != sorted(longest)  # the steps of a window are shuffled
    assert longest != sorted(longest, reverse=True)


def test_a_scene_is_at_most_once_in_a_batch() -> None:
    # The small subset comes round many times in a window, at the same length each time.
    entries = [*_entries(64), *_entries(6, subset="flexible")]
    config = CONFIG.model_copy(
        update={"subset_weights": {"basic": 1.0, "flexible": 1.0}, "bucket_window": 16}
    )
    order = Order(entries, config=config, seed=0, batch_size=4)
    for number in range(96):
        batch = order.micro_batch(number)
        assert len({one.entry for one in batch}) == 4


# The data


def test_epochs_over_ranks_and_workers(folder: Path) -> None:
    world, epochs = 2, 4
    ids = imig.Dataset(folder).ids
    held_out = {sample_id for sample_id in ids if is_held_out(sample_id, fraction=0.2)}
    steps = (len(ids) - len(held_out)) * epochs // (world * 2)
    turns = Counter[str]()
    for rank, place, workers in ((0, str(folder), 0), (1, f"file://{folder}", 1)):
        config = CONFIG.model_copy(update={"bucket_window": 1})  # no window reaches beyond the last
        data = TrainingData([place], config=config, seed=3, batch_size=2, rank=rank, world=world)
        assert data.datasets[0].folder.remote == (rank == 1)
        batches = list(islice(make_loader(data, workers=workers), steps))
        turns.update(one.id for batch in batches for one in batch.samples)
    assert held_out
    assert turns == dict.fromkeys(set(ids) - held_out, epochs)


def test_resuming_continues_the_undisturbed_run_to_the_byte(folder: Path) -> None:
    def load(count: int, *, start: int = 0, workers: int = 0) -> list[list[Sample]]:
        loader = make_loader(_data(folder), start=start, workers=workers)
        return [one.samples for one in islice(loader, count)]

    whole = load(14)
    assert _bytes(load(5, start=9)) == _bytes(whole[9:])
    assert _bytes(whole[:5]) != _bytes(whole[9:])
    assert _bytes(load(11, start=3, workers=2)) == _bytes(whole[3:])


def test_batches_have_one_size_of_targets(tmp_path: Path) -> None:
    samples = [tabletop_sample(n, width=96, height=(96, 64)[n % 2]) for n in range(8)]
    _write(tmp_path, samples)
    config = CONFIG.model_copy(update={"validation_fraction": 0.0})
    data = TrainingData([tmp_path], config=config, seed=0, batch_size=2)
    shapes = []
    for number in range(8):
        batch = data[number]
        assert len(batch) == 2
        assert len({one.layout.shape for one in batch}) == 1
        shapes.append(batch[0].layout.shape)
    assert set(shapes) == {(96, 96, 3), (64, 96, 3)}


def test_captions_are_dropped_with_the_given_odds(folder: Path) -> None:
    data = _data(folder, batch_size=1)
    dropped = [one.choice.drop_caption for n in range(1000) for one in data.plan(n)]
    assert np.mean(dropped) == pytest.approx(0.2, abs=0.04)
    texts = [_pictures(data[number])[0].caption for number in range(12)]
    plans = [data.plan(number)[0] for number in range(12)]
    assert [text == "" for text in texts] == [one.choice.drop_caption for one in plans]
    wrapped = next(text for text in texts if text)
    assert wrapped.startswith(CONFIG.instruction.split("{")[0])
    assert "Balls: a red ball" in wrapped


def test_validation_is_fixed_and_never_trained_on(folder: Path) -> None:
    data = _data(folder)
    other = TrainingData([folder], config=CONFIG, seed=99, batch_size=4, rank=1, world=2)
    held_out = [sample.id for sample in held_out_samples(data)]
    assert held_out
    assert _bytes([held_out_samples(data)]) == _bytes([held_out_samples(other)])
    assert all(sample.caption for sample in _pictures(held_out_samples(data)))
    assert not set(held_out) & {entry.id for entry in data.order.entries}
    few = CONFIG.model_copy(update={"max_validation": 1, "validation_fraction": 0.5})
    catalogue = read_catalogue([imig.Dataset(folder)], config=few)
    assert [entry.id for entry in catalogue.validation] == held_out[:1]
    wide = {i for i in imig.Dataset(folder).ids if is_held_out(i, fraction=0.5)}
    assert {entry.id for entry in catalogue.training} == set(imig.Dataset(folder).ids) - wide
    share = np.mean([is_held_out(f"basic-{n:08d}", fraction=0.02) for n in range(20000)])
    assert share == pytest.approx(0.02, abs=0.004)


def test_several_folders_and_subsets_mix_by_weight(tmp_path: Path, folder: Path) -> None:
    _write(tmp_path, [make_sample(n, subset="flexible") for n in range(6)], name="flexible")
    config = CONFIG.model_copy(
        update={
            "subset_weights": {"basic": 3.0, "flexible": 1.0, "complex": 9.0},
            "validation_fraction": 0.0,
        }
    )
    data = TrainingData([folder, tmp_path], config=config, seed=0, batch_size=2)
    window = data.order.window
    ids = [one.id for number in range(window * 4) for one in data[number]]
    flexible = sum(one.startswith("flexible") for one in ids)
    assert flexible == pytest.approx(len(ids) / 4, abs=1)
    with pytest.raises(UsageError, match="no weight for flexible"):
        TrainingData(
            [folder, tmp_path],
            config=config.model_copy(update={"subset_weights": {"basic": 1.0}}),
            seed=0,
            batch_size=2,
        )
    with pytest.raises(UsageError, match="leaves out all of flexible"):
        TrainingData(
            [tmp_path],
            config=config.model_copy(update={"subset_weights": {"flexible": 0.0}}),
            seed=0,
            batch_size=2,
        )


def test_scenes_without_references_are_left_out_with_a_warning(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(4)]
    for instance in samples[2].scene.instances:
        instance.references = []
    _write(tmp_path, samples)
    config = CONFIG.model_copy(update={"validation_fraction": 0.0})
    with pytest.warns(UserWarning, match="1 scenes of .* no usable reference.*basic-00000002"):
        data = TrainingData([tmp_path], config=config, seed=0, batch_size=1)
    assert data.scenes == 3
    everything = CONFIG.model_copy(update={"validation_fraction": 1.0})
    with (
        pytest.warns(UserWarning, match="no usable reference"),
        pytest.raises(DataError, match="no scene to train on"),
    ):
        TrainingData([tmp_path], config=everything, seed=0, batch_size=1)
    with pytest.raises(UsageError, match="no dataset folder"):
        TrainingData([], config=config, seed=0, batch_size=1)


def test_workers_that_are_told_to_stop_go_on_until_their_training_ends(folder: Path) -> None:
    """Slurm signals every process of a job, torchrun the group: the step at hand is still done."""
    expected = [one.samples for one in islice(make_loader(_data(folder)), 12)]
    loader = make_loader(_data(folder), workers=2)
    batches = [one.samples for one in islice(loader, 4)]
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for number in SIGNALS:
        for one in workers:  # from a process that is not their parent
            subprocess.run(["kill", f"-{number.value}", str(one.pid)], check=True)
    batches += [one.samples for one in islice(loader, 8)]
    assert _bytes(batches) == _bytes(expected)
    loader.close()
    for one in workers:
        one.join(timeout=10)
        assert one.exitcode == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_sample_stops_and_is_named(tmp_path: Path, folder: Path, workers: int) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    data = _data(broken)
    victim = data.order.entries[data.plan(2)[0].entry]
    dataset = imig.Dataset(broken)
    picture = dataset[victim.id].files["ref00.jpg"]
    shard = broken / victim.shard
    content = bytearray(shard.read_bytes())
    start = content.index(picture, int(dataset.index.set_index("id").offset[victim.id]))
    content[start : start + len(picture)] = bytes(len(picture))
    shard.write_bytes(content)
    loader = make_loader(data, workers=workers)
    with pytest.raises(DataError) as raised:
        list(islice(loader, 3))
    assert victim.id in raised.value.message
    assert f"imig validate {broken}" in raised.value.cure
    assert "Traceback" not in str(raised.value)


def test_remote_shards_are_read_by_ranges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    store = MemoryFileSystem()
    store.put(f"{folder}/", "/training-data-test/", recursive=True)
    read = Counter[str]()
    whole_cat = MemoryFileSystem.cat_file

    def cat_file(self: MemoryFileSystem, path: str, **span: int) -> bytes:
        data: bytes = whole_cat(self, path, **span)
        read[path.rpartition("/")[2]] += len(data)
        return data

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    try:
        data = _data("memory://training-data-test")
        batch = data[0]
        assert _bytes([batch]) == _bytes([_data(folder)[0]])
        read.clear()
        batch = data[1]
        sizes = data.datasets[0].index.set_index("id")["size"]  # reads the index
        assert _bytes([batch]) == _bytes([_data(folder)[1]])
        read.pop("index.parquet")
        assert sum(read.values()) == sum(sizes[one.id] for one in batch)
        with pytest.raises(UsageError, match=r"no dataset\.json"):
            _data("memory://nothing-here")
        store.rm("/training-data-test/basic-000001.tar")
        with pytest.raises(DataError, match=r"basic-000001\.tar"):
            list(data.datasets[0])
    finally:
        store.rm("/training-data-test", recursive=True)
    with pytest.raises(UsageError, match="cannot open nosuch://"):
        _data("nosuch://bucket/shards")


def test_records_are_the_scenes(folder: Path, tmp_path: Path) -> None:
    dataset = imig.Dataset(folder)
    assert list(dataset.records()) == [scene.record for scene in dataset]
    # A large member before the JSON: its header is read, its bytes are not.
    sample = make_sample(0)
    sample.files["encoded.safetensors"] = bytes(100_000)
    _write(tmp_path, [sample])
    assert list(imig.Dataset(tmp_path).records()) == [sample.scene]
    shard = tmp_path / "basic-000000.tar"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"basic-00000000 .* cut off"):
        list(imig.Dataset(tmp_path).records())


def test_padding_stays_small_on_a_real_mix(tmp_path: Path) -> None:
    _write(tmp_path, [tabletop_sample(n, width=128, height=128) for n in range(48)])
    config = DataConfig(
        target_width=128, reference_side=96, validation_fraction=0.0, subset_weights={"basic": 1.0}
    )
    data = TrainingData([tmp_path], config=config, seed=0, batch_size=4)
    assert data.order.window == 12
    batches = [_pictures(data[number]) for number in range(12)]
    sorted_share = _padding_share(batches)
    samples = sorted((one for batch in batches for one in batch), key=lambda one: one.id)
    plain_share = _padding_share([samples[n : n + 4] for n in range(0, 48, 4)])
    assert sorted_share < 0.1
    assert sorted_share < plain_share / 2


def _write(folder: Path, samples: Sequence[SceneSample], *, name: Subset = "basic") -> None:
    shard = f"{name}-000000.tar"
    spans = write_tar(folder / shard, samples)
    seal(folder, {shard: samples}, {shard: spans})
