"""Attacks on `imig import`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from support.attacks.attack import Attack
from support.attacks.pieces import BROKEN_JSON, DAMAGED, ODD, ODD_JSON
from support.attacks.stage import SCENES, VICTIM

SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "folders": ("folders",),
    "coco": ("coco",),
    "yolo": ("yolo",),
    "cvat": ("cvat/annotations.xml", "--set", "dataset=dataset"),
    "label-studio": ("label-studio/tasks.json", "--set", "dataset=dataset"),
    "imig100k": ("imig100k",),
    "pairs": ("pairs/list.json",),
}
TARGETS: Final = {
    "folders": f"folders/{VICTIM}/target.jpg",
    "coco": f"coco/images/{VICTIM}.jpg",
    "yolo": f"yolo/images/train/{VICTIM}.jpg",
    "imig100k": "imig100k/imig-basic/data/000001.jpg",
    "pairs": "pairs/1.jpg",
}
MASKS: Final = {
    "folders": f"folders/{VICTIM}/ref00.mask.png",
    "imig100k": "imig100k/imig-basic/masked_instance_data/000001_0_mask.png",
    "pairs": "pairs/1-mask.png",
}
LISTS: Final = {
    "folders": f"folders/{VICTIM}/scene.json",
    "coco": "coco/annotations/instances.json",
    "coco-captions": "coco/annotations/captions.json",
    "yolo": "yolo/data.yaml",
    "cvat": "cvat/annotations.xml",
    "label-studio": "label-studio/tasks.json",
    "imig100k": "imig100k/imig-basic/filtered_prompts.json",
    "pairs": "pairs/list.json",
}


def attack(source: str, what: str, plant: Callable[[Path], object], **expected: Any) -> Attack:
    name = source.partition("-captions")[0]
    uses = [name, *(["dataset"] if name in ("cvat", "label-studio") else [])]
    return Attack(
        id=f"{source}: {what}",
        command=("import", name, *SOURCES[name], "--output", "out"),
        uses=tuple(uses),
        plant=plant,
        **{"code": 0, **expected},
    )


def write(name: str, make: Callable[[], bytes], place: Path) -> None:
    (place / name).write_bytes(make())


def edit(name: str, change: Callable[[bytes], bytes], place: Path) -> None:
    path = place / name
    path.write_bytes(change(path.read_bytes()))


def each() -> Iterator[Attack]:
    for source, name in TARGETS.items():
        for kind, make in {**DAMAGED, **ODD}.items():
            yield attack(source, f"target: {kind}", partial(write, name, make))
    for source, name in MASKS.items():
        for kind, make in {**DAMAGED, **ODD}.items():
            yield attack(source, f"mask: {kind}", partial(write, name, make))
    for source, name in LISTS.items():
        for kind, change in {**BROKEN_JSON, **ODD_JSON}.items():
            yield attack(source, f"list: {kind}", partial(edit, name, change))
