"""Scenes: determinism, exact truth, promised visibility, sizes, JSON."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from imig.tabletop import MOODS, RenderedScene, draw_prompt, render_scene, sample_scene
from imig.tabletop.arrangement import MIN_VISIBLE_AREA, MIN_VISIBLE_FRACTION
from imig.tabletop.records import mask_bounds
from imig.tabletop.vocabulary import is_novel

DIGEST_PROGRAM = """
import hashlib
from imig.tabletop import render_scene, sample_scene
digest = hashlib.sha256()
for seed in range(4):
    rendered = render_scene(sample_scene(seed))
    digest.update(rendered.image.tobytes())
    digest.update(rendered.caption.encode())
    for instance in rendered.instances:
        digest.update(instance.mask.tobytes())
print(digest.hexdigest())
"""


def digest(rendered: RenderedScene) -> str:
    parts = [rendered.image.tobytes(), rendered.caption.encode()]
    parts += [i.mask.tobytes() + i.full_mask.tobytes() for i in rendered.instances]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_same_seed_same_bytes() -> None:
    for seed in range(3):
        assert digest(render_scene(sample_scene(seed))) == digest(render_scene(sample_scene(seed)))
    assert digest(render_scene(sample_scene(1))) != digest(render_scene(sample_scene(2)))


def test_same_bytes_in_two_processes() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", DIGEST_PROGRAM], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(("width", "height"), [(256, 256), (384, 192), (160, 288)])
def test_truth_is_consistent(width: int, height: int) -> None:
    for seed in range(25):
        rendered = render_scene(sample_scene(seed, width=width, height=height))
        assert rendered.image.shape == (height, width, 3)
        assert rendered.image.dtype == np.uint8
        assert rendered.style == rendered.scene.style
        claimed = np.zeros((height, width), np.int64)
        for layer, instance in enumerate(rendered.instances):
            assert instance.layer == layer
            assert instance.mask.shape == instance.full_mask.shape == (height, width)
            assert instance.mask.dtype == instance.full_mask.dtype == np.bool_
            assert instance.box == mask_bounds(instance.mask)
            assert instance.full_box == mask_bounds(instance.full_mask)
            assert not np.any(instance.mask & ~instance.full_mask)
            visible, full = instance.mask.sum(), instance.full_mask.sum()
            assert instance.occluded_fraction == pytest.approx(1 - visible / full)
            assert visible / full >= MIN_VISIBLE_FRACTION
            assert instance.mask.mean() >= MIN_VISIBLE_AREA
            # what is hidden is hidden by nearer layers, and by nothing else
            nearer = np.zeros((height, width), np.bool_)
            for other in rendered.instances[layer + 1 :]:
                nearer |= other.full_mask
            np.testing.assert_array_equal(instance.mask, instance.full_mask & ~nearer)
            claimed += instance.mask
        assert claimed.max() == 1


def test_layers_agree_with_depth() -> None:
    """Where two things overlap, the one of the higher layer really is nearer."""
    from imig.tabletop import projection
    from imig.tabletop.primitives import Camera
    from imig.tabletop.shapes import build_thing

    compared = 0
    for seed in range(40):
        scene = sample_scene(seed, width=128, height=128, instances=(4, 8))
        placements = sorted(scene.placements, key=lambda p: -p.position[1])
        posed = [
            projection.Posed(
                build_thing(p.identity),
                projection.yaw_matrix(p.yaw_degrees),
                (*p.position, 0.0),
                p.scale,
            )
            for p in placements
        ]
        pack = projection.Pack(posed)
        view = projection.PackView(pack, Camera.looking(0.0, scene.camera_elevation))
        us, vs, pixel = projection.pixel_grid(128, 128)
        depths = []
        for members in pack.members:
            whole = np.full((128, 128), np.inf, np.float32)
            (r0, r1, c0, c1), depth, _ = projection.thing_buffers(view, members, us, vs, pixel)
            whole[r0:r1, c0:c1] = depth
            depths.append(whole)
        for far in range(len(depths)):
            for near in range(far + 1, len(depths)):
                both = np.isfinite(depths[far]) & np.isfinite(depths[near])
                compared += int(both.sum())
                assert np.all(depths[near][both] < depths[far][both])
    assert compared > 1000


def test_distribution() -> None:
    scenes = [sample_scene(seed) for seed in range(300)]
    counts = np.bincount([len(s.placements) for s in scenes], minlength=9)
    assert counts[:2].sum() == 0
    assert counts[9:].sum() == 0
    assert counts[2:5].sum() > counts[5:].sum()
    assert {s.style for s in scenes} == set(MOODS)
    shared = 0
    for scene in scenes:
        combinations = [p.identity.combination for p in scene.placements]
        assert len(set(combinations)) == len(combinations)
        kinds, colours = {c[0] for c in combinations}, {c[1] for c in combinations}
        shared += min(len(kinds), len(colours)) < len(combinations)
    assert shared > 150
    rendered = [render_scene(sample_scene(s, width=128, height=128)) for s in range(120)]
    occluded = [i.occluded_fraction > 0.05 for r in rendered for i in r.instances]
    assert 0.18 < np.mean(occluded) < 0.42


def test_combinations() -> None:
    for seed in range(60):
        trained = sample_scene(seed, combinations="trained")
        assert not any(is_novel(*p.identity.combination) for p in trained.placements)
        novel = sample_scene(seed, combinations="novel")
        assert any(is_novel(*p.identity.combination) for p in novel.placements)


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1024, 384), (300, 777), (48, 48)])
def test_sizes(width: int, height: int) -> None:
    rendered = render_scene(sample_scene(11, width=width, height=height))
    assert rendered.image.shape == (height, width, 3)
    assert rendered.image.std() > 5
    assert all(i.mask.any() for i in rendered.instances)


def test_instance_range() -> None:
    for count in range(1, 9):
        assert len(sample_scene(count, instances=(count, count)).placements) == count


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="instances"):
        sample_scene(0, instances=(0, 3))
    with pytest.raises(ValueError, match="instances"):
        sample_scene(0, instances=(2, 9))
    with pytest.raises(ValueError, match="pixels"):
        sample_scene(0, width=4)
    with pytest.raises(ValueError, match="combinations"):
        sample_scene(0, combinations="some")  # type: ignore[arg-type]


def test_draw_prompt_honours_phrases() -> None:
    prompt = "three things: a plain red mug, a striped blue car and a dotted green ball"
    rendered = draw_prompt(prompt, width=256, height=256, seed=4)
    assert {i.phrase for i in rendered.instances} == {
        "plain red mug",
        "striped blue car",
        "dotted green ball",
    }
    partial = draw_prompt("two yellow ducks at sunset", width=128, height=128, seed=1)
    assert [(i.noun, i.identity.colour) for i in partial.instances] == [("duck", "yellow")] * 2
    assert partial.style == "golden hour"
    assert len({i.phrase for i in partial.instances}) == 2
    anything = draw_prompt("something nice", width=128, height=128, seed=1)
    assert len(anything.instances) >= 2
    many = draw_prompt("8 houses and 8 chairs", width=128, height=128, seed=2)
    assert 1 <= len(many.instances) <= 8


def test_the_world_is_frozen() -> None:
    """The tiny checkpoints were trained on this world: looks and distribution must not drift."""
    rendered = render_scene(sample_scene(2))
    assert [(i.phrase, i.box) for i in rendered.instances] == [
        ("metallic purple house", (153, 106, 231, 183)),
        ("plain blue duck", (62, 114, 136, 196)),
        ("metallic red cone", (143, 161, 204, 231)),
    ]
    quarters = rendered.image.reshape(2, 128, 2, 128, 3).mean(axis=(1, 3)).reshape(4, 3)
    expected = [
        [132.2, 127.3, 140.8],
        [131.0, 124.3, 137.8],
        [177.1, 173.1, 184.8],
        [173.8, 147.0, 144.1],
    ]
    np.testing.assert_allclose(quarters, expected, atol=0.5)
