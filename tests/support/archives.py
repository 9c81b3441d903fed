"""Tars as other tools write them, for tests of the webdataset source."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from imig.sample import Sample, image_to_jpeg
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage
from imig.stages.sources.config import WebdatasetSource

Content = bytes | tarfile.TarInfo


def picture(shade: int = 0, kind: str = "JPEG") -> bytes:
    """A picture that its shade tells apart."""
    image = Image.new("RGB", (40, 32), (shade, 90, 255 - shade))
    if kind == "JPEG":
        return image_to_jpeg(image)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def link(target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    """A hard link, or a symbolic one (``tarfile.SYMTYPE``)."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def write_tar(
    path: Path, members: Iterable[tuple[str, Content]], *, format: int = tarfile.PAX_FORMAT
) -> Path:
    """Write members in their order; a name may come twice."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def source_of(path: Path | str, **settings: object) -> SourceStage:
    """The source stage of a recipe with those settings."""
    config = WebdatasetSource.model_validate(
        {"kind": "webdataset", "path": str(path), "min_side": 8, **settings}
    )
    return SourceStage(config, BuildContext(recipe_seed=3, subset="basic"))


def read_all(stage: SourceStage) -> list[Sample]:
    return stage(stage.enumerate(0, stage.count()))
