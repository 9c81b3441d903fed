"""A scene as a reader of a dataset sees it: the record, and pictures that decode on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.errors import VALIDATE, DataError
from imig.pictures import decode_pixels
from imig.sample import Sample, image_to_mask
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
    size: tuple[int, int]
    """(width, height) of the target."""

    def read(self, member: str) -> bytes:
        try:
            return self.files[member]
        except KeyError:
            raise self.damaged(f"it has no member {member}, though its JSON names it") from None

    def picture(self, member: str, *, kind: str, mode: str, size: tuple[int, int]) -> Image.Image:
        """A stored picture, which is what the schema says: of that format, mode and size."""
        stated = _describe(kind, mode, size)

        def check(picture: Image.Image) -> None:
            # Before it is decoded: a few bytes may say that they are gigabytes of pixels.
            found = _describe(picture.format, picture.mode, picture.size)
            if found != stated:
                raise self.damaged(f"{member} is {found} instead of {stated}")

        try:
            picture = decode_pixels(self.read(member), check_header=check)
        except OSError as error:
            raise self.damaged(f"{member} does not decode: {error}") from error
        check(picture)  # decoding changes the mode of some
        return picture

    def damaged(self, what: str) -> DataError:
        return DataError(f"{self.place}: {what}", cure=VALIDATE)


def _describe(kind: str | None, mode: str, size: tuple[int, int]) -> str:
    return f"{kind} {mode} of {size[0]}x{size[1]}"


class ReferenceView(_Fields):
    """One view of an identity. `image` and `mask` are pictures; `record` has their member names."""

    record: Reference

    def __init__(self, record: Reference, members: _Members) -> None:
        self.record = record
        self._members = members

    @cached_property
    def image(self) -> Image.Image:
        """RGB; RGBA for a face that is stored with its own transparency."""
        transparent = self.record.mask is None
        return self._members.picture(
            self.record.image,
            kind="PNG" if transparent else "JPEG",
            mode="RGBA" if transparent else "RGB",
            size=(self.record.width, self.record.height),
        )

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Boolean (height, width) of the subject; an RGBA picture's own alpha; None without one."""
        if self.record.mask is None:
            return np.asarray(self.image.getchannel("A")) > 127
        size = (self.record.width, self.record.height)
        return image_to_mask(
            self._members.picture(self.record.mask, kind="PNG", mode="1", size=size)
        )


class InstanceView(_Fields):
    """One object in a target."""

    record: Instance

    def __init__(self, record: Instance, members: _Members) -> None:
        self.record = record
        self.references = [ReferenceView(one, members) for one in record.references]
        self._members = members

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """Boolean (height, width) of the visible part; None where the scene was not segmented."""
        from imig.layout.masks import rle_to_mask

        if self.record.mask is None:
            return None
        try:
            return rle_to_mask(self.record.mask, size=self._members.size)
        except DataError as error:
            raise self._members.damaged(f"instance {self.record.index}: {error.message}") from error

    def reference_to_place(self) -> ReferenceView | None:
        """The view that a layout shows: an edit before a source before a crop, never a face.

        None where there is none whose mask has anything in it.
        """
        for kind in ("edit", "source", "crop"):
            for one in self.references:
                if one.record.kind == kind and one.mask is not None and one.mask.any():
                    return one
        return None


class SceneView(_Fields):
    """One sample of a dataset. Every field of `imig.schema.Scene` can be read on it."""

    record: Scene

    def __init__(self, record: Scene, files: Mapping[str, bytes], *, place: str) -> None:
        self.record = record
        self._members = _Members(files, place, size=(record.width, record.height))
        self.instances = [InstanceView(one, self._members) for one in record.instances]

    @cached_property
    def target(self) -> Image.Image:
        """The target as RGB."""
        return self._members.picture(
            self.record.target, kind="JPEG", mode="RGB", size=self._members.size
        )

    @property
    def place(self) -> str:
        """The sample and its shard, for messages."""
        return self._members.place

    @property
    def files(self) -> Mapping[str, bytes]:
        """Stored bytes by member name, for example ``files["ref00.jpg"]``; without the JSON."""
        return self._members.files

    def check_boxes(self, *, instance: int, reference: int) -> None:
        """What `imig validate` asks of the boxes with which a reference is laid out.

        Raises
        ------
        DataError
            When one reaches outside its picture.
        """
        owner = self.record.instances[instance]
        view = owner.references[reference]
        target, own = (self.record.width, self.record.height), (view.width, view.height)
        for what, box, size in (
            (f"the box of instance {owner.index}", owner.box, target),
            (f"the face box of instance {owner.index}", owner.face_box, target),
            (f"the crop box of {view.name}", view.crop_box, target),
            (f"the subject box of {view.name}", view.subject_box, own),
            (f"the face box of {view.name}", None if view.face is None else view.face.box, own),
        ):
            if box is not None and (box[2] > size[0] or box[3] > size[1]):
                width, height = size
                raise self._members.damaged(
                    f"{what} is {list(box)}, in a picture of {width}x{height}"
                )

    def to_sample(self) -> Sample:
        """A copy that stages and `imig.shards.writer` can work with."""
        return Sample(scene=self.record.model_copy(deep=True), files=dict(self.files))

    def __repr__(self) -> str:
        return f"<SceneView {self.record.id}: {len(self.instances)} instances>"
