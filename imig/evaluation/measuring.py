"""Pictures go through the eyes and the metrics, some at a time; what is done is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL.Image import Image
from pydantic import ValidationError

from imig.evaluation.case import Case
from imig.evaluation.look import Seen, look
from imig.evaluation.metrics.base import Metric, load_models
from imig.evaluation.pictures import GeneratedPicture
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.result import PictureResult
from imig.stages.loading import shared_models

BATCH = 8
"""Pictures that are in memory at once."""


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

    def measure(
        self, cases: Sequence[Case], images: Sequence[Image]
    ) -> list[dict[str, list[float | None]]]:
        """Figures of one picture for each case; a metric that a case lacks something for has none.

        Raises
        ------
        DataError
            A reference of a case cannot be read.
        """
        if self._looks:
            seen = look(
                cases,
                images,
                config=self._config,
                grounder=self._own["ground_model"],
                segmenter=self._own["segment_model"],
            )
        else:
            seen = [Seen(case, image, ()) for case, image in zip(cases, images, strict=True)]
        values: list[dict[str, list[float | None]]] = [{} for _ in cases]
        for metric in self._metrics:
            fit = [i for i, case in enumerate(cases) if metric.lacks(case) is None]
            for i, found in zip(fit, metric([seen[i] for i in fit]) if fit else [], strict=True):
                values[i] |= {name: list(one) for name, one in found.items()}
        return values


def measure_pictures(
    pictures: Sequence[GeneratedPicture],
    cases: Mapping[str, Case],
    *,
    eyes: Eyes,
    root: Path,
) -> Iterator[PictureResult]:
    """One result for each picture, in their order. `root`: what files are named relative to."""
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        asked = [cases[one.case] for one in some]
        images = [one.read(case.size) for one, case in zip(some, asked, strict=True)]
        for one, case, values in zip(some, asked, eyes.measure(asked, images), strict=True):
            yield PictureResult(
                case=case.id,
                group=case.group,
                file=str(one.path.relative_to(root)),
                sha256=one.sha256(),
                values=values,
            )


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
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            with suppress(ValueError, ValidationError):
                values = json.loads(line)
                if isinstance(values, dict) and values.pop("of", None) == self._of:
                    yield PictureResult.model_validate(values)

    def find(self, picture: GeneratedPicture, *, root: Path) -> PictureResult | None:
        """What an earlier run has measured of these very bytes, or None."""
        return self._done.get((str(picture.path.relative_to(root)), picture.sha256()))

    def line(self, result: PictureResult) -> bytes:
        """As it stands in the file."""
        values = {"of": self._of, **result.model_dump(mode="json")}
        return (json.dumps(values, ensure_ascii=False) + "\n").encode()
