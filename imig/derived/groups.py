"""Scenes that belong together: what a training sees of one must not be in what it is measured with.

Two scenes hang together when they show the same identity, are made of the same source file or of
the same prompt, or are near copies; and so do all that are reached from one to the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from imig.duplicates.config import DuplicatesConfig
from imig.duplicates.find import near_pairs
from imig.duplicates.signatures import Signatures, Signed
from imig.schema import Scene, Subset


@dataclass
class SceneGroups:
    """Collected scene by scene, then joined."""

    subsets: dict[str, Subset] = field(default_factory=dict)
    """Of each scene, by id."""
    instances: dict[str, int] = field(default_factory=dict)
    signatures: Signatures = field(default_factory=Signatures)
    _first: dict[tuple[str, str], str] = field(default_factory=dict)
    """What scenes share -> the first scene that has it."""
    _parent: dict[str, str] = field(default_factory=dict)
    _causes: Counter[str] = field(default_factory=Counter)

    def add(self, scene: Scene) -> None:
        """Take note of a scene and of what it shares with earlier ones."""
        self.subsets[scene.id] = scene.subset
        self.instances[scene.id] = len(scene.instances)
        self._parent[scene.id] = scene.id
        shared = [("identity", one.identity_id) for one in scene.instances if one.identity_id]
        if scene.source.sha256:
            shared.append(("source file", scene.source.sha256))
        if scene.source.prompt and scene.source.prompt.strip():
            shared.append(("prompt", " ".join(scene.source.prompt.split())))
        for kind, value in shared:
            other = self._first.setdefault((kind, value), scene.id)
            self._join(scene.id, other, cause=f"same {kind}")

    def join_copies(self, config: DuplicatesConfig) -> Signed:
        """Join near copies, of scenes whose signatures were added."""
        signed = self.signatures.sorted_by_id()
        for pairs in near_pairs(signed, np.arange(len(signed)), config):
            for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
                self._join(signed.ids[first], signed.ids[second], cause="near copy")
        return signed

    def groups(self) -> list[list[str]]:
        """Ids of each group, sorted; groups in the order of their first id."""
        found: dict[str, list[str]] = {}
        for scene_id in sorted(self._parent):
            found.setdefault(self._root(scene_id), []).append(scene_id)
        return list(found.values())

    def causes(self) -> Counter[str]:
        """How often each cause joined what was apart."""
        return self._causes

    def _join(self, one: str, other: str, *, cause: str) -> None:
        a, b = self._root(one), self._root(other)
        if a != b:
            self._parent[max(a, b)] = min(a, b)
            self._causes[cause] += 1

    def _root(self, scene_id: str) -> str:
        root = scene_id
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[scene_id] != root:  # shorten the way for the next time
            self._parent[scene_id], scene_id = root, self._parent[scene_id]
        return root
