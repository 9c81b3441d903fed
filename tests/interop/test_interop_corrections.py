"""Scenes go out to an annotation tool, are corrected there, and come back: both tools alike."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.annotation_tools import TOOLS, WHEN, WHO, Drawing
from support.tiny_dataset import make_sample, make_samples, seal, write_tiny_dataset

import imig
from imig.checks.dataset import validate_dataset
from imig.derived.merge import merge_datasets
from imig.errors import UsageError
from imig.interop.corrections import _free_name
from imig.interop.exporting import export_dataset
from imig.interop.importing import Imported, import_dataset
from imig.layout.masks import Mask, mask_to_rle
from imig.recipe.identity import merged_recipes
from imig.sample import Sample
from imig.schema import Correction, Edit, Instance, Scene, scene_to_json
from imig.shards.tables import read_quarantine
from imig.shards.views import InstanceView, SceneView
from imig.shards.writer import write_tar
from imig.stages.instances import set_instances

ONE = "basic-00000001"
"""The scene that is corrected; it has three instances."""


@pytest.fixture(params=sorted(TOOLS))
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and beside it what each tool is given of it."""
    folder = tmp_path_factory.mktemp("exports")
    dataset = write_tiny_dataset(folder / "dataset", scenes=4, scenes_per_shard=2)
    for tool in TOOLS:
        export_dataset(dataset, tool, output=folder / tool)
    return folder


@pytest.fixture
def dataset(exports: Path, tmp_path: Path, tool: str) -> Path:
    """The dataset, with the tool's folder `out` beside it."""
    shutil.copytree(exports / tool, tmp_path / "out")
    return Path(shutil.copytree(exports / "dataset", tmp_path / "dataset"))


def there_and_back(
    tool: str, dataset: Path, edit: Callable[[Drawing], object], *settings: str, scene: str = ONE
) -> Imported:
    out, back = dataset.with_name("out"), dataset.with_name("back")
    if not out.exists():
        export_dataset(dataset, tool, output=out)
    file = TOOLS[tool](out)
    edit(file.picture(scene))
    file.save()
    return import_dataset(
        out / file.name,
        tool,
        output=back,
        overrides=[f"dataset={dataset}", *settings],
        scenes_per_shard=2,
    )


def corrected(dataset: Path, scene: str = ONE) -> SceneView:
    """The scene, in a dataset without faults whose other scenes are as they were."""
    back = dataset.with_name("back")
    assert validate_dataset(back).faults == []
    before, after = imig.Dataset(dataset), imig.Dataset(back)
    for other in before.ids:
        if other != scene:
            assert scene_to_json(after[other].record) == scene_to_json(before[other].record)
            assert after[other].files == before[other].files
    return after[scene]


def whats(scene: SceneView) -> list[str]:
    for one in scene.record.corrections:
        assert (one.by, one.at) == (WHO, WHEN)
    return [one.what for one in scene.record.corrections]


def mask_of(one: InstanceView) -> Mask:
    assert one.mask is not None
    return one.mask


