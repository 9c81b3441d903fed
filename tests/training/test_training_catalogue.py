"""The trainer's catalogue: from the index alone what the scenes' records say one by one."""

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tiny_dataset import LATER_COLUMNS, make_sample, seal

from imig.contextgen.settings import TextLength
from imig.layout.reference_size import TOKEN, reference_size
from imig.sample import Sample
from imig.schema import Face, Reference, ReferenceKind, Scene
from imig.shards.dataset import Dataset
from imig.shards.index import INDEX_NAME
from imig.shards.writer import write_tar
from imig.training.catalogue import Catalogue, read_catalogue
from imig.training.catalogue_columns import columns_to_arrays, scenes_to_column
from imig.training.choices import available_variants, pick_references
from imig.training.lengths import estimate_reference_tokens, reference_grids
from imig.training.recipe import DataConfig

CONFIG = DataConfig(target_width=96, reference_side=32, validation_fraction=0.2)
CONFIGS = [
    CONFIG,
    CONFIG.model_copy(update={"max_references": 2, "edit_probability": 1.0}),
    CONFIG.model_copy(update={"max_references": 1, "face_probability": 0.0}),
    CONFIG.model_copy(update={"face_probability": 1.0, "target_width": 64}),
]


def make_odd_scene(number: int) -> Sample:
    """Views of random kinds and sizes, instances without any, faces with and without a place."""
    generator = np.random.default_rng(number)
    sample = make_sample(number, things=2 + number % 2)
    for instance in sample.scene.instances:
        x1, y1, _, _ = instance.box
        width, height = (int(side) for side in generator.integers(8, 40, 2))
        instance.box = (x1, y1, x1 + width, y1 + height)
        instance.area = None if generator.random() < 0.2 else int(width * height * 0.6)
        instance.face_box = None if generator.random() < 0.5 else instance.box
        instance.references = [
            make_reference(10 * instance.index + place, generator)
            for place in range(generator.integers(0, 4))
        ]
    return sample


def make_reference(number: int, generator: np.random.Generator) -> Reference:
    kinds: tuple[ReferenceKind, ...] = ("crop", "edit", "source", "face")
    width, height = (int(side) for side in generator.integers(8, 300, 2))
    left, top = (int(side) for side in generator.integers(0, 4, 2))
    box = (left, top, left + width // 2 + 1, top + height // 2 + 1)
    aligned = None if generator.random() < 0.5 else box
    return Reference(
        name=f"ref{number:02d}",
        kind=kinds[generator.integers(len(kinds))],
        image="target.jpg",
        mask=None,
        width=width,
        height=height,
        subject_box=box,
        face=None if generator.random() < 0.3 else Face(box=box, aligned_box=aligned),
    )


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_odd_scene(number).scene for number in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    samples = [make_odd_scene(number) for number in range(60)]
    shards = {"basic-000000.tar": samples[:35], "basic-000001.tar": samples[35:]}
    seal(folder, shards, {name: write_tar(folder / name, some) for name, some in shards.items()})
    return folder


def tokens_of(scene: Scene, *, instance: int, reference: int, config: DataConfig) -> int:
    """One reference's, by the formula."""
    shown, view = scene.instances[instance], scene.instances[instance].references[reference]
    width, height = reference_size(view.width, view.height, side=config.reference_side)
    columns, rows = width // TOKEN, height // TOKEN
    x1, y1, x2, y2 = view.subject_box
    w, h = (x2 - x1) / view.width * columns, (y2 - y1) / view.height * rows
    fill = math.pi / 4
    if shown.area is not None and view.kind != "face":
        left, top, right, bottom = view.subject_box if view.kind == "crop" else shown.box
        fill = min(1.0, shown.area / ((right - left) * (bottom - top)))
    limit = min(math.ceil(w) + 1, columns) * min(math.ceil(h) + 1, rows)
    return round(min(fill * w * h + w + h + 1, limit))


@pytest.mark.parametrize("config", CONFIGS)
def test_entries_are_what_the_records_say(
    folder: Path, scenes: list[Scene], config: DataConfig
) -> None:
    catalogue = read_catalogue([Dataset(folder)], config=config)
    entries = {one.id: one for one in [*catalogue.training, *catalogue.validation]}
    several = 0
    for scene in scenes:
        variants = available_variants(scene, config=config)
        if not variants:
            assert scene.id in catalogue.unusable
            continue
        entry = entries.pop(scene.id)
        assert (entry.subset, entry.dataset) == ("basic", 0)
        assert tuple(entry.references) == variants
        several += len(variants) > 1
        for variant in variants:
            assert entry.references[variant] == sum(
                tokens_of(scene, instance=pick.instance, reference=pick.reference, config=config)
                for pick in pick_references(scene, variant=variant, config=config)
            )
    assert not entries
    assert several or config.face_probability in (0.0, 1.0)
    assert catalogue.unusable
    assert [one.id for one in catalogue.training] == sorted(one.id for one in catalogue.training)


def test_512_text_tokens_are_512_for_every_caption(folder: Path) -> None:
    def texts(length: TextLength) -> set[int]:
        found = read_catalogue([Dataset(folder)], config=CONFIG, text_length=length)
        return {one.text for one in (*found.training, *found.validation)}

    assert texts(512) == {512}
    assert 512 not in texts("caption")


@pytest.mark.parametrize("drop_background", [True, False])
def test_an_index_without_the_column_gives_the_same(
    folder: Path, tmp_path: Path, drop_background: bool
) -> None:
    def read(where: Path) -> Catalogue:
        return read_catalogue([Dataset(where)], config=CONFIG, drop_background=drop_background)

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    table = pq.read_table(folder / INDEX_NAME).drop_columns(LATER_COLUMNS)
    pq.write_table(table, tmp_path / INDEX_NAME)
    assert read(tmp_path) == read(folder)


def test_shards_are_not_read(folder: Path, tmp_path: Path) -> None:
    for name in ("dataset.json", INDEX_NAME):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert read_catalogue([Dataset(tmp_path)], config=CONFIG).training


def test_grids_are_those_of_prepared_references() -> None:
    generator = np.random.default_rng(0)
    sizes = np.exp(generator.uniform(0, 8, (2000, 2))).astype(np.int64) + 1
    for side in (16, 33, 512):
        expected = [reference_size(*map(int, size), side=side) for size in sizes]
        assert np.array_equal(reference_grids(sizes, side=side) * TOKEN, expected)


def test_whole_grids_where_the_background_stays(scenes: list[Scene]) -> None:
    instances, references = columns_to_arrays(scenes_to_column(scenes))
    tokens = estimate_reference_tokens(references, instances, side=64, drop_background=False)
    views = [view for scene in scenes for one in scene.instances for view in one.references]
    sizes = [reference_size(one.width, one.height, side=64) for one in views]
    assert tokens.tolist() == [width * height // TOKEN**2 for width, height in sizes]


def test_no_scenes() -> None:
    instances, references = columns_to_arrays(scenes_to_column([]))
    assert len(instances.scene) == len(references.instance) == 0
