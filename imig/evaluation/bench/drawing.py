"""Draws the pictures of a bench, batch by batch, in this process or in several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from imig.contextgen.generate import Embeddings, GenerateSettings, OutOfMemory, Studio
from imig.contextgen.layout_pictures import (
    OpenLayout,
    caption_to_text,
    open_layout_to_pictures,
)
from imig.contextgen.sample import EncodedSample, PictureSample
from imig.display.result_files import picture_to_png
from imig.errors import DataError, ImigError
from imig.evaluation.against import open_against
from imig.evaluation.against.coco_mig_references import ReferencePack
from imig.evaluation.bench.case_layout import HasLayouts, case_to_layout
from imig.evaluation.bench.pictures import GIVEN, Batch, BenchPicture, given_to_sha256
from imig.evaluation.case import Against, Case
from imig.models.device import one_thread
from imig.shards.atomic import atomic_write_bytes

CAPTIONS_AT_ONCE = 1024
"""Texts that are read before the transformer comes into memory; FLUX's have 8 MB each."""


@dataclass(frozen=True)
class Drawing:
    """How the pictures of a bench are drawn: all that a process has to know."""

    place: str
    """Of the cases, for `open_against`."""
    references: Path | None
    """Folder of a `ReferencePack`."""
    settings: GenerateSettings
    adapter: Path | None
    width: int | None
    """To which pictures are scaled; None: none is."""
    record: Mapping[str, Any]
    """What the metadata of every picture say."""
    folder: Path
    """Of the pictures."""


@dataclass(frozen=True)
class Share:
    """What one process draws."""

    device: str
    batches: tuple[Batch, ...]
    missing: frozenset[BenchPicture]
    """Those that are written; others of their batches are there already."""


@dataclass(frozen=True)
class Failure:
    """A case of which nothing could be drawn."""

    case: str
    message: str
    cure: str


class Desk:
    """What the model is given of each case."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._against: Against = open_against(drawing.place)
        folder = drawing.references
        self._pack = None if folder is None else ReferencePack(folder)

    @cached_property
    def cases(self) -> dict[str, Case]:
        """By id."""
        return {one.id: one for one in self._against}

    def caption(self, case: str) -> str:
        """What the text encoders get; no picture is read for it."""
        settings = self._drawing.settings
        return caption_to_text(
            self.cases[case].caption, instruction=settings.instruction, preset=settings.preset
        )

    def given(self, case: str) -> PictureSample:
        """Raises DataError or UsageError when nothing can be drawn of it."""
        settings = self._drawing.settings
        return open_layout_to_pictures(
            self._layout(case),
            reference_side=settings.reference_side,
            instruction=settings.instruction,
            target_width=self._drawing.width,
            preset=settings.preset,
        )

    def record(self, picture: BenchPicture, given: PictureSample) -> dict[str, Any]:
        """What the picture's metadata say."""
        return {
            "caption": self.cases[picture.case].caption,
            "seed": picture.seed,
            "case": picture.case,
            GIVEN: given_to_sha256(given),
            **self._drawing.record,
        }

    def _layout(self, case: str) -> OpenLayout:
        if isinstance(self._against, HasLayouts):
            return self._against.open_layout(case)
        return case_to_layout(self.cases[case], pack=self._pack)


@dataclass(frozen=True)
class DrawShare:
    """Draws the batches of a share; pickles."""

    drawing: Drawing

    def __call__(self, share: Share) -> list[Failure]:
        """Cases that could not be drawn; all others' pictures are in the folder.

        Raises
        ------
        UsageError
            The weights are not on this disk, the adapter is none of theirs, or the device is not
            there.
        DataError
            The memory is too small for one picture, the disk is full, or the adapter is damaged.
        """
        desk = Desk(self.drawing)
        studio = Studio(self.drawing.settings, adapter=self.drawing.adapter, device=share.device)
        with one_thread() if studio.device.type == "cpu" else nullcontext():
            return list(_Painter(desk, studio, self.drawing.folder, share).paint())


class _Painter:
    def __init__(self, desk: Desk, studio: Studio, folder: Path, share: Share) -> None:
        self._desk, self._studio, self._folder, self._share = desk, studio, folder, share
        self._most = max(map(len, share.batches))
        """Pictures that the memory has room for."""

    def paint(self) -> Iterator[Failure]:
        for batches in self._rounds():
            captions = self._studio.read_captions(
                [self._desk.caption(one.case) for batch in batches for one in batch]
            )
            for batch, found in self._prepared(batches):
                given = {}
                for picture, one in zip(batch, found, strict=True):
                    if isinstance(one, Failure):
                        yield one
                    else:
                        given[picture] = one
                yield from self._paint(given, captions)

    def _rounds(self) -> Iterator[Sequence[Batch]]:
        """As many batches as captions are read at once."""
        batches = self._share.batches
        count = max(1, CAPTIONS_AT_ONCE // self._most)
        for start in range(0, len(batches), count):
            yield batches[start : start + count]

    def _prepared(
        self, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, list[PictureSample | Failure]]]:
        """Batches, and what the model is given; the next is prepared while one is drawn."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._prepare, batches[0])
            for number, batch in enumerate(batches):
                found = ahead.result()
                if number + 1 < len(batches):
                    ahead = pool.submit(self._prepare, batches[number + 1])
                yield batch, found

    def _prepare(self, batch: Batch) -> list[PictureSample | Failure]:
        found: list[PictureSample | Failure] = []
        for one in batch:
            try:
                found.append(self._desk.given(one.case))
            except ImigError as error:
                found.append(Failure(one.case, error.message, error.cure))
        return found

    def _paint(
        self, given: Mapping[BenchPicture, PictureSample], captions: Embeddings
    ) -> Iterator[Failure]:
        encoded: dict[BenchPicture, EncodedSample] = {}
        for picture, one in self._encoded(given, captions):
            if isinstance(one, Failure):
                yield one
            else:
                encoded[picture] = one
        if not encoded:
            return
        drawn = self._draw(list(encoded.values()), seeds=[one.seed for one in encoded])
        for picture, result in zip(encoded, drawn, strict=True):
            if picture in self._share.missing:
                record = self._desk.record(picture, given[picture])
                png = picture_to_png(Image.fromarray(result), record=record)
                atomic_write_bytes(self._folder / picture.name, png)

    def _encoded(
        self, given: Mapping[BenchPicture, PictureSample], captions: Embeddings
    ) -> Iterator[tuple[BenchPicture, EncodedSample | Failure]]:
        try:
            together = self._studio.encode(list(given.values()), captions)
        except OutOfMemory:
            raise
        except DataError:
            # One of them is at fault; it says which when it is alone.
            for picture, one in given.items():
                try:
                    yield picture, self._studio.encode([one], captions)[0]
                except DataError as error:
                    yield picture, Failure(picture.case, error.message, error.cure)
            return
        yield from zip(given, together, strict=True)

    def _draw(
        self, samples: Sequence[EncodedSample], *, seeds: Sequence[int]
    ) -> list[NDArray[np.uint8]]:
        """In halves where the memory is too small."""
        if len(samples) <= self._most:
            try:
                return list(self._studio.draw(samples, seeds=seeds))
            except OutOfMemory:
                if len(samples) == 1:
                    raise
            self._most = max(1, len(samples) // 2)
            if self._studio.device.type == "cuda":
                torch.cuda.empty_cache()
        some = self._most
        return [
            one
            for start in range(0, len(samples), some)
            for one in self._draw(samples[start : start + some], seeds=seeds[start : start + some])
        ]
