"""Encoding into a store, and training from one, through faults."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from support.derived_datasets import contents, write_dataset
from support.object_store import StoreServer, every, filesystem
from support.tabletop_samples import tabletop_sample

from imig.stores import patience
from imig.stores.path import OutputPath, StorePath
from imig.training.encode import encode_dataset
from imig.training.loop import train
from imig.training.metrics import read_metrics
from imig.training.recipe import TrainRecipe
from imig.training.recipe_file import load_training_recipe

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(patience, "_FIRST_WAIT", 0.02)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe() -> TrainRecipe:
    settings = [
        "steps=2", "batch_size=1", "adapter.rank=4", "data.target_width=96",
        "data.reference_side=48", "data.validation_fraction=0.2", "watch.log_every=1",
        "watch.validate_every=2", "watch.picture_every=0",
    ]  # fmt: skip
    return load_training_recipe("train-tiny", overrides=settings)


def encode(source: str | Path, output: OutputPath) -> None:
    encode_dataset(source, recipe(), output=output, console=Console(file=io.StringIO()), workers=1)


def losses(shards: str, run: Path) -> list[float | None]:
    assert train(recipe(), [shards], run=run, resume=False, console=Console(quiet=True)) == 0
    return [row["loss"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]


def test_a_training_reads_from_a_store_what_it_reads_from_the_disk(
    store: StoreServer, folder: StorePath, tmp_path: Path
) -> None:
    samples = [tabletop_sample(number, width=96, height=80) for number in range(6)]
    plain = write_dataset(tmp_path / "plain", samples, rejects=[], quarantined=[])
    encode(plain, tmp_path / "encoded")
    store.fault = every(5)
    encode(plain, folder)
    store.fault = lambda _: None
    filesystem().get(folder.address, str(tmp_path / "copy"), recursive=True)
    assert contents(tmp_path / "copy") == contents(tmp_path / "encoded")
    expected = losses(str(tmp_path / "encoded"), tmp_path / "here")
    store.done.clear()
    store.fault = every(5)
    assert losses(folder.address, tmp_path / "there") == expected
    assert len(expected) == 2
    assert store.faults()
