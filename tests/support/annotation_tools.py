"""What an annotator does in Label Studio or CVAT, done to the files that these export."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from imig.interop.brush import mask_to_brush
from imig.layout.masks import Mask
from imig.schema import Box

WHO, WHEN = "ana@example.org", "2026-11-20T10:00:00.000000Z"


@dataclass
class Drawing(ABC):
    """One picture in a tool."""

    width: int
    height: int

    @abstractmethod
    def move(self, index: int, box: Box) -> None:
        """Move the box of an instance."""

    @abstractmethod
    def paint(self, index: int, mask: Mask) -> None:
        """Paint the mask of an instance anew."""

    @abstractmethod
    def rename(self, index: int, *, phrase: str, label: str) -> None:
        """Another phrase and another label."""

    @abstractmethod
    def remove(self, index: int, *, box: bool = True, mask: bool = True) -> None:
        """Remove the regions of an instance."""

    @abstractmethod
    def add(self, *, box: Box | None, mask: Mask | None, label: str, phrase: str | None) -> None:
        """Draw something new."""

    @abstractmethod
    def copy(self, index: int) -> None:
        """Copy the regions of an instance, with all that is said of them."""

    @abstractmethod
    def say(self, caption: str) -> None:
        """Another caption."""

    @abstractmethod
    def forget_marks(self) -> None:
        """As a tool does that keeps nothing but what is drawn."""


class AnnotationFile(ABC):
    """What a tool exports; `save` writes it as such."""

    tool: str
    name: str

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abstractmethod
    def picture(self, sample_id: str) -> Drawing: ...

    @abstractmethod
    def forget_imig(self) -> None:
        """As in a project that somebody has made without imig."""

    @abstractmethod
    def save(self) -> None: ...


@dataclass
class LabelStudioDrawing(Drawing):
    results: list[dict[str, Any]]

    def _of(self, index: int, *kinds: str) -> list[dict[str, Any]]:
        names = [f"{kind}-{index}" for kind in kinds or ("box", "mask")]
        return [one for one in self.results if one["id"] in names]

    def move(self, index: int, box: Box) -> None:
        self._of(index, "box")[0]["value"].update(self._percentages(box))

    def paint(self, index: int, mask: Mask) -> None:
        self._of(index, "mask")[0]["value"]["rle"] = mask_to_brush(mask)

    def rename(self, index: int, *, phrase: str, label: str) -> None:
        for one in self._of(index):
            if one["type"] == "textarea":
                one["value"]["text"] = [phrase]
            else:
                one["value"][one["type"]] = [label]

    def remove(self, index: int, *, box: bool = True, mask: bool = True) -> None:
        kinds = [kind for kind, gone in (("box", box), ("mask", mask)) if gone]
        gone = self._of(index, *kinds)
        self.results[:] = [one for one in self.results if one not in gone]

    def add(self, *, box: Box | None, mask: Mask | None, label: str, phrase: str | None) -> None:
        size = {"original_width": self.width, "original_height": self.height}
        name, value = "", dict[str, Any]()
        if mask is not None:
            name = f"m{len(self.results)}"
            value = {"format": "rle", "rle": mask_to_brush(mask), "brushlabels": [label]}
            self.results.append({"id": name, "type": "brushlabels", "value": value, **size})
        if box is not None:
            name = f"b{len(self.results)}"
            value = {**self._percentages(box), "rectanglelabels": [label]}
            self.results.append({"id": name, "type": "rectanglelabels", "value": value, **size})
        if phrase is not None:
            value = {"text": [phrase]}
            text = {"id": name, "type": "textarea", "from_name": "phrase", "value": value}
            self.results.append(text)

    def copy(self, index: int) -> None:
        self.results += [{**one, "id": f"copy-{one['id']}"} for one in self._of(index)]

    def say(self, caption: str) -> None:
        (one,) = (one for one in self.results if one.get("from_name") == "caption")
        one["value"]["text"] = [caption]

    def forget_marks(self) -> None:
        for one in self.results:
            one["id"] = f"x{one['id'][::-1]}"
            one.pop("meta", None)

    def _percentages(self, box: Box) -> dict[str, float]:
        x1, y1, x2, y2 = box
        return {
            "x": 100 * x1 / self.width,
            "y": 100 * y1 / self.height,
            "width": 100 * (x2 - x1) / self.width,
            "height": 100 * (y2 - y1) / self.height,
        }


class LabelStudioFile(AnnotationFile):
    tool, name = "label-studio", "tasks.json"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.name
        self.tasks: list[dict[str, Any]] = json.loads(self._path.read_text(encoding="utf-8"))
        for number, task in enumerate(self.tasks):
            (prediction,) = task["predictions"]
            who = {"id": 7, "email": WHO, "first_name": "Ana"}
            annotation = {"result": json.loads(json.dumps(prediction["result"]))}
            annotation |= {"completed_by": who, "updated_at": WHEN, "was_cancelled": False}
            task |= {"id": number, "annotations": [annotation]}

    def forget_imig(self) -> None:
        for task in self.tasks:
            del task["data"]["imig"]

    def picture(self, sample_id: str) -> LabelStudioDrawing:
        name = f"{sample_id}.jpg"
        (task,) = (one for one in self.tasks if one["data"]["image"].endswith(name))
        return LabelStudioDrawing(96, 64, task["annotations"][0]["result"])

    def save(self) -> None:
        self._path.write_text(json.dumps(self.tasks, indent=2), encoding="utf-8")


@dataclass
class CvatDrawing(Drawing):
    image: ElementTree.Element

    def _of(self, index: int, *kinds: str) -> list[ElementTree.Element]:
        return [
            one
            for one in self.image
            if one.tag in (kinds or ("box", "mask"))
            and one.findtext("attribute[@name='instance']") == str(index)
        ]

    def move(self, index: int, box: Box) -> None:
        for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True):
            self._of(index, "box")[0].set(name, f"{value:.2f}")

    def paint(self, index: int, mask: Mask) -> None:
        for name, value in _cvat_mask(mask).items():
            self._of(index, "mask")[0].set(name, value)

    def rename(self, index: int, *, phrase: str, label: str) -> None:
        for one in self._of(index):
            one.set("label", label)
            text = one.find("attribute[@name='phrase']")
            assert text is not None
            text.text = phrase

    def remove(self, index: int, *, box: bool = True, mask: bool = True) -> None:
        kinds = [kind for kind, gone in (("box", box), ("mask", mask)) if gone]
        for one in self._of(index, *kinds):
            self.image.remove(one)

    def add(self, *, box: Box | None, mask: Mask | None, label: str, phrase: str | None) -> None:
        shapes: dict[str, dict[str, str]] = {}
        if mask is not None:
            shapes["mask"] = _cvat_mask(mask)
        if box is not None:
            sides = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
            shapes["box"] = {name: f"{value:.2f}" for name, value in sides}
        for tag, attributes in shapes.items():
            one = ElementTree.SubElement(self.image, tag, {"label": label, **attributes})
            for name, value in (("instance", ""), ("phrase", phrase or "")):
                ElementTree.SubElement(one, "attribute", {"name": name}).text = value

    def copy(self, index: int) -> None:
        for one in self._of(index):
            self.image.append(ElementTree.fromstring(ElementTree.tostring(one)))

    def say(self, caption: str) -> None:
        text = self.image.find("tag/attribute[@name='caption']")
        assert text is not None
        text.text = caption

    def forget_marks(self) -> None:
        for one in self.image:
            one.attrib.pop("group_id", None)
            for text in one.findall("attribute[@name='instance']"):
                one.remove(text)


class CvatFile(AnnotationFile):
    tool, name = "cvat", "annotations.xml"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.name
        self.tree = ElementTree.parse(self._path)
        task = self.tree.find("meta/task")
        assert task is not None
        ElementTree.SubElement(task, "updated").text = WHEN
        assignee = ElementTree.SubElement(task, "assignee")
        ElementTree.SubElement(assignee, "username").text = WHO

    def forget_imig(self) -> None:
        for image in self.tree.findall("image"):
            for tag in image.findall("tag"):
                image.remove(tag)

    def picture(self, sample_id: str) -> CvatDrawing:
        image = self.tree.find(f"image[@name='{sample_id}.jpg']")
        assert image is not None
        return CvatDrawing(96, 64, image)

    def save(self) -> None:
        self.tree.write(self._path, encoding="utf-8", xml_declaration=True)


TOOLS: dict[str, type[AnnotationFile]] = {"label-studio": LabelStudioFile, "cvat": CvatFile}


def _cvat_mask(mask: Mask) -> dict[str, str]:
    """Over the whole picture: not as tight as imig writes it."""
    runs, value = [0], False
    for pixel in mask.ravel():
        if bool(pixel) != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    height, width = np.shape(mask)
    size = {"left": "0", "top": "0", "width": str(width), "height": str(height)}
    return {"rle": ", ".join(map(str, runs)), **size}
