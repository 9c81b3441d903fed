"""What makes datasets by the protocol in imig/output/: resumed, refused, finished, as any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.derived_datasets import contents, make_scene

from imig.checks.dataset import validate_dataset
from imig.errors import DataError, UsageError
from imig.output.folder import OutputFolder, hold
from imig.output.record import merge_records, read_record, write_record
from imig.output.report import record_to_funnel
from imig.output.seal import write_side_files
from imig.output.writing import Contents, write_shard
from imig.sample import Sample
from imig.schema import Manifest
from imig.shards.names import shard_name

PER_SHARD = 2
SHARDS = 3


class Foreign:
    """Things of another format, that can be read from any of them on."""

    def __init__(self, *, broken_at: int | None = None) -> None:
        self.broken_at = broken_at
        self.opened: list[int] = []

    def read(self, numbers: Sequence[int]) -> Iterator[Sample]:
        for number in numbers:
            if number == self.broken_at:
                raise DataError(f"thing {number} is broken")
            self.opened.append(number)
            yield make_scene(number)


def bring_in(source: Foreign, path: Path, *, overwrite: bool = False, **settings: Any) -> bool:
    """Make a dataset of things of another format, or go on with it; False: there was none to do."""
    recipe = {"name": "foreign", "import": settings}
    values: dict[str, Any] = {"recipe": recipe, "recipe_sha256": "foreign", "models": []}
    output = OutputFolder(path, lambda: {**values, "scenes": PER_SHARD * SHARDS})
    if not overwrite and output.finished() is not None:
        output.remove_leftovers()
        return False
    with hold(path, overwrite=overwrite):
        output.prepare()
        whole = Contents()
        records = []
        for number in range(SHARDS):
            kept = output.shard_record(str(number))
            if not output.has_shard(str(number)):
                things = source.read(range(PER_SHARD * number, PER_SHARD * (number + 1)))
                write_record(kept, write_shard(path / shard_name("basic", number), things))
            records.append(read_record(kept))
            whole.add(records[-1])
        manifest = Manifest(
            name="foreign", packages={}, counts=whole.counts(), shards=whole.shards, **values
        )
        funnel = record_to_funnel(merge_records(records))
        output.finish(write_side_files(path, manifest, whole, funnel=funnel, seconds=0.0))
    return True


def test_what_was_broken_off_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with pytest.raises(DataError, match="thing 4 is broken"):
        bring_in(Foreign(broken_at=4), folder)
    assert not (folder / "dataset.json").exists()
    (folder / "basic-000000.tar").write_bytes(b"")
    source = Foreign()
    assert bring_in(source, folder)
    assert source.opened == [0, 1, 4, 5], "the lost shard, and what was left"
    assert bring_in(Foreign(), tmp_path / "b")
    assert contents(folder) == contents(tmp_path / "b")
    assert validate_dataset(folder).faults == []

    (folder / ".build").mkdir()  # killed right behind the manifest
    assert not bring_in(Foreign(), folder)
    assert not (folder / ".build").exists()
    assert contents(folder) == contents(tmp_path / "b")
    with pytest.raises(UsageError, match=r"finished dataset that differs: import\.side is None"):
        bring_in(Foreign(), folder, side=512)


def test_unfinished_work_of_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        bring_in(Foreign(broken_at=3), tmp_path, side=512)
    kept = sorted(tmp_path.rglob("*"))
    why = r"holds unfinished work that differs: import\.side is 512 there and 256 here"
    with pytest.raises(UsageError, match=why) as caught:
        bring_in(Foreign(), tmp_path, side=256)
    assert "go on with the same command" in caught.value.cure
    assert sorted(tmp_path.rglob("*")) == kept
