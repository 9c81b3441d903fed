"""One picture of a scene to look at: target, references, layout, caption."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageDraw

from imig.display import palette
from imig.display.layout_panel import draw_layout
from imig.display.reference_panel import draw_references
from imig.display.target_panel import draw_target
from imig.display.text import font, line_height, shorten, titled, wrap
from imig.errors import UsageError
from imig.schema import SCENE_FIGURES, Scene
from imig.shards.views import SceneView

LAYERS = ("boxes", "masks", "labels", "references", "layout")
MARGIN = 24
_LAYOUT_WIDTH = 420
_WIDE = 1.6
"""From this aspect on the references go below the target instead of to its right."""
_TALL = 1.35
"""From this height over width on the layout goes beside the target instead of below it."""


def draw_preview(scene: SceneView, *, layers: Iterable[str] = LAYERS) -> Image.Image:
    """The target with its annotations, beside it the references and the layout they make.

    Parameters
    ----------
    scene:
        From `imig.shards.dataset.Dataset`.
    layers:
        What to draw of `LAYERS`; target and caption are always there.

    Raises
    ------
    UsageError
        For a layer that does not exist.
    """
    wanted = check_layers(layers)
    target = draw_target(scene, layers=wanted)
    left = _with_layout(scene, target) if "layout" in wanted else target
    if "references" not in wanted:
        return _page(scene.record, left)
    below = target.width / target.height > _WIDE
    grid = draw_references(scene, height=0 if below else left.height, max_columns=4)
    if grid is None:
        return _page(scene.record, left)
    body = _stack([left, grid], gap=MARGIN) if below else _beside(left, grid)
    return _page(scene.record, body)


def check_layers(layers: Iterable[str]) -> frozenset[str]:
    """The layers as a set.

    Raises
    ------
    UsageError
        For a layer that does not exist.
    """
    wanted = frozenset(layers)
    unknown = sorted(wanted - set(LAYERS))
    if unknown:
        raise UsageError(
            f"there is no preview layer {', '.join(map(repr, unknown))}",
            cure=f"Layers are {', '.join(LAYERS)}; name several with commas between them.",
        )
    return wanted


def _with_layout(scene: SceneView, target: Image.Image) -> Image.Image:
    """The target with the layout and the scene's figures below it, or beside a tall one."""
    tall = target.height / target.width > _TALL
    width = min(_LAYOUT_WIDTH, target.width * 3 // 4) if tall else _LAYOUT_WIDTH
    # No higher than the target beside it, which of a thread would leave nothing to see.
    width = min(width, target.height * scene.record.width // scene.record.height)
    layout = draw_layout(scene, width=width) if width else None
    if layout is None:
        return target
    if tall:
        facts = _facts(scene.record, target.height - layout.height)
        return _beside(target, _stack([titled(layout, "layout"), facts], gap=0))
    facts = _facts(scene.record, layout.height)
    return _stack([target, _beside(titled(layout, "layout"), facts)], gap=MARGIN)


def _page(scene: Scene, body: Image.Image) -> Image.Image:
    """The body under a head line and the caption."""
    width = max(body.width, 480)
    big, small, caption_face = font(20, bold=True), font(14), font(17)
    facts = "  ·  ".join(
        part
        for part in (
            scene.subset,
            scene.style,
            f"{scene.width}×{scene.height}",
            f"{len(scene.instances)} instance{'' if len(scene.instances) == 1 else 's'}",
        )
        if part
    )
    name = shorten(scene.id, face=big, width=width)
    caption = wrap(scene.caption or "(no caption)", face=caption_face, width=width, max_lines=4)
    one_line = big.getlength(name) + 16 + small.getlength(facts) <= width
    heading = line_height(big) + (0 if one_line else line_height(small))
    head = heading + 8 + len(caption) * line_height(caption_face) + 16
    page = Image.new(
        "RGB", (width + 2 * MARGIN, MARGIN + head + body.height + MARGIN), palette.PAGE
    )
    draw = ImageDraw.Draw(page)
    baseline = MARGIN + big.getmetrics()[0]
    draw.text((MARGIN, baseline), name, fill=palette.INK, font=big, anchor="ls")
    if one_line:
        place = (MARGIN + big.getlength(name) + 16, float(baseline))
    else:
        place = (float(MARGIN), float(baseline + line_height(small)))
        facts = shorten(facts, face=small, width=width)
    draw.text(place, facts, fill=palette.QUIET_INK, font=small, anchor="ls")
    for number, line in enumerate(caption):
        top = MARGIN + heading + 8 + number * line_height(caption_face)
        draw.text((MARGIN, top), line, fill=palette.INK, font=caption_face)
    page.paste(body, (MARGIN, MARGIN + head))
    return page


def _facts(scene: Scene, height: int) -> Image.Image:
    """The scene's figures and relations in words."""
    lines = [
        f"source: {scene.source.kind}",
        *(
            f"{one.label}: {one.shown.format(value)}"
            for one in SCENE_FIGURES
            if (value := one.of(scene.scores)) is not None
        ),
    ]
    if scene.layer_order:
        stacked = ", ".join(str(index + 1) for index in scene.layer_order)
        lines.append(f"far to near: {stacked}")
    lines += [
        f"{one.subject + 1} {one.kind} {one.object + 1} (IoU {one.iou:.2f})"
        for one in scene.relations
    ]
    face = font(14)
    step = line_height(face) + 3
    room = max(1, (height + step) // step)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"and {len(lines) - room + 1} more"]
    panel = Image.new("RGB", (300, len(lines) * step + step), palette.PAGE)
    draw = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        text = shorten(line, face=face, width=panel.width)
        draw.text((0, (number + 1) * step), text, fill=palette.QUIET_INK, font=face)
    return panel


def _beside(first: Image.Image, second: Image.Image) -> Image.Image:
    size = (first.width + MARGIN + second.width, max(first.height, second.height))
    panel = Image.new("RGB", size, palette.PAGE)
    panel.paste(first, (0, 0))
    panel.paste(second, (first.width + MARGIN, 0))
    return panel


def _stack(parts: list[Image.Image], *, gap: int) -> Image.Image:
    size = (
        max(part.width for part in parts),
        sum(part.height for part in parts) + gap * (len(parts) - 1),
    )
    panel = Image.new("RGB", size, palette.PAGE)
    top = 0
    for part in parts:
        panel.paste(part, (0, top))
        top += part.height + gap
    return panel
