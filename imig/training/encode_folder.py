"""The dataset that `imig encode` writes: what it is made of, what of it is there, its last files.

It lies in its folder as `imig.output.folder` says, with a record for each finished shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imig.contextgen.components import FAMILY, find_components
from imig.errors import DataError
from imig.licences.ledger import add_up
from imig.models.device import choose_dtype
from imig.output.folder import OutputFolder, require_apart
from imig.output.record import read_record
from imig.output.writing import Contents
from imig.paths import command_text
from imig.schema import EncodingRecord, Manifest, ModelRecord
from imig.shards.atomic import atomic_write_bytes
from imig.shards.card import PICTURES_FOLDER, is_jpeg, parents_licence, write_card
from imig.shards.dataset import Dataset
from imig.shards.folders import LocalFolder, location
from imig.shards.funnel import REPORT_JSON
from imig.shards.index import INDEX_NAME, write_index
from imig.shards.manifest import MANIFEST_NAME, file_sha256
from imig.shards.names import QUARANTINE_NAME, REJECTS_NAME, REPORT_HTML, begins_as
from imig.stores.path import OutputPath, local_folder
from imig.stores.places import output_folder
from imig.training.encoding import differences, encoding_record
from imig.training.parallel import find_device
from imig.training.recipe import DataConfig, TrainRecipe

_COPIED = (REJECTS_NAME, QUARANTINE_NAME, REPORT_JSON, REPORT_HTML)


@dataclass(frozen=True)
class EncodePlan:
    """What is encoded, how, and whereto. Pickles: it goes to every worker."""

    source: Dataset
    output: OutputPath
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


def make_plan(source: str | Path, recipe: TrainRecipe, *, output: str | OutputPath) -> EncodePlan:
    """Look at everything that an encoding needs; loads no network and writes nothing.

    Raises
    ------
    UsageError
        The dataset, the weights or the GPU are not there, or the output is the source.
    DataError
        The dataset is damaged.
    """
    output = output_folder(output)
    dataset = Dataset(source)
    require_apart(output, location(dataset.folder))
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


def encode_output(plan: EncodePlan) -> OutputFolder:
    """The folder of an encoding, and what makes two encodings the same one."""
    identity = {
        "recipe_sha256": _made_of(plan.source.fingerprint),
        "recipe": {"encoding": plan.encoding.model_dump(mode="json")},
        "scenes": len(plan.source),
        "models": [plan.model.model_dump(mode="json")],
    }
    return OutputFolder(
        plan.output,
        lambda: identity,
        of_manifest=partial(_manifest_identity, plan, identity),
        compare=partial(_differences, plan),
    )


def _made_of(sha256: str | None) -> str:
    return f"encoded from {sha256}"


def _manifest_identity(
    plan: EncodePlan, identity: dict[str, Any], manifest: Manifest
) -> dict[str, Any]:
    """Of a finished encoding. One that has more than ours, and serves as well, is ours."""
    there = manifest.encoding
    if there is not None and not any(differences(there, plan.encoding)):
        there = plan.encoding
    encoding = {} if there is None else {"encoding": there.model_dump(mode="json")}
    return {**identity, "recipe_sha256": _made_of(manifest.encoded_from), "recipe": encoding}


def _differences(plan: EncodePlan, there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    if there == here:
        return
    encoding = there["recipe"].get("encoding")
    if encoding is None:
        yield "it is not encoded"
        return
    try:
        old = EncodingRecord.model_validate(encoding)
    except ValidationError:
        yield "what it says of its encoding is nothing that this imig can read"
        return
    why = list(differences(old, plan.encoding, exact=True))
    if there["recipe_sha256"] != here["recipe_sha256"]:
        why.append(f"it is made of another dataset, or {plan.source.path} has changed")
    # Equal files by another name; or another transformer, which only the manifest tells of.
    yield from why or [f"model.weights are {old.weights}, of another place or revision"]


def finish_encoding(plan: EncodePlan, folder: OutputFolder) -> Manifest:
    """Write everything that stands beside the shards, the manifest last.

    Safe to be killed anywhere and done again.
    """
    contents = Contents()
    for shard in plan.shards:
        contents.add(read_record(folder.shard_record(shard)))
    with local_folder(plan.output) as output:
        manifest = _write_side_files(plan, contents, output)
    folder.finish(manifest)
    return manifest


def _write_side_files(plan: EncodePlan, contents: Contents, output: Path) -> Manifest:
    """Index, tables, reports and card; gives the manifest, which is still to be written."""
    source, rows = plan.source, contents.rows
    write_index(output / INDEX_NAME, rows)
    for name in _COPIED:
        if source.folder.has(name) and begins_as(name, data := source.folder.read(name)):
            atomic_write_bytes(output / name, data)
    others = [one for one in source.manifest.models if one.family != plan.model.family]
    manifest = source.manifest.model_copy(
        update={
            "models": [*others, plan.model],
            "shards": contents.shards,
            "index_sha256": file_sha256(output / INDEX_NAME),
            "encoding": plan.encoding,
            "encoded_from": source.fingerprint,
        }
    )
    manifest = manifest.model_copy(update={"licences": add_up(manifest, rows)})
    pictures = _copy_pictures(plan, output)
    write_card(
        output,
        manifest,
        rows,
        pictures=pictures,
        licence=parents_licence(source),
        members=contents.members,
    )
    return manifest


def _copy_pictures(plan: EncodePlan, output: Path) -> list[Path]:
    """The card's pictures; a remote folder cannot be listed, and leaves the card without."""
    folder = plan.source.folder
    if not isinstance(folder, LocalFolder):
        return []
    copies = []
    for picture in sorted((folder.root / PICTURES_FOLDER).glob("*.jpg")):
        if not is_jpeg(picture):  # a link to anything, in a dataset of strangers
            continue
        copies.append(output / PICTURES_FOLDER / picture.name)
        atomic_write_bytes(copies[-1], picture.read_bytes())
    return copies
