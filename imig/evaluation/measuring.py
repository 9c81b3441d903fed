"""Pictures go through the eyes and the metrics, some at a time; what is done is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from PIL.Image import Image
from pydantic import ValidationError

from imig.errors import DataError, UsageError
from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.look import Seen, look
from imig.evaluation.metrics.base import Metric, load_models
from imig.evaluation.pictures import GeneratedPicture
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.result import PictureResult
from imig.regular_file import open_regular_file
from imig.stages.loading import shared_models

BATCH = 8
"""Pictures that are in memory at once."""
PIXELS_AT_ONCE: Final = 1 << 25
"""Of these pictures together: fewer are in memory where they are large."""
_LONGEST_LINE: Final = 1 << 24
"""Bytes of a line of `pictures.jsonl`: none of ours has a tenth of it."""

Read = TypeVar("Read")


class DamagedCase(DataError):
    """A reference or the true picture of a case cannot be read."""


@dataclass(frozen=True)
class Unreadable:
    """A picture of which nothing is measured: it, or what it is compared with, is damaged."""

    why: str


class Eyes:
    """The models of a recipe, loaded once, and shared where they are alike."""

    def __init__(self, recipe: EvaluationRecipe, metrics: Sequence[Metric[Any]]) -> None:
        self._config = recipe.look
        self._metrics = metrics
        self._looks = any(one.looks for one in metrics)
        self._own: dict[str, Any] = {}
        with shared_models():
            if self._looks:
                load_models(recipe.look, self._own, key="look", batch_size=BATCH)
            for one in metrics:
                one.setup()

    def look(self, cases: Sequence[Case], images: Sequence[Image]) -> list[Seen]:
        """One picture of each case, and where its subjects are, if any metric wants to know."""
        if not self._looks:
            return [Seen(case, image, ()) for case, image in zip(cases, images, strict=True)]
        return look(
            cases,
            images,
            config=self._config,
            grounder=self._own["ground_model"],
            segmenter=self._own["segment_model"],
        )

    def measure(self, seen: Sequence[Seen]) -> list[dict[str, list[float | None]]]:
        """Figures of each picture; a metric that a case lacks something for has none.

        Raises
        ------
        DataError
            A reference of a case cannot be read.
        """
        values: list[dict[str, list[float | None]]] = [{} for _ in seen]
        for metric in self._metrics:
            fit = [i for i, one in enumerate(seen) if metric.lacks(one.case) is None]
            for i, found in zip(fit, metric([seen[i] for i in fit]) if fit else [], strict=True):
                values[i] |= {name: list(one) for name, one in found.items()}
        return values


@dataclass(frozen=True)
class _Opened:
    """A picture that is in memory."""

    picture: GeneratedPicture
    sha256: str
    image: Image
    case: Case
    """In the picture's size."""


def measure_pictures(
    pictures: Sequence[GeneratedPicture],
    cases: Mapping[str, Case],
    *,
    eyes: Eyes,
    root: Path,
) -> Iterator[tuple[GeneratedPicture, PictureResult | Unreadable]]:
    """What is measured of each picture. `root`: what files are named relative to.

    A damaged picture, or one whose case is damaged, costs no other its figures.
    """
    together: list[_Opened] = []
    pixels = 0
    for one in pictures:
        try:
            opened = _open(one, cases[one.case])
        except DataError as error:
            yield one, Unreadable(error.message)
            continue
        size = opened.image.width * opened.image.height
        if together and (len(together) == BATCH or pixels + size > PIXELS_AT_ONCE):
            yield from _measure(together, eyes=eyes, root=root)
            together, pixels = [], 0
        together.append(opened)
        pixels += size
    if together:
        yield from _measure(together, eyes=eyes, root=root)


def _open(picture: GeneratedPicture, case: Case) -> _Opened:
    data = picture.data()
    image = picture.decode(data, case)
    sha256 = hashlib.sha256(data).hexdigest()
    return _Opened(picture, sha256, image, _telling(case.in_size(image.size)))


def _measure(
    together: Sequence[_Opened], *, eyes: Eyes, root: Path
) -> Iterator[tuple[GeneratedPicture, PictureResult | Unreadable]]:
    try:
        yield from _measure_all(together, eyes=eyes, root=root)
    except DamagedCase as error:
        if len(together) == 1:
            yield together[0].picture, Unreadable(error.message)
            return
        for one in together:  # it says which when it is alone
            yield from _measure([one], eyes=eyes, root=root)


def _measure_all(
    together: Sequence[_Opened], *, eyes: Eyes, root: Path
) -> list[tuple[GeneratedPicture, PictureResult | Unreadable]]:
    seen = eyes.look([one.case for one in together], [one.image for one in together])
    return [
        (
            one.picture,
            PictureResult(
                case=look_at.case.id,
                group=look_at.case.group,
                file=str(one.picture.path.relative_to(root)),
                sha256=one.sha256,
                values=values,
                found=[None if found is None else found.box for found in look_at.found],
                size=look_at.image.size,
            ),
        )
        for one, look_at, values in zip(together, seen, eyes.measure(seen), strict=True)
    ]


def _telling(case: Case) -> Case:
    """The case, whose damage is told apart from a model's or a server's: `DamagedCase`."""

    def told(instance: CaseInstance) -> CaseInstance:
        references = tuple(replace(one, read=_tells(one.read)) for one in instance.references)
        truth = instance.read_truth
        return replace(
            instance, references=references, read_truth=None if truth is None else _tells(truth)
        )

    target = case.read_target
    return replace(
        case,
        instances=tuple(map(told, case.instances)),
        read_target=None if target is None else _tells(target),
    )


def _tells(read: Callable[[], Read]) -> Callable[[], Read]:
    def reading() -> Read:
        try:
            return read()
        except DataError as error:
            raise DamagedCase(error.message, cure=error.cure) from error

    return reading


class Measured:
    """`pictures.jsonl`: what was measured of each picture, line by line as it is done.

    A line says in `of` with what it was measured; lines of another recipe, other models or other
    cases, half lines and lines of pictures that have changed count for nothing.
    """

    def __init__(self, path: Path, *, identity: Mapping[str, Any]) -> None:
        text = json.dumps(identity, sort_keys=True)
        self._of = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._path = path
        self._done = {(one.file, one.sha256): one for one in self._read()}

    def _read(self) -> Iterator[PictureResult]:
        for line in each_line(self._path):
            with suppress(ValueError, RecursionError, ValidationError):
                values = json.loads(line)
                if isinstance(values, dict) and values.pop("of", None) == self._of:
                    yield PictureResult.model_validate(values)

    def find(self, picture: GeneratedPicture, *, root: Path) -> PictureResult | None:
        """What an earlier run has measured of these very bytes, or None."""
        sha256 = picture.sha256()
        if sha256 is None:
            return None
        return self._done.get((str(picture.path.relative_to(root)), sha256))

    def line(self, result: PictureResult) -> bytes:
        """As it stands in the file."""
        values = {"of": self._of, **result.model_dump(mode="json")}
        return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def each_line(path: Path) -> Iterator[bytes]:
    """The lines of `pictures.jsonl`, none where it is not there; what is too long is no line.

    Raises
    ------
    UsageError
        It cannot be read, or is no file.
    """
    try:
        with open_regular_file(path) as file:
            is_begun = False
            while line := file.readline(_LONGEST_LINE):
                is_whole = line.endswith(b"\n") or len(line) < _LONGEST_LINE
                if is_whole and not is_begun:
                    yield line
                is_begun = not is_whole
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{path}, in which results are kept, cannot be read: {error.strerror or error}",
            cure="take it away, or give another --output",
        ) from error
