"""Tabletop: the built-in procedural world, things on a table with exact ground truth."""

from imig.tabletop.captions import parse_prompt
from imig.tabletop.identity import Identity, sample_identity
from imig.tabletop.prompts import draw_prompt, redraw_identity
from imig.tabletop.records import RenderedScene
from imig.tabletop.scene import render_scene, sample_scene, simple_caption
from imig.tabletop.views import View, render_identity
from imig.tabletop.vocabulary import COLOURS, KINDS, MOODS, PATTERNS

__all__ = [
    "COLOURS",
    "KINDS",
    "MOODS",
    "PATTERNS",
    "Identity",
    "RenderedScene",
    "View",
    "draw_prompt",
    "parse_prompt",
    "redraw_identity",
    "render_identity",
    "render_scene",
    "sample_identity",
    "sample_scene",
    "simple_caption",
]
