"""Single identities: vocabulary, JSON, views, redraws."""

from __future__ import annotations

import colorsys
import json
import pickle

import numpy as np
import pytest

from imig.tabletop import (
    COLOURS,
    KINDS,
    MOODS,
    PATTERNS,
    Identity,
    View,
    redraw_identity,
    render_identity,
    sample_identity,
)
from imig.tabletop.records import mask_bounds
from imig.tabletop.vocabulary import (
    ALL_COMBINATIONS,
    NOVEL_COMBINATIONS,
    TRAINED_COMBINATIONS,
    is_novel,
)


def mean_hue(image: np.ndarray, mask: np.ndarray) -> float:
    """Hue in turns of the mean of the saturated pixels of a mask."""
    pixels = image[mask].astype(np.float64) / 255
    spread = pixels.max(axis=1) - pixels.min(axis=1)
    r, g, b = (float(x) for x in pixels[spread > 0.25].mean(axis=0))
    return colorsys.rgb_to_hsv(r, g, b)[0]


def hue_distance(a: float, b: float) -> float:
    return abs((a - b + 0.5) % 1.0 - 0.5)


def test_novel_share() -> None:
    share = len(NOVEL_COMBINATIONS) / len(ALL_COMBINATIONS)
    assert 0.06 < share < 0.14
    for slot, words in enumerate((KINDS, COLOURS, PATTERNS)):
        assert {c[slot] for c in TRAINED_COMBINATIONS} == set(words)
    with pytest.raises(ValueError, match="vocabulary"):
        is_novel("zeppelin", "red", "plain")


def test_identity_words_and_json() -> None:
    rng = np.random.default_rng(0)
    identity = sample_identity(rng, "mug", "red", "striped")
    assert identity.phrase == "striped red mug"
    assert identity.noun == "mug"
    assert len(identity.identity_id) == 12
    again = Identity.from_json(json.loads(json.dumps(identity.to_json())))
    assert again == identity
    assert again.identity_id == identity.identity_id
    copied = pickle.loads(pickle.dumps(identity))
    assert copied == identity
    assert hash(copied) == hash(identity)
    other = sample_identity(rng, "mug", "red", "striped")
    assert other.identity_id != identity.identity_id
    with pytest.raises(ValueError, match="vocabulary"):
        Identity("mug", "beige", "plain")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_pattern_from_all_sides(kind: str) -> None:
    rng = np.random.default_rng(3)
    for pattern in PATTERNS:
        identity = sample_identity(rng, kind, None, pattern)
        for azimuth in range(0, 360, 30):
            image, mask, box = render_identity(
                identity, width=48, height=48, view=View(azimuth, background="blank"), seed=1
            )
            assert mask.mean() > 0.03
            assert box == mask_bounds(mask)
            assert box[0] > 0
            assert box[1] > 0
            assert box[2] < 48
            assert box[3] < 48
            assert image[mask].std() > 3


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_keep_apart_under_every_mood(colour: str) -> None:
    """Under each mood a ball's hue is nearest to its own colour's hue in the studio."""
    hues = {}
    for name in COLOURS:
        ball = Identity("ball", name, "plain")
        image, mask, _ = render_identity(ball, width=64, height=64, view=View(), seed=0)
        hues[name] = mean_hue(image, mask)
    for mood in MOODS:
        ball = Identity("ball", colour, "plain")
        image, mask, _ = render_identity(ball, width=64, height=64, view=View(mood=mood), seed=0)
        seen = mean_hue(image, mask)
        assert min(hues, key=lambda name: hue_distance(hues[name], seen)) == colour


@pytest.mark.parametrize("motion", ["still", "tilted", "airborne", "blurred"])
def test_motions_stay_in_frame(motion: str) -> None:
    for seed, kind in enumerate(KINDS):
        identity = sample_identity(np.random.default_rng(seed), kind)
        view = View(30.0 * seed, MOODS[seed % len(MOODS)], motion)  # type: ignore[arg-type]
        image, mask, box = render_identity(identity, width=80, height=60, view=view, seed=seed)
        assert image.shape == (60, 80, 3)
        assert mask.mean() > 0.04
        assert box[0] > 0
        assert box[1] > 0
        assert box[2] < 80
        assert box[3] < 60


def test_redraw_keeps_colour_and_changes_pixels() -> None:
    for seed, colour in enumerate(COLOURS):
        identity = sample_identity(np.random.default_rng(seed), "mug", colour, "plain")
        base, base_mask, _ = render_identity(identity, width=96, height=96, view=View(), seed=0)
        for instruction in (
            "the camera turned by 45 degrees",
            "in the golden hour light",
            "in motion, on the grass",
            "seen from behind",
        ):
            image, mask = redraw_identity(
                identity, instruction=instruction, width=96, height=96, seed=seed
            )
            assert image.shape == base.shape
            assert mask.any()
            assert not np.array_equal(image, base)
            assert hue_distance(mean_hue(image, mask), mean_hue(base, base_mask)) < 0.06
            again, _ = redraw_identity(
                identity, instruction=instruction, width=96, height=96, seed=seed
            )
            np.testing.assert_array_equal(again, image)


def test_instruction_turns_the_thing() -> None:
    identity = Identity("car", "red", "plain")
    still = [
        redraw_identity(
            identity,
            instruction=f"camera turned by {angle} degrees in daylight on the sand",
            width=64,
            height=64,
            seed=1,
        )[1]
        for angle in (0, 90, 360)
    ]
    assert (still[0] ^ still[1]).mean() > 0.02
    np.testing.assert_array_equal(still[0], still[2])


def test_unknown_view_words_are_errors() -> None:
    identity = Identity("car", "red", "plain")
    for view in (View(mood="gloom"), View(background="lava"), View(motion="rolling")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="unknown"):
            render_identity(identity, width=64, height=64, view=view)
