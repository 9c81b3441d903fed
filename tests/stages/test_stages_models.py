"""caption, ground, segment, crop and score with doubles in place of models."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.generator_doubles import DiscGenerator
from support.model_doubles import (
    ColourScorer,
    ColourSegmenter,
    FixedCaptioner,
    FixedGrounder,
    GivenSegmenter,
    MeanColourEmbedder,
    digest,
)

from imig.errors import DataError, UsageError
from imig.layout.masks import mask_to_box, rle_to_mask
from imig.recipe.parts import ModelConfig
from imig.sample import Sample, decode_image, image_to_jpeg, png_to_mask
from imig.schema import Scene, Source, scene_from_json, scene_to_json
from imig.stages.base import BuildContext
from imig.stages.caption import CaptionConfig, CaptionStage
from imig.stages.crop import CropConfig, CropStage
from imig.stages.edit import EditConfig, EditStage
from imig.stages.ground import GroundConfig, GroundStage, round_outwards
from imig.stages.instances import keep_instances, reference_members, set_instances
from imig.stages.score import ScoreConfig, ScoreStage
from imig.stages.segment import SegmentConfig, SegmentStage
from imig.stages.write import WriteConfig, WriteStage

CONTEXT = BuildContext(recipe_seed=0, subset="basic")
RED, GREEN, BLUE = (10, 20, 60, 70), (80, 30, 140, 90), (40, 50, 100, 110)
BOXES = [[float(edge) for edge in box] for box in (GREEN, RED, BLUE)]
CANDIDATES = (BOXES, [0.9, 0.8, 0.7])
PHRASES = ["green box", "red box", "blue box"]


def make_sample(*, caption: str = "", nouns: tuple[str, ...] = (), number: int = 0) -> Sample:
    """160 x 120 pixels, grey, with three boxes; blue stands before red and green."""
    image = Image.new("RGB", (160, 120), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for (x1, y1, x2, y2), colour in ((RED, "red"), (GREEN, "lime"), (BLUE, "blue")):
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=colour)
    scene = Scene(
        id=f"basic-{number:08d}",
        subset="basic",
        caption=caption,
        nouns=list(nouns),
        width=160,
        height=120,
        source=Source(kind="file", path="a.png"),
        seed=number,
    )
    return Sample(scene, {"target.jpg": image_to_jpeg(image)})


def grounded(config: GroundConfig | None = None) -> Sample:
    stage = GroundStage(
        config or GroundConfig(), CONTEXT, models={"model": FixedGrounder(*CANDIDATES, PHRASES)}
    )
    return stage([make_sample(caption="three boxes", nouns=tuple(PHRASES))])[0]


def segmented() -> Sample:
    return SegmentStage(SegmentConfig(), CONTEXT, models={"model": ColourSegmenter()})(
        [grounded()]
    )[0]


def cropped(config: CropConfig | None = None) -> Sample:
    return CropStage(config or CropConfig(min_side=8), CONTEXT)([segmented()])[0]


def scored() -> Sample:
    stage = ScoreStage(
        ScoreConfig(),
        CONTEXT,
        models={"text_model": ColourScorer(), "image_model": MeanColourEmbedder()},
    )
    return stage([cropped()])[0]


def test_a_scene_may_have_more_than_a_hundred_references() -> None:
    sample = segmented()
    [given, *_] = sample.scene.instances
    many = [given.model_copy(update={"identity_id": f"thing-{number}"}) for number in range(105)]
    set_instances(sample, many, layer_order=range(105))
    (sample,) = CropStage(CropConfig(min_side=8), CONTEXT)([sample])
    (sample,) = EditStage(EditConfig(side=64), CONTEXT, models={"model": DiscGenerator()})([sample])
    assert sample.scene.instances[104].references[1].name == "ref209"
    last = sample.files["ref209.jpg"]
    keep_instances(sample, range(1, 105))
    scene = sample.scene
    assert scene_from_json(scene_to_json(scene)) == scene
    names = [reference.name for one in scene.instances for reference in one.references]
    assert names == [f"ref{number:02d}" for number in range(208)]
    assert sample.files["ref207.jpg"] == last
    assert set(sample.files) == {
        "target.jpg",
        *(
            member
            for one in scene.instances
            for view in one.references
            for member in reference_members(view)
        ),
    }


# caption


def test_caption_only_where_there_is_none() -> None:
    captioner = FixedCaptioner(" a red  mug and a blue car ")
    stage = CaptionStage(CaptionConfig(), CONTEXT, models={"model": captioner})
    without, own = stage([make_sample(), make_sample(caption="two dogs", number=1)])
    assert captioner.shown == 1
    assert (without.scene.caption, without.scene.caption_model) == (
        "a red mug and a blue car", "double:captioner",
    )  # fmt: skip
    assert without.scene.nouns == ["red mug", "blue car"]
    assert (own.scene.caption, own.scene.caption_model, own.scene.nouns) == (
        "two dogs", None, ["dog"],
    )  # fmt: skip


def test_caption_keeps_the_sources_nouns_and_cuts_its_own() -> None:
    config = CaptionConfig(max_nouns=1, overwrite=True, ignored_nouns=("mug",))
    captioner = FixedCaptioner("a red mug, a blue car and a tree")
    stage = CaptionStage(config, CONTEXT, models={"model": captioner})
    given, cut = stage([make_sample(caption="x", nouns=("a", "b")), make_sample(number=1)])
    assert (given.scene.nouns, given.scene.caption) == (["a", "b"], captioner.sentence)
    assert cut.scene.nouns == ["blue car"]


def test_caption_without_nouns_is_rejected() -> None:
    stage = CaptionStage(
        CaptionConfig(), CONTEXT, models={"model": FixedCaptioner("a view of the sky")}
    )
    reject = stage([make_sample()])[0].reject
    assert reject is not None
    assert (reject.stage, reject.reason) == ("caption", "no nouns in caption")
    assert reject.figures == {"caption": "a view of the sky"}


# ground


def test_ground_numbers_from_left_to_right() -> None:
    sample = grounded()
    assert [one.phrase for one in sample.scene.instances] == ["red box", "blue box", "green box"]
    first = sample.scene.instances[0]
    assert (first.box, first.noun) == (RED, "box")
    assert first.grounding is not None
    assert (first.grounding.score, first.grounding.model) == (0.8, "double:grounder")
    assert len({one.identity_id for one in sample.scene.instances}) == 3
    assert all(one.identity_id for one in sample.scene.instances)
    assert [one.kind for one in sample.scene.relations] == ["overlaps", "overlaps"]


def test_ground_names_what_the_model_cannot_take_and_keeps_the_rest() -> None:
    grounder = FixedGrounder(*CANDIDATES, PHRASES)
    grounder.answer = replace(grounder.answer, unread=("\u200b", "x" * 300))
    (sample,) = GroundStage(GroundConfig(), CONTEXT, models={"model": grounder})(
        [make_sample(nouns=("red box", "\u200b", "x" * 300))]
    )
    assert len(sample.scene.instances) == 3
    assert {kind for kind, _ in sample.oddities} == {"phrase that the model cannot take"}
    assert [details for _, details in sample.oddities] == [
        "'\\u200b'",
        f"'xxxx{'x' * 55}.. (300 letters)",
    ]
    config = GroundConfig(min_instances=4)
    (poor,) = GroundStage(config, CONTEXT, models={"model": grounder})(
        [make_sample(nouns=("red box",))]
    )
    assert poor.reject is not None
    assert poor.reject.figures["unread_phrases"] == 2
    assert poor.reject.figures["first_unread"] == "'\\u200b'"


def test_ground_drops_what_has_no_phrase_or_area_before_it_suppresses() -> None:
    boxes = [[10.2, 20.7, 60.0, 70.0], [10.0, 20.0, 60.0, 70.0], [5.0, 5.0, 5.0, 60.0]]
    grounder = FixedGrounder(boxes, [0.5, 0.9, 0.8], ["red box", "", "red box"])
    stage = GroundStage(GroundConfig(), CONTEXT, models={"model": grounder})
    (instance,) = stage([make_sample(nouns=("red box",))])[0].scene.instances
    assert instance.box == RED
    assert grounder.asked == [["red box"]]


@pytest.mark.parametrize(("once", "count"), [(False, 2), (True, 1)])
def test_one_box_per_phrase_is_the_recipes_choice(once: bool, count: int) -> None:
    grounder = FixedGrounder(BOXES[1::-1], [0.5, 0.7], ["box", "box"])
    stage = GroundStage(GroundConfig(one_box_per_phrase=once), CONTEXT, models={"model": grounder})
    instances = stage([make_sample(nouns=("box",))])[0].scene.instances
    assert len(instances) == count
    assert instances[-1].box == GREEN


def test_ground_rejects_too_few_boxes_and_asks_nothing_without_nouns() -> None:
    grounder = FixedGrounder([], [], [])
    stage = GroundStage(GroundConfig(), CONTEXT, models={"model": grounder})
    empty, without = stage([make_sample(nouns=("cat",)), make_sample(number=1)])
    assert empty.reject is not None
    assert empty.reject.reason == "too few boxes"
    assert empty.reject.figures == {"boxes": 0, "candidates": 0, "min_instances": 1}
    assert without.reject is not None
    assert without.reject.reason == "no nouns to look for"
    assert grounder.asked == [["cat"]]


def test_boxes_are_rounded_outwards_inside_the_image() -> None:
    def rounded(*box: float) -> tuple[int, int, int, int]:
        return round_outwards(np.array(box, np.float32), width=100, height=50)

    assert rounded(1.9, 2.0, 3.1, 4.0) == (1, 2, 4, 4)
    assert rounded(-5, -5, 500, 500) == (0, 0, 100, 50)
    assert rounded(100, 50, 100, 50) == (99, 49, 100, 50)


# segment


def test_segment_stores_disjoint_masks_inside_boxes_and_layers() -> None:
    scene = segmented().scene
    masks = [rle_to_mask(one.mask) for one in scene.instances if one.mask is not None]
    assert len(masks) == 3
    assert np.sum(masks, axis=0).max() == 1
    assert [one.area for one in scene.instances] == [int(mask.sum()) for mask in masks]
    assert scene.layer_order[-1] == 1, "blue stands before both"
    assert scene.instances[1].occluded_fraction == 0.0
    hidden = scene.instances[0].occluded_fraction
    assert hidden is not None
    assert hidden == pytest.approx(20 * 20 / (50 * 50), abs=0.02)
    assert [one.layer for one in scene.instances] == [scene.layer_order.index(i) for i in range(3)]


def test_contested_pixels_go_to_the_nearer_instance() -> None:
    masks = np.zeros((3, 120, 160), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (RED, BLUE, GREEN), strict=True):
        mask[y1:y2, x1:x2] = True  # all three claim their whole box; blue reaches lowest
    stage = SegmentStage(
        SegmentConfig(), CONTEXT, models={"model": GivenSegmenter(masks, [0.9, 0.9, 1.2])}
    )
    scene = stage([grounded()])[0].scene
    assert scene.instances[1].area == 60 * 60
    assert scene.instances[0].area == 50 * 50 - 20 * 20
    assert scene.instances[2].segmentation is not None
    assert scene.instances[2].segmentation.score == 1.0


def test_segment_drops_empty_and_uncertain_masks() -> None:
    masks = np.zeros((3, 120, 160), dtype=bool)
    masks[0, 20:70, 10:60] = True
    masks[1, 0:10, 0:10] = True  # wholly outside its box
    masks[2, 30:90, 80:140] = True
    segmenter = GivenSegmenter(masks, [0.9, 0.9, 0.2])
    stage = SegmentStage(SegmentConfig(min_score=0.5), CONTEXT, models={"model": segmenter})
    sample = stage([grounded()])[0]
    assert [one.phrase for one in sample.scene.instances] == ["red box"]
    assert sample.scene.layer_order == [0]
    nothing = GivenSegmenter(np.zeros_like(masks), [0.9] * 3)
    reject = SegmentStage(SegmentConfig(), CONTEXT, models={"model": nothing})([grounded()])[
        0
    ].reject
    assert reject is not None
    assert reject.reason == "no mask left"


def test_segment_drops_crumbs_and_fills_pinholes() -> None:
    masks = np.zeros((3, 120, 160), dtype=bool)
    masks[0, 22:65, 12:30] = True
    masks[0, 40, 20] = False
    masks[0, 68, 58] = True
    stage = SegmentStage(
        SegmentConfig(), CONTEXT, models={"model": GivenSegmenter(masks, [0.9] * 3)}
    )
    (instance,) = stage([grounded()])[0].scene.instances
    assert instance.mask is not None
    assert mask_to_box(rle_to_mask(instance.mask)) == (12, 22, 30, 65)
    assert instance.area == 43 * 18


def test_without_clipping_boxes_grow_to_hold_their_masks() -> None:
    masks = np.zeros((3, 120, 160), dtype=bool)
    masks[:, 100:110, 10:20] = True
    masks[0, 15:72, 8:66] = True
    masks[0, 100:110, 10:20] = False
    stage = SegmentStage(
        SegmentConfig(clip_to_box=False),
        CONTEXT,
        models={"model": GivenSegmenter(masks, [0.9] * 3)},
    )
    first = stage([grounded()])[0].scene.instances[0]
    assert first.box == (8, 15, 66, 72)


# crop


def test_crops_are_cut_from_the_target_with_their_masks() -> None:
    sample = cropped(CropConfig(min_side=8, margin=0.1))
    assert set(sample.files) == {
        "target.jpg", "ref00.jpg", "ref00.mask.png", "ref01.jpg", "ref01.mask.png", "ref02.jpg",
        "ref02.mask.png",
    }  # fmt: skip
    for instance in sample.scene.instances:
        (reference,) = instance.references
        assert reference.crop_box is not None
        assert reference.mask is not None
        image = decode_image(sample.files[reference.image])
        mask = png_to_mask(sample.files[reference.mask])
        assert image.size == (reference.width, reference.height) == mask.shape[::-1]
        x1, y1, x2, y2 = reference.crop_box
        assert (x2 - x1, y2 - y1) == image.size
        original = np.asarray(sample.target().crop(reference.crop_box), int)
        assert np.abs(np.asarray(image, int) - original).mean() < 2
        assert int(mask.sum()) == instance.area
        assert instance.mask is not None
        assert (rle_to_mask(instance.mask)[y1:y2, x1:x2] == mask).all()
    assert sample.scene.instances[0].references[0].crop_box == (5, 15, 65, 75)
    assert sample.scene.instances[0].references[0].subject_box == (5, 5, 55, 55)


def test_crop_limits_drop_instances_and_empty_scenes_are_rejected() -> None:
    sample = cropped(CropConfig(min_side=55))
    assert [one.phrase for one in sample.scene.instances] == ["blue box", "green box"]
    assert sorted(sample.scene.layer_order) == [0, 1]
    assert [one.references[0].name for one in sample.scene.instances] == ["ref00", "ref01"]
    reject = cropped(CropConfig(min_side=55, min_sharpness=10.0)).reject
    assert reject is not None
    assert reject.reason == "no usable crop"
    assert reject.figures == {"too_small": 1, "too_blurry": 2}
    assert set(cropped(CropConfig(min_side=55, min_sharpness=10.0)).files) == {"target.jpg"}


def test_elongated_instances_are_dropped() -> None:
    grounder = FixedGrounder([[0, 40, 150, 60]], [0.9], ["rod"])
    sample = GroundStage(GroundConfig(), CONTEXT, models={"model": grounder})(
        [make_sample(nouns=("rod",))]
    )
    stage = SegmentStage(SegmentConfig(), CONTEXT, models={"model": ColourSegmenter()})
    reject = CropStage(CropConfig(min_side=8), CONTEXT)(stage(sample))[0].reject
    assert reject is not None
    assert reject.figures == {"too_elongated": 1}


# score


def test_scores_tell_phrases_and_identities_apart() -> None:
    scene = scored().scene
    for instance in scene.instances:
        assert instance.scores.phrase_similarity is not None
        assert instance.scores.phrase_similarity > 0.8
        assert instance.scores.phrase_margin is not None
        assert instance.scores.phrase_margin > 0.5
        own = instance.scores.identity_similarity
        assert own is not None
        assert own[instance.index] == pytest.approx(1.0, abs=1e-3)
        assert max(own[: instance.index] + own[instance.index + 1 :]) < 0.9
        assert instance.references[0].similarity.dino == pytest.approx(1.0, abs=0.01)
    covered = 2500 + 3600 + 3600 - 400 - 800
    assert scene.scores.coverage == pytest.approx(covered / (160 * 120), abs=0.01)
    assert scene.scores.sharpness is not None
    assert scene.scores.sharpness > 0
    assert scene.scores.caption_similarity is not None


def test_the_margin_counts_phrases_that_were_not_found() -> None:
    sample = cropped()
    sample.scene.nouns = [*sample.scene.nouns, "red sphere"]
    stage = ScoreStage(
        ScoreConfig(image_model=None), CONTEXT, models={"text_model": ColourScorer()}
    )
    red, blue, _ = stage([sample])[0].scene.instances
    assert red.scores.phrase_margin == 0.0, "this double knows colours only"
    assert blue.scores.phrase_margin is not None
    assert blue.scores.phrase_margin > 0.5
    assert red.scores.identity_similarity is None


def test_background_is_grey_or_kept_as_the_recipe_says() -> None:
    seen: dict[str, list[Image.Image]] = {}

    class Watching(ColourScorer):
        def embed_images(self, images):  # type: ignore[no-untyped-def]
            seen[background] = list(images)
            return super().embed_images(images)

    for background in ("grey", "keep"):
        config = ScoreConfig.model_validate({"background": background, "image_model": None})
        ScoreStage(config, CONTEXT, models={"text_model": Watching()})([cropped()])
    grey, kept = (np.asarray(seen[name][0]) for name in ("grey", "keep"))
    assert grey[45, 45].tolist() == [128, 128, 128], "where blue hides red"
    assert kept[45, 45, 2] > 200
    assert (grey[5, 5] == kept[5, 5]).all()


def test_without_models_only_the_pixels_are_measured() -> None:
    stage = ScoreStage(ScoreConfig(text_model=None, image_model=None), CONTEXT)
    stage.setup()
    scene = stage([cropped()])[0].scene
    assert stage.models() == []
    assert scene.instances[0].scores.phrase_similarity is None
    assert scene.scores.coverage is not None


# all of them


def test_same_inputs_same_bytes_whatever_the_batch() -> None:
    alone, again = scored(), scored()
    assert digest(alone.files) == digest(again.files)
    assert scene_to_json(alone.scene) == scene_to_json(again.scene)
    stage = ScoreStage(
        ScoreConfig(),
        CONTEXT,
        models={"text_model": ColourScorer(), "image_model": MeanColourEmbedder()},
    )
    together = stage([cropped(), cropped()])
    assert [scene_to_json(one.scene) for one in together] == [scene_to_json(alone.scene)] * 2
    assert scene_from_json(scene_to_json(alone.scene)) == alone.scene


def test_write_finds_what_scene_and_members_disagree_about() -> None:
    stage = WriteStage(WriteConfig(), CONTEXT)
    sample = scored()
    assert stage([sample]) == [sample]
    for name in ("ref01.jpg", "target.jpg"):
        broken = scored()
        del broken.files[name]
        with pytest.raises(DataError, match=rf"basic-00000000.*{name}"):
            stage([broken])
    extra = scored()
    extra.files["ref09.jpg"] = b""
    with pytest.raises(DataError, match=r"ref09\.jpg"):
        stage([extra])


def test_a_family_for_another_task_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from imig.models import registry

    # The real loader would need weights; what is tested is what the stage makes of the answer.
    monkeypatch.setattr(registry, "load_model", lambda config, *, batch_size: FixedCaptioner("x"))
    config = GroundConfig(model=ModelConfig(family="blip"))
    with pytest.raises(
        UsageError, match=r"ground\.model: the family 'blip' is not there to ground"
    ):
        GroundStage(config, CONTEXT).setup()
