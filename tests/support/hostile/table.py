"""All planted faults, in the order of docs/reliability.md."""

from __future__ import annotations

from typing import Final

from support.hostile.archive_faults import ARCHIVES
from support.hostile.encoded_faults import ENCODINGS
from support.hostile.feature_faults import NPY
from support.hostile.folder_faults import FOLDER
from support.hostile.index_faults import INDICES
from support.hostile.manifest_faults import MANIFESTS
from support.hostile.name_faults import NAMES
from support.hostile.picture_faults import PICTURE
from support.hostile.planted import Group, PlantedFault
from support.hostile.scene_faults import RUN_LENGTHS, SCENES

_IN_SHARDS: Final = (ARCHIVES, NAMES, PICTURE, SCENES)
_OTHERS: Final = (RUN_LENGTHS, MANIFESTS, INDICES, FOLDER, NPY, ENCODINGS)
GROUPS: Final[tuple[Group, ...]] = _IN_SHARDS + _OTHERS
IN_SHARDS: Final = [one for group in _IN_SHARDS for one in group.faults]
ELSEWHERE: Final = [one for group in _OTHERS for one in group.faults]
"""Half of them each, so that two cores can share the work."""
FAULTS: Final[dict[str, PlantedFault]] = {one.kind: one for group in GROUPS for one in group.faults}
assert len(FAULTS) == sum(len(group.faults) for group in GROUPS), "a kind stands twice"
