"""The published files of COCO-MIG, in both of their forms.

MIG_Bench has `mig_bench.json`: an object, number of the case -> {"caption", "segment": [{"label",
"bbox"}, ...], "image_id"} (a list of such is read too). MIGC has the same cases as `mig_bench.txt`,
a prompt a line, and `mig_bench_anno.yaml`: prompt -> {label: [box, ...], ..., "coco_id": the case's
number}. Boxes are [x1, y1, x2, y2], shares of the picture's sides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imig.errors import UsageError
from imig.evaluation.against.published import is_text, read_json, read_published
from imig.evaluation.colour_rule import COLOURS
from imig.printable import shortened
from imig.recipe.yaml_lines import parse_plain_yaml

JSON_NAME = "mig_bench.json"
YAML_NAME = "mig_bench_anno.yaml"
PROMPTS_NAME = "mig_bench.txt"

MIN_INSTANCES, MAX_INSTANCES = 2, 6
EDGE: Final = 0.001
"""So much may a box reach beyond the picture: it was rounded."""

_GET = "is it the released file? docs/evaluation.md says where to get it, and how it looks"
_PROMPT_START = "a photo of "
_AND = " and "


@dataclass(frozen=True)
class MigInstance:
    """A thing that a case asks for."""

    label: str
    """In full, "a blue dining table"."""
    colour: str
    category: str
    box: tuple[float, float, float, float]
    """Shares of the picture's sides, within 0 and 1."""


@dataclass(frozen=True)
class MigEntry:
    """A case."""

    key: str
    """Its number, without zeros in front: "6"."""
    caption: str
    instances: tuple[MigInstance, ...]


def read_entries(path: Path) -> list[MigEntry]:
    """The cases of a file of either form, by rising number.

    Parameters
    ----------
    path:
        `mig_bench.json`, or `mig_bench_anno.yaml`, or `mig_bench.txt` with the YAML file beside it.

    Raises
    ------
    UsageError
        It cannot be read, or has another form; names file and entry.
    """
    read = _from_json if path.suffix == ".json" else _from_yaml
    entries = list(read(path))
    if not entries:
        raise UsageError(f"{path} has no case in it", cure=_GET)
    doubled = [key for key, count in Counter(one.key for one in entries).items() if count > 1]
    if doubled:
        raise UsageError(f"{path}: the case {doubled[0]} stands there twice", cure=_GET)
    return sorted(entries, key=lambda one: int(one.key))


def annotations_of(prompts: Path) -> Path:
    """`mig_bench.txt` -> `mig_bench_anno.yaml`."""
    return prompts.with_name(f"{prompts.stem}_anno.yaml")


def prompts_of(annotations: Path) -> Path:
    """`mig_bench_anno.yaml` -> `mig_bench.txt`, which may not be there."""
    return annotations.with_name(f"{annotations.stem.removesuffix('_anno')}.txt")


def _from_json(path: Path) -> Iterator[MigEntry]:
    values = read_json(path, cure=_GET)
    if isinstance(values, list):
        values = {str(number): value for number, value in enumerate(values)}
    if not isinstance(values, dict):
        raise UsageError(f"{path} is neither an object nor a list of cases", cure=_GET)
    for key, value in values.items():
        where = f"{path}: case {shortened(repr(key))}"
        if not isinstance(value, dict):
            raise UsageError(f"{where} is no object", cure=_GET)
        caption, segments = value.get("caption"), value.get("segment")
        if not is_text(caption) or not caption.strip():
            raise UsageError(f"{where} has no caption", cure=_GET)
        if not isinstance(segments, list):
            raise UsageError(f"{where} has no list `segment`", cure=_GET)
        yield _entry(
            key,
            caption,
            [
                _instance(
                    one.get("label") if isinstance(one, dict) else None,
                    one.get("bbox") if isinstance(one, dict) else None,
                    where=f"{where}, segment {number}",
                )
                for number, one in enumerate(segments)
            ],
            where=where,
        )


def _from_yaml(path: Path) -> Iterator[MigEntry]:
    annotations = annotations_of(path) if path.suffix == ".txt" else path
    values = parse_plain_yaml(read_published(annotations), annotations)
    if not isinstance(values, dict):
        raise UsageError(f"{annotations} is no mapping from prompts to instances", cure=_GET)
    prompts = prompts_of(annotations)
    if prompts.exists():
        lines = [one.strip() for one in read_published(prompts).splitlines()]
        for number, line in enumerate(lines, 1):
            if line and line not in values:
                raise UsageError(
                    f"{prompts}:{number}: {annotations.name} has no {shortened(repr(line))}",
                    cure="both files are of one release",
                )
        wanted = [line for line in lines if line]
    else:
        wanted = [str(one) for one in values]
    for prompt in wanted:
        where = f"{annotations}: {shortened(repr(prompt))}"
        value = values[prompt]
        if not isinstance(value, dict):
            raise UsageError(f"{where} has no instances", cure=_GET)
        if "coco_id" not in value:
            raise UsageError(f"{where} has no coco_id", cure=_GET)
        found = {
            str(label): [
                _instance(label, box, where=f"{where}, {label!r}, box {number}")
                for number, box in enumerate(boxes if isinstance(boxes, list) else [None])
            ]
            for label, boxes in value.items()
            if label != "coco_id"
        }
        yield _entry(value["coco_id"], prompt, _in_order(found, prompt), where=where)


def _in_order(found: Mapping[str, Sequence[MigInstance]], prompt: str) -> list[MigInstance]:
    """Instances as the prompt names them: in the file those of one label stand together."""
    named = prompt.removeprefix(_PROMPT_START).split(_AND)
    if Counter(named) != Counter({label: len(some) for label, some in found.items()}):
        return [one for some in found.values() for one in some]
    left = {label: iter(some) for label, some in found.items()}
    return [next(left[label]) for label in named]


def _entry(key: object, caption: str, instances: Sequence[MigInstance], *, where: str) -> MigEntry:
    number = str(key)
    if not re.fullmatch(r"[0-9]{1,9}", number):
        raise UsageError(f"{where}: {number!r} is no number of a case", cure=_GET)
    if not MIN_INSTANCES <= len(instances) <= MAX_INSTANCES:
        raise UsageError(
            f"{where} has {len(instances)} instances; the benchmark has levels from "
            f"{MIN_INSTANCES} to {MAX_INSTANCES}",
            cure=_GET,
        )
    return MigEntry(key=str(int(number)), caption=caption.strip(), instances=tuple(instances))


def _instance(label: object, box: object, *, where: str) -> MigInstance:
    words = label.split() if is_text(label) else []
    if len(words) < 3 or words[1] not in COLOURS:
        raise UsageError(
            f"{where}: the label {shortened(repr(label))} is not an article, a colour and a thing",
            cure=f"like 'a red cat'; colours are {', '.join(COLOURS)}",
        )
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in box)
        or not (-EDGE <= box[0] < box[2] <= 1 + EDGE and -EDGE <= box[1] < box[3] <= 1 + EDGE)
    ):
        raise UsageError(
            f"{where}: {shortened(repr(box))} is no box",
            cure="a box is [x1, y1, x2, y2] in shares of the picture, 0 to 1",
        )
    x1, y1, x2, y2 = (min(max(float(one), 0.0), 1.0) for one in box)
    return MigInstance(
        label=" ".join(words), colour=words[1], category=" ".join(words[2:]), box=(x1, y1, x2, y2)
    )
