"""A scene as a reader of a dataset sees it: the record, and pictures that decode on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.errors import DataError
from imig.pictures import decode_pixels
from imig.sample import Sample, decode_image, png_to_mask
from imig.schema import Instance, Reference, Scene


class _Fields:
    """Lets every field of `record` be read on the view itself."""

    record: Scene | Instance | Reference

    def __getattr__(self, name: str) -> Any:
        # Called only for what the view does not define. While a view is being unpickled `record`
        # is not there yet, and asking for it here again would never end.
        if name == "record" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self.record).model_fields})


@dataclass(frozen=True)
class _Members:
    """The bytes of one sample and where they come from, for messages."""

    files: Mapping[str, bytes]
    place: str

    def read(self, member: str) -> bytes:
        try:
            return self.files[member]
        except KeyError:
            raise DataError(
                f"{self.place} has no member {member}, though its JSON names it",
                cure="`imig validate` lists everything that is damaged.",
            ) from None

    def broken(self, member: str, error: Exception) -> DataError:
        return DataError(
            f"{self.place}: {member} does not decode: {error}",
            cure="`imig validate` lists everything that is damaged.",
        )


class ReferenceView(_Fields):
    """One view of an identity. `image` and `mask` are pictures; `record` has their member names."""

    record: Reference

    def __init__(self, record: Reference, members: _Members) -> None:
        self.record = record
        self._members = members

    @cached_property
    def image(self) -> Image.Image:
        """RGB; RGBA for a face that is stored with its own transparency."""
        data = self._members.read(self.record.image)
        try:
            if self.record.mask is None:
                return decode_pixels(data)
            return decode_image(data)
        except OSError as error:
            raise self._members.broken(self.record.image, error) from error

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Boolean (height, width) of the subject; an RGBA picture's own alpha; None without one."""
        if self.record.mask is None:
            alpha = self.image.getchannel("A") if self.image.mode == "RGBA" else None
            return None if alpha is None else np.asarray(alpha) > 127
        try:
            return png_to_mask(self._members.read(self.record.mask))
        except OSError as error:
            raise self._members.broken(self.record.mask, error) from error


class InstanceView(_Fields):
    """One object in a target."""

    record: Instance

    def __init__(self, record: Instance, members: _Members) -> None:
        self.record = record
        self.references = [ReferenceView(one, members) for one in record.references]

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Boolean (height, width) of the visible part; None where the scene was not segmented."""
        from imig.layout.masks import rle_to_mask

        return None if self.record.mask is None else rle_to_mask(self.record.mask)


class SceneView(_Fields):
    """One sample of a dataset. Every field of `imig.schema.Scene` can be read on it."""

    record: Scene

    def __init__(self, record: Scene, files: Mapping[str, bytes], *, place: str) -> None:
        self.record = record
        self._members = _Members(files, place)
        self.instances = [InstanceView(one, self._members) for one in record.instances]

    @cached_property
    def target(self) -> Image.Image:
        """The target as RGB."""
        try:
            return decode_image(self._members.read(self.record.target))
        except OSError as error:
            raise self._members.broken(self.record.target, error) from error

    @property
    def files(self) -> Mapping[str, bytes]:
        """Stored bytes by member name, for example ``files["ref00.jpg"]``; without the JSON."""
        return self._members.files

    def to_sample(self) -> Sample:
        """A copy that stages and `imig.shards.writer` can work with."""
        return Sample(scene=self.record.model_copy(deep=True), files=dict(self.files))

    def __repr__(self) -> str:
        return f"<SceneView {self.record.id}: {len(self.instances)} instances>"
