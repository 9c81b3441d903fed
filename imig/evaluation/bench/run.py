"""`imig bench` from end to end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from rich.console import Console

from imig import __version__
from imig.console.bar import Bar
from imig.console.interrupt import interrupt_once
from imig.console.lines import say
from imig.console.texts import seconds_to_text
from imig.contextgen.components import find_components
from imig.contextgen.generate import GenerateSettings
from imig.display.result_files import read_record
from imig.errors import DataError, UsageError
from imig.evaluation.against import open_against
from imig.evaluation.against.coco_mig_references import ReferencePack
from imig.evaluation.bench.case_layout import HasLayouts, require_drawable
from imig.evaluation.bench.drawing import Desk, Drawing, DrawShare, Failure, Share
from imig.evaluation.bench.pictures import (
    BenchPicture,
    cut_batches,
    differences,
    list_pictures,
    require_same,
)
from imig.evaluation.case import Against, Case
from imig.evaluation.paper_table import PaperTable
from imig.evaluation.recipe import EvaluationRecipe
from imig.evaluation.result import EvaluationResult
from imig.evaluation.run import evaluate, plan_metrics
from imig.models.device import choose_device, choose_dtype
from imig.output.lock import folder_lock
from imig.processes import each_in_processes
from imig.shards.atomic import is_temporary, remove_file
from imig.training.encode_workers import default_workers

PICTURES = "pictures"
"""Folder, in the output folder, of what is drawn."""
LOCK = ".bench.lock"
BATCH = {"cpu": 8, "cuda": 4}
"""Pictures drawn together, by the kind of device, where nobody chose. On a CPU more gain nothing;
a GPU is full with few pictures of a full-size model, and its memory, too."""
POLL_SECONDS = 0.5
SHOWN_FAILURES = 3


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What of a bench the call decides, beside the settings of drawing."""

    seeds: int = 1
    """Pictures a case."""
    first_seed: int | None = None
    """Of every case; None: see `imig.evaluation.bench.pictures.list_pictures`."""
    limit: int | None = None
    """Only the first so many cases."""
    width: int | None = None
    """Pixels; None: as large as `imig generate` draws them."""
    references: Path | None = None
    """Folder of a `ReferencePack`."""
    device: str = "auto"
    batch: int | None = None
    """Pictures drawn together; None: `BATCH`."""
    workers: int | None = None
    """Processes; None: one a GPU, one for `cuda:1`; on a CPU one for two cores."""
    overwrite: bool = False
    training: tuple[str | Path, ...] = ()
    """Datasets that the model was trained on, see `imig.evaluation.run.evaluate`."""


def bench(
    place: str,
    *,
    settings: GenerateSettings,
    adapter: Path | None,
    output: Path,
    recipe: EvaluationRecipe | None,
    options: BenchOptions,
    console: Console,
) -> EvaluationResult | None:
    """Draw every case, and measure what was drawn.

    Pictures that are there and would be drawn again just so are kept; the rest is drawn. They are
    in the folder `pictures` of the output, named ``ID-SEED.png``, each written when it is whole.

    Parameters
    ----------
    place:
        Of the cases, see `imig.evaluation.against.open_against`.
    settings, adapter:
        As `imig generate` has them.
    recipe:
        Of the evaluation; None: the pictures are only drawn.

    Raises
    ------
    UsageError
        The call is at fault; pictures are there that were drawn otherwise (without `overwrite`).
    DataError
        Cases cannot be drawn or measured; what could be drawn is kept.
    """
    against = open_against(place)
    cases = list(islice(against, options.limit))
    pack = None if options.references is None else ReferencePack(options.references)
    require_drawable(cases, against, pack=pack)
    if recipe is not None:
        plan_metrics(recipe, cases)  # what it lacks is said before hours of drawing
    drawing = Drawing(
        place=place,
        references=options.references,
        settings=settings,
        adapter=adapter,
        width=_width(against, settings, options),
        record=_record(settings, adapter, options),
        folder=output / PICTURES,
    )
    pictures = list_pictures(cases, seeds=options.seeds, first_seed=options.first_seed)
    drawn = DrawnCases(against, cases, pictures)
    with (
        interrupt_once(),
        folder_lock(output / LOCK, folder=output, who="another bench"),
    ):
        _draw(drawing, drawn, options=options, console=console)
        if recipe is None:
            return None
        return evaluate(
            drawing.folder,
            drawn,
            recipe,
            output=output,
            training=options.training,
            console=console,
        )


class DrawnCases:
    """The cases of a bench, and the pictures that belong to it: others in the folder do not."""

    def __init__(
        self,
        against: Against,
        cases: Sequence[Case],
        pictures: Mapping[str, Sequence[BenchPicture]],
    ) -> None:
        self.kind: str = against.kind
        self.table: PaperTable | None = against.table
        self._against = against
        self._cases = cases
        self.pictures = pictures
        self._of = {Path(one.name).stem: one.case for some in pictures.values() for one in some}

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self._cases)

    def case_of(self, stem: str) -> str | None:
        return self._of.get(stem)

    def record(self) -> dict[str, Any]:
        record = self._against.record()
        if len(self) < len(self._against):
            record |= {"limit": len(self)}
        return record


