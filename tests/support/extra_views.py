"""Further views of a sample's instances: edits, sources and aligned faces."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from imig.sample import Sample, image_to_jpeg, mask_to_png
from imig.schema import Face, Instance, Reference

ORACLE = "oracle:none@0"


def add_disc(
    sample: Sample, instance: Instance, *, name: str, kind: str, face: Face | None = None
) -> Reference:
    """A view of kind edit, source or face: a yellow disc 60 wide, off the centre of 120 x 90."""
    picture = Image.new("RGBA", (120, 90), (0, 0, 255, 0))
    ImageDraw.Draw(picture).ellipse((10, 20, 69, 79), fill=(250, 220, 0, 255))
    files = {f"{name}.jpg": image_to_jpeg(picture.convert("RGB"))}
    files[f"{name}.mask.png"] = mask_to_png(np.asarray(picture.getchannel("A")) > 127)
    if kind == "face":
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files = {f"{name}.png": buffer.getvalue()}
    sample.files.update(files)
    reference = Reference.model_validate(
        {
            "name": name,
            "kind": kind,
            "image": next(iter(files)),
            "mask": None if kind == "face" else f"{name}.mask.png",
            "width": 120,
            "height": 90,
            "subject_box": (10, 20, 70, 80),
            "face": face,
            "edit": {"instruction": "turn it", "model": ORACLE, "seed": 1}
            if kind == "edit"
            else None,
            "drawing": {"prompt": "a disc", "model": ORACLE, "seed": 1, "width": 120, "height": 90}
            if kind == "source"
            else None,
        }
    )
    instance.references = [*instance.references, reference]
    return reference
