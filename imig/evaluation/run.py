"""`imig evaluate` from end to end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from imig import __version__
from imig.console.bar import Bar
from imig.console.interrupt import interrupt_once
from imig.console.lines import say
from imig.errors import DataError, UsageError
from imig.evaluation.case import Against, Case
from imig.evaluation.leakage import find_seen
from imig.evaluation.measuring import Eyes, Measured, Unreadable, measure_pictures
from imig.evaluation.metrics import MEASURES
from imig.evaluation.metrics.base import Metric
from imig.evaluation.paper_table import fill
from imig.evaluation.pictures import (
    GeneratedPicture,
    how_drawn,
    list_pictures,
    missing_cases,
)
from imig.evaluation.recipe import EvaluationRecipe, metrics_of
from imig.evaluation.result import EvaluationResult, FigureResult, LeakageResult, PictureResult
from imig.evaluation.summary import Sample
from imig.evaluation.table import table_to_markdown
from imig.output.lock import folder_lock
from imig.recipe.identity import without_means
from imig.schema import ModelRecord
from imig.shards.atomic import atomic_write_bytes
from imig.shards.dataset import Dataset
from imig.shards.manifest import package_versions
from imig.stages.base import model_uses
from imig.stages.loading import record_of
from imig.stages.sources.base import printable_path

RESULT_NAME = "evaluation.json"
PICTURES_NAME = "pictures.jsonl"
TABLE_NAME = "table.md"

LOCK = ".evaluation.lock"

SHOWN_MISSING = 5
SHOWN_UNREADABLE = 3


def evaluate(
    generated: Path,
    against: Against,
    recipe: EvaluationRecipe,
    *,
    output: Path,
    partial: bool = False,
    training: Sequence[str | Path] = (),
    console: Console,
) -> EvaluationResult:
    """Measure the pictures of a folder, and write `evaluation.json` and `pictures.jsonl`; of a
    benchmark also `table.md`.

    What an earlier run has measured with the same recipe, models and cases of the very same
    pictures is not measured again. One process writes into the output folder at a time.

    Parameters
    ----------
    output:
        Folder of the results.
    partial:
        Measure what is there, where cases have no picture, or pictures are damaged.
    training:
        Datasets that the model was trained on: which cases it has seen is said.

    Raises
    ------
    UsageError
        No picture is of any case; a model's weights are missing; another process evaluates into
        the folder, or it cannot be written.
    DataError
        Cases have no picture, or pictures or references are damaged (without `partial`, and then
        all others are measured and kept).
    """
    cases = {one.id: one for one in against}
    pictures = _pictures(generated, against, console=console)
    missing = missing_cases(pictures, list(cases))
    if missing and not partial:
        shown = ", ".join(missing[:SHOWN_MISSING])
        shown += ", ..." if len(missing) > SHOWN_MISSING else ""
        raise DataError(
            f"{len(missing)} of {len(cases)} cases have no picture in {generated}: {shown}",
            cure="draw them (`imig bench` goes on where it stopped), or measure what is there with "
            "--partial",
        )
    drawn = {one.case: cases[one.case] for one in pictures}
    metrics, unmeasured, models = plan_metrics(recipe, drawn.values())
    identity = {
        "imig": __version__,
        # answers of a vision-language model are dear: where its server is, where the cases lie,
        # is of no matter for them
        "recipe": without_means(
            recipe.model_dump(mode="json", exclude={"name", "seed", "bootstrap"})
        ),
        "models": [one.model_dump(mode="json") for one in models],
        "against": {key: one for key, one in against.record().items() if key != "place"},
    }
    with interrupt_once(), folder_lock(output / LOCK, folder=output, who="another evaluation"):
        leakage = _leakage(list(drawn.values()), training, recipe=recipe, console=console)
        measured, unreadable = _measure(
            pictures,
            drawn,
            recipe=recipe,
            metrics=metrics,
            kept=Measured(output / PICTURES_NAME, identity=identity),
            path=output / PICTURES_NAME,
            root=generated,
            console=console,
        )
        if unreadable:
            _say_unreadable(unreadable, of=len(pictures), partial=partial, console=console)
            pictures = [one for one in pictures if one.path not in unreadable]
            missing = missing_cases(pictures, list(cases))
        result = EvaluationResult(
            imig=__version__,
            packages=package_versions(),
            recipe=recipe.model_dump(mode="json"),
            models=models,
            against=_printable(against.record()),
            generated=printable_path(str(generated)),
            drawing=how_drawn([one.path for one in pictures]),
            cases=len({one.case for one in pictures}),
            pictures=len(pictures),
            missing=missing,
            unreadable={
                str(path.relative_to(generated)): printable_path(why)
                for path, why in unreadable.items()
            },
            unmeasured=unmeasured,
            leakage=leakage,
            figures=summarise(measured, recipe=recipe),
            groups={
                group: summarise([one for one in measured if one.group == group], recipe=recipe)
                for group in sorted({one.group for one in measured} - {""})
            },
            table=None if against.table is None else fill(against.table, measured, recipe=recipe),
        )
        _write(result, output=output)
    return result


def _write(result: EvaluationResult, *, output: Path) -> None:
    if result.table is not None:
        text = "".join(f"{line}\n" for line in table_to_markdown(result.table))
        atomic_write_bytes(output / TABLE_NAME, text.encode())
    atomic_write_bytes(output / RESULT_NAME, (result.model_dump_json(indent=1) + "\n").encode())


def _printable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of cases as JSON can hold it: a place may have a name that is no text."""
    return {
        key: printable_path(one) if isinstance(one, str) else one for key, one in record.items()
    }


