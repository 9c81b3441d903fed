"""One file a family of models: what it is, its weights, its class. This is the list of them.

The files import no large library (see `imig.models.libraries`), so that the list is read at once.
"""

from __future__ import annotations

from typing import Any, Final

from imig.models.families.aesthetics import Aesthetics
from imig.models.families.blip import Blip
from imig.models.families.contextgen import ContextGen
from imig.models.families.dinov2 import DinoV2
from imig.models.families.dlib import DlibFaces
from imig.models.families.flux import Flux
from imig.models.families.flux_kontext import FluxKontext
from imig.models.families.grounding_dino import GroundingDino
from imig.models.families.groundingdino import GroundingDinoPackage
from imig.models.families.insightface import InsightFace
from imig.models.families.mm_grounding_dino import MMGroundingDino
from imig.models.families.multi_reference import MultiReference
from imig.models.families.open_clip import OpenClip
from imig.models.families.pickscore import PickScore
from imig.models.families.qwen3_vl import Qwen3VL
from imig.models.families.sam2 import Sam2
from imig.models.families.sam3 import Sam3
from imig.models.families.segment_anything import SegmentAnything
from imig.models.families.tabletop import Tabletop
from imig.models.families.vision_language import VisionLanguage
from imig.models.family import Family

CLASSES: Final[tuple[type[Any], ...]] = (
    # they look at pictures: boxes, masks, features, captions, answers
    GroundingDino, GroundingDinoPackage, MMGroundingDino, Sam3, SegmentAnything, Sam2, OpenClip,
    DinoV2, Blip, VisionLanguage, Qwen3VL,
    # they find, recognise and mark faces
    InsightFace, DlibFaces,
    # they judge whole pictures
    Aesthetics, PickScore,
    # they make pictures
    Tabletop, Flux, FluxKontext, MultiReference, ContextGen,
)  # fmt: skip
"""Every family's class, in the order of `imig models list`."""

FAMILY_CLASSES: Final[dict[str, type[Any]]] = {one.family.name: one for one in CLASSES}
"""The class by the family's name in the recipe."""

FAMILIES: Final[dict[str, Family]] = {name: one.family for name, one in FAMILY_CLASSES.items()}
"""What each says of itself, by the same name."""
