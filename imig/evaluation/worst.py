"""`worst.html`: the worst pictures of an evaluation, to look at."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from PIL import Image
from pydantic import ValidationError

from imig.display.case_picture import CaseReferencePicture, draw_case
from imig.errors import DataError, UsageError
from imig.evaluation.case import Against, Case, Mask
from imig.evaluation.measuring import each_line
from imig.evaluation.metrics import MEASURES
from imig.evaluation.metrics.base import Measure
from imig.evaluation.pictures import GeneratedPicture
from imig.evaluation.result import EvaluationResult, PictureResult
from imig.evaluation.run import PICTURES_NAME
from imig.layout.composition import MID_GREY
from imig.layout.placement import Rectangle
from imig.shards.atomic import atomic_write_bytes

WORST_NAME = "worst.html"
JPEG_QUALITY = 85

Read = TypeVar("Read")


def write_worst(
    result: EvaluationResult,
    against: Against,
    *,
    root: Path,
    output: Path,
    figure: str | None = None,
    count: int = 12,
) -> Path:
    """Write the page beside `evaluation.json`, whose `pictures.jsonl` is read.

    Each picture is shown with the wanted boxes and those where its subjects were found, beside the
    references, the true picture where there is one, and its figures.

    Parameters
    ----------
    root:
        Folder of the pictures.
    output:
        Folder of the results.
    figure:
        Which one says how bad a picture is; None: the first of the evaluation.

    Raises
    ------
    UsageError
        There is no such figure, or neither end of it is worse.
    DataError
        A picture cannot be read any more.
    """
    measure = MEASURES[_figure(result, figure)]
    worst = worst_pictures(_read(output / PICTURES_NAME), measure, count=count)
    cases = {one.id: one for one in against}
    parts = [_part(one, cases[one.case], root=root) for one in worst if one.case in cases]
    page = _page(result, measure, parts)
    atomic_write_bytes(output / WORST_NAME, page.encode())
    return output / WORST_NAME


def worst_pictures(
    pictures: Sequence[PictureResult], measure: Measure, *, count: int
) -> list[PictureResult]:
    """The worst first; those that have no value of the figure are left out."""
    sign = -1 if measure.better == "lower" else 1
    valued = [(sign * mean, one) for one in pictures if (mean := _mean(one, measure)) is not None]
    valued.sort(key=lambda pair: (pair[0], pair[1].case, pair[1].file))
    return [one for _, one in valued[:count]]


def _figure(result: EvaluationResult, figure: str | None) -> str:
    """By name, checked."""
    able = [
        name
        for name, one in result.figures.items()
        if one.value is not None and MEASURES[name].better != "neither"
    ]
    if figure is None and able:
        return able[0]
    if figure not in able:
        what = f"no figure {figure!r} of which an end is worse" if figure else "no figure"
        raise UsageError(
            f"the evaluation has {what}",
            cure=f"--worst-by takes one of {', '.join(able)}" if able else "--worst 0: no page",
        )
    return figure


def _mean(picture: PictureResult, measure: Measure) -> float | None:
    values = [one for one in picture.values.get(measure.name, ()) if one is not None]
    return sum(values) / len(values) if values else None


def _read(path: Path) -> list[PictureResult]:
    pictures = []
    for line in each_line(path):
        with suppress(ValueError, RecursionError, ValidationError):
            values = json.loads(line)
            if isinstance(values, dict):
                values.pop("of", None)
                pictures.append(PictureResult.model_validate(values))
    return pictures


def _part(picture: PictureResult, case: Case, *, root: Path) -> str:
    """Of the page: one picture."""
    path = root / picture.file
    image = GeneratedPicture(case.id, path).read(case)
    case = case.in_size(image.size)
    sheet = draw_case(
        image,
        wanted=[one.box for one in case.instances],
        found=[None if one is None else _rectangle(one) for one in picture.found],
        references=list(_references(case)),
        target=None if case.read_target is None else _or_none(case.read_target),
    )
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=JPEG_QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return (
        f"<section><h2>{html.escape(picture.file)}"
        f"{f' · {html.escape(picture.group)}' if picture.group else ''}</h2>\n"
        f"<p>{html.escape(case.caption)}</p>\n"
        f'<img alt="{html.escape(case.id)}" src="{source}">\n'
        f"{_table(picture, case)}</section>\n"
    )


def _rectangle(box: Sequence[float]) -> Rectangle:
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2


def _references(case: Case) -> Iterator[CaseReferencePicture]:
    for one in case.instances:
        picture = None
        read = _or_none(one.references[0].read) if one.references else None
        if read is not None:
            image, mask = read
            picture = image if mask is None else _on_grey(image, mask)
        yield CaseReferencePicture(name=one.phrase, image=picture)


def _or_none(read: Callable[[], Read]) -> Read | None:
    """What is damaged is not shown: no figure may have needed it."""
    try:
        return read()
    except DataError:
        return None


def _on_grey(image: Image.Image, mask: Mask) -> Image.Image:
    """The subject alone, as the model sees it."""
    grey = Image.new("RGB", image.size, MID_GREY)
    grey.paste(image, mask=Image.fromarray(mask))
    return grey


def _table(picture: PictureResult, case: Case) -> str:
    """Figures of the picture, then those of its instances."""
    whole, single = [], []
    for name, values in picture.values.items():
        measure = MEASURES.get(name)
        if measure is None:
            continue
        if measure.unit == "instance" and len(values) == len(case.instances):
            single.append((measure, values))
        elif (mean := _mean(picture, measure)) is not None:
            whole.append(f"{html.escape(measure.title)} {_shown(mean, measure)}")
    lines = f"<p>{' · '.join(whole)}</p>\n" if whole else ""
    if not single:
        return lines
    head = "".join(f"<th>{html.escape(one.title)}" for one, _ in single)
    rows = "".join(
        f"<tr><td>{number + 1}&ensp;{html.escape(instance.phrase)}"
        + "".join(f"<td>{_shown(values[number], one)}" for one, values in single)
        + "</tr>\n"
        for number, instance in enumerate(case.instances)
    )
    return f"{lines}<table><tr><th>instance{head}</tr>\n{rows}</table>\n"


def _shown(value: float | None, measure: Measure) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.1f}" if measure.percent else f"{value:.3f}"


def _page(result: EvaluationResult, measure: Measure, parts: Sequence[str]) -> str:
    worst = "highest" if measure.better == "lower" else "lowest"
    name = html.escape(Path(result.generated).name)
    overall = _shown(result.figures[measure.name].value, measure)
    drawn = {
        key: result.drawing[key]
        for key in ("weights", "adapter", "preset", "steps", "guidance")
        if result.drawing.get(key) is not None
    }
    said = ", ".join(f"{key} {html.escape(str(one))}" for key, one in drawn.items())
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Worst of {name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem }}
body {{ padding: 0 1rem }}
h2 {{ font-size: 1.05rem; margin: 2.5rem 0 0 }}
p {{ margin: .3rem 0 }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }}
td:first-child, th:first-child {{ text-align: left }}
img {{ max-width: 100%; margin: .5rem 0; border: 1px solid #ddd }}
</style>
<h1>Worst of {name}</h1>
<p>The {len(parts)} of {result.pictures} pictures with the {worst} {html.escape(measure.title)}
({html.escape(measure.name)}; {overall} over all). {html.escape(measure.meaning)}</p>
<p>{f"Drawn with {said}. " if said else ""}Whole frames: where a subject was asked for; dashed
frames: where it was found. Their numbers are those of the references.</p>
{"".join(parts)}</html>
"""
