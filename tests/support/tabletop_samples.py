"""Oracle samples: tabletop's ground truth written into a scene. For tests only.

No stage and no recipe may read the truth; these samples let tests of shards, preview, statistics
and stages start from annotations that are known to be right.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from PIL import Image

from imig.layout.boxes import parents, relations
from imig.layout.masks import mask_area, mask_to_rle
from imig.layout.sharpness import laplacian_variance
from imig.sample import Sample, derive_seed, image_to_jpeg, mask_to_png
from imig.schema import Box, Detection, Instance, Reference, Scene, SceneScores, Source, Subset
from imig.tabletop import render_scene, sample_scene
from imig.tabletop.records import InstanceTruth

ORACLE = "tabletop:truth"
CROP_MARGIN = 0.05


def tabletop_sample(
    seed: int,
    *,
    width: int = 256,
    height: int = 256,
    instances: tuple[int, int] = (2, 6),
    subset: Subset = "basic",
) -> Sample:
    """A whole sample from tabletop's truth: phrases, boxes, masks, layers, crops as references.

    The id is ``<subset>-<seed>``, the grounding and mask scores are 1, similarities stay null.
    """
    rendered = render_scene(sample_scene(seed, width=width, height=height, instances=instances))
    target = Image.fromarray(rendered.image)
    files = {"target.jpg": image_to_jpeg(target)}
    boxes = [truth.box for truth in rendered.instances]
    masks = [truth.mask for truth in rendered.instances]
    owners = parents(boxes)
    found: list[Instance] = []
    for index, truth in enumerate(rendered.instances):
        name = f"ref{index:02d}"
        crop_box = _with_margin(truth.box, width=width, height=height)
        x1, y1, x2, y2 = crop_box
        files[f"{name}.jpg"] = image_to_jpeg(target.crop(crop_box))
        files[f"{name}.mask.png"] = mask_to_png(truth.mask[y1:y2, x1:x2])
        reference = Reference(
            name=name,
            kind="crop",
            image=f"{name}.jpg",
            mask=f"{name}.mask.png",
            width=x2 - x1,
            height=y2 - y1,
            subject_box=_shifted(truth.box, x=-x1, y=-y1),
            crop_box=crop_box,
        )
        found.append(_instance(truth, index=index, parent=owners[index], reference=reference))
    scene = Scene(
        id=f"{subset}-{seed:08d}",
        subset=subset,
        style=rendered.style,
        caption=rendered.caption,
        nouns=[truth.phrase for truth in rendered.instances],
        width=width,
        height=height,
        source=Source(kind="tabletop", seed=seed),
        seed=derive_seed("oracle", seed),
        layer_order=sorted(range(len(found)), key=lambda i: rendered.instances[i].layer),
        relations=relations(boxes),
        scores=SceneScores(
            sharpness=laplacian_variance(target),
            coverage=float(np.any(masks, axis=0).mean()),
        ),
        instances=found,
    )
    return Sample(scene=scene, files=files)


def _instance(
    truth: InstanceTruth, *, index: int, parent: int | None, reference: Reference
) -> Instance:
    identity = json.dumps(truth.identity.to_json(), sort_keys=True).encode()
    return Instance(
        index=index,
        identity_id=hashlib.sha256(identity).hexdigest()[:12],
        phrase=truth.phrase,
        noun=truth.noun,
        box=truth.box,
        mask=mask_to_rle(truth.mask),
        area=mask_area(truth.mask),
        layer=truth.layer,
        occluded_fraction=truth.occluded_fraction,
        parent=parent,
        grounding=Detection(score=1.0, model=ORACLE),
        segmentation=Detection(score=1.0, model=ORACLE),
        references=[reference],
    )


def _with_margin(box: Box, *, width: int, height: int) -> Box:
    x1, y1, x2, y2 = box
    x, y = round(CROP_MARGIN * (x2 - x1)), round(CROP_MARGIN * (y2 - y1))
    return max(x1 - x, 0), max(y1 - y, 0), min(x2 + x, width), min(y2 + y, height)


def _shifted(box: Box, *, x: int, y: int) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y
