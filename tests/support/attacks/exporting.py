"""Attacks on `imig export`, `imig card` and `imig adapter`: datasets and adapters of strangers."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from imig.interop.formats import FORMATS
from support.attacks.attack import REFUSED, Attack
from support.attacks.pieces import BROKEN_JSON
from support.attacks.stage import SCENES, VICTIM

SHARD: Final = "dataset/basic-000000.tar"
WRITTEN: Final = tuple(one.name for one in FORMATS if one.exporter is not None)


def attack(name: str, what: str, plant: Callable[[Path], object], **expected: Any) -> Attack:
    command = ("export", name, "dataset", "--output", "out")
    return Attack(
        id=f"export {name}: {what}",
        command=command,
        uses=("dataset",),
        plant=plant,
        **{"code": 1, **expected},
    )


def change_member(name: str, change: Callable[[bytes], bytes], place: Path) -> None:
    """Of the victim, in place: the tar stays as long, so that all others are where they were."""
    path = place / SHARD
    with tarfile.open(path) as archive:
        member = archive.getmember(f"{VICTIM}.{name}")
        data = archive.extractfile(member).read()  # type: ignore[union-attr]
        offset = member.offset_data
    new = change(data)[: len(data)].ljust(len(data), b" ")
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = new
    path.write_bytes(whole)


IN_A_SCENE: Final[dict[str, Callable[[bytes], bytes]]] = {
    kind: change for kind, change in BROKEN_JSON.items() if kind not in ("two-values",)
} | {
    "a box outside": lambda data: re.sub(rb"(\[\s*)66(,)", rb"\g<1>99\2", data),
    "run-lengths": lambda data: re.sub(rb'("counts": ?").', rb"\1~", data),
    "id": lambda data: data.replace(VICTIM.encode(), b"../../../../../x"[:14]),
}


MASKS_UNREAD: Final = ("ai-toolkit", "coco", "imig100k")
"""Formats that have no masks, or take them as they are stored."""
IN_ALL: Final = ("noise", "cut-off", "a-million-brackets", "run-lengths")


def of_scenes() -> Iterator[Attack]:
    for name in WRITTEN:
        for kind in IN_A_SCENE if name == "folders" else IN_ALL:
            plant = partial(change_member, "json", IN_A_SCENE[kind])
            if kind == "run-lengths" and name in MASKS_UNREAD:
                yield attack(name, f"scene: {kind}", plant, code=0, kept=SCENES)
                continue
            said = (VICTIM, "1 scenes are damaged")
            yield attack(name, f"scene: {kind}", plant, says=said, kept=SCENES - 1)


def instead(name: str, make: Callable[[Path], object], place: Path) -> None:
    (place / name).unlink()
    make(place / name)


def _write_thesis(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "thesis.txt").write_text("mine")


def cut(place: Path, *, at: int) -> None:
    path = place / SHARD
    path.write_bytes(path.read_bytes()[:at])


def of_datasets() -> Iterator[Attack]:
    for name in ("folders", "coco"):
        yield attack(name, "shard: missing", lambda p: (p / SHARD).unlink())
        yield attack(name, "shard: empty", partial(cut, at=0), kept=2)
        yield attack(name, "shard: cut off", partial(cut, at=9000), kept=2)
        yield attack(name, "shard: a folder", partial(instead, SHARD, Path.mkdir))
        yield attack(name, "shard: a pipe", partial(instead, SHARD, os.mkfifo))
        for file in ("dataset.json", "index.parquet"):
            for kind, change in BROKEN_JSON.items():
                if (file, kind) == ("index.parquet", "two-values"):
                    continue
                plant = partial(_edit, f"dataset/{file}", change)
                yield attack(name, f"{file}: {kind}", plant, code=REFUSED)
        yield attack(name, "output: a file", lambda p: (p / "out").write_text("x"), code=2)
        yield attack(
            name,
            "output: other things",
            _write_thesis,
            code=2,
        )
        yield attack(
            name, "output: a link to itself", lambda p: (p / "out").symlink_to("out"), code=2
        )
        for kind, change in BROKEN_JSON.items():
            yield attack(
                name,
                f"left export.json: {kind}",
                partial(_left, "export.json", change),
                code=REFUSED,
            )


def _edit(name: str, change: Callable[[bytes], bytes], place: Path) -> None:
    (place / name).write_bytes(change((place / name).read_bytes()))


def _between(change: Callable[[bytes], bytes], data: bytes) -> bytes:
    """As a card's front matter."""
    return b"---\n" + change(data) + b"\n---\n"


def _left(name: str, change: Callable[[bytes], bytes], place: Path) -> None:
    (place / "out/.imig-export").mkdir(parents=True)
    (place / "out/.imig-export" / name).write_bytes(change(b'{"format": "x"}'))


