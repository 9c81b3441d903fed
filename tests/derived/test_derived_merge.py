"""`imig merge`: several datasets become one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.derived_datasets import (
    FILTER,
    QUARANTINED,
    REJECTS,
    contents,
    make_scene,
    write_dataset,
)
from support.encoded_samples import ENCODING, encode

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.merge import Merged, merge_datasets
from imig.derived.names import MAX_LENGTH
from imig.derived.refilter import refilter_dataset
from imig.errors import UsageError
from imig.schema import Correction, ModelRecord, Reject
from imig.shards.encoded import ENCODED_MEMBER, encoded_from_bytes
from imig.shards.manifest import MANIFEST_NAME
from imig.shards.tables import read_rejects


def merge(*folders: Path, output: Path, drop_encoding: bool = False) -> Merged:
    result = merge_datasets(folders, output=output, drop_encoding=drop_encoding)
    assert result is not None
    assert validate_dataset(output).faults == []
    return result


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """A dataset of each subset, with different recipes."""
    return [
        write_dataset(
            tmp_path / subset,
            [make_scene(n, subset=subset) for n in range(4)],
            recipe={"name": subset, "source": {"kind": "tabletop"}, "filter": FILTER},
            name=subset,
            models=[ModelRecord(family=one, weights="w", revision="0") for one in ("blip", subset)],
            packages={"python": "3.11", subset: "1"},
            rejects=[Reject(id=f"{subset}-99999999", stage="filter", reason="r")],
            quarantined=[],
        )
        for subset in ("basic", "complex", "flexible")
    ]  # fmt: skip


def test_all_is_there_and_adds_up(three: list[Path], tmp_path: Path) -> None:
    result = merge(*three, output=tmp_path / "all")
    dataset, manifest = Dataset(tmp_path / "all"), result.manifest
    assert result.subsets == {"basic": 4, "complex": 4, "flexible": 4}
    assert [one.name for one in manifest.shards] == [
        f"{subset}-00000{n}.tar" for subset in ("basic", "complex", "flexible") for n in range(2)
    ]
    counts = manifest.counts
    assert (counts.input, counts.written, counts.rejected) == (15, 12, 3)
    assert manifest.name == "basic+complex+flexible"
    assert [one["name"] for one in manifest.recipe["merged"]] == ["basic", "complex", "flexible"]
    assert [one.family for one in manifest.models] == ["blip", "basic", "complex", "flexible"]
    assert manifest.packages == {"python": "3.11", "basic": "1", "complex": "1", "flexible": "1"}
    assert len(manifest.derived[0].parents) == 3
    for folder in three:
        for view in Dataset(folder):
            assert dict(dataset[view.id].files) == dict(view.files)
            assert dataset[view.id].record == view.record
    card = (tmp_path / "all" / "README.md").read_text()
    assert "license: unknown" in card  # nobody has stated any
    assert "config_name: flexible" in card


def test_twice_the_same_bytes_whatever_the_folder(three: list[Path], tmp_path: Path) -> None:
    merge(*three, output=tmp_path / "a")
    merge(*three, output=tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_other_commands_work_on_it(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "all")
    assert main(["merge", *map(str, three), "--output", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["subsets"]["complex"] == 4
    assert main(["stats", folder]) == 0
    picture = tmp_path / "p.png"
    assert main(["preview", "complex-00000001", "--shards", folder, "--out", str(picture)]) == 0
    assert picture.stat().st_size > 0
    capsys.readouterr()
    assert main(["refilter", folder, "--report", "--json"]) == 0
    # All parents have the same filter: it is the merged one's.
    report = json.loads(capsys.readouterr().out)
    assert report["thresholds"]["filter.dino"]["now"] == 0.5


def test_a_training_reads_all_subsets(three: list[Path], tmp_path: Path) -> None:
    from imig.training.catalogue import read_catalogue
    from imig.training.recipe import DataConfig

    merge(*three, output=tmp_path / "all")
    catalogue = read_catalogue(
        [Dataset(tmp_path / "all")], config=DataConfig(validation_fraction=0)
    )
    assert {one.subset for one in catalogue.training} == {"basic", "complex", "flexible"}
    assert len(catalogue.training) == 12


def test_ids_that_collide_are_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        write_dataset(tmp_path / name, [make_scene(n) for n in numbers], name=name)
        for name, numbers in (("a", (0, 1)), ("b", (1, 2)), ("c", (1,)))
    ]
    words = ["merge", *map(str, folders), "--output", str(tmp_path / "all")]
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{folders[1]}: 3 ids were taken already" in printed
    assert "basic-00000001 -> basic-00000001-2" in printed
    assert validate_dataset(tmp_path / "all").faults == []
    dataset = Dataset(tmp_path / "all")
    assert dataset.ids == [
        "basic-00000000", "basic-00000001", "basic-00000001-2", "basic-00000002",
        "basic-00000001-3",
    ]  # fmt: skip
    assert [one.id for one in read_rejects(tmp_path / "all")] == [
        REJECTS[0].id, f"{REJECTS[0].id}-2", f"{REJECTS[0].id}-3",
    ]  # fmt: skip
    assert dataset.manifest.counts.quarantined == 3 * len(QUARANTINED)
    # The same source: the same identities.
    assert (
        dataset["basic-00000001-2"].instances[0].identity_id
        == dataset["basic-00000001"].instances[0].identity_id
    )


def test_identities_of_other_sources_are_others(tmp_path: Path) -> None:
    other = [make_scene(0), make_scene(5)]
    other[0].scene.source.sha256 = "f" * 64
    other[1].scene.instances[0].identity_id = other[0].scene.instances[0].identity_id
    other[1].scene.corrections = [
        Correction(tool="cvat", what="box", identity_id=other[1].scene.instances[0].identity_id),
        Correction(tool="cvat", what="caption"),
    ]
    folders = [
        write_dataset(tmp_path / "a", [make_scene(0)], rejects=[], quarantined=[], name="a"),
        write_dataset(tmp_path / "b", other, rejects=[], quarantined=[], name="b"),
    ]
    result = merge(*folders, output=tmp_path / "all")
    assert len(result.renamed[1].identities) == 3
    first, renamed, third = Dataset(tmp_path / "all")
    ids = [one.instances[0].identity_id for one in (first, renamed, third)]
    assert ids[0] != ids[1] == ids[2]
    assert [one.identity_id for one in third.corrections] == [ids[2], None]


def test_a_long_id_stays_short_enough(tmp_path: Path) -> None:
    sample = make_scene(0)
    sample.scene.id = "x" * MAX_LENGTH
    folders = [
        write_dataset(tmp_path / name, [sample], name=name, rejects=[], quarantined=[])
        for name in ("a", "b")
    ]
    merge(*folders, output=tmp_path / "all")
    assert Dataset(tmp_path / "all").ids == ["x" * MAX_LENGTH, "x" * (MAX_LENGTH - 2) + "-2"]


def test_encodings(tmp_path: Path) -> None:
    folders = []
    for name in ("a", "b", "plain"):
        samples = [make_scene(0)]
        encoding = None
        if name != "plain":
            encode(samples[0])
            encoding = ENCODING
        folders.append(write_dataset(tmp_path / name, samples, name=name, encoding=encoding))
    merge(folders[0], folders[1], output=tmp_path / "all")
    data = Dataset(tmp_path / "all").read_member("basic-00000000-2", ENCODED_MEMBER)
    assert encoded_from_bytes(data, place="")[0].id == "basic-00000000-2"
    with pytest.raises(UsageError, match="is not encoded") as caught:
        merge(*folders, output=tmp_path / "no")
    assert "--drop-encoding" in caught.value.cure
    assert not (tmp_path / "no").exists()
    assert merge(*folders, output=tmp_path / "no", drop_encoding=True).manifest.encoding is None


def test_refilter_of_parts_that_were_filtered_differently(tmp_path: Path) -> None:
    folders = [
        write_dataset(
            tmp_path / name,
            [make_scene(number, things=2 + number)],
            recipe={"name": name, "filter": {"min_instances": least}},
            name=name,
            rejects=[],
            quarantined=[],
        )
        for number, (name, least) in enumerate((("a", 2), ("b", 3)))
    ]
    merge(*folders, output=tmp_path / "all")
    result = refilter_dataset(tmp_path / "all", overrides=[], output=tmp_path / "new")
    assert result is not None
    assert (result.manifest.counts.written, result.thresholds.built) == (2, None)
    assert len(result.manifest.recipe["merged"]) == 2


def test_what_cannot_be_merged(
    three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "all")]
    assert main(["merge", str(three[0]), *output]) == 2
    assert "one dataset alone" in capsys.readouterr().err
    assert main(["merge", str(three[0]), str(three[0]), *output]) == 2
    assert "are the same dataset" in capsys.readouterr().err
    assert main(["merge", str(three[0]), str(tmp_path / "none"), *output]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err
    path = three[1] / MANIFEST_NAME
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    assert main(["merge", *map(str, three), *output]) == 2
    error = capsys.readouterr().err
    assert "has schema version 3" in error
    assert "a newer one" in error
    assert not (tmp_path / "all").exists()


def test_empty_ones_may_take_part(three: list[Path], tmp_path: Path) -> None:
    empty = write_dataset(tmp_path / "empty", [], name="empty")
    assert merge(three[0], empty, output=tmp_path / "all").manifest.counts.written == 4
