"""Files beside the shards."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from support.hostile.planted import NOTHING, ONLY_VALIDATE, Group, Part
from support.hostile.victim import SHARD, Victim

FOLDER = Group(
    "Reports, tables and other files",
    "Nobody needs them to read samples. `refilter` and `merge` carry rejects and quarantine along, "
    "`encode` copies them where they are what they should be.",
)
_TABLES = Part(frozenset({"validate", "refilter", "merge"}), ("rejects.parquet",))
_REPORT = ONLY_VALIDATE.naming("report.json")


def _write(victim: Victim, name: str, data: bytes) -> None:
    victim.replace(name, data)


REPORTS = {
    "report-list": ("a list", b"[1]"),
    "report-types": ("stages of wrong types", b'{"stages": [{"stage": 1, "seen": "many"}]}'),
    "report-deep": ("9,000 brackets", b"[" * 9000),
    "report-not-utf8": ("bytes that are no UTF-8", b"\xff\xfe{}"),
    "report-empty": ("nothing", b""),
}
for _kind, (_what, _data) in REPORTS.items():
    FOLDER.add(
        _kind, f"report.json: {_what}", _REPORT, partial(_write, name="report.json", data=_data)
    )


@FOLDER.fault(_REPORT)
def report_is_a_pipe(victim: Victim) -> None:
    """report.json: a named pipe"""
    victim.pipe("report.json")


@FOLDER.fault(NOTHING, legal="Reports of versions before it have none.")
def report_missing(victim: Victim) -> None:
    """report.json: not there"""
    victim.loose((victim.folder / "report.json").unlink)


@FOLDER.fault(ONLY_VALIDATE.naming("report.html"))
def report_html_link(victim: Victim) -> None:
    """report.html: a link to a secret of the machine, which `encode` must not copy"""
    (victim.root / "secret").write_text("SECRET")
    victim.link("report.html", victim.root / "secret")


@FOLDER.fault(_TABLES)
def rejects_noise(victim: Victim) -> None:
    """rejects.parquet: noise"""
    victim.replace("rejects.parquet", b"PAR1" + bytes(500) + b"PAR1")


@FOLDER.fault(_TABLES)
def rejects_missing(victim: Victim) -> None:
    """rejects.parquet: not there, though the manifest counts one"""
    victim.loose((victim.folder / "rejects.parquet").unlink)


def _rejects(victim: Victim, **columns: list[object]) -> None:
    victim.loose(lambda: pq.write_table(pa.table(columns), victim.folder / "rejects.parquet"))


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "rejects-figures": ("figures that are no JSON",
                        {"id": ["basic-9"], "stage": ["x"], "reason": ["y"], "figures": ["{"]}),
    "rejects-figures-deep": ("figures of 100,000 brackets",
                             {"id": ["basic-9"], "stage": ["x"], "reason": ["y"],
                              "figures": ["[" * 100_000]}),
    "rejects-figures-null": ("no figures",
                             {"id": ["basic-9"], "stage": ["x"], "reason": ["y"],
                              "figures": [None]}),
    "rejects-id-path": ("an id that leads out of the folder",
                        {"id": ["../../x"], "stage": ["x"], "reason": ["y"], "figures": ["{}"]}),
    "rejects-columns": ("other columns", {"a": [1]}),
}  # fmt: skip
for _kind, (_what, _columns) in ROWS.items():
    FOLDER.add(_kind, f"rejects.parquet: {_what}", _TABLES, partial(_rejects, **_columns))


def _many(victim: Victim, name: str, count: str) -> None:
    """Null rows, as many as the manifest then says there are."""
    columns = {
        one: pa.nulls(3_000_000, pa.string()) for one in pq.read_schema(victim.folder / name).names
    }
    victim.loose(
        lambda: pq.write_table(pa.table(columns), victim.folder / name, compression="zstd")
    )
    counts = victim.manifest["counts"]
    counts["input"] += 3_000_000 - counts[count]
    counts[count] = 3_000_000


for _name, _count in (("rejects", "rejected"), ("quarantine", "quarantined")):
    FOLDER.add(
        f"{_name}-of-three-million-rows",
        f"{_name}.parquet: three million rows in a few kilobytes, and the manifest counts as many",
        _TABLES.naming(f"{_name}.parquet"),
        partial(_many, name=f"{_name}.parquet", count=_count),
    )


@FOLDER.fault(_TABLES.naming("quarantine.parquet"))
def quarantine_is_a_pipe(victim: Victim) -> None:
    """quarantine.parquet: a named pipe"""
    victim.pipe("quarantine.parquet")


@FOLDER.fault(ONLY_VALIDATE.naming("pictures/a.jpg"))
def pictures_link(victim: Victim) -> None:
    """a link to a secret of the machine among the card's pictures"""
    (victim.root / "secret").write_text("SECRET")
    victim.link("pictures/a.jpg", victim.root / "secret")


@FOLDER.fault(ONLY_VALIDATE.naming("pictures/a.jpg"))
def pictures_pipe(victim: Victim) -> None:
    """a named pipe among the card's pictures"""
    victim.pipe("pictures/a.jpg")


@FOLDER.fault(ONLY_VALIDATE.naming("owned"))
def file_name_escapes(victim: Victim) -> None:
    """a file whose name paints on the terminal"""
    victim.replace("\x1b[2Jowned\x07.bin", b"x")


@FOLDER.fault(ONLY_VALIDATE.naming("program.py"))
def file_of_a_program(victim: Victim) -> None:
    """a program among the files, as hubs run them"""
    victim.replace("program.py", b"print('owned')\n")


@FOLDER.fault(ONLY_VALIDATE.naming("basic-000009.tar"))
def shard_unlisted(victim: Victim) -> None:
    """a shard that the manifest does not list"""
    target = victim.folder / "basic-000009.tar"
    victim.loose(lambda: target.write_bytes((victim.folder / SHARD).read_bytes()))


@FOLDER.fault(ONLY_VALIDATE.naming("build"))
def state_of_a_build(victim: Victim) -> None:
    """leftovers of a build that did not finish"""
    state = victim.folder / ".build"
    victim.loose(state.mkdir, lambda: (state / "build.json").write_text(json.dumps([])))


@FOLDER.fault(ONLY_VALIDATE.naming("README.md"))
def card_missing(victim: Victim) -> None:
    """no README.md"""
    victim.loose((victim.folder / "README.md").unlink)
