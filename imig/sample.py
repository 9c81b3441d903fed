"""A sample on its way through a build: the scene and the bytes of its members."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.pictures import decode_pixels
from imig.schema import Box, MaskRLE, Reference, Reject, Scene

JPEG_QUALITY = 95

LONGEST_DETAILS = 300
"""Characters of an oddity's details that go into a report."""


@dataclass
class DrawnView:
    """flexible: a reference of kind `source` whose instance has not been found yet."""

    subject: int
    """Its place in `Scene.subjects`."""
    reference: Reference
    target_face: Box | None = None
    """The face in the target that was recognised as this reference's."""
    face_reference: Reference | None = None
    """The aligned copy of this reference's face, of kind `face`; its picture is in `files`."""


@dataclass
class Sample:
    """What the stages pass on.

    `files` maps member names ("target.jpg", "ref00.jpg", "ref00.mask.png") to their bytes, exactly
    as they will stand in the shard; the scene's JSON is not among them. A stage that turns the
    scene down sets `reject`; later stages never see such a sample.
    """

    scene: Scene
    files: dict[str, bytes] = field(default_factory=dict)
    drawn: list[DrawnView] = field(default_factory=list)
    """flexible: between `draw` and `match`; their pictures are in `files`."""
    reject: Reject | None = None
    target_features: dict[Hashable, NDArray[np.float32]] = field(default_factory=dict)
    """Of the target, by the model of the recipe that has seen it: stages that follow do not show
    it again. Never stored."""
    grounded_masks: dict[str, MaskRLE] = field(default_factory=dict)
    """Between `ground` and `segment`, by the instance's `identity_id`: the mask that was found with
    its box, as the model gave it. Never stored."""
    oddities: list[tuple[str, str]] = field(default_factory=list)
    """What a stage has just found odd and gone on without: kind and details; see `note_oddity`."""

    def snapshot(self) -> Callable[[], Sample]:
        """What gives the sample as it is now, whatever a stage will do to it.

        Scene and views are pickled, which costs less than a copy and is needed seldom; bytes of
        files, which nobody changes in place, are shared.
        """
        state = (self.scene, self.drawn, self.reject, self.oddities)
        pickled = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        files, features = dict(self.files), dict(self.target_features)
        masks = dict(self.grounded_masks)

        def restore() -> Sample:
            scene, drawn, reject, oddities = pickle.loads(pickled)
            return Sample(
                scene=scene,
                files=dict(files),
                drawn=drawn,
                reject=reject,
                target_features=dict(features),
                grounded_masks=dict(masks),
                oddities=oddities,
            )

        return restore

    def target(self) -> Image.Image:
        """The target as RGB, decoded from the bytes that will be stored."""
        return decode_image(self.files[self.scene.target])

    def note_oddity(self, kind: str, details: str) -> None:
        """Something odd that costs the scene nothing: counted by `kind` in the build's report.

        `kind` is a short fixed phrase, like a reject's reason; `details` say where and what, and
        stand in the report for the first few, where names of files may hold what no screen and no
        UTF-8 takes: that is written as escapes, and what is long is cut.
        """
        shown = "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode()
            for one in details[:LONGEST_DETAILS]
        )
        self.oddities.append((kind, shown + ".." * (len(details) > LONGEST_DETAILS)))

    def turn_down(
        self, *, stage: str, reason: str, figures: Mapping[str, float | int | str]
    ) -> None:
        """Reject the scene: `reason` is a short fixed phrase, `figures` says how far off it was."""
        scene = self.scene
        self.reject = Reject(
            id=scene.id, stage=stage, reason=reason, figures=dict(figures), path=scene.source.path
        )


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from anything that names the draw: (recipe seed, scene id, stage)."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def decode_image(data: bytes) -> Image.Image:
    """Bytes of a stored JPEG or PNG -> RGB image. Raises OSError when they do not decode."""
    image = decode_pixels(data)
    # `convert` would copy what is RGB already; at 1024 px that takes as long as the decoding.
    return image if image.mode == "RGB" else image.convert("RGB")


def image_to_jpeg(image: Image.Image, *, quality: int = JPEG_QUALITY) -> bytes:
    """RGB image -> JPEG bytes, without chroma subsampling (it smears small, saturated things)."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def mask_to_png(mask: np.ndarray) -> bytes:
    """Boolean (height, width) -> 1-bit PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(bool)).save(buffer, "PNG")
    return buffer.getvalue()


def png_to_mask(data: bytes) -> np.ndarray:
    """Bytes of a stored mask, a 1-bit PNG -> boolean (height, width).

    Masks of other people's have more modes: `imig.pictures.OpenedPicture.to_mask`. Raises OSError
    when they do not decode.
    """
    return image_to_mask(decode_pixels(data))


def image_to_mask(image: Image.Image) -> np.ndarray:
    """A stored mask, decoded -> boolean (height, width)."""
    if image.mode != "1":
        image = image.convert("L")
    # As bytes: what Pillow calls a boolean array has 255 where numpy has 1.
    mask: np.ndarray = np.asarray(image).view(np.uint8) > 127
    return mask
