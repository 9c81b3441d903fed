"""Cases of a dataset: every scene is one, with its boxes, references and true picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from imig.contextgen.layout_pictures import OpenLayout
from imig.contextgen.scene_pictures import open_scene
from imig.evaluation.case import Case, CaseInstance, CaseReference, Mask
from imig.evaluation.pictures import stem_to_case
from imig.schema import Instance, Scene
from imig.shards.dataset import Dataset
from imig.shards.views import SceneView
from imig.stages.pixels import cut_out, instance_mask

AT_HAND = 16
"""Scenes whose bytes stay in memory: metrics ask for the references of a scene one by one."""
PLACED = ("edit", "source", "crop", "face")
"""Kinds of references: what a layout places comes first (`InstanceView.reference_to_place`)."""


class ShardsCases:
    """A dataset, which should be one that the model was not trained on (`imig split`)."""

    kind = "shards"
    table = None

    def __init__(self, folder: str | Path) -> None:
        self._dataset = Dataset(folder)
        self._folder = folder
        self._scene: Callable[[str], SceneView] = lru_cache(AT_HAND)(self._dataset.__getitem__)

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Case]:
        records = {one.id: one for one in self._dataset.records()}
        for one in sorted(records):
            yield self._to_case(records[one])

    def case_of(self, stem: str) -> str | None:
        return stem_to_case(stem, self._ids)

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self._dataset.index["id"])

    def open_layout(self, case: str) -> OpenLayout:
        """What `imig generate --from-shards` draws. Raises DataError when there is nothing."""
        return open_scene(self._scene(case))

    def record(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "place": str(self._folder),
            "cases": len(self),
            "shards": {one.name: one.sha256 for one in self._dataset.manifest.shards},
        }

    def _to_case(self, record: Scene) -> Case:
        return Case(
            id=record.id,
            caption=record.caption,
            size=(record.width, record.height),
            instances=tuple(
                CaseInstance(
                    phrase=one.phrase,
                    noun=one.noun,
                    box=one.box,
                    references=self._references(record.id, number, one),
                    read_truth=partial(self._read_truth, record.id, number),
                )
                for number, one in enumerate(record.instances)
            ),
            read_target=partial(self._read_target, record.id),
        )

    def _references(self, scene: str, number: int, instance: Instance) -> tuple[CaseReference, ...]:
        references = list(enumerate(instance.references))
        references.sort(key=lambda one: PLACED.index(one[1].kind))
        return tuple(
            CaseReference(
                name=f"{reference.name} of {scene}",
                read=partial(self._read_reference, scene, number, place),
            )
            for place, reference in references
        )

    def _read_reference(self, scene: str, instance: int, place: int) -> tuple[Image, Mask | None]:
        view = self._scene(scene).instances[instance].references[place]
        mask = view.mask
        if mask is not None and not mask.any():
            mask = None
        return view.image.convert("RGB"), None if mask is None else np.ascontiguousarray(mask)

    def _read_truth(self, scene: str, number: int) -> tuple[Image, Mask]:
        view = self._scene(scene)
        instance = view.instances[number].record
        mask = instance_mask(instance, width=view.record.width, height=view.record.height)
        return cut_out(view.target, instance, mask)

    def _read_target(self, scene: str) -> Image:
        return self._scene(scene).target
