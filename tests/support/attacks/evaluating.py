"""Attacks on `imig evaluate`: its pictures, its cases, what an earlier run has left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet

from imig.evaluation.against.layoutsam_files import COLUMNS
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
from support.attacks.stage import PACK, SCENES, VICTIM
from support.benchmark_files import ROWS

AGAINST: Final = {
    "dataset": ("pictures", "dataset"),
    "layouts": ("layouts-pictures", "layouts"),
    "coco-mig": ("coco-mig-pictures", "coco-mig=coco-mig"),
    "coco-mig-yaml": ("coco-mig-pictures", "coco-mig=coco-mig/mig_bench_anno.yaml"),
    "lamicbench": ("lamicbench-pictures", "lamicbench=lamicbench"),
    "layoutsam": ("layoutsam-pictures", "layoutsam=layoutsam"),
}
PICTURE: Final = f"pictures/{VICTIM}.jpg"


def attack(
    against: str, what: str, plant: Callable[[Path], object], *more: str, **expected: Any
) -> Attack:
    pictures, cases = AGAINST[against]
    folder = cases.partition("=")[2].partition("/")[0] or cases
    words = ["evaluate", pictures, "--against", cases, "--output", "out", "--worst", "0"]
    words += ["--recipe", "evaluate", "--set", "models=tiny", *more]
    return Attack(
        id=f"{against}: {what}",
        command=tuple(words),
        uses=(pictures, folder),
        plant=plant,
        **{"code": 0, **expected},
    )


def write(name: str, make: Callable[[], bytes], place: Path) -> None:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make())


def edit(name: str, change: Callable[[bytes], bytes], place: Path) -> None:
    path = place / name
    path.write_bytes(change(path.read_bytes()))


def change_json(name: str, change: Callable[[Any], object], place: Path) -> None:
    path = place / name
    value = json.loads(path.read_text())
    changed = change(value)
    path.write_text(json.dumps(value if changed is None else changed))


def of_pictures() -> Iterator[Attack]:
    for kind, make in DAMAGED.items():
        plant = partial(write, PICTURE, make)
        yield attack("dataset", f"picture: {kind}", plant, code=1, says=(f"{VICTIM}.jpg",))
        yield attack(
            "dataset",
            f"picture, partial: {kind}",
            plant,
            "--partial",
            says=(f"{VICTIM}.jpg",),
            kept=SCENES - 1,
        )
    for kind, make in ODD.items():
        yield attack("dataset", f"picture: {kind}", partial(write, PICTURE, make), kept=SCENES)

    files: dict[str, Callable[[Path], object]] = {
        **FILES,
        "a link to nothing": partial(_link, "gone.jpg"),
    }
    for kind, other in files.items():
        plant = partial(_instead, PICTURE, other)
        yield attack("dataset", f"picture: {kind}", plant, code=1, says=(VICTIM,))
        yield attack("dataset", f"picture, partial: {kind}", plant, "--partial", kept=SCENES - 1)
    yield attack(
        "dataset",
        "picture: of no case, its name paints",
        lambda p: write("pictures/\x1b[31mx\x07\u202e\n.png", ODD["grey"], p),
        kept=SCENES,
    )
    yield attack(
        "dataset",
        "picture: of no case, its name is no text",
        lambda p: write(os.fsdecode(b"pictures/\xff\xfe.png"), ODD["grey"], p),
        kept=SCENES,
    )
    yield attack(
        "coco-mig",
        "picture: its name is no text",
        lambda p: write(os.fsdecode(b"coco-mig-pictures/\xff_6.png"), ODD["grey"], p),
        kept=3,
    )
    yield attack(
        "coco-mig",
        "picture: its name paints",
        lambda p: write("coco-mig-pictures/\x1b[31m\n_6.png", ODD["grey"], p),
        kept=3,
    )
    yield attack(
        "dataset",
        "picture: twice",
        lambda p: write(f"pictures/{VICTIM}.png", ODD["grey"], p),
        kept=SCENES + 1,
    )
    yield attack("dataset", "pictures: no folder", lambda p: shutil.rmtree(p / "pictures"), code=2)
    yield attack("dataset", "pictures: empty", partial(empty, "pictures"), code=2)


def _leave(name: str, make: Callable[[Path], object], place: Path) -> None:
    (place / "out").mkdir()
    make(place / "out" / name)


def _write_changed(change: Callable[[bytes], bytes], data: bytes, path: Path) -> None:
    path.write_bytes(change(data))


def of_leftovers() -> Iterator[Attack]:
    line = b'{"of": "x", "case": "basic-00000000"}\n{"a": 1}\n'
    for name in ("pictures.jsonl", "evaluation.json"):
        for kind, change in BROKEN_JSON.items():
            data = partial(_write_changed, change, line)
            yield attack(
                "dataset", f"left {name}: {kind}", partial(_leave, name, data), kept=SCENES
            )
        for kind, make in FILES.items():
            code = 0
            if kind not in ("missing", "a link to itself"):
                # a result is written beside and takes the place of whatever is there
                code = 2 if name == "pictures.jsonl" else int(kind == "a folder")
            elif kind == "a link to itself" and name == "pictures.jsonl":
                code = 2
            plant = partial(_leave, name, make)
            yield attack("dataset", f"left {name}: {kind}", plant, code=code)
    yield attack("dataset", "output: a file", lambda p: write("out", lambda: b"x", p), code=2)
    yield attack(
        "dataset", "output: a link to itself", lambda p: (p / "out").symlink_to("out"), code=2
    )
    yield attack(
        "dataset",
        "output: a link to nothing",
        lambda p: (p / "out").symlink_to("gone/deep"),
        code=2,
    )


def of_lists() -> Iterator[Attack]:
    segment = b'{"caption": "a", "bbox": [0, 0, 1, 1]}'
    sampled = b'[{"index": 0, "global_caption": "A.", "segments": [%s]}]' % segment
    files = (
        ("layouts", "layouts/one.json"),
        ("coco-mig", "coco-mig/mig_bench.json"),
        ("coco-mig-yaml", "coco-mig/mig_bench_anno.yaml"),
        ("coco-mig-yaml", "coco-mig/mig_bench.txt"),
        ("coco-mig", f"coco-mig/{PACK}"),
        ("lamicbench", "lamicbench/lamicbench_plus.json"),
        ("lamicbench", "lamicbench/lamicbench_layout.json"),
        ("layoutsam", "layoutsam/layoutsam_sampled.json"),
        ("layoutsam", "layoutsam/data/test-00000.parquet"),
    )
    for against, name in files:
        for kind, change in BROKEN_JSON.items():
            # YAML's second document of the same keys, and what lies before a table, say nothing
            code = EITHER if (Path(name).suffix, kind) in TWICE else REFUSED
            plant = partial(_edit_or_make, name, sampled, change)
            yield attack(against, f"{Path(name).name}: {kind}", plant, code=code)
        for kind, change in ODD_JSON.items():
            if not name.endswith((".parquet", ".yaml", "sampled.json")):
                yield attack(against, f"{Path(name).name}: {kind}", partial(edit, name, change))
        for kind, make in FILES.items():
            yield attack(
                against, f"{Path(name).name}: {kind}", partial(_instead, name, make), code=EITHER
            )


FILES: Final[dict[str, Callable[[Path], object]]] = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


TWICE: Final = {(".yaml", "two-values"), (".parquet", "two-values")}


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _instead(name: str, make: Callable[[Path], object], place: Path) -> None:
    (place / name).unlink(missing_ok=True)
    make(place / name)


def _edit_or_make(name: str, data: bytes, change: Callable[[bytes], bytes], place: Path) -> None:
    path = place / name
    path.write_bytes(change(path.read_bytes() if path.exists() else data))


MIG: Final = "coco-mig/mig_bench.json"
LAMIC: Final = "lamicbench/lamicbench_plus.json"
LAYOUT: Final = "layouts/one.json"
ODD_TEXTS: Final = ("zero byte", "paints", "markup")
"""Texts all the same."""


@dataclass(frozen=True)
class Spot:
    """Where in a JSON file values are planted, and which of them do no harm."""

    name: str
    against: str
    file: str
    path: tuple[Any, ...]
    values: Mapping[str, Any]
    fine: tuple[str, ...] = ()
    """Kinds with which all is measured."""
    costly: tuple[str, ...] = ()
    """Kinds for which the case alone cannot be measured, or names what is not there: code 1."""


SPOTS: Final = (
    Spot("box", "coco-mig", MIG, ("6", "segment", 0, "bbox"), BOXES),
    Spot("caption", "coco-mig", MIG, ("6", "caption"), TEXTS, fine=ODD_TEXTS),
    Spot("label", "coco-mig", MIG, ("6", "segment", 0, "label"), TEXTS, costly=ODD_TEXTS),
    Spot(
        "pack, caption", "coco-mig", f"coco-mig/{PACK}", (0, "caption"), NAMES,
        costly=(
            "dots", "dot", "empty", "half a character", "5000 characters", "a folder", "newline",
        ),
    ),
    Spot("pack, index", "coco-mig", f"coco-mig/{PACK}", (0, "index"), NUMBERS, costly=("huge",)),
    Spot("box", "layouts", LAYOUT, ("references", 0, "box"), BOXES, fine=("outside", "negative")),
    Spot("caption", "layouts", LAYOUT, ("caption",), TEXTS, fine=("empty", *ODD_TEXTS)),
    Spot("name", "layouts", LAYOUT, ("references", 0, "name"), TEXTS, fine=("empty", *ODD_TEXTS)),
    Spot(
        "file", "layouts", LAYOUT, ("references", 0, "image"), NAMES,
        costly=(
            "absolute", "out", "out in the middle", "dots", "dot", "5000 characters", "a folder",
            "newline",
        ),
    ),
    Spot("width", "layouts", LAYOUT, ("width",), NUMBERS),
    Spot("seed", "layouts", LAYOUT, ("seed",), NUMBERS, fine=("text", "null", "true")),
    Spot("box", "lamicbench", LAMIC, (0, "references", 0, "bbox"), BOXES, fine=("null",)),
    Spot("phrase", "lamicbench", LAMIC, (0, "references", 0, "phrase"), TEXTS, fine=ODD_TEXTS),
    Spot(
        "question", "lamicbench", LAMIC, (0, "vqa_prompts", "1"), TEXTS, fine=("empty", *ODD_TEXTS)
    ),
    Spot("prompt", "lamicbench", LAMIC, (0, "prompt"), TEXTS, fine=("empty", *ODD_TEXTS)),
    Spot(
        "file", "lamicbench", LAMIC, (0, "references", 0, "image_path"), NAMES,
        costly=("5000 characters", "a folder", "newline"),
    ),
    Spot("index", "lamicbench", LAMIC, (0, "index"), NUMBERS),
)  # fmt: skip


def put(path: tuple[Any, ...], new: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = new

    return change


def of_values() -> Iterator[Attack]:
    for spot in SPOTS:
        for kind, new in spot.values.items():
            plant = partial(change_json, spot.file, put(spot.path, new))
            code = 0 if kind in spot.fine else 1 if kind in spot.costly else 2
            yield attack(spot.against, f"{spot.name}: {kind}", plant, code=code)
    for kind, new in NUMBERS.items():
        plant = partial(change_json, MIG, partial(_with_key, str(new)))
        # a case more, whose picture is not there, or none
        yield attack("coco-mig", f"key: {kind}", plant, code=1 if kind == "text" else 2)
    for what, change in {
        "twice the same index": lambda v: [*v, v[0]],
        "no references": put((0, "references"), []),
        "10,000 references": lambda v: put((0, "references"), v[0]["references"] * 5000)(v),
    }.items():
        yield attack("lamicbench", what, partial(change_json, LAMIC, change), code=2)
    twice = partial(edit, MIG, lambda data: data.replace(b'"6"', b'"0"', 1))
    yield attack("coco-mig", "a key twice", twice, code=2)
    annotations = "coco-mig/mig_bench_anno.yaml"
    for what, change in {
        "aliases that mean a billion": lambda data: laughs() + data,
        "100,000 dashes": lambda data: b"- " * 100_000,
        "100,000 question marks": lambda data: b"? " * 100_000,
        "100,000 braces": lambda data: b"{a: " * 100_000,
        "100,000 brackets": lambda data: b"[" * 100_000,
        "a tag that runs a program": lambda data: (
            b"x: !!python/object/apply:os.system ['touch PWNED']\n" + data
        ),
    }.items():
        yield attack("coco-mig-yaml", what, partial(edit, annotations, change), code=2)
    two = partial(write, "layouts/one.yaml", lambda: b"caption: x\n")
    yield attack("layouts", "two of one name", two, code=2)
    yield attack("layouts", "an empty folder", partial(empty, "layouts"), code=2)


def _with_key(key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {**value, key: value["6"]}


def empty(folder: str, place: Path) -> None:
    for one in (place / folder).iterdir():
        one.unlink()


def laughs() -> bytes:
    """A case whose boxes mean 10^11 values."""
    lines = [b"l0: &l0 [0, 0, 1, 1]"]
    lines.extend(
        b"l%d: &l%d [%s]" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 12)
    )
    return b"\n".join(lines) + b"\na photo of a x and b:\n  a red mug: [*l11]\n  coco_id: '1'\n"


def of_references() -> Iterator[Attack]:
    spots = {
        "layouts": "layouts/ball.png",
        "coco-mig": "coco-mig/reference_images/0000_03_a_red_mug.jpg",
        "lamicbench": "lamicbench/reference_images/object/mug_00.jpg",
    }
    masks = {
        "coco-mig": "coco-mig/reference_masks/0000_03_a_red_mug_mask.png",
        "lamicbench": "lamicbench/reference_masks/object/mug_00_mask.png",
    }
    for against, name in spots.items():
        for kind, make in {**DAMAGED, **ODD}.items():
            yield attack(
                against,
                f"reference: {kind}",
                partial(write, name, make),
                code=1,
                says=(Path(name).stem,),
            )
    for against, name in masks.items():
        for kind, make in {**DAMAGED, **ODD}.items():
            yield attack(
                against,
                f"mask: {kind}",
                partial(write, name, make),
                code=1,
                says=(Path(name).stem.removesuffix("_mask"),),
            )


def _table(change: Callable[[list[dict[str, Any]]], Any], place: Path) -> None:
    rows = [dict(one) for one in ROWS]
    changed = change(rows)
    table = (
        changed
        if isinstance(changed, pyarrow.Table)
        else pyarrow.Table.from_pylist(changed or rows)
    )
    pyarrow.parquet.write_table(table, place / "layoutsam/data/test-00000.parquet")


def of_tables() -> Iterator[Attack]:
    def sam(change: Callable[[list[dict[str, Any]]], Any], what: str, **more: Any) -> Attack:
        return attack("layoutsam", what, partial(_table, change), **{"code": 2, **more})

    def cell(key: str, new: Any) -> Callable[[list[dict[str, Any]]], Any]:
        def change(rows: list[dict[str, Any]]) -> Any:
            for row in rows:
                row[key] = new if row is rows[1] or type(new) is not type(row[key]) else row[key]
            return rows

        return change

    columns: dict[str, Callable[..., Any]] = {
        "missing": lambda rows, key: [{k: v for k, v in one.items() if k != key} for one in rows],
        "null": lambda rows, key: [{**one, key: None} for one in rows],
        "of floats": lambda rows, key: [{**one, key: 1.5} for one in rows],
        "of objects": lambda rows, key: [{**one, key: {"a": [1]}} for one in rows],
        "of bytes": lambda rows, key: [{**one, key: b"\xff\xfe"} for one in rows],
        "of lists": lambda rows, key: [{**one, key: [1, 2]} for one in rows],
    }
    for key in COLUMNS:
        for kind, new in columns.items():
            is_fine = (key, kind) == ("global_caption", "null")
            change = partial(new, key=key)
            yield sam(change, f"column {kind}: {key}", code=0 if is_fine else 2)
    lists = ("region_captions", "detail_region_captions", "bbox_list")
    for key in lists:
        for kind, text in {
            "a call": "__import__('os').system('touch PWNED')",
            "brackets": "[" * 100_000,
            "minus signs": "-" * 100_000 + "1",
            "plus": "[" + "+".join(["1"] * 50_000) + "]",
            "power": "[9**9**9]",
            "dict": "{}",
            "zero byte": "['\0']",
            "other count": "['a', 'b', 'c', 'd', 'e']",
            "10 mb": "['" + "a" * 10_000_000 + "']",
            "empty": "",
            "ellipsis": "[..., ...]",
            "a long number": "[" + "9" * 100_000 + "]",
        }.items():
            code = 0 if kind == "ellipsis" and key != "bbox_list" else 2
            yield sam(cell(key, text), f"{key}: {kind}", code=code)
    for kind, box in BOXES.items():
        if kind == "a thousand lists deep":
            continue
        code = 0 if kind in ("no area", "outside", "negative", "booleans") else 2
        yield sam(cell("bbox_list", repr([[0, 0, 9, 9], box])), f"box: {kind}", code=code)
    for kind, name in NAMES.items():
        if isinstance(name, str) and "\ud800" not in name:
            code = 1 if kind in ("absolute", "out", "out in the middle", "a folder") else 2
            yield sam(cell("file_name", name), f"file_name: {kind}", code=code)
    for kind, number in {"zero": 0, "negative": -5, "huge": 2**62}.items():
        yield sam(cell("width", number), f"width: {kind}")
    yield sam(lambda rows: [*rows, rows[0]], "two rows of one file name")
    yield sam(lambda rows: pyarrow.Table.from_pylist(rows).slice(0, 0), "no rows")
    yield sam(
        lambda rows: pyarrow.table(
            {
                "global_caption": pyarrow.array([b"\xff\xff"] * 2, pyarrow.binary()).cast(
                    pyarrow.string(), safe=False
                )
                if False
                else pyarrow.StringArray.from_buffers(
                    2,
                    pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"),
                    pyarrow.py_buffer(b"\xff\xfe\xff\xfe"),
                ),
                **{
                    k: [r[k] for r in rows]
                    for k in ROWS[0]
                    if k not in ("global_caption", "image_id")
                },
            }
        ),
        "a text that is no UTF-8",
    )
    yield sam(
        lambda rows: pyarrow.table(
            {
                k: pyarrow.array([rows[0][k]] * 3_000_000)
                if k in ("width", "height")
                else pyarrow.array([rows[0][k]])
                .dictionary_encode()
                .take(pyarrow.array([0] * 3_000_000))
                for k in ROWS[0]
            }
        ),
        "three million rows",
    )
    yield sam(
        lambda rows: pyarrow.table(
            {
                k: (
                    pyarrow.array(["x" * 50_000_000])
                    .dictionary_encode()
                    .take(pyarrow.array([0] * 400))
                    if k == "global_caption"
                    else pyarrow.array([rows[0][k]] * 400)
                )
                for k in ROWS[0]
            }
        ),
        "one text of 50 MB in 400 rows",
    )


def of_comparisons() -> Iterator[Attack]:
    def compared(what: str, plant: Callable[[Path], object], code: int = REFUSED) -> Attack:
        files = ("results/one", "results/two/evaluation.json")
        return Attack(
            id=f"compare: {what}",
            command=("evaluate", "--compare", *files),
            uses=("results",),
            plant=plant,
            code=code,
        )

    result = "results/one/evaluation.json"
    for name in (result, "results/two/pictures.jsonl"):
        for kind, change in BROKEN_JSON.items():
            # no pictures at all are no case in common
            yield compared(f"{Path(name).name}: {kind}", partial(edit, name, change))
        for kind, make in FILES.items():
            yield compared(f"{Path(name).name}: {kind}", partial(_instead, name, make))
    for what, path, new in (
        ("another format", ("format",), "imig-evaluation-99"),
        ("no recipe", ("recipe",), {}),
        ("a recipe of texts", ("recipe",), {"name": 7, "bootstrap": "many"}),
        ("a billion draws", ("recipe", "bootstrap", "samples"), 10**9),
        ("other cases", ("against",), {"kind": "x" * 10_000_000}),
        ("models that are none", ("models",), [{}]),
        ("another version", ("imig",), "0.0.1"),
    ):
        yield compared(what, partial(change_json, result, put(path, new)))


def each() -> Iterator[Attack]:
    yield from of_pictures()
    yield from of_leftovers()
    yield from of_lists()
    yield from of_values()
    yield from of_references()
    yield from of_tables()
    yield from of_comparisons()
