"""draw, edit, reground and compose with doubles in place of models."""

import math

import numpy as np
import pytest
from support.generator_doubles import DiscGenerator, disc_boxes
from support.model_doubles import ColourSegmenter, FixedGrounder
from support.tiny_dataset import make_sample

from imig.errors import UsageError
from imig.models.protocols import GeneratorSettings, Origin
from imig.recipe.parts import ModelConfig
from imig.sample import Sample, decode_image, derive_seed, png_to_mask
from imig.schema import Scene, Source, Subject
from imig.stages.base import BuildContext
from imig.stages.compose import ComposeConfig, ComposeStage
from imig.stages.draw import DrawConfig, DrawStage
from imig.stages.edit import EditConfig, EditInstruction, EditStage, choose_instruction, edit_size
from imig.stages.generation import Sampling
from imig.stages.reground import RegroundConfig, RegroundStage

FLEXIBLE = BuildContext(recipe_seed=0, subset="flexible")
COMPLEX = BuildContext(recipe_seed=0, subset="complex")


def prompt_sample(number: int = 0, *, subset: str = "flexible") -> Sample:
    """As the source `prompts` makes it: a prompt and subjects, no picture."""
    phrases = ["red ball", "green ball"]
    subjects = [Subject(phrase=one, noun="ball", prompt=f"a {one} alone") for one in phrases]
    scene = Scene.model_validate(
        {
            "id": f"{subset}-{number:08d}",
            "subset": subset,
            "caption": "a red ball beside a green ball",
            "nouns": phrases,
            "subjects": subjects if subset == "flexible" else [],
            "width": 1,
            "height": 1,
            "source": Source(kind="prompt", prompt="a red ball beside a green ball"),
            "seed": derive_seed("test", number),
        }
    )
    return Sample(scene)


def drawn_sample(generator: DiscGenerator) -> Sample:
    stage = DrawStage(DrawConfig(width=64, height=96), FLEXIBLE, models={"model": generator})
    return stage([prompt_sample()])[0]


def reground(sample: Sample, context: BuildContext, **settings: object) -> Sample:
    """With candidates that hold the whole disc of a picture of 64 x 96."""
    ((x1, y1, x2, y2),) = disc_boxes(1, 64, 96)
    grounder = FixedGrounder(
        [[0, 0, 5, 5], [x1 - 3, y1 - 3, x2 + 3, y2 + 3], [0, 0, 64, 96]], [0.9, 0.8, 0.4],
        ["", "ball", "ball"],
    )  # fmt: skip
    stage = RegroundStage(
        RegroundConfig.model_validate(settings),
        context,
        models={"ground_model": grounder, "segment_model": ColourSegmenter()},
    )
    return stage([sample])[0]


def test_a_target_is_drawn_from_the_caption() -> None:
    generator = DiscGenerator()
    config = DrawConfig(width=64, height=96, sampling=Sampling(steps=4, guidance=0.0))
    (sample,) = DrawStage(config, COMPLEX, models={"model": generator})(
        [prompt_sample(subset="complex")]
    )
    scene = sample.scene
    assert sample.target().size == (scene.width, scene.height) == (64, 96)
    (request,) = generator.drawn
    assert request.prompt == scene.caption
    assert generator.settings == [GeneratorSettings(steps=4, guidance=0.0)]
    assert scene.source == Source(
        kind="prompt", prompt=scene.caption, model=generator.name, seed=request.seed
    )


def test_every_subject_is_drawn_alone_with_a_seed_of_its_own() -> None:
    generator = DiscGenerator()
    sample = drawn_sample(generator)
    assert [one.prompt for one in generator.drawn] == ["a red ball alone", "a green ball alone"]
    assert len({one.seed for one in generator.drawn}) == 2
    assert [view.subject for view in sample.drawn] == [0, 1]
    assert sorted(sample.files) == ["ref00.jpg", "ref01.jpg"]
    for view, request in zip(sample.drawn, generator.drawn, strict=True):
        assert view.reference.kind == "source"
        assert view.reference.drawing is not None
        assert view.reference.drawing.seed == request.seed


def test_the_template_of_subjects_is_put_around_their_prompts() -> None:
    generator = DiscGenerator()
    config = DrawConfig(width=64, height=64, subject_template="photo of {prompt}, isolated")
    DrawStage(config, FLEXIBLE, models={"model": generator})([prompt_sample()])
    assert generator.drawn[0].prompt == "photo of a red ball alone, isolated"