def _width(against: Against, settings: GenerateSettings, options: BenchOptions) -> int | None:
    """What pictures are scaled to: as `imig generate` would, and benchmarks as a dataset.

    A preset is of published weights, whose benchmarks are drawn as large as they are.
    """
    if options.width is not None:
        return options.width
    if against.kind == "layouts":
        return None
    has_layouts = isinstance(against, HasLayouts)
    return settings.target_width if has_layouts or settings.preset is None else None


def _record(
    settings: GenerateSettings, adapter: Path | None, options: BenchOptions
) -> dict[str, Any]:
    """What the metadata of every picture say of how it was drawn."""
    dtype = choose_dtype(settings.dtype, choose_device(options.device))
    return {
        "imig": __version__,
        **settings.record(adapter=adapter),
        "adapter_sha256": None if adapter is None else _sha256(adapter),
        "weights_revision": find_components(settings.weights).revision,
        "dtype": str(dtype).removeprefix("torch."),
    }


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", cure="give the adapter's file"
        ) from error


def _draw(drawing: Drawing, drawn: DrawnCases, *, options: BenchOptions, console: Console) -> None:
    """Whatever is not there yet."""
    for path in drawing.folder.glob(".*.tmp-*"):
        if is_temporary(path.name):
            remove_file(path)  # a kill left it, and its process is gone: we hold the lock
    device = choose_device(options.device)
    batches = cut_batches(
        drawn,
        drawn.pictures,
        width=drawing.width,
        size=options.batch or BATCH.get(device.type, BATCH["cuda"]),
    )
    everything = [one for batch in batches for one in batch]
    kept = _kept(drawing, everything, overwrite=options.overwrite)
    missing = frozenset(everything) - kept
    if kept:
        say(console, f"{len(kept)} of {len(everything)} pictures are drawn already")
    if not missing:
        return
    left = [one for one in batches if not missing.isdisjoint(one)]
    workers = min(options.workers or default_workers(device), len(left))
    shares = [
        Share(
            device=_device(device, number, workers=workers),
            batches=tuple(left[number::workers]),
            missing=missing,
        )
        for number in range(workers)
    ]
    failures: list[Failure] = []
    with _progress(drawing.folder, everything, done=len(kept), console=console):
        for _, found in each_in_processes(
            DrawShare(drawing), shares, workers=workers, what="drew pictures"
        ):
            failures += found
    _require_all({one.case: one for one in failures}, len(drawn))


def _device(device: torch.device, number: int, *, workers: int) -> str:
    """Of several processes each gets a GPU of its own, where there are as many."""
    if workers > 1 and str(device) == "cuda":
        return f"cuda:{number % torch.cuda.device_count()}"
    return str(device)


def _kept(
    drawing: Drawing, pictures: Sequence[BenchPicture], *, overwrite: bool
) -> frozenset[BenchPicture]:
    """Those that are there, drawn as they would be now."""
    there = [one for one in pictures if (drawing.folder / one.name).exists()]
    if not there:
        return frozenset()
    desk = Desk(drawing)
    given: dict[str, Any] = {}
    for one in there:
        if one.case not in given:
            given[one.case] = desk.given(one.case)
    wanted = {one: desk.record(one, given[one.case]) for one in there}
    if not overwrite:
        return frozenset(require_same(drawing.folder, wanted))
    kept = set()
    for one, record in wanted.items():
        path = drawing.folder / one.name
        if differences(read_record(path), record):
            remove_file(path)
        else:
            kept.add(one)
    return frozenset(kept)


@contextmanager
def _progress(
    folder: Path, pictures: Sequence[BenchPicture], *, done: int, console: Console
) -> Iterator[None]:
    """A bar of the pictures that are there, whichever process has drawn them.

    Where there is no terminal, a line every tenth of them.
    """
    ended = threading.Event()
    begun = monotonic()
    with Bar("drawing", total=len(pictures), done=done, console=console) as bar:
        watch = threading.Thread(
            target=_watch, args=(folder, pictures, done, begun, bar, ended.wait), daemon=True
        )
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()


def _watch(
    folder: Path,
    pictures: Sequence[BenchPicture],
    done: int,
    begun: float,
    bar: Bar,
    wait: Callable[[float], bool],
) -> None:
    left = [folder / one.name for one in pictures]
    step = max(1, len(pictures) // 10)
    shown = done // step
    is_over = False
    while not is_over:
        is_over = wait(POLL_SECONDS)
        left = [one for one in left if not one.exists()]
        now = len(pictures) - len(left)
        if now <= done:
            continue
        pace = (monotonic() - begun) / (now - done)
        figures = f"{pace:.2f} s a picture, {seconds_to_text(pace * len(left))} left"
        if bar.is_drawn or now // step > shown:
            shown = now // step
            bar.show(now, figures)


def _require_all(failures: Mapping[str, Failure], cases: int) -> None:
    if not failures:
        return
    some = sorted(failures.values(), key=lambda one: one.case)[:SHOWN_FAILURES]
    more = "; ..." if len(failures) > SHOWN_FAILURES else ""
    raise DataError(
        f"{len(failures)} of {cases} cases could not be drawn: "
        f"{'; '.join(one.message for one in some)}{more}",
        cure=some[0].cure or "the other pictures are kept; the same command draws these",
    )
