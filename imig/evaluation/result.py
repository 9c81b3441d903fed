"""`evaluation.json`: what was measured, on what, and with what; enough to measure it again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imig.schema import Box, ModelRecord


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FigureResult(_Part):
    """A figure over cases."""

    value: float | None = Field(description="Mean over all units; null: none has a value.")
    low: float | None = Field(description="Lower end of the bootstrap interval over cases.")
    high: float | None
    units: int = Field(description="Pictures, instances or questions that it is the mean of.")
    cases: int = Field(description="Cases with at least one of them.")


class CellResult(_Part):
    """A value of a benchmark's table, in the scale in which its paper prints it."""

    value: float | None = Field(description="null: the recipe did not measure it.")
    low: float | None = Field(description="Lower end of the bootstrap interval over cases.")
    high: float | None


class ColumnResult(_Part):
    """A figure of a benchmark's table."""

    name: str
    title: str
    meaning: str
    better: Literal["higher", "lower", "neither"]
    decimals: int
    cells: dict[str, CellResult] = Field(description="By the titles of the table's parts.")


class TableResult(_Part):
    """A benchmark's table as its paper prints it."""

    title: str
    parts: list[str] = Field(description="Titles of the parts of the benchmark, in order.")
    parts_are: Literal["rows", "columns"]
    columns: list[ColumnResult]
    confidence: float = Field(description="Of the intervals.")
    notes: list[str] = Field(description="What a reader of the figures has to know.")


class PictureResult(_Part):
    """A line of `pictures.jsonl`: what was measured of one picture."""

    case: str
    group: str
    file: str = Field(description="Relative to the folder of generated pictures.")
    sha256: str
    values: dict[str, list[float | None]] = Field(
        description="Figure -> a value a unit (the picture, its instances, its questions)."
    )
    found: list[Box | None] = Field(
        default=[],
        description="Box of each instance that was found, in pixels of `size`; empty where nobody "
        "looked.",
    )
    size: tuple[int, int] | None = Field(
        default=None, description="(width, height) in which the picture was looked at."
    )


class LeakageResult(_Part):
    """Cases whose pictures are near copies of pictures in training."""

    training: dict[str, str] = Field(description="Datasets that were searched: place -> version.")
    cases: list[str] = Field(description="Those seen.")
    pictures: list[dict[str, str]] = Field(description="case, picture, and the scene it is of.")


class EvaluationResult(_Part):
    """All of `evaluation.json`."""

    format: Literal["imig-evaluation-1"] = "imig-evaluation-1"
    imig: str = Field(description="Version.")
    packages: dict[str, str] = Field(description="Versions of what decides about figures.")
    recipe: dict[str, Any] = Field(description="Whole, with defaults.")
    models: list[ModelRecord]
    against: dict[str, Any] = Field(description="The cases: kind, place, checksum, count.")
    generated: str = Field(description="The folder of the pictures.")
    drawing: dict[str, Any] = Field(
        default={},
        description="What the pictures' metadata say alike of how they were drawn: settings, "
        "adapter, weights; empty where imig did not draw them.",
    )
    cases: int
    pictures: int
    missing: list[str] = Field(description="Cases without a picture; they are in no figure.")
    unreadable: dict[str, str] = Field(
        default={},
        description="Damaged pictures, and those of damaged cases, and why; they are in no figure.",
    )
    unmeasured: dict[str, str] = Field(
        description="Metrics of the recipe that no case allows, and why."
    )
    leakage: LeakageResult | None = Field(
        description="What training has seen of the cases; null: nobody looked."
    )
    figures: dict[str, FigureResult]
    groups: dict[str, dict[str, FigureResult]] = Field(
        description="The same for each of the benchmark's groups; empty where there is one."
    )
    table: TableResult | None = Field(
        default=None, description="Of a benchmark; the same is in `table.md`."
    )
