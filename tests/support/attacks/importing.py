"""Attacks on `imig import`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from support.attacks.attack import EITHER, REFUSED, Attack
from support.attacks.pieces import (
    BOXES,
    BROKEN_JSON,
    DAMAGED,
    NAMES,
    NUMBERS,
    ODD,
    ODD_JSON,
    TEXTS,
)
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


BOXES_OF_PAIRS: Final = ("null", "outside", "negative")
MASKS_AS_RUNS: Final[dict[str, Any]] = {
    "of another size": {"size": [10, 10], "counts": "d0"},
    "too short": {"size": [64, 96], "counts": "0"},
    "no run lengths": {"size": [64, 96], "counts": "\x00\x01zzz"},
    "endless": {"size": [64, 96], "counts": "o" * 100_000},
    "runs too long": {"size": [64, 96], "counts": [10**30]},
    "runs negative": {"size": [64, 96], "counts": [-5, 6149]},
    "runs of texts": {"size": [64, 96], "counts": ["1"]},
    "a million runs": {"size": [64, 96], "counts": [0] * 1_000_000 + [6144]},
    "size huge": {"size": [2**31, 2**31], "counts": "0"},
    "size null": {"size": None, "counts": None},
    "polygon of nan": [[float("nan")] * 6],
    "polygon of two numbers": [[1, 2]],
    "polygon of texts": [["a"] * 6],
    "polygon far away": [[1e300, 1e300, -1e300, 1e300, 0, -1e300]],
    "polygon of a million corners": [[1.5, 2.5] * 1_000_000],
    "ten thousand polygons": [[1, 1, 90, 1, 90, 60]] * 10_000,
    "text": "mask",
    "deep": [[[[[[[[1]]]]]]]],
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


def of_pictures() -> Iterator[Attack]:
    for source, name in TARGETS.items():
        for kind, make in DAMAGED.items():
            yield attack(source, f"target: {kind}", partial(write, name, make), kept=SCENES - 1)
        for kind, make in ODD.items():
            kept = SCENES - (
                (source, kind) in TURNED_DOWN or (source == "folders" and kind not in AS_STORED)
            )
            yield attack(source, f"target: {kind}", partial(write, name, make), kept=kept)
        for kind, other in FILES.items():
            yield attack(source, f"target: {kind}", partial(instead, name, other), kept=SCENES - 1)
    for source, name in MASKS.items():
        for kind, make in {**DAMAGED, **ODD}.items():
            yield attack(source, f"mask: {kind}", partial(write, name, make), kept=SCENES - 1)


def instead(name: str, make: Callable[[Path], object], place: Path) -> None:
    (place / name).unlink()
    make(place / name)


FILES: Final[dict[str, Callable[[Path], object]]] = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}
AS_STORED: Final = ("progressive", "more-behind-its-end")
"""An exported scene has an RGB JPEG as target, and comes back as it went out or not at all."""
TURNED_DOWN: Final = {
    ("imig100k", "turned-by-exif"),
    ("imig100k", "text-that-unpacks-to-30-mb"),
}
"""Boxes of a lying picture lie outside of it; text is unpacked before a picture is stripped."""


def of_lists() -> Iterator[Attack]:
    for source, name in LISTS.items():
        for kind, change in BROKEN_JSON.items():
            plant = partial(edit, name, change)
            if source == "folders":  # a folder is a scene
                yield attack(source, f"list: {kind}", plant, kept=SCENES - 1)
                continue
            # YAML takes the later of two equal keys
            code = EITHER if (source, kind) == ("yolo", "two-values") else REFUSED
            yield attack(source, f"list: {kind}", plant, code=code)
        for kind, change in ODD_JSON.items():
            if (source, kind) in NO_XML_OR_YAML:
                continue
            yield attack(source, f"list: {kind}", partial(edit, name, change), kept=SCENES)
        for kind, make in FILES.items():
            # without it a folder's layout, and pictures without captions, are read
            code = 0 if source in ("folders", "coco-captions") else REFUSED
            yield attack(source, f"list: {kind}", partial(instead, name, make), code=code)


NO_XML_OR_YAML: Final = {("cvat", "blanks-around"), ("yolo", "blanks-around")}
"""Blanks before the first line mean something there."""


def put(path: tuple[Any, ...], new: Any, name: str, place: Path) -> None:
    """A value of a JSON file in place of another."""
    value = whole = json.loads((place / name).read_text())
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new
    (place / name).write_text(json.dumps(whole))


def laughs() -> bytes:
    lines = [b"l0: &l0 [0, 0, 1, 1]"]
    lines.extend(
        b"l%d: &l%d [%s]" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 12)
    )
    return b"\n" + b"\n".join(lines) + b"\n"


ANNOTATION: Final = ("annotations", 2)
"""The first of the victim's."""


