"""All attacks, and those of them that `make test` plays."""

from __future__ import annotations

from typing import Final

from support.attacks import benching, evaluating, exporting, importing
from support.attacks.attack import Attack

ATTACKS: Final[tuple[Attack, ...]] = (
    *importing.each(),
    *exporting.each(),
    *evaluating.each(),
    *benching.each(),
)
_BY_ID: Final = {one.id: one for one in ATTACKS}
assert len(_BY_ID) == len(ATTACKS), "an id stands twice"

SAMPLE: Final = tuple(
    _BY_ID[one]
    for one in (
        "folders: target: cut-off",
        "coco: list: a-million-brackets",
        "label-studio: list: a pipe",
        "yolo: data.yaml: aliases that mean a billion",
        "export coco: scene: noise",
        "card: dataset.json: cut-off",
        "dataset: picture, partial: bomb",
        "dataset: left pictures.jsonl: a-million-brackets",
        "dataset: left pictures.jsonl: a pipe",
        "coco-mig: a key twice",
        "coco-mig: picture: its name is no text",
        "coco-mig-yaml: 100,000 dashes",
        "lamicbench: file: out",
        "layouts: one.json: a device",
        "layoutsam: box: inverted",
        "compare: no recipe",
    )
)
"""Quick ones: what has once ended in a traceback, a crash or a hang, and one of each command."""
