"""Subjects alone, and scenes composed of given identities."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from imig.tabletop import KINDS, Identity, draw_prompt, render_scene, sample_identity
from imig.tabletop.alone import subject_alone
from imig.tabletop.composition import EXTRA, LEFT_OUT, REPLACED, compose_identities
from imig.tabletop.prompts import redraw_identity
from imig.tabletop.wording import azimuth_in, motion_in


@pytest.mark.parametrize("kind", KINDS)
def test_a_subject_alone_is_large_and_whole(kind: str) -> None:
    for seed in range(3):
        prompt = f"a striped red {kind} alone on a plain background"
        identity, image, mask = subject_alone(prompt, width=96, height=80, seed=seed)
        assert identity.combination == (kind, "red", "striped")
        assert image.shape == (80, 96, 3)
        rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
        sides = (np.ptp(columns) + 1) / 96, (np.ptp(rows) + 1) / 80
        assert 0.3 < max(sides) < 0.55
        assert rows[0] > 0
        assert rows[-1] < 79
        assert not mask[:, [0, -1]].any()
        drawn = draw_prompt(prompt, width=96, height=80, seed=seed)
        np.testing.assert_array_equal(drawn.image, image)
        assert [one.identity for one in drawn.instances] == [identity]
        # plain: nothing but light and shade varies around the subject
        around = image[~mask].astype(float) / 255
        assert np.ptp(around - around.mean(axis=1, keepdims=True), axis=1).mean() < 0.12


def test_a_subject_alone_is_a_scene_like_any_other() -> None:
    drawn = draw_prompt("a blue duck alone on the grass at sunset", width=64, height=64, seed=4)
    assert drawn.style == "golden hour"
    assert drawn.scene.backdrop.table == "grass"
    np.testing.assert_array_equal(render_scene(drawn.scene).image, drawn.image)


def test_the_identity_alone_does_not_depend_on_the_size() -> None:
    prompt = "a house alone on a plain background"
    small = subject_alone(prompt, width=32, height=48, seed=9)[0]
    assert small == subject_alone(prompt, width=96, height=64, seed=9)[0]
    assert small != subject_alone(prompt, width=96, height=64, seed=10)[0]


def test_a_subject_without_a_known_name_is_some_thing() -> None:
    drawn = draw_prompt("an old dog alone on a plain background", width=64, height=64, seed=0)
    assert len(drawn.instances) == 1
    several = draw_prompt("a mug and a car, nothing else", width=64, height=64, seed=0)
    assert len(several.instances) == 2


def _identities(count: int, seed: int) -> list[Identity]:
    rng = np.random.default_rng(seed)
    return [sample_identity(rng) for _ in range(count)]


def test_a_composition_knows_what_it_shows() -> None:
    identities = _identities(3, 0)
    prompt = "three things on a marble table in neon light"
    composed = compose_identities(identities, prompt, width=96, height=64, seed=1)
    rendered = composed.rendered
    assert rendered.image.shape == (64, 96, 3)
    assert rendered.style == "neon"
    assert rendered.scene.backdrop.table == "marble"
    assert len(composed.shown) == len(composed.replaced) == len(rendered.instances)
    again = compose_identities(identities, prompt, width=96, height=64, seed=1)
    np.testing.assert_array_equal(again.rendered.image, rendered.image)
    assert again.shown == composed.shown


def test_a_composer_errs_as_often_as_it_says() -> None:
    pictures, count = 400, 3
    seen: Counter[str] = Counter()
    for seed in range(pictures):
        identities = _identities(count, seed)
        composed = compose_identities(identities, "", width=24, height=24, seed=seed)
        for truth, shown, replaced in zip(
            composed.rendered.instances, composed.shown, composed.replaced, strict=True
        ):
            assert shown is None or replaced is None
            if shown is not None:
                assert truth.identity == identities[shown]
                seen["faithful"] += 1
            elif replaced is not None:
                assert truth.identity != identities[replaced]
                assert truth.identity.kind == identities[replaced].kind
                seen["replaced"] += 1
            else:
                seen["extra"] += 1
    asked = pictures * count
    missing = asked - seen["faithful"] - seen["replaced"]
    assert seen["replaced"] / asked == pytest.approx(REPLACED, abs=0.025)
    assert missing / asked == pytest.approx(LEFT_OUT, abs=0.02)
    assert seen["extra"] / pictures == pytest.approx(EXTRA, abs=0.04)


def test_compositions_of_nothing_and_of_many() -> None:
    nothing = compose_identities([], "a red mug", width=32, height=32, seed=0)
    assert nothing.shown == (None,)
    many = compose_identities(_identities(12, 3), "", width=64, height=64, seed=0)
    assert len(many.shown) <= 8
    assert all(index is None or index < 8 for index in many.shown)


def test_a_turn_starts_where_the_thing_was_seen_from() -> None:
    identity = Identity("car", "red", "plain")

    def silhouette(text: str, seen_from: float | None) -> np.ndarray:
        return redraw_identity(
            identity, instruction=text, width=64, height=64, seed=1, seen_from=seen_from
        )[1]

    turned = silhouette("camera turned by 30 degrees to the right", 40.0)
    np.testing.assert_array_equal(silhouette("camera turned by 70 degrees", None), turned)
    np.testing.assert_array_equal(
        silhouette("in daylight", 70.0), silhouette("turned by 70 degrees in daylight", None)
    )


@pytest.mark.parametrize(
    ("text", "motion"),
    [
        ("show the plain red chair in warm light. Remove everything else", "still"),
        ("while removing the boat", "still"),
        ("thrown into the air", "airborne"),
        ("in another posture, tilted", "tilted"),
        ("show the car in motion", "blurred"),
    ],
)
def test_motion_is_read_from_whole_words(text: str, motion: str) -> None:
    assert motion_in(text) == motion


def test_sides_are_read() -> None:
    assert azimuth_in("turned by 45 degrees to the left", 10.0) == -35.0
    assert azimuth_in("from behind", 10.0) == 180.0
    assert azimuth_in("remove what stands beside it") is None
