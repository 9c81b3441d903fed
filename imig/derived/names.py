"""New names for samples of merged datasets whose ids collide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imig.schema import Scene
from imig.shards.dataset import Dataset

MAX_LENGTH = 64  # of a sample id, see `imig.schema.SampleId`


@dataclass
class NewNames:
    """What is called otherwise in the merged dataset, of one of the parents."""

    ids: dict[str, str] = field(default_factory=dict)
    """Of samples, rejects and quarantined scenes."""
    identities: dict[str, str] = field(default_factory=dict)
    """Identity ids that mean something else in an earlier parent."""


def find_new_names(parents: Sequence[Dataset], ids: Sequence[Sequence[str]]) -> list[NewNames]:
    """For each parent; `ids` are all of each parent's scenes, written or not.

    The first parent that has an id keeps it. In a later one the scene becomes ``<id>-<n>``, n its
    parent's place (2 for the second), or the next number that nobody has.

    Identity ids derive from scene ids: where the two scenes come from different sources, an
    identity id that both have is two identities, and is renamed throughout the later parent.
    """
    taken = {one for names in ids for one in names}
    seen: set[str] = set()
    result = []
    for place, names in enumerate(ids):
        new = NewNames()
        for scene_id in names:
            if scene_id in seen:
                new.ids[scene_id] = _free_name(scene_id, taken, number=place + 1)
                taken.add(new.ids[scene_id])
        seen.update(names)
        if new.ids:
            new.identities = _foreign_identities(parents[: place + 1], new.ids)
        result.append(new)
    return result


def _free_name(scene_id: str, taken: set[str], *, number: int) -> str:
    while True:
        ending = f"-{number}"
        name = scene_id[: MAX_LENGTH - len(ending)] + ending
        if name not in taken:
            return name
        number += 1


def _foreign_identities(parents: Sequence[Dataset], ids: Mapping[str, str]) -> dict[str, str]:
    *earlier, parent = parents
    theirs: dict[str, list[tuple[str, set[str]]]] = {}
    for one in earlier:
        for scene in _scenes(one, ids):
            theirs.setdefault(scene.id, []).append((_origin(scene), _identities(scene)))
    foreign = {
        identity
        for scene in _scenes(parent, ids)
        for origin, identities in theirs.get(scene.id, ())
        if origin != _origin(scene)
        for identity in identities & _identities(scene)
    }
    return {one: _new_identity(one, parent) for one in sorted(foreign)}


def _scenes(parent: Dataset, ids: Mapping[str, str]) -> Iterable[Scene]:
    return (one for one, _ in parent.walk_shards(only=()) if one.id in ids)


def _origin(scene: Scene) -> str:
    return scene.source.model_dump_json()


def _identities(scene: Scene) -> set[str]:
    return {one.identity_id for one in scene.instances}


def _new_identity(identity: str, parent: Dataset) -> str:
    return hashlib.sha256(f"{parent.fingerprint}/{identity}".encode()).hexdigest()[:12]
