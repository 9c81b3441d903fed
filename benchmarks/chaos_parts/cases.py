"""The commands that are broken, and the small inputs that they share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from benchmarks.suite.parts._scenes import draw_samples, write_dataset
from imig.derived.split import split_dataset
from imig.interop.exporting import export_dataset

Kind = Literal[
    "kill driver",
    "kill worker",
    "kill raylet",
    "kill gcs",
    "kill driver, worker asleep",
    "stop driver",
    "stop worker",
    "SIGINT",
    "SIGTERM",
    "full disk",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_ALONE: Final[tuple[Kind, ...]] = (
    "kill driver", "stop driver", "SIGINT", "SIGTERM", "full disk",
)  # fmt: skip
_WITH_WORKERS: Final[tuple[Kind, ...]] = (
    *_ALONE, "kill worker", "stop worker", "kill driver, worker asleep",
)  # fmt: skip

_SCENES: Final = 40
_SIDE: Final = 256
_ENCODED: Final = 8
_BUILT: Final = 16


@dataclass(frozen=True)
class Case:
    """A command that is given again and again, and what its output promises."""

    name: str
    arguments: Sequence[str]
    """Without the output."""
    kinds: Sequence[Kind] = _ALONE
    seals: Mapping[str, str] = field(default_factory=lambda: {"dataset.json": ""})
    """Files that are written last -> what the names of all files begin with that they seal."""
    tries: int = 3
    """Of a run that nobody disturbs, after a strike."""
    slow: bool = False
    """Whether it takes long to start."""

    @property
    def datasets(self) -> Sequence[str]:
        """Folders of the output that hold a dataset."""
        return [one.removesuffix("dataset.json") for one in self.seals if "dataset.json" in one]


def make_inputs(folder: Path) -> None:
    """Drawn scenes with their truth in shards, split in two, exported, and a few to encode."""
    samples = draw_samples(_SCENES, size=_SIDE)
    write_dataset(folder / "scenes", samples, scenes_per_shard=5)
    write_dataset(folder / "few", samples[:_ENCODED], scenes_per_shard=2)
    split_dataset(folder / "scenes", validation=0.4, output=folder / "halves")
    export_dataset(folder / "scenes", "folders", output=folder / "folders")
    shutil.rmtree(folder / "folders" / ".imig-export")


def cases(inputs: Path) -> dict[str, Case]:
    """By name; the inputs need not be there yet."""
    scenes, halves = str(inputs / "scenes"), inputs / "halves"
    return {
        one.name: one
        for one in (
            Case(
                "build",
                ["build", "demo", f"--limit={_BUILT}", "--set", "models=tiny",
                 "--set", "engine.block_size=2", "--set", "write.scenes_per_shard=4",
                 # Two models less to load, each time.
                 "--set", "score=null", "--set", "filter.min_phrase_margin=null"],
                kinds=[*_WITH_WORKERS, "kill raylet", "kill gcs"],
                slow=True,
            ),
            Case(
                "refilter",
                ["refilter", scenes, "--set", "filter.min_instances=3"],
            ),
            Case(
                "merge",
                ["merge", str(halves / "train"), str(halves / "validation")],
            ),
            Case(
                "split",
                ["split", scenes, "--validation=0.3"],
                # Of two manifests, one right after the other, the second seals all.
                seals={"validation/dataset.json": "validation/", "train/dataset.json": ""},
            ),
            Case(
                "encode",
                ["encode", str(inputs / "few"), "--recipe=train-tiny", "--workers=2",
                 "--set", "data.target_width=96", "--set", "data.reference_side=48"],
                kinds=_WITH_WORKERS,
            ),
            Case(
                "import",
                ["import", "folders", str(inputs / "folders"), "--scenes-per-shard=3",
                 "--workers=2"],
                kinds=_WITH_WORKERS,
            ),
            Case(
                "export",
                ["export", "folders", scenes, "--workers=2"],
                kinds=_WITH_WORKERS,
                seals={".imig-export/finished.json": ""},
            ),
        )
    }  # fmt: skip
