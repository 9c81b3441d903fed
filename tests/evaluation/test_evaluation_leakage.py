"""What training has seen of the cases: copies are found, other things of the same shape are not."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.evaluation.leakage import LeakageConfig, Pictures, near_copies, subject_alone
from imig.tabletop import redraw_identity, sample_identity


def view(seed: int, colour: str = "red") -> tuple[Image.Image, NDArray[np.bool_]]:
    identity = sample_identity(np.random.default_rng(seed), "duck", colour, "dotted")
    image, mask = redraw_identity(
        identity, instruction="in daylight", width=256, height=256, seed=seed, seen_from=30.0 * seed
    )
    return Image.fromarray(image), mask


def resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask at another size."""
    return np.asarray(Image.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(size)) > 127


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data)


def found(asked: Pictures, known: Pictures) -> list[tuple[str, str, str]]:
    near = near_copies(asked, known, config=LeakageConfig())
    return [(one.case, one.picture, one.of) for one in near]


def test_a_copy_is_found_through_compression_and_size() -> None:
    image, mask = view(1)
    known = Pictures()
    for seed in range(2, 6):
        known.add(f"scene-{seed}", "ref00", *view(seed))
    half = (128, 128)
    known.add(
        "scene-1",
        "ref00",
        jpeg(image.resize(half, Image.Resampling.LANCZOS), 80),
        resized(mask, half),
    )
    asked = Pictures()
    asked.add("case", "mug.png", image, mask)
    asked.add("other", "mug.png", *view(9))
    assert found(asked, known) == [("case", "mug.png", "scene-1")]


def test_the_same_shape_in_another_colour_is_no_copy() -> None:
    known, asked = Pictures(), Pictures()
    known.add("scene", "ref00", *view(1, "blue"))
    asked.add("case", "ref", *view(1, "red"))
    assert found(asked, known) == []
    asked.add("case", "again", *view(1, "blue"))
    assert found(asked, known) == [("case", "again", "scene")]


def test_nothing_known_nothing_seen() -> None:
    asked = Pictures()
    asked.add("case", "ref", *view(1))
    assert found(asked, Pictures()) == []


def test_only_the_subject_counts() -> None:
    image, mask = view(1)
    elsewhere = Image.new("RGB", (400, 300), (10, 200, 30))
    elsewhere.paste(image, (70, 20), Image.fromarray(mask))
    moved = np.zeros((300, 400), dtype=bool)
    moved[20 : 20 + 256, 70 : 70 + 256] = mask
    first, second = subject_alone(image, mask), subject_alone(elsewhere, moved)
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert subject_alone(image, np.zeros_like(mask)) is image