def test_seeds_depend_on_the_scene_and_on_nothing_else() -> None:
    alone, together = DiscGenerator(), DiscGenerator()
    config = DrawConfig(width=64, height=64)
    DrawStage(config, FLEXIBLE, models={"model": alone})([prompt_sample(3)])
    DrawStage(config, FLEXIBLE, models={"model": together})([prompt_sample(1), prompt_sample(3)])
    assert alone.drawn == together.drawn[2:]


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((100, 100), 1024, (1024, 1024)),
        ((333, 333), 1024, (1024, 1024)),
        ((200, 100), 1024, (1440, 720)),
        ((100, 200), 1024, (720, 1440)),
        ((77, 69), 256, (256, 240)),
        ((1, 900), 256, (16, 7680)),
    ],
)
def test_a_view_keeps_the_aspect_of_its_crop_in_multiples_of_16(
    size: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    assert edit_size(*size, side=side) == expected


def test_instructions_come_by_their_weights_and_ask_for_the_subject_only() -> None:
    config = EditConfig()
    texts = [
        choose_instruction(
            config.instructions, phrase="red mug", only_subject=config.only_subject, seed=seed
        )
        for seed in range(2000)
    ]
    assert all("Keep only the red mug" in text and "{" not in text for text in texts)
    turned = np.mean(["camera" in text for text in texts])
    assert math.isclose(turned, 0.50, abs_tol=0.04)
    assert math.isclose(np.mean(["90 degrees" in text for text in texts]), 0.10, abs_tol=0.025)
    moved = np.mean(["motion" in text or "posture" in text for text in texts])
    assert math.isclose(moved, 0.10, abs_tol=0.025)


def test_every_crop_gets_an_edited_view() -> None:
    generator = DiscGenerator()
    sample = make_sample(0, subset="complex")
    sample.scene.source = Source(kind="prompt", prompt="balls", seed=5, model="m")
    crops = [one.references[0] for one in sample.scene.instances]
    config = EditConfig(side=64, only_subject="", instructions=(
        EditInstruction(name="light", weight=1, wordings=("paint the {phrase} anew",)),
    ))  # fmt: skip
    EditStage(config, COMPLEX, models={"model": generator})([sample])
    for instance, crop, request in zip(
        sample.scene.instances, crops, generator.edited, strict=True
    ):
        edit = instance.references[-1]
        assert (edit.kind, edit.width, edit.height) == ("edit", request.width, request.height)
        assert edit.edit is not None
        assert edit.edit.instruction == f"Paint the {instance.phrase} anew"
        assert edit.edit.model == generator.name
        assert (request.width, request.height) == edit_size(crop.width, crop.height, side=64)
        assert request.image.size == (crop.width, crop.height)
        assert request.box == instance.box
        assert request.origin == Origin(prompt="balls", seed=5, width=96, height=64)
        assert decode_image(sample.files[edit.image]).size == (edit.width, edit.height)
    names = [one.name for instance in sample.scene.instances for one in instance.references]
    assert len(set(names)) == len(names)


def test_the_background_of_a_crop_may_be_hidden_from_the_editor() -> None:
    generator = DiscGenerator()
    sample = make_sample(0, subset="complex")
    EditStage(EditConfig(side=64, background="grey"), COMPLEX, models={"model": generator})(
        [sample]
    )
    crop = sample.scene.instances[0].references[0]
    assert crop.mask is not None
    outside = ~png_to_mask(sample.files[crop.mask])
    assert (np.asarray(generator.edited[0].image)[outside] == 128).all()


def test_a_drawn_view_is_cropped_to_its_subject() -> None:
    sample = reground(drawn_sample(DiscGenerator()), FLEXIBLE, margin=0.1)
    ((x1, _, x2, _),) = disc_boxes(1, 64, 96)
    for view in sample.drawn:
        reference = view.reference
        assert reference.mask is not None
        mask = png_to_mask(sample.files[reference.mask])
        assert mask.shape == (reference.height, reference.width)
        assert reference.width < 64
        assert reference.width == pytest.approx((x2 - x1) * 1.2, abs=3)
        left, top, right, bottom = reference.subject_box
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
        assert reference.coverage is not None
        assert reference.coverage > 0.8
        assert reference.grounding is not None
        assert reference.grounding.score == pytest.approx(0.8)
        assert decode_image(sample.files[reference.image]).size == mask.shape[::-1]
        assert reference.drawing is not None
        assert (reference.drawing.width, reference.drawing.height) == (64, 96)
        assert reference.drawing.cut is not None
        left, top, right, bottom = reference.drawing.cut
        assert (right - left, bottom - top) == decode_image(sample.files[reference.image]).size


def test_a_view_stays_whole_without_a_margin() -> None:
    sample = reground(drawn_sample(DiscGenerator()), FLEXIBLE, margin=None)
    assert {(view.reference.width, view.reference.height) for view in sample.drawn} == {(64, 96)}


def test_views_without_their_subject_go_and_with_the_last_the_scene() -> None:
    sample = drawn_sample(DiscGenerator())
    stage = RegroundStage(
        RegroundConfig(),
        FLEXIBLE,
        models={"ground_model": FixedGrounder([], [], []), "segment_model": ColourSegmenter()},
    )
    stage([sample])
    assert sample.reject is not None
    assert sample.reject.reason == "no view shows its subject"
    assert sample.drawn == []
    assert sample.files == {}


def test_a_mask_that_the_model_doubts_counts_as_not_found() -> None:
    sample = reground(drawn_sample(DiscGenerator()), FLEXIBLE, min_score=0.95)
    assert sample.reject is not None


def test_an_edited_view_gets_box_and_mask_and_stays_whole() -> None:
    generator = DiscGenerator()
    sample = make_sample(0, subset="complex", things=2)
    EditStage(EditConfig(side=80), COMPLEX, models={"model": generator})([sample])
    sizes = [(one.width, one.height) for one in generator.edited]
    grounder = FixedGrounder([[0, 0, 200, 200]], [0.7], ["ball"])
    RegroundStage(
        RegroundConfig(),
        COMPLEX,
        models={"ground_model": grounder, "segment_model": ColourSegmenter()},
    )([sample])
    assert grounder.asked == [["ball"], ["ball"]]
    edits = [one.references[-1] for one in sample.scene.instances]
    assert [(one.width, one.height) for one in edits] == sizes
    for edit in edits:
        assert edit.mask is not None
        assert png_to_mask(sample.files[edit.mask]).any()
        assert edit.grounding is not None
        assert edit.segmentation is not None


def test_grounding_may_be_asked_for_the_whole_phrase() -> None:
    grounder = FixedGrounder([[0, 0, 60, 60]], [0.7], ["red ball"])
    sample = drawn_sample(DiscGenerator())
    RegroundStage(
        RegroundConfig(ask="phrase"),
        FLEXIBLE,
        models={"ground_model": grounder, "segment_model": ColourSegmenter()},
    )([sample])
    assert grounder.asked == [["red ball"], ["green ball"]]


def test_a_target_is_composed_of_the_views() -> None:
    generator = DiscGenerator()
    sample = reground(drawn_sample(generator), FLEXIBLE)
    config = ComposeConfig(width=128, height=64, instruction="All of these: {prompt}")
    ComposeStage(config, FLEXIBLE, models={"model": generator})([sample])
    (request,) = generator.composed
    assert request.prompt == f"All of these: {sample.scene.caption}"
    assert [one.phrase for one in request.references] == ["red ball", "green ball"]
    assert [one.origin for one in request.references] == [
        Origin(prompt=one.prompt, seed=one.seed, width=64, height=96) for one in generator.drawn
    ]
    assert sample.target().size == (sample.scene.width, sample.scene.height) == (128, 64)
    assert sample.scene.source.model == generator.name
    assert sample.scene.source.prompt == sample.scene.caption


def test_a_scene_with_too_few_references_is_not_composed() -> None:
    generator = DiscGenerator()
    sample = reground(drawn_sample(generator), FLEXIBLE)
    config = ComposeConfig(width=64, height=64, min_references=3)
    ComposeStage(config, FLEXIBLE, models={"model": generator})([sample])
    assert sample.reject is not None
    assert sample.reject.figures == {"references": 2, "subjects": 2, "min_references": 3}
    assert generator.composed == []


@pytest.mark.model
def test_a_family_that_cannot_draw_is_refused() -> None:
    config = DrawConfig(model=ModelConfig(family="dinov2"), width=64, height=64)
    with pytest.raises(UsageError, match=r"draw\.model.*not there to draw pictures"):
        DrawStage(config, FLEXIBLE).setup()