def summarise(
    measured: Sequence[PictureResult], *, recipe: EvaluationRecipe
) -> dict[str, FigureResult]:
    """Figures over pictures, with intervals over their cases."""
    sample = Sample(measured, recipe=recipe)
    figures = {}
    for name in MEASURES:
        values = sample.values(name)
        if values is None:
            continue
        means = sample.bootstrap.means(values)
        estimate = None if means is None else sample.bootstrap.estimate(means)
        figures[name] = FigureResult(
            value=None if estimate is None else estimate.value,
            low=None if estimate is None else estimate.low,
            high=None if estimate is None else estimate.high,
            units=sum(map(len, values)),
            cases=sum(1 for one in values if one),
        )
    return figures


def _pictures(generated: Path, against: Against, *, console: Console) -> list[GeneratedPicture]:
    """Of every case its pictures, in the order of cases; others are said."""
    found, strangers = [], []
    for path in list_pictures(generated):
        case = against.case_of(path.stem) if printable_path(path.name) == path.name else None
        if case is None:
            strangers.append(path.name)
        else:
            found.append(GeneratedPicture(case, path))
    if not found:
        raise UsageError(
            f"none of the {len(strangers)} pictures in {generated} is of a case, {strangers[0]} "
            "for example",
            cure="a picture is named as its case: ID.png, or ID-SEED.png",
        )
    if strangers:
        say(console, f"{len(strangers)} pictures are of no case, {strangers[0]} for example")
    return sorted(found, key=lambda one: (one.case, one.path.name))


def plan_metrics(
    recipe: EvaluationRecipe, cases: Collection[Case]
) -> tuple[list[Metric[Any]], dict[str, str], list[ModelRecord]]:
    """What is measured on such cases: metrics, why others are not, and every model once.

    Models are found, and not loaded.

    Raises
    ------
    UsageError
        No metric is possible, or the weights of a model are not on this disk.
    """
    metrics, unmeasured = [], {}
    for metric in metrics_of(recipe):
        if (unset := metric.unset()) is not None:
            unmeasured[metric.name] = unset
            continue
        reasons = [metric.lacks(one) for one in cases]
        if None in reasons:
            metrics.append(metric)
        else:
            unmeasured[metric.name] = f"the cases have {reasons[0]}"
    if not metrics:
        raise UsageError(
            "there is nothing to measure: "
            + "; ".join(f"{name}: {reason}" for name, reason in unmeasured.items()),
            cure="another recipe has other metrics: `imig recipes`",
        )
    blocks = [recipe.look] if any(one.looks for one in metrics) else []
    records = [
        record_of(use.config)
        for block in (*blocks, *(one.config for one in metrics))
        for use in model_uses(block)
    ]
    return metrics, unmeasured, list({one.model_dump_json(): one for one in records}.values())


def _leakage(
    cases: Sequence[Case],
    training: Sequence[str | Path],
    *,
    recipe: EvaluationRecipe,
    console: Console,
) -> LeakageResult | None:
    if not training:
        return None
    seen = find_seen(cases, training, config=recipe.leakage, console=console)
    return LeakageResult(
        training={str(one): Dataset(one).fingerprint for one in training},
        cases=sorted({one.case for one in seen}),
        pictures=[asdict(one) for one in seen],
    )


def _measure(
    pictures: Sequence[GeneratedPicture],
    cases: Mapping[str, Case],
    *,
    recipe: EvaluationRecipe,
    metrics: Sequence[Metric[Any]],
    kept: Measured,
    path: Path,
    root: Path,
    console: Console,
) -> tuple[list[PictureResult], dict[Path, str]]:
    """Results of all pictures, in their order; the file has them afterwards, and on the way.

    Also of which pictures there is none, and why.
    """
    done = {one.path: kept.find(one, root=root) for one in pictures}
    left = [one for one in pictures if done[one.path] is None]
    found: dict[Path, PictureResult] = {at: one for at, one in done.items() if one is not None}
    unreadable: dict[Path, str] = {}
    if left:
        eyes = Eyes(recipe, metrics)
        new = measure_pictures(left, cases, eyes=eyes, root=root)
        with (
            _Appending(path) as file,
            Bar("measuring", total=len(pictures), done=len(found), console=console) as bar,
        ):
            file.write(b"\n")  # a kill may have left half a line
            for one, result in new:
                if isinstance(result, Unreadable):
                    unreadable[one.path] = result.why
                    continue
                file.write(kept.line(result))
                found[one.path] = result
                bar.advance(len(found))
    results = [found[one.path] for one in pictures if one.path in found]
    atomic_write_bytes(path, b"".join(map(kept.line, results)))
    return results, dict(sorted(unreadable.items()))


class _Appending:
    """Writes at the end of a file, at once. Raises DataError when that fails."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Appending:
        with self._telling():
            self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        with self._telling():
            while data:  # a disk that fills up takes a part
                data = data[self._file.write(data) :]

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"cannot write {self._path}: {error.strerror or error}",
                cure="make room on the disk, or give another --output; the same command goes on",
            ) from error


def _say_unreadable(
    unreadable: Mapping[Path, str], *, of: int, partial: bool, console: Console
) -> None:
    """Raises DataError unless what can be read is wanted."""
    shown = "; ".join(list(unreadable.values())[:SHOWN_UNREADABLE])
    shown += "; ..." if len(unreadable) > SHOWN_UNREADABLE else ""
    what = f"{len(unreadable)} of {of} pictures cannot be measured: {shown}"
    if len(unreadable) == of or not partial:
        raise DataError(
            what,
            cure="draw them again, or measure the others with --partial; what is measured is kept"
            if len(unreadable) < of
            else "draw them again",
        )
    say(console, what)
