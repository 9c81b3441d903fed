"""`imig refilter`: stricter thresholds on a finished dataset."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from support.derived_datasets import contents, make_scene, write_dataset
from support.encoded_samples import ENCODING, encode

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.refilter import refilter_dataset
from imig.errors import DataError, UsageError
from imig.schema import Subset
from imig.shards.features import FEATURES_MEMBER, features_to_bytes


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Eight scenes in three shards: even ones of two instances, odd ones of three."""
    return write_dataset(tmp_path / "small", [make_scene(n, things=2 + n % 2) for n in range(8)])


def refilter(folder: Path, output: Path, *overrides: str, **options: bool) -> Dataset:
    refilter_dataset(folder, overrides=list(overrides), output=output, **options)
    assert validate_dataset(output).faults == []
    return Dataset(output)


def test_a_stricter_threshold_takes_instances_and_scenes(small: Path, tmp_path: Path) -> None:
    dataset = refilter(small, tmp_path / "new", "filter.dino=0.75", "filter.max_instances=2")
    assert [len(one.instances) for one in dataset] == [2] * 8
    dataset = refilter(small, tmp_path / "strict", "filter.dino=0.85", "filter.min_instances=1")
    assert [len(one.instances) for one in dataset] == [1] * 8
    dataset = refilter(small, tmp_path / "none", "filter.dino=0.85")
    assert len(dataset) == 0
    counts = dataset.manifest.counts
    assert (counts.input, counts.written, counts.rejected, counts.quarantined) == (10, 0, 9, 1)
    rejects = pd.read_parquet(tmp_path / "none" / "rejects.parquet")
    assert list(rejects.stage) == ["ground", *["refilter"] * 8]
    assert json.loads(rejects.figures[1]) == {"instances": 1, "min_instances": 2, "dino": 1}
    report = json.loads((tmp_path / "none" / "report.json").read_text())
    assert report["stages"][-1]["reasons"] == {"too few instances": 8}


def test_recipe_and_derivation_say_what_was_done(small: Path, tmp_path: Path) -> None:
    before = Dataset(small).manifest
    manifest = refilter(small, tmp_path / "new", "filter.dino=0.75").manifest
    assert manifest.recipe["filter"]["dino"] == 0.75
    assert manifest.recipe["filter"]["min_box_area"] == 0.01
    assert manifest.recipe_sha256 != before.recipe_sha256
    [derivation] = manifest.derived
    assert (derivation.operation, derivation.settings) == ("refilter", {"filter.dino": 0.75})
    again = refilter(tmp_path / "new", tmp_path / "newer", "filter.dino=0.8").manifest
    assert [one.settings for one in again.derived] == [{"filter.dino": 0.75}, {"filter.dino": 0.8}]


def test_what_loses_nothing_stays_to_the_last_byte(small: Path, tmp_path: Path) -> None:
    refilter(small, tmp_path / "new")
    old, new = contents(small), contents(tmp_path / "new")
    assert {name for name in old if old[name] != new.get(name)} == {"README.md", "dataset.json"}


