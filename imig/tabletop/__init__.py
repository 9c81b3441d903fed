"""Tabletop: the built-in procedural world, things on a table with exact ground truth."""

from imig.tabletop.alone import draw_alone, subject_alone
from imig.tabletop.captions import parse_prompt
from imig.tabletop.composition import Composed, compose_identities
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.prompts import draw_prompt, redraw_identity
from imig.tabletop.records import InstanceTruth, PlacedThing, RenderedScene, TabletopScene
from imig.tabletop.scene import render_scene, sample_scene, simple_caption
from imig.tabletop.textures import Backdrop
from imig.tabletop.views import View, render_identity
from imig.tabletop.vocabulary import (
    COLOURS,
    KINDS,
    MOODS,
    PATTERNS,
    hard_negative,
    is_novel,
)

__all__ = [
    "COLOURS",
    "KINDS",
    "MOODS",
    "PATTERNS",
    "Backdrop",
    "Composed",
    "Identity",
    "InstanceTruth",
    "PlacedThing",
    "RenderedScene",
    "TabletopScene",
    "View",
    "compose_identities",
    "draw_alone",
    "draw_prompt",
    "hard_negative",
    "is_novel",
    "parse_prompt",
    "redraw_identity",
    "render_identity",
    "render_scene",
    "sample_identity",
    "sample_scene",
    "simple_caption",
    "subject_alone",
]
