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
from support.hostile.victim import SAMPLE, Victim

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.errors import DataError, ImigError
from imig.schema import MAX_PIXELS, MaskRLE
from imig.training.catalogue import read_catalogue
from imig.training.recipe import DataConfig

EVERY = 5
"""One fault of so many, of each group, is planted by `make test`; those of encoded samples need
torch."""
TOO_LARGE = {
    "manifest-200-mb",
    "mask-profile-bomb",
    "index-of-three-million-rows",
    "index-of-as-many-rows-as-counted",
    "index-group-of-more-rows",
    "index-of-200-mb",
}
CASES = [
    pytest.param(one, id=one.kind, marks=[pytest.mark.long] if number % EVERY else [])
    for group in GROUPS
    if not group.encoded
    for number, one in enumerate(group.faults)
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
    parent = Dataset(folder)
    parent.rejects()
    parent.quarantined()
    for subset in set(parent.subsets):
        list(parent.walk_shards(subset=subset))
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


@pytest.mark.parametrize("fault", CASES)
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
    assert Dataset(victim.folder).funnel() == []


UNPLANNABLE = {
    "row-subset-path": "has an unknown subset",
    "row-subset-null": "has rows without subset",
    "row-width-null": "has rows without width",
    "row-width-zero": "has a width that no picture has",
    "row-width-huge": "has a width that no picture has",
    "row-height-negative": "has a height that no picture has",
    "row-caption-null": "has rows without caption",
    "row-caption-1-mb": "has too long a caption",
    "row-instance-null": "has an instance without values",
    "row-instance-box-null": "has an instance without values",
    "row-references-null": "has an instance without values",
    "row-reference-kind-null": "has a reference without values",
    "row-reference-kind": "has a reference of an unknown kind",
    "row-reference-huge": "has a reference of a size that no picture has",
    "row-reference-zero": "has a reference of a size that no picture has",
    "row-reference-box-null": "has a reference without values",
}


@pytest.mark.parametrize("kind", UNPLANNABLE)
def test_an_index_that_no_training_can_be_planned_with(
    good: Path, tmp_path: Path, kind: str
) -> None:
    victim = Victim(good, tmp_path / "victim")
    FAULTS[kind].plant(victim)
    victim.seal()
    with pytest.raises(DataError, match=UNPLANNABLE[kind]) as caught:
        read_catalogue([Dataset(victim.folder)], config=DataConfig())
    assert SAMPLE in caught.value.message


@pytest.mark.parametrize(
    ("box", "subject_box", "what"),
    [
        ([40, 36, 0, 0], [0, 0, 9, 9], "has a box that is none"),
        ([-1, 0, 40, 36], [0, 0, 9, 9], "has a box that is none"),
        ([0, 0, 40, None], [0, 0, 9, 9], "has a box that is none"),
        ([0, 0, 40, 36], [0, 0, 2**31 - 1, 1], "has a subject box that is none"),
        ([0, 0, 40, 36], [9, 0, 9, 9], "has a subject box that is none"),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_boxes_of_an_index_are_boxes(
    good: Path, tmp_path: Path, box: list[int], subject_box: list[int], what: str
) -> None:
    victim = Victim(good, tmp_path / "victim")
    view = {"kind": "crop", "width": 40, "height": 36, "aligned": False, "subject_box": subject_box}
    one = {"box": box, "area": 100, "face": False, "references": [view]}
    victim.edit_row(instance_records=[one])
    victim.seal()
    with pytest.raises(DataError, match=what) as caught:
        read_catalogue([Dataset(victim.folder)], config=DataConfig())
    assert SAMPLE in caught.value.message
