"""COCO-MIG: 800 layouts of coloured things, 160 of each level L2 to L6 (2 to 6 instances)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from imig.errors import UsageError
from imig.evaluation.against.coco_mig_files import (
    JSON_NAME,
    MAX_INSTANCES,
    MIN_INSTANCES,
    PROMPTS_NAME,
    YAML_NAME,
    MigEntry,
    MigInstance,
    annotations_of,
    prompts_of,
    read_entries,
)
from imig.evaluation.against.coco_mig_references import (
    CATEGORIES_NAME,
    FOLDER_NAME,
    ReferencePack,
)
from imig.evaluation.case import Case, CaseInstance
from imig.evaluation.paper_table import Column, PaperTable, Part
from imig.layout.placement import scaled

SIDE: Final = 512
"""Of the pictures, in pixels: the evaluator scales others to it."""

LEVELS: Final = tuple(f"L{count}" for count in range(MIN_INSTANCES, MAX_INSTANCES + 1))

TABLE: Final = PaperTable(
    title="COCO-MIG",
    columns=(
        Column(
            name="sr", title="SR", of=("mig_all_success",), scale=100,
            meaning="Pictures all of whose instances are in place and of the right colour, in %.",
        ),
        Column(
            name="i_sr", title="I-SR", of=("mig_success",), scale=100,
            meaning="Instances in place and of the right colour, in %.",
        ),
        Column(
            name="miou", title="mIoU", of=("mig_iou",), scale=100,
            meaning="IoU with the wanted box, 0 where the colour alone is wrong, in %.",
        ),
        Column(
            name="global_clip", title="G-C", of=("clip_global",), scale=100,
            meaning="CLIP cosine of picture and caption, times 100.",
        ),
        Column(
            name="local_clip", title="L-C", of=("clip_local",), scale=100,
            meaning="CLIP cosine of what is in the wanted boxes and the labels, times 100.",
        ),
    ),
    parts=(*(Part(one, (one,)) for one in LEVELS), Part("Avg")),
    parts_are="columns",
    notes=(
        "Avg is over all instances (I-SR, mIoU, L-C) or all pictures (SR, G-C), as the benchmark's "
        "own: L6 counts three times as much as L2 in the former. It is not the mean of the levels.",
    ),
)  # fmt: skip


class CocoMigCases:
    """The benchmark's published files.

    A case has its number as id, its level as group, and pictures of 512 x 512. Of an instance the
    phrase is the label with its article, "a red cat", the noun what follows the colour.

    Parameters
    ----------
    path:
        `mig_bench.json`, `mig_bench.txt` or `mig_bench_anno.yaml`; or a folder that has one of
        them. With ContextGen's reference pack in that folder, or as it, instances have references.

    Raises
    ------
    UsageError
        There is no such file, or it has another form.
    """

    kind = "coco-mig"
    table = TABLE

    def __init__(self, path: Path) -> None:
        self._place = path
        self._file = find_cases(path)
        self._entries = {one.key: one for one in read_entries(self._file)}
        pack = find_pack(path)
        self._pack = None if pack is None else ReferencePack(pack)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Case]:
        return map(self._to_case, self._entries.values())

    def case_of(self, stem: str) -> str | None:
        key = stem_to_key(stem)
        return key if key in self._entries else None

    def record(self) -> dict[str, Any]:
        files = [self._file]
        if self._file.suffix != ".json":
            annotations = annotations_of(self._file) if self._file.suffix == ".txt" else self._file
            files = [one for one in (prompts_of(annotations), annotations) if one.exists()]
        if self._pack is not None:
            files.append(self._pack.path)
        return {
            "kind": self.kind,
            "place": str(self._place),
            "cases": len(self),
            "references": self._pack is not None,
            "files": {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files},
        }

    def _to_case(self, entry: MigEntry) -> Case:
        return Case(
            id=entry.key,
            caption=entry.caption,
            size=(SIDE, SIDE),
            instances=tuple(map(self._to_instance, entry.instances)),
            resampling="linear",
            group=f"L{len(entry.instances)}",
        )

    def _to_instance(self, instance: MigInstance) -> CaseInstance:
        x1, y1, x2, y2 = instance.box
        references = (
            ()
            if self._pack is None
            else (self._pack.reference_of(instance.label, shape=(x2 - x1) / (y2 - y1)),)
        )
        return CaseInstance(
            phrase=instance.label,
            noun=instance.category,
            box=scaled(instance.box, (SIDE, SIDE)),
            attributes={"colour": instance.colour},
            references=references,
        )


def stem_to_key(stem: str) -> str | None:
    """The number of the case that a picture's name, without its ending, says, or None.

    ``a photo of a red cat and a blue dog_420_6`` (MIGC and the evaluator: behind the last
    underscore), ``0006`` or ``run0006`` (ContextGen), and ``6`` and ``6-42`` (imig; 42: the seed).
    MIGC's ``anno_...`` are pictures with the boxes drawn on, and of no case.
    """
    if stem.startswith("anno_"):
        return None
    found = re.fullmatch(r"(?:.*_)?([0-9]+)(?:-[0-9]+)?", stem) or re.fullmatch(
        r".*?([0-9]{4})", stem
    )
    return str(int(found[1])) if found else None


def find_cases(path: Path) -> Path:
    """The file of the cases at a path that was given: see `CocoMigCases`."""
    if path.is_file():
        if path.suffix == ".txt" and not annotations_of(path).exists():
            raise UsageError(
                f"{path} has the prompts, and {annotations_of(path).name} with their boxes is not "
                "beside it",
                cure=_GET,
            )
        if path.suffix in (".json", ".yaml", ".yml", ".txt"):
            return path
        raise UsageError(f"{path} is no file of COCO-MIG", cure=_GET)
    if not path.is_dir():
        raise UsageError(f"there is no {path}", cure=_GET)
    for folder in (path, path / FOLDER_NAME):
        for name in (JSON_NAME, YAML_NAME):
            if os.path.lexists(folder / name):
                return folder / name
    raise UsageError(f"{path} has neither {JSON_NAME} nor {YAML_NAME} in it", cure=_GET)


_GET = (
    f"COCO-MIG is {JSON_NAME}, or {PROMPTS_NAME} with {YAML_NAME}; docs/evaluation.md says where "
    "to get them"
)


def find_pack(path: Path) -> Path | None:
    """The folder of the references, where a folder was given that has or is it."""
    return next(
        (one for one in (path, path / FOLDER_NAME) if os.path.lexists(one / CATEGORIES_NAME)), None
    )