def test_twice_the_same_bytes(small: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        refilter(small, tmp_path / name, "filter.dino=0.75", "duplicates.hash_distance=30")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("subset", ["complex", "flexible"])
def test_other_subsets(subset: Subset, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [make_scene(n, subset=subset) for n in range(3)])
    dataset = refilter(folder, tmp_path / "new", "filter.dino=0.75")
    assert [len(one.instances) for one in dataset] == [2, 2, 2]


def test_a_scene_of_flexible_keeps_two_instances_or_goes(tmp_path: Path) -> None:
    """Also where parts that were filtered differently leave `min_instances` open."""
    recipes = [{"name": name, "filter": {"dino": 0.1 * n}} for n, name in enumerate("ab", 1)]
    samples = [make_scene(0, subset="flexible"), make_scene(1, subset="complex")]
    folder = write_dataset(tmp_path / "d", samples, recipe={"name": "both", "merged": recipes})
    dataset = refilter(folder, tmp_path / "new", "filter.dino=0.85")
    assert [(one.subset, len(one.instances)) for one in dataset] == [("complex", 1)]


def test_duplicates_go_and_the_first_stays(tmp_path: Path) -> None:
    samples = [make_scene(n) for n in range(6)]
    for number in (2, 4):
        samples[number].scene.scores.perceptual_hash = samples[1].scene.scores.perceptual_hash
    folder = write_dataset(tmp_path / "d", samples)
    dataset = refilter(folder, tmp_path / "new", "duplicates.hash_distance=2")
    assert [int(one[-1]) for one in dataset.ids] == [0, 1, 3, 5]
    rejects = pd.read_parquet(tmp_path / "new" / "rejects.parquet")
    assert json.loads(rejects.figures[1]) == {"of": "basic-00000001", "hash_distance": 0}
    assert refilter(tmp_path / "new", tmp_path / "again").ids == dataset.ids


def test_a_duplicate_of_what_fails_stays(tmp_path: Path) -> None:
    samples = [make_scene(0, things=2), make_scene(1)]
    samples[1].scene.scores.perceptual_hash = samples[0].scene.scores.perceptual_hash
    folder = write_dataset(tmp_path / "d", samples)
    new = refilter(folder, tmp_path / "new", "filter.min_instances=3", "duplicates.hash_distance=0")
    assert new.ids == ["basic-00000001"]


def test_features_pass_through_and_find_copies(tmp_path: Path) -> None:
    samples = [make_scene(n) for n in range(4)]
    for number, sample in enumerate(samples):
        sample.files[FEATURES_MEMBER] = features_to_bytes([1.0, number // 2, 0.0])
    folder = write_dataset(tmp_path / "d", samples)
    dataset = refilter(
        folder, tmp_path / "new", "duplicates.similarity=0.99", "filter.max_instances=2"
    )
    assert dataset.ids == ["basic-00000000", "basic-00000002"]
    assert dataset[0].files[FEATURES_MEMBER] == samples[0].files[FEATURES_MEMBER]


def test_without_features_the_manifest_says_so(small: Path, tmp_path: Path) -> None:
    manifest = refilter(small, tmp_path / "new", "duplicates.similarity=0.9").manifest
    assert [one.stage for one in manifest.skipped] == ["duplicates"]


def test_encodings_that_would_not_fit_are_refused_with_a_cure(tmp_path: Path) -> None:
    samples = [make_scene(n) for n in range(3)]
    for sample in samples:
        encode(sample)
    folder = write_dataset(
        tmp_path / "d", samples, encoding=ENCODING, encoded_from="0" * 64, recipe={"name": "d"}
    )
    with pytest.raises(UsageError, match="3 scenes would lose instances") as caught:
        refilter(folder, tmp_path / "new", "filter.dino=0.75")
    assert "--drop-encoding" in caught.value.cure
    assert not (tmp_path / "new").exists()
    # Nothing loses anything: they still fit.
    assert refilter(folder, tmp_path / "same", "filter.dino=0.6").manifest.encoding == ENCODING
    dropped = refilter(folder, tmp_path / "new", "filter.dino=0.75", drop_encoding=True)
    assert dropped.manifest.encoding is None
    assert dropped.manifest.encoded_from is None
    assert "encoded.safetensors" not in dropped[0].files


def test_a_dataset_that_was_not_filtered_is_held_to_what_is_asked(tmp_path: Path) -> None:
    samples = [make_scene(n, things=1 + n % 2) for n in range(4)]
    folder = write_dataset(tmp_path / "d", samples, recipe={"name": "d"})
    assert len(refilter(folder, tmp_path / "same")) == 4
    assert len(refilter(folder, tmp_path / "new", "filter.min_instances=2")) == 2


def test_an_empty_dataset(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [])
    assert len(refilter(folder, tmp_path / "new", "filter.dino=0.9")) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ground.nms_iou=0.5", "only keys below filter. and duplicates. can change"),
        ("filter=null", "only keys below"),
        ("filter.dyno=0.5", "unknown key 'dyno'"),
        ("filter.dino=2", "filter.dino: "),
        ("filter.dino", "not of the form"),
        ("filter.dino=[", "not YAML"),
        ("filter.resources.cpus=2", "nothing runs on workers"),
        ("filter.min_instances=9", "min_instances must not be above max_instances"),
    ],
)
def test_wrong_overrides(
    small: Path, tmp_path: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["refilter", str(small), "--set", override, "--output", str(tmp_path / "new")]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_looser_thresholds_are_said(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["refilter", str(small), "--set", "filter.dino=0.1", "--set", "filter.face=0.6"]
    assert main([*words, "--output", str(tmp_path / "new")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "filter.dino: 0.1, built with 0.5; filter.face: 0.6, built with null" in printed
    assert "do not come back" in printed


def test_where_it_may_write(small: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", [make_scene(77)])
    with pytest.raises(UsageError, match="it was not made of another dataset"):
        refilter(small, other)
    assert Dataset(other).ids == ["basic-00000077"]
    assert not (other / ".build").exists()
    for output in (small, small / "inner", tmp_path):
        with pytest.raises(UsageError, match=r"that is read|not empty"):
            refilter(small, output, overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UsageError, match="not imig's"):
        refilter(small, tmp_path / "photos", overwrite=True)
    with pytest.raises(UsageError, match="cannot write into"):
        refilter(small, Path("/proc/new"))
    assert len(refilter(small, other, overwrite=True)) == 8
    assert validate_dataset(small).faults == []


def test_a_damaged_shard_is_named_and_nothing_looks_finished(small: Path, tmp_path: Path) -> None:
    shard = small / "basic-000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"basic-000001\.tar is damaged"):
        refilter(small, tmp_path / "new")
    assert not (tmp_path / "new" / "dataset.json").exists()
    shard.write_bytes(whole)
    assert len(refilter(small, tmp_path / "new")) == 8


def test_a_full_disk(small: Path, tmp_path: Path) -> None:
    with (
        patch("os.replace", side_effect=OSError(28, "No space left on device")),
        pytest.raises(DataError, match="No space left"),
    ):
        refilter(small, tmp_path / "new")
    assert not (tmp_path / "new" / "dataset.json").exists()
    assert len(refilter(small, tmp_path / "new")) == 8


def test_other_unfinished_work_is_refused(small: Path, tmp_path: Path) -> None:
    with (
        patch("imig.derived.refilter.seal", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        refilter(small, tmp_path / "new")
    with pytest.raises(UsageError, match="unfinished work that differs"):
        refilter(small, tmp_path / "new", "filter.dino=0.7")
    assert len(refilter(small, tmp_path / "new", "filter.dino=0.7", overwrite=True)) == 8


_SLOW = """
import sys, time
import imig.derived.refilter as module
before = module.refilter_sample
def slow(*arguments, **options):
    time.sleep(0.15)
    return before(*arguments, **options)
module.refilter_sample = slow
from imig.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_stopped_while_it_writes(
    small: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "new"
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, "refilter", small, "--output", output],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not list(output.glob("*.tar")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, number)
    assert process.wait(timeout=60) == code
    assert not (output / "dataset.json").exists()
    refilter(small, output)
    refilter(small, tmp_path / "undisturbed")
    assert contents(output) == contents(tmp_path / "undisturbed")
