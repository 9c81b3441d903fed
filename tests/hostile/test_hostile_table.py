"""A sample of the hostile faults in this process, and whether docs/reliability.md has them all."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from support.hostile.commands import CALLS
from support.hostile.good import write_good_datasets
from support.hostile.page import PAGE, page_with_table
from support.hostile.planted import Command, PlantedFault
from support.hostile.table import FAULTS, GROUPS
from support.hostile.victim import Victim

from imig import Dataset
from imig.derived.parents import open_parent
from imig.errors import DataError, ImigError
from imig.schema import MAX_PIXELS, MaskRLE
from imig.shards.validate import validate_dataset

EVERY = 5
"""One fault of so many, of each group; those of encoded samples need torch."""
TOO_LARGE = {
    "manifest-200-mb",
    "mask-profile-bomb",
    "index-of-three-million-rows",
    "index-of-as-many-rows-as-counted",
    "index-group-of-more-rows",
    "index-of-200-mb",
}
SAMPLED = [
    one
    for group in GROUPS
    if not group.encoded
    for one in group.faults[::EVERY]
    if one.kind not in TOO_LARGE
]
READ_HERE: tuple[Command, ...] = ("iterate", "records")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    write_good_datasets(root, encoded=False)
    return root / "plain"


def read_as_derived(folder: Path) -> int:
    """As `imig merge` reads, without writing anything."""
    parent = open_parent(folder)
    parent.rejects()
    parent.quarantined()
    for subset in parent.subsets():
        list(parent.samples(subset=subset))
    return 0


def code_of(read: Callable[[], int]) -> tuple[int, str]:
    try:
        return read(), ""
    except ImigError as error:
        return error.exit_code, error.message


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text()
    assert page == page_with_table(page), "run: PYTHONPATH=tests python -m support.hostile.page"


def test_every_group_has_faults_and_every_fault_is_told() -> None:
    assert all(group.faults and group.introduction for group in GROUPS)
    assert all(one.what for one in FAULTS.values())


@pytest.mark.parametrize("fault", SAMPLED, ids=lambda one: one.kind)
def test_a_fault_is_named(good: Path, tmp_path: Path, fault: PlantedFault) -> None:
    victim = Victim(good, tmp_path / "victim")
    fault.plant(victim)
    victim.seal()
    faults = validate_dataset(victim.folder).faults
    told = " ".join(f"index {one.kind} {one.shard} {one.sample} {one.message}" for one in faults)
    assert bool(faults) == (fault.legal is None)
    assert all(name.casefold() in told.casefold() for name in fault.part.names), told
    for command in READ_HERE:
        call = CALLS[command]
        with redirect_stdout(io.StringIO()):
            code, message = code_of(lambda call=call: call(victim.folder, good, tmp_path))  # type: ignore[misc]
        assert code == (fault.expected(command) or 0), f"{command}: {message}"
        if code == 1:
            assert all(name.casefold() in message.casefold() for name in fault.part.names)
    code, message = code_of(lambda: read_as_derived(victim.folder))
    if fault.expected("merge") is None:
        assert code == 0, message


def test_the_largest_picture_obeys_the_schema() -> None:
    side = int(MAX_PIXELS**0.5)
    assert MaskRLE(size=(side, side), counts="0").size == (side, side)


@pytest.mark.parametrize("kind", ["caption-1-mb", "phrase-1-mb"])
def test_messages_about_much_are_short(good: Path, tmp_path: Path, kind: str) -> None:
    victim = Victim(good, tmp_path / "victim")
    FAULTS[kind].plant(victim)
    victim.seal()
    with pytest.raises(DataError, match="does not obey the schema") as caught:
        list(Dataset(victim.folder).records())
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("kind", ["report-list", "report-types", "report-deep", "report-empty"])
def test_a_report_that_is_none_costs_the_funnel_alone(
    good: Path, tmp_path: Path, kind: str
) -> None:
    victim = Victim(good, tmp_path / "victim")
    FAULTS[kind].plant(victim)
    victim.seal()
    assert open_parent(victim.folder).funnel() == []
