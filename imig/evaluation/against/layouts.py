"""Cases of layout files: what `imig generate` was given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from imig.contextgen.layout_file import LoadedLayout, load_layout, pixel_scale
from imig.contextgen.layout_pictures import OpenLayout, open_layout, read_reference
from imig.errors import DataError, UsageError
from imig.evaluation.case import Case, CaseInstance, CaseReference, Mask
from imig.evaluation.pictures import stem_to_case
from imig.layout.placement import clipped, scaled
from imig.stages.sources.base import printable_path

ENDINGS = (".json", ".yaml", ".yml")


class LayoutCases:
    """A folder of layout files, or one of them; a case has its file's name.

    Phrases are the references' names, and what is looked for; a reference without a name is
    "object".
    """

    kind = "layouts"
    table = None

    def __init__(self, path: Path) -> None:
        paths = [path]
        if path.is_dir():
            paths = [one for one in sorted(path.iterdir()) if one.suffix.lower() in ENDINGS]
        self._path = path
        self._layouts: dict[str, LoadedLayout] = {}
        for one in paths:
            other = self._layouts.get(one.stem)
            if other is not None:
                raise UsageError(
                    f"{one} and {other.path} are both the case {one.stem!r}",
                    cure="give one of them another name",
                )
            if not one.is_file():
                raise UsageError(
                    f"{one} is no file, which a layout is", cure="take it away, or rename it"
                )
            if printable_path(one.stem) != one.stem:
                raise UsageError(
                    f"{printable_path(str(one))}: its name is no text, and a case has its name",
                    cure="give the layout file another name",
                )
            self._layouts[one.stem] = load_layout(one)
        if not self._layouts:
            raise UsageError(
                f"{path} has no layout file in it",
                cure="layout files are JSON or YAML; `imig generate --from-shards ID` writes one",
            )

    def __len__(self) -> int:
        return len(self._layouts)

    def __iter__(self) -> Iterator[Case]:
        for name, one in sorted(self._layouts.items()):
            yield _to_case(name, one)

    def case_of(self, stem: str) -> str | None:
        return stem_to_case(stem, self._layouts)

    def open_layout(self, case: str) -> OpenLayout:
        """What `imig generate` draws. Raises UsageError for pictures that cannot be read."""
        return open_layout(self._layouts[case])

    def record(self) -> dict[str, Any]:
        files = {
            name: hashlib.sha256(one.path.read_bytes()).hexdigest()
            for name, one in sorted(self._layouts.items())
        }
        return {
            "kind": self.kind,
            "place": str(self._path),
            "cases": len(self),
            "sha256": hashlib.sha256(repr(files).encode()).hexdigest(),
        }


def _to_case(name: str, loaded: LoadedLayout) -> Case:
    layout = loaded.layout
    size = layout.width, layout.height
    scale = pixel_scale(layout.units, size)
    return Case(
        id=name,
        caption=layout.caption,
        size=size,
        instances=tuple(
            CaseInstance(
                phrase=entry.name or "object",
                box=clipped(scaled(entry.box, scale), size),
                references=(
                    CaseReference(
                        name=loaded.where("references", number),
                        read=partial(_read, loaded, number),
                    ),
                ),
            )
            for number, entry in enumerate(layout.references)
        ),
        seed=layout.seed,
    )


def _read(loaded: LoadedLayout, number: int) -> tuple[Image, Mask | None]:
    try:
        reference = read_reference(loaded, number)
    except UsageError as error:
        raise DataError(error.message, cure=error.cure) from error
    return reference.image, reference.mask
