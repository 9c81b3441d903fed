"""The folder a build writes into: whose it is, who writes, what is finished.

::

    <output>/.build/lock            held by the running build
    <output>/.build/build.json      which build this is; another recipe is refused
    <output>/.build/parts/          finished blocks of unfinished shards
    <output>/.build/shards/         a record for each finished shard
    <output>/dataset.json           written last: its presence means that the dataset is finished
"""

from __future__ import annotations

import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imig.engine.parts import join_parts, remove_parts
from imig.engine.plan import Plan
from imig.errors import DataError, UsageError
from imig.output.folder import BUILD_FOLDER, refuse_nameless, remove_temporaries, require_ours
from imig.output.identity import (
    OTHER_OUTPUT,
    differences,
    read_finished,
    read_identity,
    require_whole,
    write_identity,
)
from imig.output.record import read_record
from imig.recipe.identity import recipe_to_dict, recipe_to_sha256
from imig.schema import Manifest
from imig.shards.manifest import MANIFEST_NAME

DECISION_NAME = "duplicates.json"


@dataclass(frozen=True)
class BuildFolder:
    """Paths of a build, and which of its blocks and shards are finished."""

    plan: Plan

    @property
    def output(self) -> Path:
        return self.plan.output

    @property
    def state(self) -> Path:
        return self.output / BUILD_FOLDER

    @property
    def parts(self) -> Path:
        return self.state / "parts"

    @property
    def identity(self) -> Path:
        return self.state / "build.json"

    def shard_record(self, shard: int) -> Path:
        return self.state / "shards" / f"{shard:06d}.json"

    def prepare(self) -> None:
        """Make the state folders; refuse what another build began; clear what a kill left.

        Raises
        ------
        UsageError
            When the folder holds an unfinished build of something else; says what differs.
        DataError
            When it holds something unfinished, and what says of which build is damaged or gone.
        """
        there = read_identity(self.identity)
        if there is None:
            refuse_nameless(self.identity, self.parts, self.state / "shards")
        elif why := list(differences(there, build_identity(self.plan))):
            raise UsageError(
                f"{self.output} holds an unfinished build that differs: " + "; ".join(why),
                cure=f"go on with the same command, {OTHER_OUTPUT}",
            )
        self.parts.mkdir(parents=True, exist_ok=True)
        write_identity(self.identity, build_identity(self.plan))
        for folder in (self.output, self.state, self.parts, self.state / "shards"):
            remove_temporaries(folder)

    def join_finished_shards(self, *, without: Container[int] = ()) -> None:
        """Join every shard whose blocks are all finished, and none of them among `without`."""
        finished = self.finished_parts()
        for shard in range(self.plan.shards):
            blocks = self.plan.shard_blocks(shard)
            if self.shard_record(shard).is_file():
                self._require_shard(shard)
                # Killed between writing the record and removing the parts.
                remove_parts(self.parts, [block for block in blocks if block in finished])
            elif finished.issuperset(blocks) and not any(one in without for one in blocks):
                self.join_shard(shard)

    def _require_shard(self, shard: int) -> None:
        record = self.shard_record(shard)
        finished = read_record(record).shard
        # Without scenes that survived there is none; while near copies are taken out, it changes.
        if finished is None or (self.state / DECISION_NAME).exists():
            return
        path = self.output / finished.name
        if not path.is_file() or path.stat().st_size != finished.bytes:
            raise DataError(
                f"{path}, which an earlier run has finished, is missing or has another size",
                cure=f"remove {record}, and the same command builds that shard anew",
            )

    def join_shard(self, shard: int) -> None:
        join_parts(
            self.parts,
            self.plan.shard_blocks(shard),
            shard=self.output / self.plan.shard_name(shard),
            record=self.shard_record(shard),
        )

    def finished_parts(self) -> set[int]:
        return {int(path.stem) for path in self.parts.glob("*.json") if path.stem.isdecimal()}

    def pending_blocks(self) -> list[int]:
        """Blocks that are neither in a finished shard nor finished parts, in order."""
        finished = self.finished_parts()
        return [
            block
            for shard in range(self.plan.shards)
            if not self.shard_record(shard).is_file()
            for block in self.plan.shard_blocks(shard)
            if block not in finished
        ]

    def remove_state(self) -> None:
        """Remove `.build`, when the dataset is finished."""
        shutil.rmtree(self.state, ignore_errors=True)


def finished_manifest(plan: Plan) -> Manifest | None:
    """The manifest of a finished dataset of this very plan, or None where there is no dataset.

    Raises
    ------
    UsageError
        When the folder holds a finished dataset of something else, or files that are not imig's.
    DataError
        When it was finished, and its manifest cannot be read or a file is missing.
    """
    output = plan.output
    if output.is_dir() and (output / MANIFEST_NAME).is_file():
        manifest = read_finished(output)
        why = list(differences(manifest_identity(manifest), build_identity(plan)))
        if why:
            raise UsageError(
                f"{output} holds a finished dataset that differs: " + "; ".join(why),
                cure=OTHER_OUTPUT,
            )
        require_whole(output, manifest)
        return manifest
    require_ours(output)
    return None


def build_identity(plan: Plan) -> dict[str, Any]:
    """What makes two builds the same build, as JSON values."""
    recipe = plan.loaded.recipe
    return {
        "recipe_sha256": recipe_to_sha256(recipe),
        "recipe": recipe_to_dict(recipe),
        "scenes": plan.scenes,
        "models": [record.model_dump() for record in plan.model_records],
        "source": plan.source.fingerprint(),
    }


def manifest_identity(manifest: Manifest) -> dict[str, Any]:
    """`build_identity` as far as a finished dataset knows it."""
    return {
        "recipe_sha256": manifest.recipe_sha256,
        "recipe": manifest.recipe,
        "scenes": manifest.counts.input,
        "models": [record.model_dump() for record in manifest.models],
    }
