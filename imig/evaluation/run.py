"""`imig evaluate` from end to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from imig import __version__
from imig.console.bar import Bar
from imig.console.lines import say
from imig.errors import DataError, UsageError
from imig.evaluation.case import Against, Case
from imig.evaluation.leakage import find_seen
from imig.evaluation.measuring import Eyes, Measured, measure_pictures
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
from imig.recipe.identity import without_means
from imig.schema import ModelRecord
from imig.shards.atomic import atomic_write, atomic_write_bytes
from imig.shards.dataset import Dataset
from imig.shards.manifest import package_versions
from imig.stages.base import model_uses
from imig.stages.loading import record_of

RESULT_NAME = "evaluation.json"
PICTURES_NAME = "pictures.jsonl"
TABLE_NAME = "table.md"

SHOWN_MISSING = 5


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
    pictures is not measured again.

    Parameters
    ----------
    output:
        Folder of the results.
    partial:
        Measure what is there, where cases have no picture.
    training:
        Datasets that the model was trained on: which cases it has seen is said.

    Raises
    ------
    UsageError
        No picture is of any case; a model's weights are missing.
    DataError
        Cases have no picture (without `partial`), or a picture or reference is damaged.
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
    leakage = _leakage(list(drawn.values()), training, recipe=recipe, console=console)
    measured = _measure(
        pictures,
        drawn,
        recipe=recipe,
        metrics=metrics,
        kept=Measured(output / PICTURES_NAME, identity=identity),
        path=output / PICTURES_NAME,
        root=generated,
        console=console,
    )
    result = EvaluationResult(
        imig=__version__,
        packages=package_versions(),
        recipe=recipe.model_dump(mode="json"),
        models=models,
        against=against.record(),
        generated=str(generated),
        drawing=how_drawn([one.path for one in pictures]),
        cases=len(drawn),
        pictures=len(pictures),
        missing=missing,
        unmeasured=unmeasured,
        leakage=leakage,
        figures=summarise(measured, recipe=recipe),
        groups={
            group: summarise([one for one in measured if one.group == group], recipe=recipe)
            for group in sorted({one.group for one in measured} - {""})
        },
        table=None if against.table is None else fill(against.table, measured, recipe=recipe),
    )
    if result.table is not None:
        text = "".join(f"{line}\n" for line in table_to_markdown(result.table))
        atomic_write_bytes(output / TABLE_NAME, text.encode())
    atomic_write_bytes(output / RESULT_NAME, (result.model_dump_json(indent=1) + "\n").encode())
    return result


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
        case = against.case_of(path.stem)
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
) -> list[PictureResult]:
    """Results of all pictures, in their order; the file has them afterwards, and on the way."""
    done = {one.path: kept.find(one, root=root) for one in pictures}
    left = [one for one in pictures if done[one.path] is None]
    found: dict[Path, PictureResult] = {at: one for at, one in done.items() if one is not None}
    if left:
        eyes = Eyes(recipe, metrics)
        new = measure_pictures(left, cases, eyes=eyes, root=root)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path.open("ab") as file,
            Bar("measuring", total=len(pictures), done=len(found), console=console) as bar,
        ):
            # a kill may have left half a line
            file.write(b"\n")
            for one, result in zip(left, new, strict=True):
                file.write(kept.line(result))
                file.flush()
                found[one.path] = result
                bar.advance(len(found))
    results = [found[one.path] for one in pictures]
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"".join(map(kept.line, results)))
    return results
