"""`imig split`: two sides that share nothing."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import pytest
from support.derived_datasets import contents, make_scene, write_dataset

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.split import Split, choose_groups, split_dataset
from imig.duplicates.config import DuplicatesConfig
from imig.errors import DataError, UsageError
from imig.output.seal import write_side_files
from imig.sample import Sample
from imig.schema import Subset
from imig.shards.features import FEATURES_MEMBER, features_to_bytes


def split(folder: Path, output: Path, share: float = 0.25, **options: int | bool) -> Split:
    result = split_dataset(folder, validation=share, output=output, **options)  # type: ignore[arg-type]
    assert result is not None
    for side in ("train", "validation"):
        assert validate_dataset(output / side).faults == []
    ids = [set(Dataset(output / side).ids) for side in ("train", "validation")]
    assert ids[0] | ids[1] == set(Dataset(folder).ids)
    assert not ids[0] & ids[1]
    return result


def sides(output: Path) -> dict[str, str]:
    return {one: side for side in ("train", "validation") for one in Dataset(output / side).ids}


def scenes(count: int, subset: Subset = "basic") -> list[Sample]:
    return [make_scene(n, subset=subset, things=2) for n in range(count)]


def test_the_share_is_met_and_each_side_says_where_it_is_from(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", scenes(12))
    result = split(folder, tmp_path / "s")
    assert len(Dataset(tmp_path / "s" / "validation")) == 3
    assert list(result.reasons()) == []
    manifest = Dataset(tmp_path / "s" / "validation").manifest
    [derivation] = manifest.derived
    assert derivation.settings["side"] == "validation"
    assert derivation.parents[0].name == "small"
    # What the build turned down stays with the parent.
    assert (manifest.counts.input, manifest.counts.rejected) == (3, 0)


def test_every_subset_gets_its_share(tmp_path: Path) -> None:
    samples = [*scenes(8), *scenes(4, "complex"), *scenes(4, "flexible")]
    folder = write_dataset(tmp_path / "d", samples)
    split(folder, tmp_path / "s")
    subsets = Counter(one.subset for one in Dataset(tmp_path / "s" / "validation"))
    assert subsets == {"basic": 2, "complex": 1, "flexible": 1}


def test_neither_shards_nor_their_order_matter(tmp_path: Path) -> None:
    samples = scenes(10)
    for name, given, per_shard in (("a", samples, 3), ("b", samples[::-1], 10)):
        split(write_dataset(tmp_path / name, given, per_shard=per_shard), tmp_path / f"s{name}")
    assert sides(tmp_path / "sa") == sides(tmp_path / "sb")
    split(tmp_path / "a", tmp_path / "again")
    assert contents(tmp_path / "sa") == contents(tmp_path / "again")
    split(tmp_path / "a", tmp_path / "other", seed=1)
    assert sides(tmp_path / "sa") != sides(tmp_path / "other")


def share_identity(a: Sample, b: Sample) -> None:
    b.scene.instances[0].identity_id = a.scene.instances[1].identity_id


def share_source(a: Sample, b: Sample) -> None:
    b.scene.source.sha256 = a.scene.source.sha256


def share_prompt(a: Sample, b: Sample) -> None:
    a.scene.source.prompt, b.scene.source.prompt = "two  balls", "two balls "


def share_look(a: Sample, b: Sample) -> None:
    assert a.scene.scores.perceptual_hash is not None
    b.scene.scores.perceptual_hash = f"{int(a.scene.scores.perceptual_hash, 16) ^ 0b1011:016x}"


def share_feature(a: Sample, b: Sample) -> None:
    for one in (a, b):
        one.files[FEATURES_MEMBER] = features_to_bytes([1, 2, 3])


@pytest.mark.parametrize(
    ("share", "cause"),
    [
        (share_identity, "same identity"),
        (share_source, "same source file"),
        (share_prompt, "same prompt"),
        (share_look, "near copy"),
        (share_feature, "near copy"),
    ],
)
def test_what_hangs_together_stays_together(tmp_path: Path, share, cause: str) -> None:  # type: ignore[no-untyped-def]
    samples = scenes(9)
    # A chain: 0-3, 3-6 and 1-7.
    for a, b in ((0, 3), (3, 6), (1, 7)):
        share(samples[a], samples[b])
    folder = write_dataset(tmp_path / "d", samples)
    for seed in range(4):
        output = tmp_path / f"s{seed}"
        config = DuplicatesConfig(similarity=0.99)
        result = split_dataset(folder, validation=0.4, output=output, seed=seed, duplicates=config)
        assert result is not None
        side = sides(output)
        groups = [[0, 1, 3, 6, 7]] if share is share_feature else [[0, 3, 6], [1, 7]]
        if share is share_prompt:
            groups = [[0, 3, 6, 1, 7]]
        for group in groups:
            assert len({side[f"basic-{number:08d}"] for number in group}) == 1
        assert set(result.causes) == {cause}


@pytest.mark.parametrize(
    ("blocks", "together"),
    [
        pytest.param([{"similarity": 0.9}, {"similarity": 0.9}], True, id="of-all"),
        pytest.param([{"similarity": 0.9}, {"hash_distance": 1}], True, id="of-one"),
        pytest.param([{"similarity": 0.9999}, {}], False, id="too-near"),
        pytest.param([{}, {}], False, id="of-none"),
    ],
)
def test_near_copies_are_as_the_merged_recipes_say(
    tmp_path: Path, blocks: list[dict[str, float]], together: bool
) -> None:
    samples = scenes(6)
    for number, sample in enumerate(samples):
        sample.files[FEATURES_MEMBER] = features_to_bytes([1.0, 0.1 * (number == 1), number > 1])
    for sample in samples[2:]:
        del sample.files[FEATURES_MEMBER]
    recipes = [{"name": "part", "duplicates": block} for block in blocks]
    folder = write_dataset(tmp_path / "d", samples, recipe={"name": "all", "merged": recipes})
    result = split_dataset(folder, validation=0.4, output=tmp_path / "s")
    assert result is not None
    assert dict(result.causes) == ({"near copy": 1} if together else {})


def test_a_share_that_cannot_be_met_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = scenes(9)
    for a, b in combinations(range(0, 9, 2), 2):
        share_identity(samples[a], samples[b])
    for a, b in combinations(range(1, 9, 2), 2):
        share_source(samples[a], samples[b])
    folder = write_dataset(tmp_path / "d", samples)
    words = ["split", str(folder), "--validation", "0.2", "--output", str(tmp_path / "s")]
    assert main(words) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert "cannot be split: its 9 scenes are too few or hang together" in printed
    words[3] = "0.3"
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "basic: 4 scenes instead of 3: 9 scenes hang together in 2 groups" in printed
    assert "same identity: 4, same source file: 3" in printed


def test_groups_are_chosen_as_near_as_can_be() -> None:
    groups = [[f"g{n}-{i}" for i in range(size)] for n, size in enumerate([50, 7, 7, 6, *[1] * 30])]
    subsets: dict[str, Subset] = {one: "basic" for group in groups for one in group}
    for seed in range(5):
        chosen = choose_groups(groups, subsets, share=0.1, seed=seed)
        assert len(chosen) == 10
        assert all(chosen.isdisjoint(g) != chosen.issuperset(g) for g in groups)


def test_where_it_may_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path / "d", scenes(4))
    assert main(["split", str(folder), "--validation", "0.25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["train"]["written"] == 3
    assert main(["split", str(folder), "--validation", "0.5"]) == 2
    assert (
        "holds a finished dataset that differs: validation is 0.25 there and 0.5 here"
        in capsys.readouterr().err
    )
    assert main(["split", str(folder), "--validation", "0.25", "--overwrite"]) == 0
    with pytest.raises(SystemExit):
        main(["split", str(folder), "--validation", "1"])
    assert main(["split", str(folder), "--hash-distance", "99", "--output", "/tmp/never"]) == 2
    with pytest.raises(UsageError, match="that is read"):
        split(folder, folder)
    for count in (0, 1):
        few = write_dataset(tmp_path / f"few{count}", scenes(count))
        with pytest.raises(DataError, match="cannot be split"):
            split(few, tmp_path / f"s{count}")


@pytest.mark.parametrize("moment", [1, 2])
def test_stopped_before_both_sides_are_there(tmp_path: Path, moment: int) -> None:
    folder, calls = write_dataset(tmp_path / "d", scenes(8)), 0

    def dying(*arguments, **options):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == moment:
            raise KeyboardInterrupt
        return write_side_files(*arguments, **options)

    with patch("imig.derived.split.write_side_files", dying), pytest.raises(KeyboardInterrupt):
        split(folder, tmp_path / "s")
    assert not (tmp_path / "s" / "train" / "dataset.json").exists()
    split(folder, tmp_path / "s")
    split(folder, tmp_path / "undisturbed")
    assert contents(tmp_path / "s") == contents(tmp_path / "undisturbed")


def test_a_killed_run_leaves_nothing_half_written_beside_its_sides(tmp_path: Path) -> None:
    folder, output = write_dataset(tmp_path / "d", scenes(8)), tmp_path / "s"
    output.mkdir()
    (output / ".README.md.tmp-4711").write_bytes(b"half a card")
    (output / ".mine.tmp-1").write_bytes(b"somebody else's")
    split(folder, output)
    assert sorted(one.name for one in output.glob(".*")) == [".mine.tmp-1"]
