import numpy as np
import pytest
from PIL import Image, ImageFilter
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_sample

from imig.display import palette
from imig.display.layout_panel import draw_layout
from imig.display.picture import LAYERS, draw_preview
from imig.display.reference_panel import score_lines
from imig.display.target_panel import draw_target, least_around
from imig.errors import UsageError
from imig.sample import Sample, image_to_jpeg
from imig.schema import Instance
from imig.shards.views import SceneView


def view(sample: Sample) -> SceneView:
    return SceneView(sample.scene, sample.files, place="a test")


def pixels_of(picture: Image.Image, colour: palette.Colour) -> int:
    return int((np.asarray(picture) == colour).all(axis=2).sum())


@pytest.fixture(scope="module")
def scene() -> SceneView:
    return view(tabletop_sample(11, instances=(3, 3)))


def test_every_instance_has_a_box_in_its_colour_where_it_lies(scene: SceneView) -> None:
    picture = np.asarray(draw_target(scene, layers=["boxes"]))
    scale = picture.shape[1] / scene.record.width
    for one in scene.record.instances:
        x1, y1, x2, y2 = (round(value * scale) for value in one.box)
        frame = np.concatenate([picture[y1 + 1, x1:x2], picture[y1:y2, x1 + 1]])
        colour = palette.instance_colour(one.index)
        assert (frame == colour).all(axis=1).mean() > 0.7  # the rest lies under nearer boxes


def test_layers_not_asked_for_are_left_out(scene: SceneView) -> None:
    bare = draw_target(scene, layers=[])
    target = scene.target.resize(bare.size, Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(bare), np.asarray(target))
    sizes = {
        layers: draw_preview(scene, layers=layers).size
        for layers in (LAYERS, ("boxes", "references"), ("boxes", "layout"), ("labels",))
    }
    assert len(set(sizes.values())) == 4
    for layer in ("boxes", "masks", "labels"):
        changed = np.asarray(draw_target(scene, layers=[layer])) != np.asarray(bare)
        assert 0.001 < changed.any(axis=2).mean() < 0.6


@pytest.mark.parametrize("size", [(40, 31), (3, 7), (1, 1)])
@pytest.mark.parametrize("radius", [1, 2])
def test_outlines_start_from_what_pillows_filter_gives(size: tuple[int, int], radius: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    expected = Image.fromarray(values).filter(ImageFilter.MinFilter(2 * radius + 1))
    np.testing.assert_array_equal(least_around(values, radius=radius), np.asarray(expected))


def test_an_unknown_layer_is_an_error_with_a_cure(scene: SceneView) -> None:
    with pytest.raises(UsageError, match="'shadows'") as caught:
        draw_preview(scene, layers=["boxes", "shadows"])
    assert "references" in caught.value.cure


def test_the_layout_has_each_reference_inside_its_box(scene: SceneView) -> None:
    layout = draw_layout(scene, width=512)
    assert layout is not None
    drawn = (np.asarray(layout) != 128).any(axis=2)
    inside = np.zeros_like(drawn)
    for one in scene.record.instances:
        x1, y1, x2, y2 = (round(value * 2) for value in one.box)
        inside[y1 : y2 + 1, x1 : x2 + 1] = True
        assert drawn[y1:y2, x1:x2].mean() > 0.2
    assert not (drawn & ~inside).any()


def test_the_layout_has_crops_where_they_were_cut_out(scene: SceneView) -> None:
    layout = draw_layout(scene, width=256)
    assert layout is not None
    drawn = (np.asarray(layout) != 128).any(axis=2)
    masks = [one.mask for one in scene.instances if one.mask is not None]
    visible = np.stack(masks).any(axis=0)
    assert (drawn & visible).sum() / (drawn | visible).sum() > 0.98


def test_scores_stand_below_references_and_missing_ones_do_not() -> None:
    first = view(make_sample(0)).instances[0]
    size = f"{first.references[0].record.width}×{first.references[0].record.height}"
    assert score_lines(first, first.references[0]) == [
        f"crop · {size} · layer 0",
        "CLIP 0.30 · margin 0.10",
        "grounding 0.90 · mask 0.80",
        "view: DINO 0.90 · CLIP 0.80",
    ]
    oracle = view(tabletop_sample(1)).instances[0]
    assert score_lines(oracle, oracle.references[0])[1:] == ["grounding 1.00 · mask 1.00"]


@pytest.mark.parametrize("size", [(1, 1), (2000, 30), (30, 2000), (400, 300)])
def test_odd_scenes_are_drawn(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(width)
    phrases = ["a red mug", "红色的条纹杯子", "красный мяч", "ein sehr langer Satz " * 9, "x" * 300]
    instances = []
    for index in range(12):
        x1, y1 = int(rng.integers(width)), int(rng.integers(height))
        box = (x1, y1, int(rng.integers(x1, width)) + 1, int(rng.integers(y1, height)) + 1)
        instances.append(
            Instance(index=index, identity_id="i", phrase=phrases[index % 5], noun="mug", box=box)
        )
    scene = make_sample(0).scene.model_dump() | {
        "id": "x" * 64,
        "caption": "夏の夜 " * 200,
        "width": width,
        "height": height,
        "instances": [one.model_dump() for one in instances],
        "layer_order": [],
        "relations": [],
    }
    sample = make_sample(0)
    sample.scene = type(sample.scene).model_validate(scene)
    sample.files = {"target.jpg": image_to_jpeg(Image.new("RGB", size, (90, 120, 90)))}
    picture = draw_preview(view(sample))
    assert max(picture.size) < 1400
    assert all(pixels_of(picture, colour) > 100 for colour in palette.INSTANCE_COLOURS)


def test_a_scene_without_instances_or_caption_is_drawn() -> None:
    sample = make_sample(0)
    sample.scene = sample.scene.model_copy(
        update={"instances": [], "layer_order": [], "relations": [], "caption": "", "style": None}
    )
    assert draw_preview(view(sample)).width >= 768
