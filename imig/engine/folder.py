"""The folder a build writes into: which of its blocks and shards are finished.

As `imig.output.folder` says, and beside that::

    <output>/.build/parts/          finished blocks of unfinished shards
    <output>/.build/duplicates.json which near copies are taken out of the shards
    <output>/.build/deaths.json     which scenes kill their worker
    <output>/.build/batch_sizes.json which batches have turned out to fit, where that was open
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from imig.engine.parts import join_parts, remove_parts
from imig.engine.plan import Plan
from imig.errors import DataError
from imig.output.folder import OutputFolder
from imig.output.record import read_record
from imig.outside import code_to_sha256
from imig.recipe.identity import recipe_to_dict, recipe_to_sha256
from imig.stores.path import OutputPath


@dataclass(frozen=True)
class BuildFolder:
    """Paths of a build, and which of its blocks and shards are finished."""

    plan: Plan

    @cached_property
    def output(self) -> OutputFolder:
        return build_output(self.plan)

    @property
    def parts(self) -> OutputPath:
        return self.output.state / "parts"

    @property
    def decision(self) -> OutputPath:
        """Which near copies go; there from when that is decided until the build is finished."""
        return self.output.state / "duplicates.json"

    @property
    def deaths(self) -> OutputPath:
        """What is known of scenes that kill their worker; see `imig.engine.deaths`."""
        return self.output.state / "deaths.json"

    @property
    def batch_sizes(self) -> OutputPath:
        """What has been found out of batch sizes; see `imig.engine.sizes`."""
        return self.output.state / "batch_sizes.json"

    def shard_record(self, shard: int) -> OutputPath:
        return self.output.shard_record(f"{shard:06d}")

    def finished_shards(self) -> set[int]:
        return {int(name) for name in self.output.shard_records() if name.isdecimal()}

    def join_finished_shards(self, *, without: Container[int] = ()) -> None:
        """Join every shard whose blocks are all finished, and none of them among `without`."""
        finished, joined = self.finished_parts(), self.finished_shards()
        for shard in range(self.plan.shards):
            blocks = self.plan.shard_blocks(shard)
            if shard in joined:
                self._require_shard(shard)
                # Killed between writing the record and removing the parts.
                remove_parts(self.parts, [block for block in blocks if block in finished])
            elif finished.issuperset(blocks) and not any(one in without for one in blocks):
                self.join_shard(shard)

    def _require_shard(self, shard: int) -> None:
        record = self.shard_record(shard)
        lost = self.output.lost_shard(read_record(record))
        if lost is not None and not self.decision.is_file():  # which changes shards
            raise DataError(
                f"{lost}, which an earlier run has finished, is missing or has another size",
                cure=f"remove {record}, and the same command builds that shard anew",
            )

    def join_shard(self, shard: int) -> None:
        join_parts(
            self.parts,
            self.plan.shard_blocks(shard),
            shard=self.plan.output / self.plan.shard_name(shard),
            record=self.shard_record(shard),
        )

    def finished_parts(self) -> set[int]:
        return {int(path.stem) for path in self.parts.glob("*.json") if path.stem.isdecimal()}

    def pending_blocks(self) -> list[int]:
        """Blocks that are neither in a finished shard nor finished parts, in order."""
        finished, joined = self.finished_parts(), self.finished_shards()
        return [
            block
            for shard in range(self.plan.shards)
            if shard not in joined
            for block in self.plan.shard_blocks(shard)
            if block not in finished
        ]


def build_output(plan: Plan) -> OutputFolder:
    """The folder of a build."""
    return OutputFolder(plan.output, partial(build_identity, plan))


def build_identity(plan: Plan) -> dict[str, Any]:
    """What makes two builds the same build, as JSON values."""
    recipe = plan.loaded.recipe
    return {
        "recipe_sha256": recipe_to_sha256(recipe),
        "recipe": recipe_to_dict(recipe),
        "scenes": plan.scenes,
        "models": [record.model_dump() for record in plan.model_records],
        "source": plan.source.fingerprint(),
        "extra": {one.stage: code_to_sha256(one.stage) for one in recipe.extra},
    }
