"""imig from Python: what a user does on the command line.

They are attributes of the package (`imig.build`, ...), and are imported when they are first used.
What goes wrong is raised as `imig.errors.UsageError` (the call is at fault) or `DataError` (the
data or the run is), with the cure in `cure`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imig.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console

    from imig.checks.dataset import ValidationReport
    from imig.comparison.datasets import DatasetDifference
    from imig.evaluation.result import EvaluationResult
    from imig.hub.push import Pushed
    from imig.interop.exporting import Exported
    from imig.shards.dataset import Dataset
    from imig.shards.views import SceneView

Settings = Mapping[str, Any]
"""Dotted key of a recipe -> its value, as ``--set`` has it: ``{"ground.nms_iou": 0.5}``."""


def build(
    recipe: str | Path,
    *,
    output: str | Path,
    limit: int | None = None,
    overrides: Settings | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Dataset:
    """Build a dataset, or finish one that was interrupted, and open it; as `imig build`.

    Parameters
    ----------
    recipe:
        A YAML file, or the name of a recipe that ships with imig.
    output:
        The dataset's folder.
    limit:
        Only the first so many scenes of the source.
    overrides:
        Keys of the recipe to change.
    overwrite:
        Delete the dataset that is in the folder first.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        Something in the recipe is wrong or missing, or the folder holds something else.
    DataError
        Too many scenes fail; finished work is kept, and the same call goes on.
    """
    from imig.engine.build import build as build_plan
    from imig.engine.plan import make_plan
    from imig.recipe.file import load_recipe
    from imig.shards.dataset import Dataset

    loaded = load_recipe(recipe, overrides=settings_to_texts(overrides))
    plan = make_plan(loaded, output=output, limit=limit)
    build_plan(plan, console or _silent(), overwrite=overwrite)
    return Dataset(plan.output)


def validate(folder: str | Path, *, workers: int = 1) -> ValidationReport:
    """Check every byte of a dataset; its faults are in the answer, and `not report.faults` is good.

    Parameters
    ----------
    workers:
        Shards checked at a time.

    Raises UsageError when there is no dataset.
    """
    from imig.checks.dataset import validate_dataset

    return validate_dataset(folder, workers=workers)


def diff(
    before: str | Path,
    after: str | Path,
    *,
    tolerance: float = 1e-6,
    min_iou: float = 1.0,
    scenes: int = 5,
    pictures: bool = True,
    console: Console | None = None,
) -> DatasetDifference:
    """What differs between two datasets; `difference.differ` says whether; as `imig diff`.

    Scenes in shards with equal checksums are not read.

    Parameters
    ----------
    before, after:
        Folders or addresses.
    tolerance:
        Scores that are apart by no more count as equal.
    min_iou:
        Boxes and masks whose intersection over union is this or more count as equal.
    scenes:
        How many changed scenes to give with all their changes.
    pictures:
        Whether stored files are compared, beside the records.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        A dataset is not there.
    DataError
        One that must be read is damaged.
    """
    from imig.comparison.datasets import compare_datasets
    from imig.comparison.scenes import Limits
    from imig.shards.dataset import Dataset

    return compare_datasets(
        Dataset(before),
        Dataset(after),
        limits=Limits(tolerance=tolerance, min_iou=min_iou),
        scenes=scenes,
        pictures=pictures,
        console=console,
    )


def preview(scene: SceneView, *, layers: Iterable[str] | None = None) -> Image:
    """One scene as a picture: the target with its annotations, references, and the layout.

    Parameters
    ----------
    scene:
        Of a `Dataset`.
    layers:
        Of boxes, masks, labels, references, layout; all of them where none are named.

    Raises UsageError for a layer that there is not, and DataError for damaged members.
    """
    from imig.display.picture import LAYERS, check_layers, draw_preview

    chosen = LAYERS if layers is None else check_layers(list(layers))
    return draw_preview(scene, layers=chosen)


def train(
    shards: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    recipe: str | Path = "train-tiny",
    overrides: Settings | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Path:
    """Train ContextGen on one or several datasets; gives the adapter's file; as `imig train`.

    Parameters
    ----------
    shards:
        Folders or addresses of datasets.
    output:
        Folder of checkpoints, metrics, pictures and adapter.
    recipe:
        A YAML file, or the name of a recipe of a training that ships with imig.
    overrides:
        Keys of the recipe to change.
    resume:
        Go on from the last checkpoint of `output`, if it has one.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The call is at fault: paths, weights, a run in the way.
    DataError
        A sample is damaged, the loss is not finite, or a signal ended the training, which saved
        first.
    """
    from imig.training.loop import train as run_training
    from imig.training.recipe_file import load_training_recipe

    folders = [shards] if isinstance(shards, str | Path) else list(shards)
    run = Path(output)
    code = run_training(
        load_training_recipe(recipe, overrides=settings_to_texts(overrides)),
        folders,
        run=run,
        resume=resume,
        console=console or _silent(),
    )
    if code != 0:
        raise DataError(
            "the training was ended by a signal, and has saved what it had",
            cure="the same call with resume=True goes on",
        )
    return run / "adapter.safetensors"


def import_dataset(
    source: str | Path,
    format_name: str,
    *,
    output: str | Path,
    settings: Settings | None = None,
    workers: int = 1,
    overwrite: bool = False,
    console: Console | None = None,
) -> Dataset:
    """Make a dataset of files in another tool's format, and open it; as `imig import`.

    Parameters
    ----------
    source:
        Folder or file of that format.
    format_name:
        As `imig formats` lists it.
    output:
        The dataset's folder.
    settings:
        Of the format.
    workers:
        Processes.
    overwrite:
        Delete the dataset that is in the folder first.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The format, a setting or the source is not there, or the folder holds something else.
    DataError
        Nothing in the source can be read.
    """
    from imig.interop.importing import import_dataset as run_import
    from imig.shards.dataset import Dataset

    run_import(
        source,
        format_name,
        output=output,
        overrides=settings_to_texts(settings),
        workers=workers,
        overwrite=overwrite,
        console=console,
    )
    return Dataset(output)


def export_dataset(
    dataset: str | Path,
    format_name: str,
    *,
    output: str | Path,
    settings: Settings | None = None,
    workers: int = 1,
    overwrite: bool = False,
    console: Console | None = None,
) -> Exported:
    """Write a dataset in another tool's format; as `imig export`.

    What the format has no place for is in the answer's `losses`.

    Parameters
    ----------
    dataset:
        A dataset's folder or address.
    format_name:
        As `imig formats` lists it.
    output:
        An empty or a new folder.
    settings:
        Of the format.
    workers:
        Processes.
    overwrite:
        Delete what an export wrote there first.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The format, a setting or the dataset is not there, or the folder holds something else.
    DataError
        A sample is damaged; finished shards are kept.
    """
    from imig.interop.exporting import export_dataset as run_export

    return run_export(
        dataset,
        format_name,
        output=Path(output),
        overrides=settings_to_texts(settings),
        workers=workers,
        overwrite=overwrite,
        console=console,
    )


def push(
    folder: str | Path,
    repository: str,
    *,
    private: bool = False,
    validate: bool = True,
    overwrite: bool = False,
    despite_licences: bool = False,
    workers: int = 1,
    console: Console | None = None,
) -> Pushed:
    """Put a finished dataset on the Hugging Face hub; as `imig push`.

    Parameters
    ----------
    folder:
        A dataset's, or the one that `imig split` has made.
    repository:
        ``owner/name``; made where it is not there.
    private:
        Make it private; one that is there and public is refused.
    validate:
        Check every byte before.
    overwrite:
        Take the place of another dataset in the repository.
    despite_licences:
        Also what the licences of its scenes do not let anybody give on.
    workers:
        Shards checked at a time.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The folder is no finished dataset, or its licences forbid it; there is no token, or it has
        not the right; the repository holds another dataset.
    DataError
        The dataset is damaged, or the hub does not answer. The same call goes on.
    """
    from imig.hub.push import push_dataset

    return push_dataset(
        Path(folder),
        repository,
        private=private,
        validate=validate,
        overwrite=overwrite,
        despite_licences=despite_licences,
        workers=workers,
        console=console,
    )


def evaluate(
    generated: str | Path,
    against: str | Path,
    *,
    output: str | Path,
    recipe: str | Path | None = None,
    overrides: Settings | None = None,
    partial: bool = False,
    training: Sequence[str | Path] = (),
    console: Console | None = None,
) -> EvaluationResult:
    """Measure generated pictures against what was asked for; as `imig evaluate`.

    Parameters
    ----------
    generated:
        Folder of the pictures.
    against:
        A dataset's folder or address, layout files, or ``BENCHMARK=PATH`` of its published files.
    output:
        Folder of the results.
    recipe:
        A YAML file, or the name of a recipe that ships with imig; None: the benchmark's, else
        ``evaluate``.
    overrides:
        Keys of the recipe to change.
    partial:
        Measure what is there, where cases have no picture.
    training:
        Datasets that the model was trained on: which cases it has seen is in the result.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        Pictures, cases, recipe or a model's weights are not there.
    DataError
        Cases have no picture (without `partial`), or a picture or reference is damaged.
    """
    from imig.evaluation.against import open_against
    from imig.evaluation.recipe_file import default_recipe, load_evaluation_recipe
    from imig.evaluation.run import evaluate as run_evaluation

    cases = open_against(str(against))
    loaded = load_evaluation_recipe(
        recipe or default_recipe(cases.kind), overrides=settings_to_texts(overrides)
    )
    return run_evaluation(
        Path(generated),
        cases,
        loaded.recipe,
        output=Path(output),
        partial=partial,
        training=training,
        console=console or _silent(),
    )


def bench(
    cases: str | Path,
    *,
    output: str | Path,
    adapter: str | Path | None = None,
    seeds: int = 1,
    limit: int | None = None,
    preset: str | None = None,
    steps: int | None = None,
    width: int | None = None,
    references: str | Path | None = None,
    workers: int | None = None,
    measure: str | Path | None = None,
    overrides: Settings | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> EvaluationResult:
    """Draw every case of a dataset or benchmark, and measure the pictures; as `imig bench`.

    The same call goes on where an earlier one was stopped. `imig.contextgen` has the other settings
    of drawing.

    Parameters
    ----------
    cases:
        As `against` of `evaluate`.
    output:
        Folder of pictures and results.
    adapter:
        LoRA file; None: the base model draws alone.
    seeds:
        Pictures a case.
    limit:
        Only the first so many cases.
    preset, steps, width:
        In the place of the settings that the adapter carries.
    references:
        Pictures of subjects, for benchmarks that have none.
    workers:
        Processes; None: one a GPU, on a CPU one for two cores.
    measure, overrides:
        Recipe of the evaluation, and keys of it to change; see `evaluate`.
    overwrite:
        Draw pictures anew that were drawn otherwise.
    console:
        Where progress is shown; without one nowhere.

    Raises
    ------
    UsageError
        The call is at fault, or pictures are there that were drawn otherwise.
    DataError
        Cases cannot be drawn or measured; what could be drawn is kept.
    """
    from imig.evaluation.against import open_against
    from imig.evaluation.bench.run import BenchOptions
    from imig.evaluation.bench.run import bench as run_bench
    from imig.evaluation.recipe_file import default_recipe, load_evaluation_recipe
    from imig.training.generate_settings import find_settings

    place, lora = str(cases), None if adapter is None else Path(adapter)
    loaded = load_evaluation_recipe(
        measure or default_recipe(open_against(place).kind), overrides=settings_to_texts(overrides)
    )
    result = run_bench(
        place,
        settings=find_settings(adapter=lora, preset=preset, steps=steps),
        adapter=lora,
        output=Path(output),
        recipe=loaded.recipe,
        options=BenchOptions(
            seeds=seeds,
            limit=limit,
            width=width,
            references=None if references is None else Path(references),
            workers=workers,
            overwrite=overwrite,
        ),
        console=console or _silent(),
    )
    assert result is not None, "there is a recipe"
    return result


def settings_to_texts(settings: Settings | None) -> list[str]:
    """As ``--set`` takes them: ``["ground.nms_iou=0.5"]``."""
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in (settings or {}).items()
    ]


def _silent() -> Console:
    from rich.console import Console

    return Console(quiet=True)
