"""Choices of a sample, and its pictures: sizes, backgrounds, and a layout that fits the target."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from support.extra_views import add_disc
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_sample

from imig.contextgen.sample import PictureSample
from imig.errors import DataError
from imig.layout.composition import MID_GREY
from imig.layout.masks import mask_to_box
from imig.sample import Sample, mask_to_png
from imig.schema import Face
from imig.shards.views import SceneView
from imig.training.choices import (
    Variant,
    available_variants,
    caption_text,
    draw_choice,
    pick_references,
)
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig

CONFIG = DataConfig(target_width=192, reference_side=96)


def _view(sample: Sample) -> SceneView:
    return SceneView(sample.scene, sample.files, place=f"sample {sample.scene.id}")


def _pictures(sample: Sample, *, variant: Variant = "crop") -> PictureSample:
    return scene_to_pictures(_view(sample), variant=variant, caption="c", config=CONFIG)


def _yellow(pixels: np.ndarray) -> np.ndarray:
    """Boolean (height, width) of the disc's colour."""
    return np.asarray(np.abs(pixels.astype(int) - (250, 220, 0)).max(axis=2) < 60)


# Choices


def test_variants_come_with_the_probabilities_of_the_recipe() -> None:
    drawn = Counter[tuple[str, bool]]()
    generator = np.random.default_rng(0)
    for _ in range(4000):
        choice = draw_choice(("face", "edit", "crop"), config=CONFIG, generator=generator)
        drawn[choice.variant, choice.drop_caption] += 1
    share = {
        variant: (drawn[variant, False] + drawn[variant, True]) / 4000
        for variant in ("face", "edit", "crop")
    }
    assert share["face"] == pytest.approx(0.75, abs=0.03)
    assert share["edit"] == pytest.approx(0.25 * 0.5, abs=0.03)
    assert share["crop"] == pytest.approx(0.25 * 0.5, abs=0.03)
    dropped = sum(count for (_, drop), count in drawn.items() if drop)
    assert dropped / 4000 == pytest.approx(0.2, abs=0.03)


def test_only_what_a_scene_has_is_drawn() -> None:
    generator = np.random.default_rng(1)
    crop: tuple[Variant, ...] = ("crop",)
    drawn = {draw_choice(crop, config=CONFIG, generator=generator).variant for _ in range(50)}
    assert drawn == {"crop"}


def test_available_variants_follow_references_and_probabilities() -> None:
    sample = make_sample(0)
    scene = sample.scene
    assert available_variants(scene, config=CONFIG) == ("crop",)  # its face has nowhere to go
    scene.instances[0].face_box = (10, 10, 20, 20)
    add_disc(sample, scene.instances[1], name="ref10", kind="edit")
    assert available_variants(scene, config=CONFIG) == ("face", "edit", "crop")
    never = CONFIG.model_copy(update={"edit_probability": 0.0})
    assert available_variants(scene, config=never) == ("face", "crop")
    always = CONFIG.model_copy(update={"edit_probability": 1.0})
    assert available_variants(scene, config=always) == ("face", "edit")
    for instance in scene.instances:
        instance.references = []
    assert available_variants(scene, config=CONFIG) == ()


def test_instances_without_the_view_show_another_and_small_ones_are_left_out() -> None:
    sample = make_sample(0)
    scene = sample.scene
    scene.instances[0].face_box = (10, 10, 20, 20)
    add_disc(sample, scene.instances[1], name="ref10", kind="edit")
    add_disc(sample, scene.instances[2], name="ref11", kind="source")

    def names(variant: Variant, *, most: int = 8) -> list[str]:
        config = CONFIG.model_copy(update={"max_references": most})
        picks = pick_references(scene, variant=variant, config=config)
        return [scene.instances[i].references[j].name for i, j in picks]

    assert names("face") == ["face00", "ref01", "ref11"]
    assert names("edit") == ["ref00", "ref10", "ref11"]
    assert names("crop") == ["ref00", "ref01", "ref11"]
    assert names("crop", most=2) == ["ref00", "ref01"]  # thing 2 has the smallest box
    scene.instances[1].references = []
    assert names("crop") == ["ref00", "ref11"]


def test_captions_are_wrapped_unless_there_is_none() -> None:
    wrap = "{x} keep: {caption}"
    assert caption_text("a {red} ball", drop=False, instruction=wrap) == "{x} keep: a {red} ball"
    assert caption_text("a ball", drop=True, instruction=wrap) == ""
    assert caption_text(" ", drop=False, instruction=wrap) == ""


# Pictures


def test_crops_lie_in_the_layout_where_the_target_has_them() -> None:
    for seed in range(3):
        sample = tabletop_sample(seed, width=200, height=160, instances=(3, 5))
        prepared = _pictures(sample)
        assert prepared.target is not None
        assert prepared.layout.shape == prepared.target.shape == (160, 192, 3)
        drawn = (prepared.layout != MID_GREY).any(axis=2)
        masks = [np.asarray(one.mask) for one in _view(sample).instances]
        truth = np.asarray(Image.fromarray(np.any(masks, axis=0)).resize((192, 160)))
        assert (drawn & truth).sum() / (drawn | truth).sum() > 0.93
        apart = np.abs(prepared.layout.astype(int) - prepared.target)[drawn & truth].mean()
        assert apart < 3.5  # JPEG twice and two resamplers; one pixel off makes it 12
        moved = np.roll(prepared.target, 1, axis=1).astype(int)
        assert np.abs(prepared.layout - moved)[drawn & truth].mean() > 3 * apart


