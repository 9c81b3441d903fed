"""Writes what a model made of a layout: the pictures, the layout image, and comparisons."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imig.contextgen.layout_file import LoadedLayout
from imig.contextgen.sample import PictureSample
from imig.display.result_picture import draw_result
from imig.errors import UsageError
from imig.pictures.opening import DECODE_ERRORS
from imig.regular_file import open_regular_file

RECORD = "imig"
"""The text of a PNG's metadata that says, in JSON, how the picture was drawn."""


def write_results(
    results: Iterable[NDArray[np.uint8]],
    *,
    seeds: range,
    loaded: LoadedLayout,
    pictures: PictureSample,
    folder: Path,
    note: str = "",
    target: NDArray[np.uint8] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Write, and yield each file once it is there.

    First ``<name>-layout.png``, before `results` are asked for anything, so that a folder that
    cannot be written to costs no time; then ``<name>-<seed>.png`` and ``<name>-<seed>.compare.png``
    of each seed. Files of the same name are replaced, but never one that the layout file names.

    Parameters
    ----------
    results:
        A picture (h, w, 3) for each of `seeds`, in their order.
    note, target:
        For the comparison, see `imig.display.result_picture.draw_result`.
    record:
        JSON values of how it was drawn; the result's and the comparison's metadata has them, and
        caption and seed, as the text `imig`.

    Raises
    ------
    UsageError
        When the folder cannot be written to, or a picture would replace one of the layout's own.
    """
    name = loaded.path.stem
    layout_path = folder / f"{name}-layout.png"
    paths = [
        (folder / f"{name}-{seed}.png", folder / f"{name}-{seed}.compare.png") for seed in seeds
    ]
    _refuse_inputs([layout_path, *(path for pair in paths for path in pair)], loaded)
    _save(Image.fromarray(pictures.layout), layout_path)
    yield layout_path
    for seed, (picture_path, comparison_path), result in zip(seeds, paths, results, strict=True):
        drawn = {"caption": loaded.layout.caption, "seed": seed, **(record or {})}
        _save(Image.fromarray(result), picture_path, record=drawn)
        yield picture_path
        words = f"{name} · seed {seed}" + (f" · {note}" if note else "")
        caption = loaded.layout.caption
        page = draw_result(pictures, result, caption=caption, note=words, target=target)
        _save(page, comparison_path, record=drawn)
        yield comparison_path


def _refuse_inputs(outputs: Iterable[Path], loaded: LoadedLayout) -> None:
    layout = loaded.layout
    names = [
        layout.layout,
        *(name for one in layout.references for name in (one.image, one.mask)),
    ]
    inputs = {loaded.file(name).resolve() for name in names if name is not None}
    for path in outputs:
        if path.resolve() in inputs:
            raise UsageError(
                f"the result would replace {path}, which the layout file names",
                cure="give another --output, or give the layout file another name",
            )


def _save(picture: Image.Image, path: Path, *, record: Mapping[str, Any] | None = None) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_to_png(picture, record=record))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}", cure="give another --output") from error


def picture_to_png(picture: Image.Image, *, record: Mapping[str, Any] | None = None) -> bytes:
    """A PNG whose metadata have the record, JSON values, as the text `imig`."""
    described = PngInfo()
    if record is not None:
        described.add_itxt(RECORD, json.dumps(record))
    data = io.BytesIO()
    picture.save(data, "PNG", pnginfo=described)
    return data.getvalue()


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in a picture's metadata; None where there is none, or no picture can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of pictures with very many pixels
            with open_regular_file(path) as file, Image.open(file) as picture:
                text = picture.info.get(RECORD)
        record = json.loads(text) if isinstance(text, str) else None
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return None
    return record if isinstance(record, dict) else None
