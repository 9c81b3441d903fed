"""Divide a dataset into training and validation that share nothing: `imig split`."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from imig.derived.copying import copy_samples
from imig.derived.groups import SceneGroups
from imig.derived.output import derivation_of, derived_output, is_finished, open_outputs
from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.signing import SIGNED_MEMBERS, add_signature
from imig.errors import VALIDATE, DataError
from imig.output.folder import remove_temporaries
from imig.output.seal import write_side_files
from imig.output.writing import Contents
from imig.recipe.identity import merged_recipes
from imig.sample import Sample
from imig.schema import Manifest, Subset, first_problem
from imig.shards.card import CARD_NAME, parents_licence, write_split_card
from imig.shards.dataset import Dataset
from imig.shards.funnel import FunnelRow
from imig.shards.hub_columns import Part
from imig.shards.manifest import MANIFEST_NAME, write_manifest
from imig.stores.path import OutputPath
from imig.stores.places import output_folder

Side = Literal["train", "validation"]
SIDES: Final[tuple[Side, Side]] = ("train", "validation")


@dataclass(frozen=True)
class Line:
    """What of a subset went where."""

    subset: Subset
    scenes: int
    wanted: int
    """Scenes of it that the share asks for."""
    validation: int
    groups: int
    """Of which at least one scene is of the subset."""
    largest: int
    """Scenes of the subset in its largest group."""


@dataclass(frozen=True)
class Split:
    """Two finished datasets."""

    output: OutputPath
    manifests: dict[Side, Manifest]
    lines: list[Line]
    causes: Counter[str]
    """How often scenes were held together, by cause."""

    def reasons(self) -> Iterator[str]:
        """Why a share is not the one asked for."""
        for line in self.lines:
            if line.validation == line.wanted:
                continue
            why = f"{line.subset}: {line.validation} scenes instead of {line.wanted}"
            if line.groups < line.scenes:
                yield (
                    f"{why}: {line.scenes} scenes hang together in {line.groups} groups (the "
                    f"largest has {line.largest}), and groups are not torn apart"
                )
            else:
                yield f"{why}: its scenes hang together with scenes of other subsets"


def split_dataset(
    folder: str | Path,
    *,
    validation: float,
    output: str | OutputPath,
    seed: int = 0,
    duplicates: DuplicatesConfig | None = None,
    overwrite: bool = False,
) -> Split | None:
    """Write `output`/train and `output`/validation, and a card in `output` that names both.

    Which scene goes where depends on the seed, on ids and on which scenes hang together
    (`imig.derived.groups`), not on shards or their order. Returns None when both are finished
    already.

    Parameters
    ----------
    validation:
        The share of scenes, of each subset.
    duplicates:
        How near copies are recognised; None: as the recipe says, or by default.

    Raises
    ------
    UsageError
        The call is at fault: paths, something else in the output folder.
    DataError
        A sample is damaged, or all scenes hang together.
    """
    started, output = time.monotonic(), output_folder(output)
    parent = Dataset(folder)
    config = duplicates or _recipe_duplicates(parent)
    settings = {"validation": validation, "seed": seed, **config.model_dump(mode="json")}
    derivations = {
        side: derivation_of("split", [parent], {"side": side, **settings}) for side in SIDES
    }
    encoding = parent.manifest.encoding
    outputs = [
        derived_output(output / side, derivations[side], [parent], encoding=encoding)
        for side in SIDES
    ]
    if is_finished(outputs, overwrite=overwrite):
        return None
    groups = _find_groups(parent, config)
    chosen = choose_groups(groups.groups(), groups.subsets, share=validation, seed=seed)
    if not chosen or len(chosen) == len(groups.subsets):
        causes = ", ".join(f"{cause} ({n} times)" for cause, n in groups.causes().most_common())
        raise DataError(
            f"{folder} cannot be split: its {len(groups.subsets)} scenes are too few or hang "
            f"together ({causes or 'nothing in common'})",
            cure="take a larger --validation, or a smaller --hash-distance",
        )
    with open_outputs(outputs, overwrite=overwrite):
        if isinstance(output, Path):
            remove_temporaries(output, of=CARD_NAME)
        contents = {side: _write(parent, side, output / side, chosen) for side in SIDES}
        manifests, licence = {}, parents_licence(parent)
        for side in reversed(SIDES):
            manifests[side] = write_side_files(
                output / side,
                parent.manifest.model_copy(
                    update={"derived": [*parent.manifest.derived, derivations[side]]}
                ),
                contents[side],
                funnel=[_funnel_row(len(groups.subsets), len(contents[side].rows), started)],
                seconds=time.monotonic() - started,
                licence=licence,
            )
        parts = [
            Part(
                output / side,
                manifests[side],
                contents[side].rows,
                side,
                prefix=f"{side}/",
                known_members=contents[side].members,
            )
            for side in SIDES
        ]
        write_split_card(output, parts, licence=licence)
        # One right after the other, when nothing can fail any more: both are finished, or none.
        for side in reversed(SIDES):
            write_manifest(output / side / MANIFEST_NAME, manifests[side])
    lines = _lines(groups, chosen, share=validation)
    return Split(output, manifests, lines, groups.causes())


def choose_groups(
    groups: Sequence[Sequence[str]], subsets: Mapping[str, Subset], *, share: float, seed: int
) -> frozenset[str]:
    """The ids of the validation side: whole groups, that share of each subset as nearly as can be.

    Groups come in an order that their first ids and the seed decide. One is taken when it fits into
    what is still wanted of all its subsets; of those left, one is taken when that brings the sums
    nearer to what is wanted.
    """
    wanted = _wanted(Counter(subsets.values()), share)
    missing = Counter(wanted)
    order = sorted(groups, key=lambda group: _draw(group[0], seed))
    sizes = [Counter(subsets[one] for one in group) for group in order]
    taken: set[int] = set()
    for number, size in enumerate(sizes):
        if all(count <= missing[subset] for subset, count in size.items()):
            taken.add(number)
            missing.subtract(size)
    # Small ones first: they are nearest to what a share lacks.
    rest = (number for number in range(len(order)) if number not in taken)
    for number in sorted(rest, key=lambda one: (sizes[one].total(), one)):
        nearer = sum(
            abs(missing[subset] - count) - abs(missing[subset])
            for subset, count in sizes[number].items()
        )
        if nearer < 0:
            taken.add(number)
            missing.subtract(sizes[number])
    return frozenset(one for number in taken for one in order[number])


def _find_groups(parent: Dataset, config: DuplicatesConfig) -> SceneGroups:
    groups = SceneGroups()
    for scene, files in parent.walk_shards(only=SIGNED_MEMBERS):
        groups.add(scene)
        add_signature(groups.signatures, scene, files, config, place=parent.place_of(scene.id))
    groups.join_copies(config)
    return groups


def _recipe_duplicates(parent: Dataset) -> DuplicatesConfig:
    """As the recipe says; of recipes that were merged, what holds the most scenes together."""
    configs = [_duplicates_of(parent, one) for one in merged_recipes(parent.manifest.recipe)]
    distances = [one.hash_distance for one in configs if one.hash_distance is not None]
    cosines = [one.similarity for one in configs if one.similarity is not None]
    return DuplicatesConfig(
        hash_distance=max(distances, default=None), similarity=min(cosines, default=None)
    )


def _duplicates_of(parent: Dataset, recipe: dict[str, Any]) -> DuplicatesConfig:
    try:
        return DuplicatesConfig.model_validate(recipe.get("duplicates") or {})
    except ValidationError as error:
        raise DataError(
            f"{parent.folder.place(MANIFEST_NAME)}: recipe.duplicates: {first_problem(error)}",
            cure=VALIDATE,
        ) from error


def _wanted(scenes: Counter[Subset], share: float) -> dict[Subset, int]:
    """At least one scene of each subset that has two."""
    return {
        subset: max(round(share * count), 1 if count > 1 else 0)
        for subset, count in sorted(scenes.items())
    }


def _draw(scene_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"split\x1f{seed}\x1f{scene_id}".encode()).digest()


def _write(parent: Dataset, side: Side, folder: OutputPath, chosen: frozenset[str]) -> Contents:
    """The side's samples. What the parent's build turned down stays with the parent."""
    contents = Contents()

    def of_side(number: int, sample: Sample) -> Sample | None:
        return sample if (sample.scene.id in chosen) == (side == "validation") else None

    copy_samples([parent], folder, contents, change=of_side)
    return contents


def _funnel_row(seen: int, passed: int, started: float) -> FunnelRow:
    seconds = round(time.monotonic() - started, 3)
    return FunnelRow("split", seen, 0, 0, passed, seconds, {"other side": seen - passed})


def _lines(groups: SceneGroups, chosen: frozenset[str], *, share: float) -> list[Line]:
    scenes = Counter(groups.subsets.values())
    sizes = [Counter(groups.subsets[one] for one in group) for group in groups.groups()]
    return [
        Line(
            subset=subset,
            scenes=scenes[subset],
            wanted=wanted,
            validation=sum(groups.subsets[one] == subset for one in chosen),
            groups=sum(size[subset] > 0 for size in sizes),
            largest=max(size[subset] for size in sizes),
        )
        for subset, wanted in _wanted(scenes, share).items()
    ]