def test_boxes_scale_with_the_target() -> None:
    sample = make_sample(1)  # 96 x 64 pixels
    prepared = _pictures(sample)
    assert prepared.layout.shape == (128, 192, 3)
    for reference, instance in zip(prepared.references, sample.scene.instances, strict=True):
        assert reference.box == tuple(2.0 * side for side in instance.box)
        assert reference.name == f"ref{instance.index:02d} crop"


def test_the_background_of_references_is_mid_grey() -> None:
    for reference in _pictures(make_sample(2)).references:
        height, width = reference.mask.shape
        assert (height % 16, width % 16) == (0, 0)
        assert reference.image.shape == (height, width, 3)
        assert height * width == pytest.approx(96 * 96, rel=0.25)
        assert (reference.image[~reference.mask] == MID_GREY).all()
        assert 0.4 < reference.mask.mean() < 1.0


def test_an_edit_fills_the_area_of_its_box() -> None:
    sample = make_sample(0, things=1)
    add_disc(sample, sample.scene.instances[0], name="ref10", kind="edit")
    prepared = _pictures(sample, variant="edit")
    x1, y1, x2, y2 = prepared.references[0].box
    drawn = mask_to_box(_yellow(prepared.layout))
    assert drawn is not None
    side = float(np.sqrt((x2 - x1) * (y2 - y1)))
    assert drawn[2] - drawn[0] == pytest.approx(side, abs=3)
    assert (drawn[0] + drawn[2]) / 2 == pytest.approx((x1 + x2) / 2, abs=2)
    assert (drawn[1] + drawn[3]) / 2 == pytest.approx((y1 + y2) / 2, abs=2)


def test_a_source_keeps_its_margin() -> None:
    sample = make_sample(0, things=1)
    add_disc(sample, sample.scene.instances[0], name="ref10", kind="source")
    prepared = _pictures(sample)
    x1, y1, x2, y2 = prepared.references[0].box
    drawn = mask_to_box(_yellow(prepared.layout))
    assert drawn is not None
    scale = min((x2 - x1) / 120, (y2 - y1) / 90)
    assert drawn[2] - drawn[0] == pytest.approx(60 * scale, abs=3)
    assert (drawn[0] + drawn[2]) / 2 == pytest.approx((x1 + x2) / 2 + (40 - 60) * scale, abs=2)


def test_an_aligned_face_lies_on_the_face_of_the_target() -> None:
    sample = make_sample(0, things=1)
    instance = sample.scene.instances[0]
    instance.references = []
    face = Face(box=(0, 0, 9, 9), aligned_box=(10, 20, 70, 80))
    add_disc(sample, instance, name="face01", kind="face", face=face)
    instance.face_box = (30, 20, 42, 32)
    prepared = _pictures(sample, variant="face")
    drawn = mask_to_box(_yellow(prepared.layout))
    assert drawn is not None
    wanted = np.array([60, 40, 84, 64])  # the target is twice as large
    assert np.abs(np.array(drawn) - wanted).max() <= 5
    centre = (np.array(drawn[:2]) + np.array(drawn[2:])) / 2
    assert np.abs(centre - (72, 52)).max() <= 1.5
    x1, y1, x2, y2 = prepared.references[0].box
    assert (x2 - x1) * (y2 - y1) == pytest.approx(24 * 24 * (120 * 90) / (60 * 60), rel=0.05)


def test_an_edit_with_a_face_is_anchored_at_the_face() -> None:
    sample = make_sample(0, things=1)
    instance = sample.scene.instances[0]
    x1, y1, _, _ = instance.box
    add_disc(sample, instance, name="ref10", kind="edit", face=Face(box=(30, 40, 50, 60)))
    instance.face_box = (x1, y1, x1 + 30, y1 + 20)
    prepared = _pictures(sample, variant="edit")
    drawn = mask_to_box(_yellow(prepared.layout))
    assert drawn is not None
    # The face is at the disc's centre, the target's face above and left of the box's.
    assert (drawn[1] + drawn[3]) / 2 == pytest.approx(2 * (y1 + 10), abs=12)
    assert (drawn[1] + drawn[3]) / 2 < 2 * (instance.box[1] + instance.box[3]) / 2 - 5


def test_an_empty_mask_is_damage() -> None:
    sample = make_sample(0)
    reference = sample.scene.instances[1].references[0]
    blank = np.zeros((reference.height, reference.width), dtype=bool)
    sample.files["ref01.mask.png"] = mask_to_png(blank)
    with pytest.raises(DataError, match="mask of ref01 of sample basic-00000000 is empty"):
        _pictures(sample)
    sample.files["ref01.mask.png"] = mask_to_png(np.ones((3, 3), dtype=bool))
    with pytest.raises(DataError, match=r"ref01\.mask\.png is PNG 1 of 3x3 instead of PNG 1 of"):
        _pictures(sample)


def test_a_scene_without_references_is_no_sample() -> None:
    sample = make_sample(0)
    for instance in sample.scene.instances:
        instance.references = []
    with pytest.raises(DataError, match="no instance with a reference"):
        _pictures(sample)
