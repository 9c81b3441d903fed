"""COCO-MIG's colour rule: which pixels are of a colour, and which things."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from imig.evaluation.case import CaseInstance
from imig.evaluation.colour_rule import (
    COLOUR_RANGES,
    COLOURS,
    ColourSet,
    colour_share,
    has_colour,
    pixels_of_colour,
    rgb_to_hsv,
)
from imig.evaluation.metrics.colour import named_colour


def test_hue_saturation_and_value_are_opencvs() -> None:
    # every sixth level of each channel, the greys, and noise
    levels = np.arange(0, 256, 6, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(-1, 1, 3)
    noise = np.random.default_rng(0).integers(0, 256, (200_000, 1, 3), dtype=np.uint8)
    for pixels in (grid, greys, noise):
        np.testing.assert_array_equal(rgb_to_hsv(pixels), cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))


@pytest.mark.parametrize("ranges", COLOUR_RANGES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_pixel_is_of_a_colour_as_opencvs_in_range_says(colour: str, ranges: ColourSet) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    expected = np.zeros((120, 120), np.bool_)
    for lower, upper in COLOUR_RANGES[ranges][colour]:
        expected |= cv2.inRange(hsv, np.array(lower), np.array(upper)) > 0
    np.testing.assert_array_equal(pixels_of_colour(pixels, colour, ranges=ranges), expected)


@pytest.mark.parametrize(
    ("rgb", "v1", "v2"),
    [
        pytest.param((220, 20, 20), {"red"}, {"red"}, id="red"),
        pytest.param((220, 20, 70), {"red"}, {"red"}, id="red, hue from above"),
        pytest.param((220, 70, 20), {"brown"}, {"red", "brown"}, id="orange red is brown, too"),
        pytest.param((30, 60, 210), {"blue"}, {"blue"}, id="blue"),
        pytest.param((30, 200, 210), {"blue"}, {"blue"}, id="cyan is blue"),
        pytest.param((20, 160, 40), {"green"}, {"green"}, id="green"),
        pytest.param((20, 160, 120), {"blue"}, {"green"}, id="sea green: v1 has it as blue"),
        pytest.param((240, 220, 20), {"yellow"}, {"yellow"}, id="yellow"),
        pytest.param((240, 190, 20), {"yellow", "brown"}, {"brown"}, id="amber: no yellow in v2"),
        pytest.param((10, 10, 12), {"black"}, {"black"}, id="black"),
        pytest.param((33, 33, 33), {"black"}, set(), id="charcoal: black in v1 only"),
        pytest.param((250, 250, 250), {"white"}, {"white"}, id="white"),
        pytest.param((110, 70, 30), {"brown"}, {"brown"}, id="brown"),
        pytest.param((127, 127, 127), set(), set(), id="the grey around a mask is of no colour"),
        pytest.param((120, 40, 160), set(), set(), id="purple is of no colour"),
    ],
)
def test_what_the_two_sets_call_a_colour(
    rgb: tuple[int, int, int], v1: set[str], v2: set[str]
) -> None:
    pixel = np.array([[rgb]], np.uint8)
    sets: dict[ColourSet, set[str]] = {"v1": v1, "v2": v2}
    for ranges, expected in sets.items():
        found = {one for one in COLOURS if pixels_of_colour(pixel, one, ranges=ranges).all()}
        assert found == expected


@pytest.mark.parametrize(
    ("red", "under", "right"),
    [
        pytest.param(20, 100, True, id="a fifth is enough"),
        pytest.param(19, 100, False, id="less is not"),
        pytest.param(0, 0, False, id="nothing under the mask"),
        pytest.param(1, 1, True, id="one pixel"),
    ],
)
def test_a_thing_is_of_a_colour_by_its_share(red: int, under: int, right: bool) -> None:
    pixels = np.full((20, 20, 3), (30, 60, 210), np.uint8)
    pixels.reshape(-1, 3)[:red] = (220, 20, 20)
    pixels.reshape(-1, 3)[under:] = (220, 20, 20)  # beyond the mask: red counts for nothing
    mask = np.zeros((20, 20), np.bool_)
    mask.reshape(-1)[:under] = True
    assert has_colour(pixels, mask, "red") is right
    assert colour_share(pixels, mask, "red") == (red / under if under else 0.0)


@pytest.mark.parametrize(
    ("instance", "colour"),
    [
        pytest.param(CaseInstance(phrase="striped red mug"), "red", id="a word of the phrase"),
        pytest.param(CaseInstance(phrase="Red-rimmed cup"), "red", id="part of a word with hyphen"),
        pytest.param(CaseInstance(phrase="coloured mug"), None, id="not a part of a word"),
        pytest.param(CaseInstance(phrase="red and white ball"), None, id="two colours"),
        pytest.param(CaseInstance(phrase="purple mug"), None, id="a colour without a range"),
        pytest.param(
            CaseInstance(phrase="mug", attributes={"colour": "Blue"}), "blue", id="the attribute"
        ),
        pytest.param(
            CaseInstance(phrase="red mug", attributes={"colour": "teal"}), None,
            id="the attribute goes before the phrase",
        ),
    ],
)  # fmt: skip
def test_the_colour_that_an_instance_names(instance: CaseInstance, colour: str | None) -> None:
    assert named_colour(instance) == colour
