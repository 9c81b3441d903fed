"""The dataset that `imig encode` writes: what it is made of, what of it is there, its last files.

It lies in its folder as a build's does (`imig.engine.folder`)::

    <output>/.build/lock            held by the running process
    <output>/.build/build.json      what is encoded, and how; anything else is refused
    <output>/.build/shards/         a record for each finished shard
    <output>/dataset.json           written last: its presence means that the dataset is finished
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imig.contextgen.components import FAMILY, find_components
from imig.errors import DataError, UsageError
from imig.models.device import choose_dtype
from imig.output.folder import BUILD_FOLDER, refuse_nameless, remove_temporaries, require_ours
from imig.output.identity import (
    OTHER_OUTPUT,
    read_finished,
    read_identity,
    require_whole,
    write_identity,
)
from imig.output.record import Record, read_record, write_record
from imig.output.seal import CARD_LICENCES
from imig.paths import command_text, is_within, output_path
from imig.schema import EncodingRecord, Manifest, ModelRecord
from imig.shards.atomic import atomic_write_bytes
from imig.shards.card import PICTURES_FOLDER, is_jpeg, write_card
from imig.shards.dataset import Dataset
from imig.shards.folders import LocalFolder
from imig.shards.funnel import REPORT_JSON
from imig.shards.index import INDEX_NAME, write_index
from imig.shards.manifest import MANIFEST_NAME, file_sha256, write_manifest
from imig.shards.names import QUARANTINE_NAME, REJECTS_NAME, REPORT_HTML, begins_as
from imig.training.encoding import differences, encoding_record
from imig.training.parallel import find_device
from imig.training.recipe import DataConfig, TrainRecipe

_COPIED = (REJECTS_NAME, QUARANTINE_NAME, REPORT_JSON, REPORT_HTML)


@dataclass(frozen=True)
class EncodePlan:
    """What is encoded, how, and whereto. Pickles: it goes to every worker."""

    source: Dataset
    source_sha256: str
    """Of its dataset.json."""
    output: Path
    config: DataConfig
    components: Path
    """The pipeline folder."""
    model: ModelRecord
    """For the manifest."""
    encoding: EncodingRecord
    device: str
    """`cpu` or `cuda`, perhaps with a number."""
    shards: dict[str, list[str]]
    """Ids of the samples of each, in order."""

    @property
    def state(self) -> Path:
        return self.output / BUILD_FOLDER

    @property
    def identity(self) -> Path:
        return self.state / "build.json"

    def record_path(self, shard: str) -> Path:
        return self.state / "shards" / f"{shard}.json"

    def shard_is_finished(self, shard: str) -> bool:
        """Whether it need not be encoded again; a record that is damaged raises DataError."""
        record, path = self.record_path(shard), self.output / shard
        if not record.exists():
            return False
        finished = read_record(record).shard
        # None: all of its samples were empty, and so is the record
        return finished is None or (path.is_file() and path.stat().st_size == finished.bytes)


def make_plan(source: str | Path, recipe: TrainRecipe, *, output: Path) -> EncodePlan:
    """Look at everything that an encoding needs; loads no network and writes nothing.

    Raises
    ------
    UsageError
        The dataset, the weights or the GPU are not there, or the output is the source.
    DataError
        The dataset is damaged.
    """
    output = output_path(output)
    dataset = Dataset(source)
    if isinstance(dataset.folder, LocalFolder):
        _refuse_overlap(output, dataset.folder.root)
    names = [record.name for record in dataset.manifest.shards]
    shards: dict[str, list[str]] = {name: [] for name in names}
    for sample_id, shard in zip(dataset.ids, dataset.shards, strict=True):
        if shard not in shards:
            raise DataError(
                f"sample {sample_id} lies in {shard}, which {MANIFEST_NAME} of {source} lacks",
                cure=f"`{command_text('imig', 'validate', source)}` lists everything that is "
                "damaged.",
            )
        shards[shard].append(sample_id)
    device = find_device(recipe.device)
    weights = find_components(recipe.model.weights)
    return EncodePlan(
        source=dataset,
        source_sha256=hashlib.sha256(dataset.folder.read(MANIFEST_NAME)).hexdigest(),
        output=output,
        config=recipe.data,
        components=weights.path,
        model=ModelRecord(
            family=FAMILY, weights=weights.weights.split("@")[0], revision=weights.revision
        ),
        encoding=encoding_record(
            recipe, components=weights.path, dtype=choose_dtype(recipe.model.dtype, device)
        ),
        device=str(device),
        shards=shards,
    )


def _refuse_overlap(output: Path, source: Path) -> None:
    inside, around = is_within(output, source), is_within(source, output)
    if inside or around:
        how = "is" if inside and around else "lies inside of" if inside else "holds"
        raise UsageError(
            f"{output} {how} the dataset that is to be encoded", cure="give another --output"
        )


def finished_manifest(plan: EncodePlan) -> Manifest | None:
    """The manifest of the output where it is this very encoding, finished; else None.

    Raises
    ------
    UsageError
        When the folder holds a finished dataset of something else, or files that are not imig's.
    """
    if not (plan.output / MANIFEST_NAME).is_file():
        require_ours(plan.output)
        return None
    manifest = read_finished(plan.output)
    if manifest.encoding is None:
        raise UsageError(f"{plan.output} holds a dataset that is not encoded", cure=OTHER_OUTPUT)
    why = list(differences(manifest.encoding, plan.encoding))
    if manifest.encoded_from != plan.source_sha256:
        why.append(f"it was made of another dataset, or {plan.source.path} has changed")
    if why:
        raise UsageError(
            f"{plan.output} holds an encoded dataset that differs: {'; '.join(why)}",
            cure=OTHER_OUTPUT,
        )
    require_whole(plan.output, manifest)
    return manifest


def prepare_folder(plan: EncodePlan) -> None:
    """Make the state folder; refuse what something else began; clear what a kill left.

    Raises
    ------
    UsageError
        When the folder holds something else that is unfinished; says what differs.
    DataError
        When what says so is damaged or gone.
    """
    identity, there = _identity(plan), read_identity(plan.identity)
    if there is None:
        refuse_nameless(plan.identity, plan.state / "shards", plan.state / "parts")
    elif there != identity:
        raise UsageError(
            f"{plan.output} holds unfinished work that differs: {_why(there, plan)}",
            cure=f"go on with the same command, {OTHER_OUTPUT}",
        )
    (plan.state / "shards").mkdir(parents=True, exist_ok=True)
    write_identity(plan.identity, identity)
    for folder in (plan.output, plan.state, plan.state / "shards"):
        remove_temporaries(folder)


def keep_record(plan: EncodePlan, shard: str, record: Record) -> None:
    """Take note that a shard is finished."""
    write_record(plan.record_path(shard), record)


def finish_folder(plan: EncodePlan) -> Manifest:
    """Write everything that stands beside the shards, the manifest last.

    Safe to be killed anywhere and done again.
    """
    source, output = plan.source, plan.output
    records = [read_record(plan.record_path(shard)) for shard in plan.shards]
    rows = [row for record in records for row in record.rows]
    write_index(output / INDEX_NAME, rows)
    for name in _COPIED:
        if source.folder.has(name) and begins_as(name, data := source.folder.read(name)):
            atomic_write_bytes(output / name, data)
    others = [one for one in source.manifest.models if one.family != plan.model.family]
    manifest = source.manifest.model_copy(
        update={
            "models": [*others, plan.model],
            "shards": [record.shard for record in records if record.shard is not None],
            "index_sha256": file_sha256(output / INDEX_NAME),
            "encoding": plan.encoding,
            "encoded_from": plan.source_sha256,
        }
    )
    licence = CARD_LICENCES.get(_source_kind(manifest), "other")
    write_card(output, manifest, rows, pictures=_copy_pictures(plan), licence=licence)
    write_manifest(output / MANIFEST_NAME, manifest)
    remove_state(plan)
    return manifest


def remove_state(plan: EncodePlan) -> None:
    """Remove `.build`, when the dataset is finished."""
    shutil.rmtree(plan.state, ignore_errors=True)


def _copy_pictures(plan: EncodePlan) -> list[Path]:
    """The card's pictures; a remote folder cannot be listed, and leaves the card without."""
    folder = plan.source.folder
    if not isinstance(folder, LocalFolder):
        return []
    copies = []
    for picture in sorted((folder.root / PICTURES_FOLDER).glob("*.jpg")):
        if not is_jpeg(picture):  # a link to anything, in a dataset of strangers
            continue
        copies.append(plan.output / PICTURES_FOLDER / picture.name)
        atomic_write_bytes(copies[-1], picture.read_bytes())
    return copies