def of_values() -> Iterator[Attack]:
    def of_coco(what: str, path: tuple[Any, ...], new: Any, **expected: Any) -> Attack:
        plant = partial(put, path, new, "coco/annotations/instances.json")
        return attack("coco", what, plant, **{"kept": SCENES, **expected})

    for kind, opening in {"dashes": b"- ", "braces": b"{a: ", "brackets": b"["}.items():
        plant = partial(write, "yolo/data.yaml", partial(bytes.__mul__, opening, 100_000))
        yield attack("yolo", f"data.yaml: 100,000 {kind}", plant, code=2)
    plant = partial(edit, "yolo/data.yaml", lambda d: d + laughs())
    yield attack("yolo", "data.yaml: aliases that mean a billion", plant, code=2)
    for kind, box in BOXES.items():
        yield of_coco(f"box: {kind}", (*ANNOTATION, "bbox"), box)
        yield attack(
            "pairs",
            f"box: {kind}",
            partial(put, (1, "references", 0, "box"), box, "pairs/list.json"),
            kept=SCENES - (kind not in BOXES_OF_PAIRS),
        )
    for kind, rle in MASKS_AS_RUNS.items():
        yield of_coco(f"mask: {kind}", (*ANNOTATION, "segmentation"), rle)
    for kind, name in NAMES.items():
        yield of_coco(f"file: {kind}", ("images", 1, "file_name"), name, kept=SCENES - 1)
        yield attack(
            "pairs",
            f"file: {kind}",
            partial(put, (1, "target"), name, "pairs/list.json"),
            kept=SCENES - 1,
        )
        yield attack(
            "folders",
            f"reference: {kind}",
            partial(put, ("instances", 0, "references", 0, "image"), name, LISTS["folders"]),
            kept=SCENES - 1,
        )
    for kind, number in NUMBERS.items():
        yield of_coco(f"image_id: {kind}", (*ANNOTATION, "image_id"), number)
        yield of_coco(f"category_id: {kind}", (*ANNOTATION, "category_id"), number)
        yield of_coco(f"area: {kind}", (*ANNOTATION, "area"), number)
        yield of_coco(f"width: {kind}", ("images", 1, "width"), number, kept=None)
        yield attack(
            "folders",
            f"width: {kind}",
            partial(put, ("width",), number, LISTS["folders"]),
            kept=SCENES - 1,
        )
        yield attack(
            "imig100k",
            f"index: {kind}",
            partial(put, (1, "index"), number, LISTS["imig100k"]),
            code=EITHER,
        )
    for kind, text in TEXTS.items():
        yield of_coco(f"category: {kind}", ("categories", 0, "name"), text, code=EITHER)
        yield of_coco(f"phrase: {kind}", (*ANNOTATION, "phrase"), text)
        yield attack(
            "pairs",
            f"caption: {kind}",
            partial(put, (1, "caption"), text, "pairs/list.json"),
            kept=None,
        )
        yield attack(
            "label-studio",
            f"mark: {kind}",
            partial(put, (1, "data", "imig", "mark"), text, LISTS["label-studio"]),
            kept=None,
        )
        yield attack(
            "label-studio",
            f"id: {kind}",
            partial(put, (1, "data", "imig", "id"), text, LISTS["label-studio"]),
            code=EITHER,
        )
        yield attack(
            "imig100k",
            f"prompt: {kind}",
            partial(put, (1, "prompt"), text, LISTS["imig100k"]),
            code=EITHER,
        )


def each() -> Iterator[Attack]:
    yield from of_pictures()
    yield from of_lists()
    yield from of_values()
