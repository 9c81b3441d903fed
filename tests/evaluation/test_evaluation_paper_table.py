"""A benchmark's table: columns of columns, parts, and what is missing in them."""

from __future__ import annotations

import numpy as np
import pytest

from imig.evaluation.paper_table import Column, PaperTable, Part, fill
from imig.evaluation.recipe import BootstrapConfig, EvaluationRecipe
from imig.evaluation.result import PictureResult, TableResult
from imig.evaluation.table import table_to_markdown

RECIPE = EvaluationRecipe(name="test", bootstrap=BootstrapConfig(samples=500))

COLUMNS = (
    Column(name="itc", title="ITC", of=("itc",), scale=100, meaning="answers"),
    Column(name="aes", title="AES", of=("aes",), scale=10, meaning="looks"),
    Column(name="ids", title="IDS", of=("ids",), scale=100, empty=0.0, meaning="faces"),
    Column(name="avg", title="AVG", of=("itc", "aes", "ids"), meaning="mean of the others"),
)
TABLE = PaperTable(
    title="Bench",
    columns=COLUMNS,
    parts=(Part("few", ("few",)), Part("more", ("more",)), Part("all")),
    notes=("Faces are people's.",),
)


def picture(case: str, group: str, **values: list[float | None]) -> PictureResult:
    return PictureResult(case=case, group=group, file=f"{case}.png", sha256="", values=values)


PICTURES = [
    picture("a", "few", itc=[1.0], aes=[5.0], ids=[0.5, 0.7]),
    picture("b", "few", itc=[0.5], aes=[6.0], ids=[None]),
    picture("c", "few", itc=[0.0], aes=[4.0], ids=[0.3]),
    picture("d", "more", itc=[0.8], aes=[7.0]),
]


def value(table: TableResult, column: str, part: str) -> float | None:
    return next(one for one in table.columns if one.name == column).cells[part].value


@pytest.mark.parametrize(
    ("column", "part", "expected"),
    [
        pytest.param("itc", "few", 50.0, id="a share in percent"),
        pytest.param("aes", "more", 70.0, id="its own scale"),
        pytest.param("ids", "few", 50.0, id="every unit counts the same, whatever its picture"),
        pytest.param("ids", "more", 0.0, id="a part without a unit counts as empty says"),
        pytest.param("avg", "few", 50.0, id="columns are made of scaled columns"),
        pytest.param("avg", "more", 50.0, id="also of what counts as empty"),
        pytest.param("itc", "all", 57.5, id="all cases, not the mean of the parts"),
    ],
)
def test_a_cell_is_computed_as_its_column_says(column: str, part: str, expected: float) -> None:
    assert value(fill(TABLE, PICTURES, recipe=RECIPE), column, part) == pytest.approx(expected)


def test_a_figure_that_was_not_measured_empties_the_columns_made_of_it_only() -> None:
    measured = [
        one.model_copy(update={"values": {k: v for k, v in one.values.items() if k != "ids"}})
        for one in PICTURES
    ]
    table = fill(TABLE, measured, recipe=RECIPE)
    assert value(table, "ids", "few") is None
    assert value(table, "avg", "all") is None
    assert value(table, "itc", "few") == pytest.approx(50)


def test_a_part_without_a_picture_has_no_value() -> None:
    table = fill(TABLE, PICTURES[:3], recipe=RECIPE)
    assert [one.cells["more"].value for one in table.columns] == [None] * 4
    assert "| more |     - |     - |     - |     - |" in list(table_to_markdown(table))


def test_the_interval_of_a_composite_comes_from_common_draws() -> None:
    # two figures that mirror each other: their mean is the same in every draw of cases
    rng = np.random.default_rng(0)
    measured = [
        picture(f"{i}", "", up=[float(one)], down=[1 - float(one)])
        for i, one in enumerate(rng.random(20))
    ]
    columns = (
        Column(name="up", title="up", of=("up",), meaning="up"),
        Column(name="both", title="both", of=("up", "down"), meaning="mean"),
    )
    table = fill(PaperTable(title="t", columns=columns), measured, recipe=RECIPE)
    up, both = (one.cells["all"] for one in table.columns)
    assert up.low is not None
    assert up.high is not None
    assert up.high - up.low > 0.1
    assert [both.low, both.high] == pytest.approx([0.5, 0.5])


def test_parts_stand_in_rows_or_in_columns() -> None:
    rows = list(table_to_markdown(fill(TABLE, PICTURES, recipe=RECIPE)))
    assert rows[2] == "|      |   ITC |   AES |   IDS |   AVG |"
    assert rows[4] == "| few  | 50.00 | 50.00 | 50.00 | 50.00 |"
    assert rows[-1] == "Faces are people's."
    turned = PaperTable(title="t", columns=COLUMNS, parts=TABLE.parts, parts_are="columns")
    columns = list(table_to_markdown(fill(turned, PICTURES, recipe=RECIPE)))
    assert columns[2] == "|     |   few |  more |   all |"
    assert columns[4] == "| ITC | 50.00 | 80.00 | 57.50 |"