def of_cards() -> Iterator[Attack]:
    def card(what: str, plant: Callable[[Path], object], *more: str, **expected: Any) -> Attack:
        return Attack(
            id=f"card: {what}",
            command=("card", "dataset", *more),
            uses=("dataset",),
            plant=plant,
            **{"code": REFUSED, **expected},
        )

    for name in ("dataset.json", "index.parquet"):
        for kind, change in BROKEN_JSON.items():
            if (name, kind) == ("index.parquet", "two-values"):
                continue  # what lies before a table says nothing
            yield card(f"{name}: {kind}", partial(_edit, f"dataset/{name}", change), "--overwrite")
    yield card("README.md: somebody else's", lambda p: None, code=2)
    for kind, change in BROKEN_JSON.items():
        yield card(
            f"README.md: {kind}",
            partial(
                _edit,
                "dataset/README.md",
                partial(_between, change),
            ),
            code=2,
        )
    yield card(
        "README.md: a pipe",
        partial(instead, "dataset/README.md", os.mkfifo),
        code=2,
    )
    yield card(
        "README.md: a folder",
        partial(instead, "dataset/README.md", Path.mkdir),
        code=2,
    )
    yield card("shard: missing", lambda p: (p / SHARD).unlink(), "--overwrite")
    yield card("no folder", lambda p: shutil.rmtree(p / "dataset"), code=2)


def lora(**change: Any) -> bytes:
    """A small LoRA of two layers, with tensors put in place of others, or away (None)."""
    tensors: dict[str, Any] = {}
    for layer in ("attn.to_q", "attn.to_k"):
        key = f"transformer.transformer_blocks.0.{layer}"
        tensors[f"{key}.lora_A.weight"] = np.ones((4, 8), np.float32)
        tensors[f"{key}.lora_B.weight"] = np.ones((8, 4), np.float32)
    first = next(iter(tensors))
    if "new" in change:
        tensors[first] = change["new"]
    tensors.update(change.get("more", {}))
    if change.get("without"):
        del tensors[first]
    return save(tensors, metadata=change.get("metadata"))


def _header(header: bytes, *, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header


ADAPTERS: Final[dict[str, Callable[[], bytes]]] = {
    "empty": lambda: b"",
    "noise": lambda: bytes(range(256)) * 20,
    "a pickle": lambda: b"\x80\x04\x95" + b"cos\nsystem\n(S'touch PWNED'\ntR.",
    "a zip": lambda: b"PK\x03\x04" + bytes(500),
    "cut off": lambda: lora()[:-50],
    "longer": lambda: lora() + bytes(50),
    "a header of 2^63 bytes": lambda: _header(b"{}", size=2**63),
    "a header of 2^40 bytes": lambda: _header(b"{}", size=2**40),
    "a header of brackets": lambda: _header(b"[" * 100_000),
    "a header that is a list": lambda: _header(b"[]"),
    "a header without tensors": lambda: _header(b"{}"),
    "a tensor of 2^62 values": lambda: (
        _header(b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}')
        + bytes(4)
    ),
    "a tensor of negative size": lambda: (
        _header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4)
    ),
    "offsets turned": lambda: (
        _header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + bytes(4)
    ),
    "an unknown type": lambda: (
        _header(b'{"a":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}') + bytes(4)
    ),
    "whole numbers": lambda: lora(new=np.ones((4, 8), np.int64)),
    "nan": lambda: lora(new=np.full((4, 8), np.nan, np.float32)),
    "endless": lambda: lora(new=np.full((4, 8), np.inf, np.float32)),
    "another rank": lambda: lora(new=np.ones((5, 8), np.float32)),
    "rank 0": lambda: lora(new=np.ones((0, 8), np.float32)),
    "no values": lambda: lora(new=np.ones((), np.float32)),
    "three dimensions": lambda: lora(new=np.ones((4, 8, 2), np.float32)),
    "half of a layer": lambda: lora(without=True),
    "a key that paints": lambda: lora(
        more={"transformer.\x1b[31m\x07.lora_A.weight": np.ones((4, 8), np.float32)}
    ),
    "a key of a path": lambda: lora(
        more={"../../etc/passwd.lora_A.weight": np.ones((4, 8), np.float32)}
    ),
    "an alpha of nan": lambda: lora(
        more={"transformer.transformer_blocks.0.attn.to_q.alpha": np.array(np.nan, np.float32)}
    ),
    "metadata of brackets": lambda: lora(metadata={"lora_adapter_metadata": "[" * 100_000}),
    "metadata that is a list": lambda: lora(metadata={"lora_adapter_metadata": "[]"}),
    "metadata of nan": lambda: lora(
        metadata={"lora_adapter_metadata": '{"transformer.r": NaN, "transformer.lora_alpha": NaN}'}
    ),
    "settings of brackets": lambda: lora(metadata={"imig": "[" * 100_000}),
    "settings that are a list": lambda: lora(metadata={"imig": "[]"}),
    "settings of wrong types": lambda: lora(metadata={"imig": '{"weights": 7, "attention": []}'}),
}


def of_adapters() -> Iterator[Attack]:
    calls = {
        "info": ("info", "a.safetensors"),
        "convert": ("convert", "a.safetensors", "--to", "kohya", "--output", "out/a.safetensors"),
        "resize": ("resize", "a.safetensors", "--rank", "2", "--output", "out/a.safetensors"),
        "export": ("export", "a.safetensors", "--to", "released", "--output", "out"),
    }
    for call, words in calls.items():
        for kind, make in ADAPTERS.items():
            plant = partial(_adapter, make)
            yield Attack(
                id=f"adapter {call}: {kind}",
                command=("adapter", *words),
                uses=(),
                plant=plant,
                code=-2,
            )


def _adapter(make: Callable[[], bytes], place: Path) -> None:
    (place / "a.safetensors").write_bytes(make())


def each() -> Iterator[Attack]:
    yield from of_scenes()
    yield from of_datasets()
    yield from of_cards()
    yield from of_adapters()
