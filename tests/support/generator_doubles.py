"""Test doubles of generators: pictures of one colour, which say what they were asked for."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from imig.models.protocols import (
    ComposeRequest,
    DrawRequest,
    EditRequest,
    GeneratorSettings,
)

COLOURS = {"red": (220, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 220)}


def colour_in(text: str) -> tuple[int, int, int]:
    return next((rgb for word, rgb in COLOURS.items() if word in text), (90, 90, 0))


class DiscGenerator:
    """Draws, edits and composes discs on grey, each of the first colour its text names."""

    name = "double:generator"

    def __init__(self) -> None:
        self.drawn: list[DrawRequest] = []
        self.edited: list[EditRequest] = []
        self.composed: list[ComposeRequest] = []
        self.settings: list[GeneratorSettings] = []

    def draw(
        self, requests: Sequence[DrawRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        self.drawn += requests
        self.settings.append(settings)
        return [_discs([one.prompt], one.width, one.height) for one in requests]

    def edit(
        self, requests: Sequence[EditRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        self.edited += requests
        self.settings.append(settings)
        return [_discs([one.phrase], one.width, one.height) for one in requests]

    def compose(
        self, requests: Sequence[ComposeRequest], *, settings: GeneratorSettings
    ) -> list[Image.Image]:
        self.composed += requests
        self.settings.append(settings)
        return [
            _discs([reference.phrase for reference in one.references], one.width, one.height)
            for one in requests
        ]


def disc_boxes(count: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Where the discs are: side by side, each in the middle of its share of the width."""
    share = width / count
    radius = 0.35 * min(share, height)
    return [
        (
            round((i + 0.5) * share - radius),
            round(height / 2 - radius),
            round((i + 0.5) * share + radius),
            round(height / 2 + radius),
        )
        for i in range(count)
    ]


def _discs(texts: Sequence[str], width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (128, 128, 128))
    for text, (x1, y1, x2, y2) in zip(texts, disc_boxes(len(texts), width, height), strict=True):
        ImageDraw.Draw(image).ellipse((x1, y1, x2 - 1, y2 - 1), fill=colour_in(text))
    return image
