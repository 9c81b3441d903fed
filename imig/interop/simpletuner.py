"""Format `simpletuner`: pictures with `.bbox` sidecars and conditioning folders for SimpleTuner.

::

    2-references/images/<id>.jpg, <id>.txt     picture and caption
    2-references/images/<id>.bbox              phrases and boxes, as shares of the picture
    2-references/instances/<id>-00.png, ...    masks, which the .bbox names
    2-references/reference1/<id>.jpg           the first reference, under the target's name
    2-references/masks/<id>.jpg                all subjects; --set loss_masks=true
    multidatabackend.json                      these folders as data backends

It pairs pictures by name and ending, and needs a picture in every conditioning folder: hence a
backend for each number of references, and masks of the loss as JPEG.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from PIL import Image
from pydantic import Field

from imig.interop.format import Exporter, ExportFolder, Format, FormatSettings
from imig.interop.reference_groups import (
    choose_references,
    count_groups,
    group_of,
    subjects_mask,
)
from imig.sample import image_to_jpeg, mask_to_png
from imig.shards.views import SceneView

CONFIG_NAME: Final = "multidatabackend.json"


class SimpleTunerSettings(FormatSettings):
    """What `--set` may say of it."""

    max_references: int = Field(default=3, ge=0, description="of a scene.")
    loss_masks: bool = Field(
        default=False, description="write masks of all subjects, for a masked loss."
    )
    resolution: int = Field(default=1024, gt=0, description="in multidatabackend.json.")
    root: str | None = Field(
        default=None,
        description="of the paths in multidatabackend.json, where the folder will lie elsewhere.",
    )


class SimpleTunerExporter(Exporter[SimpleTunerSettings]):
    """Writes folders of pictures with equal names."""

    settings_type = SimpleTunerSettings

    def write_scene(self, scene: SceneView, folder: ExportFolder) -> int:
        """The scene's files; gives its number of references."""
        record = scene.record
        chosen = choose_references(scene, limit=self.settings.max_references, losses=folder.losses)
        group = group_of(len(chosen))
        folder.write(f"{group}/images/{record.id}.jpg", scene.files[record.target])
        folder.write(f"{group}/images/{record.id}.txt", record.caption.encode())
        for number, one in enumerate(chosen, 1):
            name = f"{group}/reference{number}/{record.id}.jpg"
            folder.write(name, scene.files[one.record.image])
        entities = _write_entities(scene, folder, group)
        if entities:
            text = json.dumps(entities, ensure_ascii=False, indent=1)
            folder.write(f"{group}/images/{record.id}.bbox", text.encode())
        if self.settings.loss_masks:
            picture = image_to_jpeg(Image.fromarray(subjects_mask(scene)))
            folder.write(f"{group}/masks/{record.id}.jpg", picture)
        return len(chosen)

    def finish(self, rows: Iterable[Any], folder: ExportFolder) -> None:
        """Write the list of data backends."""
        root = self.settings.root or str(folder.path.resolve())
        backends: list[dict[str, Any]] = []
        for count, _ in count_groups(rows):
            backends += self._backends(root, count)
        backends.append(
            {
                "id": "text-embeds",
                "type": "local",
                "dataset_type": "text_embeds",
                "default": True,
                "cache_dir": "cache/text",
            }
        )
        text = json.dumps(backends, ensure_ascii=False, indent=2)
        folder.write(CONFIG_NAME, f"{text}\n".encode())

    def _backends(self, root: str, count: int) -> list[dict[str, Any]]:
        group = group_of(count)
        images = {
            **self._backend(root, group, "images", "image"),
            "caption_strategy": "textfile",
            # A caption of several lines is one caption.
            "disable_multiline_split": True,
            "grounding": {"enabled": True},
        }
        # References have other sides than their target: they are not cropped as it is.
        conditioning = [
            self._backend(root, group, f"reference{number}", "conditioning")
            | {"conditioning_type": "reference_loose", "caption_strategy": None}
            for number in range(1, count + 1)
        ]
        if self.settings.loss_masks:
            conditioning.append(
                self._backend(root, group, "masks", "conditioning") | {"conditioning_type": "mask"}
            )
        for one in conditioning:
            one["source_dataset_id"] = images["id"]
        if conditioning:
            images["conditioning_data"] = [one["id"] for one in conditioning]
        return [images, *conditioning]

    def _backend(self, root: str, group: str, part: str, kind: str) -> dict[str, Any]:
        return {
            "id": f"{group}-{part}",
            "type": "local",
            "dataset_type": kind,
            "instance_data_dir": f"{root}/{group}/{part}",
            "cache_dir_vae": f"cache/vae/{group}-{part}",
            "metadata_backend": "discovery",
            "resolution": self.settings.resolution,
            "resolution_type": "pixel",
        }


def _write_entities(scene: SceneView, folder: ExportFolder, group: str) -> list[dict[str, Any]]:
    """What the `.bbox` says of each instance, its mask written beside."""
    record, entities = scene.record, list[dict[str, Any]]()
    for one in scene.instances:
        instance = one.record
        x1, y1, x2, y2 = instance.box
        box = [x1, y1, min(x2, record.width), min(y2, record.height)]
        if box[0] >= box[2] or box[1] >= box[3]:
            place = f"{record.id}: {instance.phrase}"
            folder.losses.note("instances outside of their picture", place)
            continue
        sides = (record.width, record.height) * 2
        shares = [value / side for value, side in zip(box, sides, strict=True)]
        entity: dict[str, Any] = {"label": instance.phrase, "bbox": shares}
        if one.mask is not None:
            name = f"instances/{record.id}-{instance.index:02d}.png"
            folder.write(f"{group}/{name}", mask_to_png(one.mask))
            entity["mask"] = f"../{name}"
        entities.append(entity)
    return entities


SIMPLETUNER: Final = Format(
    name="simpletuner",
    summary="SimpleTuner: pictures, .bbox sidecars, references, multidatabackend.json",
    exporter=SimpleTunerExporter,
)
