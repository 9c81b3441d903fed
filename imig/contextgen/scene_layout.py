"""A scene of a dataset becomes a layout file: `imig generate --from-shards`."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imig.errors import DataError, UsageError
from imig.layout.boxes import lies_within
from imig.layout.layering import layer_order
from imig.paths import command_text
from imig.sample import derive_seed
from imig.schema import Box, Instance, Reference
from imig.shards.views import ReferenceView, SceneView


def scene_to_layout_file(scene: SceneView, folder: Path) -> Path:
    """Write a scene of a dataset as a layout file with its pictures; returns the JSON's path.

    Of each instance one reference: its edit before its source before its crop; instances without
    any are left out. Layout image, noise and order are those of the pictures that `imig train`
    draws of the scene, as long as that shows the same references: it chooses between edit and
    crop, leaves out some of many instances, and places faces.

    Writes ``<id>.json`` and ``<id>-<reference>.png`` (RGBA) into the folder, and makes that.

    Raises
    ------
    DataError
        When no instance has a reference with a mask.
    UsageError
        When one of the files is there with other content: it may have been edited by hand.
    OSError
        When the folder cannot be written to.
    """
    record = scene.record
    drawn = placed_references(scene)
    if not drawn:
        raise nothing_to_place(scene)
    names = [f"{record.id}-{reference.record.name}.png" for _, reference in drawn]
    layout = scene_to_layout(scene, files=[{"image": name} for name in names])
    path = folder / f"{record.id}.json"
    pictures = {
        folder / name: _cut_out_picture(reference)
        for name, (_, reference) in zip(names, drawn, strict=True)
    }
    _write_unless_edited({**pictures, path: layout_to_json(layout).encode()}, path)
    return path


def placed_references(scene: SceneView) -> list[tuple[Instance, ReferenceView]]:
    """Of each instance the reference that a layout places; instances without any are left out."""
    chosen = [(one.record, one.reference_to_place()) for one in scene.instances]
    return [(one, reference) for one, reference in chosen if reference is not None]


def scene_to_layout(scene: SceneView, *, files: Sequence[dict[str, str]]) -> dict[str, Any]:
    """What a layout file says of a scene, as JSON values.

    Parameters
    ----------
    files:
        `image`, and `mask` where it has one, of each of `placed_references`: relative names.
    """
    record, drawn = scene.record, placed_references(scene)
    return {
        "caption": record.caption,
        "width": record.width,
        "height": record.height,
        "references": [
            {"name": instance.phrase, **names, **_placing(instance, reference.record)}
            for names, (instance, reference) in zip(files, drawn, strict=True)
        ],
        # As the trainer stacks them: from the boxes, not from what the scene knows to be true.
        "order": layer_order(
            [instance.box for instance, _ in drawn],
            size=(record.width, record.height),
            seed=record.seed,
        ),
        "seed": picture_seed(record.id),
    }


def nothing_to_place(scene: SceneView) -> DataError:
    return DataError(
        f"scene {scene.record.id} has no reference with a mask, so there is nothing to place",
        cure="choose another scene; `imig preview ID` shows what a scene has",
    )


def picture_seed(scene: str) -> int:
    """The seed of a scene's noise, by its id, where nobody chose one; six digits."""
    return derive_seed("picture", scene) % 1_000_000


def layout_to_json(layout: Mapping[str, Any]) -> str:
    """Indented, but with the numbers of a box in one line, for people who edit it."""
    text = json.dumps(layout, indent=1, ensure_ascii=False) + "\n"
    # Strings have no raw line breaks, so only lists match.
    return re.sub(r"\[\n([-\d.,\s]+)\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def _placing(instance: Instance, reference: Reference) -> dict[str, Any]:
    """Box, fit and subject box, as in training (`imig.training.prepare`)."""
    placing: dict[str, Any] = {"box": list(instance.box), "fit": "image-fit"}
    if reference.kind == "edit":
        placing |= {"fit": "instance-fit", "subject_box": list(reference.subject_box)}
    elif reference.crop_box is not None and lies_within(instance.box, reference.crop_box):
        # The instance's box as the crop has it: the crop returns to where it was cut out.
        placing |= {
            "fit": "instance-fit-distort",
            "subject_box": _box_in_crop(instance.box, reference, crop_box=reference.crop_box),
        }
    return placing


def _box_in_crop(box: Box, reference: Reference, *, crop_box: Box) -> list[float]:
    left, top, right, bottom = crop_box
    x, y = reference.width / (right - left), reference.height / (bottom - top)
    x1, y1, x2, y2 = box
    corners = ((x1 - left) * x, (y1 - top) * y, (x2 - left) * x, (y2 - top) * y)
    # A crop is stored as it was cut out, so these are whole numbers, and people read them.
    return [int(value) if value.is_integer() else value for value in corners]


def _cut_out_picture(reference: ReferenceView) -> bytes:
    """PNG, RGBA; what is transparent keeps its colours, so that it can be cut out anew."""
    picture = reference.image.convert("RGB")
    assert reference.mask is not None
    picture.putalpha(Image.fromarray(reference.mask.astype(np.uint8) * np.uint8(255)))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _write_unless_edited(files: Mapping[Path, bytes], layout: Path) -> None:
    for path, data in files.items():
        if path.exists() and path.read_bytes() != data:
            raise UsageError(
                f"{path} is there, and not as --from-shards would write it",
                cure=f"draw it as it is: `{command_text('imig', 'generate', layout)}`; or give "
                "another --output",
            )
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