def square(x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros((64, 96), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_what_nobody_corrected_comes_back_to_the_byte(tool: str, dataset: Path) -> None:
    done = there_and_back(tool, dataset, lambda _: None)
    for shard in ("basic-000000.tar", "basic-000001.tar"):
        assert (dataset.with_name("back") / shard).read_bytes() == (dataset / shard).read_bytes()
    assert done.losses.kinds == {}
    manifest = done.manifest
    assert [one.family for one in manifest.models] == ["oracle"]
    (derived,) = manifest.derived
    assert (derived.operation, derived.settings["tool"]) == ("correct", tool)
    assert [one.name for one in derived.parents] == ["tiny"]
    # The folder's own record knows what it is of.
    again = {"output": dataset.with_name("back"), "overrides": [f"dataset={dataset}"]}
    source = dataset.with_name("out") / TOOLS[tool].name
    assert import_dataset(source, tool, scenes_per_shard=2, **again).finished_already  # type: ignore[arg-type]
    source.write_bytes(source.read_bytes() + b"\n")
    with pytest.raises(UsageError, match="holds a finished dataset that differs"):
        import_dataset(source, tool, scenes_per_shard=2, **again)  # type: ignore[arg-type]


@pytest.mark.parametrize("shapes", ["masks", "boxes"])
def test_what_was_not_shown_is_not_missed(tool: str, dataset: Path, shapes: str) -> None:
    out, back = dataset.with_name(shapes), dataset.with_name("back")
    export_dataset(dataset, tool, output=out, overrides=[f"shapes={shapes}"])
    file = TOOLS[tool](out)
    file.save()
    import_dataset(
        out / file.name, tool, output=back, overrides=[f"dataset={dataset}"], scenes_per_shard=2
    )
    assert (back / "basic-000001.tar").read_bytes() == (dataset / "basic-000001.tar").read_bytes()


def painted() -> Mask:
    mask = square(60, 10, 90, 40)
    mask[20, 70] = False
    return mask


PHRASE, LABEL = "eine grüne Kugel <&> 球", "Kugel"
CUP_BOX, CUP_MASK = (1, 48, 20, 63), square(2, 50, 19, 62)


def remove_all(drawing: Drawing) -> None:
    for index in range(3):
        drawing.remove(index)


def remove_parts(drawing: Drawing) -> None:
    drawing.remove(1, box=False)
    drawing.remove(2, mask=False)


def add_cup(drawing: Drawing, *, box: bool = True, mask: bool = True) -> None:
    drawing.add(
        box=CUP_BOX if box else None,
        mask=CUP_MASK if mask else None,
        label="cup",
        phrase="a white cup",
    )


def forget(drawing: Drawing) -> None:
    drawing.move(2, (60, 2, 94, 34))
    drawing.rename(0, phrase="a crimson ball", label="ball")
    drawing.remove(1)
    drawing.forget_marks()


EDITS: dict[str, Callable[[Drawing], None]] = {
    "moved": lambda drawing: drawing.move(2, (60, 2, 94, 34)),
    "cut": lambda drawing: drawing.move(2, (66, 6, 78, 30)),
    "painted": lambda drawing: drawing.paint(2, painted()),
    "elsewhere": lambda drawing: drawing.paint(0, square(80, 50, 96, 64)),
    "renamed": lambda drawing: drawing.rename(2, phrase=PHRASE, label=LABEL),
    "removed": lambda drawing: drawing.remove(1),
    "all removed": remove_all,
    "parts removed": remove_parts,
    "added box": lambda drawing: add_cup(drawing, mask=False),
    "added mask": lambda drawing: add_cup(drawing, box=False),
    "added both": add_cup,
    "copied": lambda drawing: drawing.copy(1),
    "said": lambda drawing: drawing.say("Drei Bälle."),
    "forgotten": forget,
}
"""By name; each is done to a scene of its own, with three instances, and comes back with all others
in one import."""


@dataclass
class Edited:
    """A dataset before and after `EDITS`."""

    before_all: imig.Dataset
    after_all: imig.Dataset
    done: Imported

    def id(self, name: str) -> str:
        return f"basic-{2 * list(EDITS).index(name) + 1:08d}"

    def before(self, name: str) -> SceneView:
        return self.before_all[self.id(name)]

    def scene(self, name: str) -> SceneView:
        return self.after_all[self.id(name)]


@pytest.fixture(scope="module", params=sorted(TOOLS))
def edited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Edited:
    folder = tmp_path_factory.mktemp(request.param)
    dataset = write_tiny_dataset(folder / "dataset", scenes=2 * len(EDITS), scenes_per_shard=100)
    export_dataset(dataset, request.param, output=folder / "out")
    file = TOOLS[request.param](folder / "out")
    for number, edit in enumerate(EDITS.values()):
        edit(file.picture(f"basic-{2 * number + 1:08d}"))
    file.save()
    done = import_dataset(
        folder / "out" / file.name,
        request.param,
        output=folder / "back",
        overrides=[f"dataset={dataset}"],
    )
    return Edited(imig.Dataset(dataset), imig.Dataset(folder / "back"), done)


def test_corrected_scenes_have_no_fault_and_the_others_are_as_they_were(edited: Edited) -> None:
    assert validate_dataset(Path(edited.after_all.path)).faults == []
    assert len(edited.after_all) == 2 * len(EDITS)
    for sample_id in edited.before_all.ids[::2]:
        before, after = edited.before_all[sample_id], edited.after_all[sample_id]
        assert scene_to_json(after.record) == scene_to_json(before.record)
        assert after.files == before.files


def test_a_moved_box(edited: Edited) -> None:
    scene = edited.scene("moved")
    assert whats(scene) == ["box"]
    before = edited.before("moved").instances[2].record
    one = scene.instances[2]
    assert one.record.box == (60, 2, 94, 34)
    assert (one.record.mask, one.record.grounding) == (before.mask, None)
    assert one.record.segmentation == before.segmentation
    assert one.record.scores.phrase_similarity is None
    # The crop is cut anew, by the stage's own rule: a twentieth more on each side.
    (crop,) = one.references
    assert crop.record.crop_box == (58, 0, 96, 36)
    assert crop.record.similarity.dino is None
    assert crop.mask is not None
    assert one.mask is not None
    assert (crop.mask == one.mask[0:36, 58:96]).all()
    assert scene.instances[0].references[0].record.similarity.dino == 0.9


def test_a_box_that_cuts_its_mask(edited: Edited) -> None:
    scene = edited.scene("cut")
    assert whats(scene) == ["box", "mask"]
    assert "parts of masks outside of a corrected box" in edited.done.losses.kinds
    mask = edited.before("cut").instances[2].mask
    assert mask is not None
    mask = mask.copy()
    mask[:, 78:] = False
    assert np.array_equal(mask_of(scene.instances[2]), mask)


def test_a_painted_mask_brings_its_box(edited: Edited) -> None:
    mask = painted()
    scene = edited.scene("painted")
    assert whats(scene) == ["box", "mask"]
    one = scene.instances[2]
    assert np.array_equal(mask_of(one), mask)
    assert (one.record.box, one.record.area) == ((60, 10, 90, 40), 899)
    assert one.references[0].record.crop_box == (58, 8, 92, 42)
    assert scene.record.scores.coverage is not None
    owned = np.logical_or.reduce([mask_of(one) for one in scene.instances])
    assert scene.record.scores.coverage == pytest.approx(owned.mean(), abs=1e-4)


def test_a_face_of_what_is_now_something_else(edited: Edited) -> None:
    scene = edited.scene("elsewhere")
    assert [one.kind for one in scene.record.instances[0].references] == ["crop"]
    assert "face00.png" not in scene.files
    assert "views of kind face of what is now another thing" in edited.done.losses.kinds


def test_a_phrase_and_a_label(edited: Edited) -> None:
    scene = edited.scene("renamed")
    assert whats(scene) == ["phrase", "noun"]
    assert [one.before for one in scene.record.corrections] == ["a green ball", "ball"]
    one = scene.record.instances[2]
    assert (one.phrase, one.noun) == (PHRASE, LABEL)
    assert PHRASE in scene.record.nouns
    assert scene.record.instances[1].scores.phrase_margin is None
    assert len(one.references) == 1


def test_a_removed_instance(edited: Edited) -> None:
    scene = edited.scene("removed")
    assert whats(scene) == ["removed"]
    (one,) = scene.record.corrections
    assert (one.identity_id, one.before) == (f"{scene.record.id}-blue", "a blue ball")
    assert [one.phrase for one in scene.record.instances] == ["a red ball", "a green ball"]
    assert scene.record.layer_order == [0, 1]
    assert sorted(scene.files) == [
        "face00.png", "ref00.jpg", "ref00.mask.png", "ref01.jpg", "ref01.mask.png", "target.jpg",
    ]  # fmt: skip


def test_all_instances_removed(edited: Edited) -> None:
    scene = edited.scene("all removed")
    assert scene.record.instances == []
    assert sorted(scene.files) == ["target.jpg"]


def test_a_removed_mask_and_a_removed_box(edited: Edited) -> None:
    scene = edited.scene("parts removed")
    one, other = scene.instances[1:]
    assert (one.record.mask, one.record.area, one.record.references) == (None, None, [])
    assert other.mask is not None
    assert other.record.box == (66, 6, 90, 30)  # the mask's own bounds
    assert whats(scene) == ["mask"]


@pytest.mark.parametrize("drawn", ["box", "mask", "both"])
def test_an_added_instance(edited: Edited, drawn: str) -> None:
    box = None if drawn == "mask" else CUP_BOX
    mask = None if drawn == "box" else CUP_MASK
    scene = edited.scene(f"added {drawn}")
    assert whats(scene) == ["added"]
    assert len(scene.instances) == 4
    one = scene.instances[3]
    assert (one.record.phrase, one.record.noun) == ("a white cup", "cup")
    assert one.record.box == (box or (2, 50, 19, 62))
    assert scene.record.layer_order == [0, 1, 2, 3]
    assert scene.record.corrections[0].identity_id == one.record.identity_id
    if mask is None:
        assert (one.mask, one.references) == (None, [])
    else:
        assert np.array_equal(mask_of(one), mask)
        (crop,) = one.references
        assert crop.record.name == "ref03"
        target = np.asarray(scene.target).astype(int)
        x1, y1, x2, y2 = crop.record.crop_box or (0, 0, 0, 0)
        assert np.abs(np.asarray(crop.image) - target[y1:y2, x1:x2]).mean() < 3


def test_a_copied_region_is_a_new_instance(edited: Edited) -> None:
    scene = edited.scene("copied")
    assert whats(scene) == ["added"]
    one, other = scene.record.instances[1], scene.record.instances[3]
    assert (one.box, one.mask, one.phrase) == (other.box, other.mask, other.phrase)
    assert one.identity_id != other.identity_id


def test_a_caption(edited: Edited) -> None:
    scene = edited.scene("said")
    assert whats(scene) == ["caption"]
    assert scene.record.caption == "Drei Bälle."
    assert scene.record.scores.caption_similarity is None
    assert scene.record.scores.coverage is not None


def test_regions_without_marks_are_found_where_they_lie(edited: Edited) -> None:
    scene = edited.scene("forgotten")
    assert whats(scene) == ["phrase", "removed", "box"]
    kept = [(one.identity_id.split("-")[-1], one.phrase) for one in scene.record.instances]
    assert kept == [("red", "a crimson ball"), ("green", "a green ball")]


def test_a_project_that_was_made_without_imig(dataset: Path, tool: str) -> None:
    """Its boxes correct boxes, and masks that it never had are not taken for removed."""
    file = TOOLS[tool](dataset.with_name("out"))
    file.forget_imig()
    drawing = file.picture(ONE)
    for index in range(3):
        drawing.remove(index, box=False)
    drawing.move(2, (60, 2, 94, 34))
    drawing.forget_marks()
    file.save()
    import_dataset(
        dataset.with_name("out") / file.name, tool, output=dataset.with_name("back"),
        overrides=[f"dataset={dataset}"], scenes_per_shard=2,
    )  # fmt: skip
    scene = corrected(dataset)
    assert whats(scene) == ["box"]
    assert all(one.mask is not None for one in scene.instances)


def test_crops_are_cut_as_the_recipe_says(dataset: Path, tool: str) -> None:
    manifest = json.loads((dataset / "dataset.json").read_text())
    manifest["recipe"]["crop"] = {"margin": 0.5}
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    there_and_back(tool, dataset, lambda drawing: drawing.paint(2, square(60, 20, 80, 40)))
    assert corrected(dataset).instances[2].references[0].record.crop_box == (50, 10, 90, 50)


def test_corrections_come_one_after_the_other(tool: str, dataset: Path, tmp_path: Path) -> None:
    there_and_back(tool, dataset, lambda drawing: drawing.say("First."))
    second = tmp_path / "second"
    second.mkdir()
    (tmp_path / "back").rename(second / "dataset")
    there_and_back(tool, second / "dataset", lambda drawing: drawing.remove(0))
    scene = corrected(second / "dataset")
    assert whats(scene) == ["caption", "removed"]
    manifest = imig.Dataset(second / "back").manifest
    assert len(manifest.derived) == 2
    # what the build has set stays known: thresholds, margins, near copies
    built = imig.Dataset(dataset).manifest.recipe
    assert merged_recipes(manifest.recipe) == [built]


def test_only_scenes_of_the_file(tool: str, dataset: Path) -> None:
    out = dataset.with_name("part-out")
    export_dataset(write_tiny_dataset(dataset.with_name("part"), scenes=2), tool, output=out)
    file = TOOLS[tool](out)
    file.save()
    settings = [f"dataset={dataset}"]
    source = out / file.name
    done = import_dataset(source, tool, output=dataset.with_name("all"), overrides=settings)
    assert done.manifest.counts.written == 4
    kind = "scenes that the file does not have: they are as they were"
    assert done.losses.kinds[kind].count == 2
    settings.append("scenes=file")
    done = import_dataset(source, tool, output=dataset.with_name("some"), overrides=settings)
    assert done.manifest.counts.written == 2


def planted() -> list[Sample]:
    """Nobody's everyday scenes: nothing in it; nothing but thin boxes without masks; odd words."""
    empty, thin, odd, *_ = make_samples(3)
    set_instances(empty, [], layer_order=[])
    empty.files = {"target.jpg": empty.files["target.jpg"]}
    instances = [
        Instance(index=index, identity_id=f"dot {index}", phrase="a dot", noun="dot", box=box)
        for index, box in enumerate([(0, 0, 1, 1), (95, 63, 96, 64), (10, 0, 11, 64)])
    ]
    thin.scene = Scene.model_validate({**dict(thin.scene), "layer_order": [], "relations": []})
    set_instances(thin, instances, layer_order=[])
    thin.files = {"target.jpg": thin.files["target.jpg"]}
    one = odd.scene.instances[0]
    one.phrase, one.noun = ' „Ärger" & <b>\t日本\u202e\x07 \n', 'b"<&'
    pixel = square(95, 63, 96, 64)
    one.mask, one.area, one.box = mask_to_rle(pixel), 1, (90, 60, 96, 64)
    one.references = []
    for name in ("ref00.jpg", "ref00.mask.png", "face00.png"):
        del odd.files[name]
    set_instances(odd, odd.scene.instances, layer_order=[])
    odd.scene.caption = ""
    return [empty, thin, odd]


def write(folder: Path, samples: list[Sample]) -> Path:
    shard = f"{samples[0].scene.subset}-000000.tar"
    seal(folder, {shard: samples}, {shard: write_tar(folder / shard, samples)})
    return folder


def test_planted_oddities_come_back_to_the_byte(tool: str, tmp_path: Path) -> None:
    dataset = write(tmp_path / "dataset", planted())
    assert validate_dataset(dataset).faults == []
    there_and_back(tool, dataset, lambda _: None, scene="basic-00000001")
    shard = "basic-000000.tar"
    settings = [f"dataset={dataset}"]
    source = tmp_path / "out" / TOOLS[tool].name
    import_dataset(source, tool, output=tmp_path / "again", overrides=settings)
    assert (tmp_path / "again" / shard).read_bytes() == (dataset / shard).read_bytes()


def make_complex() -> Sample:
    """Three instances, each with its crop and an edited view of it."""
    sample = make_sample(1, subset="complex")
    for one in sample.scene.instances:
        crop = one.references[0]
        view = crop.model_copy(deep=True)
        view.name = f"ref{10 + one.index}"
        view.image, view.mask = f"{view.name}.jpg", f"{view.name}.mask.png"
        view.kind, view.crop_box = "edit", None
        view.edit = Edit(instruction="turn it", model="oracle:none@0", seed=1)
        sample.files[view.image] = sample.files[crop.image]
        sample.files[view.mask] = sample.files[str(crop.mask)]
        one.references = [crop, view]
    del sample.files["face00.png"]
    return sample


def test_what_a_subset_promises_holds(tool: str, tmp_path: Path) -> None:
    dataset = write(tmp_path / "dataset", [make_complex()])
    name = "complex-00000001"
    assert validate_dataset(dataset).faults == []

    def edit(drawing: Drawing) -> None:
        drawing.paint(0, square(70, 40, 96, 64))  # elsewhere: its edited view shows another thing
        drawing.move(2, (64, 4, 92, 32))  # a little: the view is still of it
        drawing.add(box=(0, 50, 20, 60), mask=None, label="cup", phrase=None)

    done = there_and_back(tool, dataset, edit, scene=name)
    scene = corrected(dataset, name)
    assert [one.identity_id for one in scene.record.instances] == [f"{name}-blue", f"{name}-green"]
    assert [one.kind for one in scene.record.instances[1].references] == ["crop", "edit"]
    assert set(done.losses.kinds) == {
        "instances added to scenes of the subset complex",
        "views of kind edit of what is now another thing",
        "instances of scenes of the subset complex",
    }
    assert "removed" in whats(scene)


def test_ten_thousand_regions_are_named(tool: str, dataset: Path) -> None:
    def edit(drawing: Drawing) -> None:
        for number in range(10_000):
            x, y = number % 90, number // 90 % 60
            drawing.add(box=(x, y, x + 3, y + 3), mask=None, label="cup", phrase=None)

    done = there_and_back(tool, dataset, edit)
    assert (done.manifest.counts.written, done.manifest.counts.quarantined) == (3, 1)
    (one,) = read_quarantine(dataset.with_name("back"))
    assert "10006 regions are more than the boxes and masks of 1000 instances" in one.error


def test_the_dataset_cannot_be_its_own_output(tool: str, dataset: Path) -> None:
    source = dataset.with_name("out") / TOOLS[tool].name
    for output in (dataset, dataset / "new"):
        with pytest.raises(UsageError, match="lie in each other"):
            import_dataset(
                source, tool, output=output, overrides=[f"dataset={dataset}"], overwrite=True
            )
    assert len(imig.Dataset(dataset)) == 4
    assert validate_dataset(dataset).faults == []


def test_another_dataset_is_named(tool: str, dataset: Path, tmp_path: Path) -> None:
    source = tmp_path / "out" / TOOLS[tool].name
    other = write(tmp_path / "other", [make_complex()])
    with pytest.raises(UsageError, match="has no scene of"):
        import_dataset(source, tool, output=tmp_path / "back", overrides=[f"dataset={other}"])
    assert not (tmp_path / "back").exists()
    # The same ids, other scenes.
    changed = make_samples(4)
    changed[1].scene.instances[0].phrase = "another ball"
    other = write(tmp_path / "changed", changed)
    file = TOOLS[tool](tmp_path / "out")
    file.save()
    done = import_dataset(source, tool, output=tmp_path / "back", overrides=[f"dataset={other}"])
    assert done.manifest.counts.quarantined == 1
    (one,) = read_quarantine(tmp_path / "back")
    assert f"another version of {ONE}" in one.error


@pytest.mark.parametrize("by_hand", [False, True], ids=["declared", "in the card"])
def test_what_the_dataset_is_given_under_holds_for_the_corrected_one(
    tool: str, tmp_path: Path, by_hand: bool
) -> None:
    """Its scenes say nothing of it themselves."""
    parts = [write(tmp_path / name, [make_sample(n)]) for n, name in enumerate("ab")]
    dataset = tmp_path / "dataset"
    merge_datasets(parts, output=dataset, licence=None if by_hand else "CC-BY-NC-4.0")
    if by_hand:
        card = dataset / "README.md"
        card.write_text(card.read_text().replace("license: cc0-1.0", "license: cc-by-nc-4.0"))
    there_and_back(tool, dataset, lambda _: None)
    back = dataset.with_name("back")
    assert "license: cc-by-nc-4.0" in (back / "README.md").read_text()
    other = write(tmp_path / "other", [make_sample(9)])
    with pytest.raises(UsageError, match="keeps commercial use out"):
        merge_datasets([back, other], output=tmp_path / "whole", licence="MIT")


def test_an_added_instance_of_a_scene_with_a_hundred_references_gets_the_next_name() -> None:
    scene = make_sample(0).scene
    reference = scene.instances[1].references[0]
    scene.instances[1].references = [
        reference.model_copy(update={"name": f"ref{number:02d}"}) for number in range(100)
    ]
    assert _free_name(scene) == "ref100"


def test_corrections_are_optional_in_the_schema() -> None:
    scene = make_sample(0).scene
    assert b"corrections" not in scene_to_json(scene)
    scene.corrections = [Correction(tool="cvat", what="caption")]
    assert b'"corrections"' in scene_to_json(scene)


def test_targets_go_out_as_they_are_stored(dataset: Path, tmp_path: Path) -> None:
    for scene in imig.Dataset(dataset):
        data = (tmp_path / "out" / "images" / f"{scene.record.id}.jpg").read_bytes()
        assert data == scene.files["target.jpg"]
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (96, 64)
