import numpy as np

from imig.display import palette
from imig.display.labels import PlacedLabel, place_labels
from imig.display.text import font, shorten, wrap

# Machado, Oliveira and Fernandes (2009), severity 1.0, in linear RGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
}  # fmt: skip


def lab(colour: palette.Colour, seen_as: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of an sRGB colour as someone sees it."""
    value = np.array(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(seen_as @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = (
        ratio ** (1 / 3) if ratio > 0.008856 else 7.787 * ratio + 16 / 116
        for ratio in to_xyz @ linear / (0.9505, 1.0, 1.089)
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_instance_colours_differ_for_the_colour_blind_too() -> None:
    # 2.3 is a just noticeable difference; 8 instances is the most that the detector keeps.
    colours = palette.INSTANCE_COLOURS[:8]
    assert len(set(palette.INSTANCE_COLOURS)) == len(palette.INSTANCE_COLOURS)
    for sight, matrix in COLOUR_BLINDNESS.items():
        seen = [lab(colour, matrix) for colour in colours]
        nearest = min(
            float(np.linalg.norm(seen[i] - seen[j])) for i in range(len(seen)) for j in range(i)
        )
        assert nearest > 12, sight


def test_text_on_every_instance_colour_has_contrast() -> None:
    for colour in palette.INSTANCE_COLOURS:
        light, dark = sorted(
            (palette.luminance(colour), palette.luminance(palette.ink_on(colour))), reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


def overlap(a: PlacedLabel, b: PlacedLabel) -> bool:
    ax1, ay1, ax2, ay2 = a.rectangle
    bx1, by1, bx2, by2 = b.rectangle
    return ax1 < bx2 and bx1 < ax2 and ay1 < by2 and by1 < ay2


def test_labels_never_overlap_nor_leave_the_picture() -> None:
    rng = np.random.default_rng(0)
    detached = 0
    for _ in range(150):
        width, height = (int(v) for v in rng.choice([288, 400, 768], 2))
        count = int(rng.integers(1, 13))
        corners = np.sort(rng.integers(0, (width - 1, height - 1), (count, 2, 2)), axis=1)
        if rng.random() < 0.3:  # all heaped up in one place
            corners = corners // 8
        boxes = [(int(a), int(b), int(c) + 1, int(d) + 1) for (a, b), (c, d) in corners]
        sizes = [[(int(w), 23), (int(w) // 2, 23), (24, 23)] for w in rng.integers(60, 280, count)]
        placed = [one for one in place_labels(boxes, sizes, canvas=(width, height)) if one]
        assert len(placed) == count
        for one, offered in zip(placed, sizes, strict=True):
            x1, y1, x2, y2 = one.rectangle
            assert (x2 - x1, y2 - y1) == offered[one.variant]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            detached += one.detached
        assert not any(overlap(placed[i], placed[j]) for i in range(count) for j in range(i))
    assert detached > 0  # the heaps do need leader lines


def test_a_lone_label_sits_on_top_of_its_box() -> None:
    (label,) = place_labels([(50, 60, 100, 90)], [[(40, 20)]], canvas=(200, 200))
    assert label == PlacedLabel((50, 40, 90, 60), variant=0, detached=False)


def test_a_label_wider_than_the_canvas_becomes_its_short_form_or_nothing() -> None:
    (label,) = place_labels([(0, 0, 9, 9)], [[(300, 20), (30, 20)]], canvas=(100, 100))
    assert label is not None
    assert label.variant == 1
    assert place_labels([(0, 0, 9, 9)], [[(300, 20)]], canvas=(100, 100)) == [None]
    assert place_labels([], [], canvas=(10, 10)) == []


def test_wrapped_text_fits_and_loses_nothing_but_what_is_cut() -> None:
    face = font(15)
    text = "a very long caption about a striped mug " * 4
    lines = wrap(text, face=face, width=180, max_lines=50)
    assert " ".join(lines) == text.strip()
    assert all(face.getlength(line) <= 180 for line in lines)
    assert wrap(text, face=face, width=180, max_lines=2)[-1].endswith("…")
    assert "".join(wrap("x" * 90, face=face, width=100, max_lines=50)) == "x" * 90
    assert wrap("", face=face, width=100, max_lines=3) == []


def test_shortening_keeps_what_fits() -> None:
    face = font(15)
    assert shorten("red  mug\n", face=face, width=200) == "red mug"
    cut = shorten("a striped mug with a long handle", face=face, width=100)
    assert cut.startswith("a strip")
    assert cut.endswith("…")
    assert face.getlength(cut) <= 100