def _identity(plan: EncodePlan) -> dict[str, Any]:
    """What makes two encodings the same one, as JSON values.

    With the keys of `imig.engine.folder.build_identity`, so that `imig build` can refuse it.
    """
    return {
        "recipe_sha256": f"encoded from {plan.source_sha256}",
        "recipe": {"encoding": plan.encoding.model_dump(mode="json")},
        "scenes": len(plan.source),
        "models": [plan.model.model_dump(mode="json")],
    }


def _why(there: dict[str, Any], plan: EncodePlan) -> str:
    encoding = there["recipe"].get("encoding")
    if encoding is None:
        return "it is a build of `imig build`"
    try:
        old = EncodingRecord.model_validate(encoding)
    except ValidationError:
        return f"{plan.identity} says nothing that this imig can read"
    why = list(differences(old, plan.encoding, exact=True))
    if there["recipe_sha256"] != _identity(plan)["recipe_sha256"]:
        why.append(f"it is made of another dataset, or {plan.source.path} has changed")
    # Equal files by another name; or another transformer, which only the manifest tells of.
    return "; ".join(why) or f"model.weights are {old.weights}, of another place or revision"


def _source_kind(manifest: Manifest) -> str:
    source = manifest.recipe.get("source")
    return str(source.get("kind")) if isinstance(source, dict) else ""
