"""Everything that reads datasets, shown a damaged file; only errors of imig may come out."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

import imig
from imig.checks.dataset import validate_dataset
from imig.checks.encoded import check_encoded
from imig.checks.faults import Fault
from imig.checks.folder import check_files, check_index, check_manifest, read_folder_manifest
from imig.checks.pictures import Findings, check_image
from imig.checks.sample import check_features
from imig.checks.shard import ShardCheck, check_shard
from imig.contextgen.encoded_scene import scene_from_bytes
from imig.display.picture import draw_preview
from imig.display.stats import scene_stats
from imig.errors import ImigError
from imig.layout.masks import rle_to_mask
from imig.layout.run_lengths import mask_extents
from imig.pictures import PictureError, open_picture
from imig.printable import to_printable
from imig.schema import MaskRLE, Scene, ShardRecord, scene_from_json, scene_to_json
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import features_from_bytes
from imig.shards.funnel import read_funnel
from imig.shards.index import INDEX_NAME, scene_to_row, write_index
from imig.shards.manifest import MANIFEST_NAME, read_manifest
from imig.shards.tables import read_quarantine, read_rejects
from imig.shards.views import SceneView
from imig.shards.writer import JSON_MEMBER, read_tar
from imig.training.data import TrainingData
from imig.training.encode_scene import prepare_scene
from imig.training.recipe import DataConfig
from support.encoded_samples import ENCODING
from support.fuzzing.cases import Case
from support.fuzzing.seeds import SHARDS, good_seeds
from support.fuzzing.watch import WATCH
from support.scene_checks import check_sample

CONFIG = DataConfig(target_width=96, reference_side=32, validation_fraction=0)
MAX_PIXELS = 1_000_000


class Bench:
    """Copies of the good datasets, into which one damaged file at a time is put."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, files in good_seeds().folders.items():
            (root / name).mkdir()
            for file, data in files.items():
                (root / name / file).write_bytes(data)
        self.datasets = {name: imig.Dataset(root / name) for name in SHARDS}
        self.checks = {name: [check_shard(root / name / SHARDS[name])] for name in SHARDS}
        self.files = {name: self.listing(name) for name in SHARDS}

    @contextmanager
    def changed(self, dataset: str, file: str, data: bytes) -> Iterator[Path]:
        """The dataset's folder with that file damaged."""
        path = self.root / dataset / file
        with WATCH.off():
            path.write_bytes(data)
        try:
            yield self.root / dataset
        finally:
            with WATCH.off():
                path.write_bytes(good_seeds().folders[dataset][file])

    def listing(self, dataset: str) -> frozenset[str]:
        """Names in a dataset's folder."""
        return frozenset(one.name for one in (self.root / dataset).iterdir())


def read_case(case: Case, bench: Bench) -> str:
    """Show a mutant to its readers; what they said, without what differs between mutants.

    Raises
    ------
    Exception
        What is no error of imig, and any disagreement between two readers.
    """
    with WATCH.on() as seen:
        said = " | ".join(READERS[case.kind](case, bench))
    assert not seen, seen
    return said


def attempt(read: Callable[[], object], *allowed: type[Exception]) -> str:
    """What a reader says: `fine`, or an error for people."""
    expected: tuple[type[Exception], ...] = (ImigError, *allowed)
    try:
        read()
    except expected as error:
        text = to_printable(str(error), lines=True)
        text.encode()
        return f"{type(error).__name__}: {_without_particulars(text)}"
    return "fine"


def _without_particulars(text: str) -> str:
    """The first line's words, and nothing that is a name, a number or a value."""
    line = re.sub(r"'.*?'|\".*?\"|\[.*?\]|\(.*?\)", "..", text.split("\n")[0])
    return re.sub(r"\S*[^\sa-zA-Z,:;'-]\S*", "..", line)[:160]


def _kinds(faults: list[Fault]) -> str:
    for fault in faults:
        assert fault.message
    return "faults: " + ", ".join(sorted({one.kind for one in faults}))


def _look_at(scene: SceneView) -> None:
    """Every picture and mask."""
    assert scene.target.size == (scene.record.width, scene.record.height)
    for instance in scene.instances:
        mask = instance.mask
        assert mask is None or mask.shape == (scene.record.height, scene.record.width)
        for view in instance.references:
            assert view.mask is not None
            assert view.image.size == view.mask.shape[::-1]


def _use(scene: Scene, view: SceneView, *, rarely: bool) -> Iterator[str]:
    """What commands do with a scene that obeys the schema, with the pictures of `view`."""
    stored = scene_to_json(scene)
    assert scene_to_json(scene_from_json(stored)) == stored
    scene_to_row(scene, shard="x.tar", offset=0, size=512)
    scene_stats([scene])
    yield attempt(lambda: _look_at(view))
    if rarely:
        yield attempt(lambda: prepare_scene(view, config=CONFIG))
        yield attempt(lambda: draw_preview(view))


def _is_rare(case: Case, share: int) -> bool:
    """For one of `share` mutants, the same ones always."""
    return case.thorough or zlib.crc32(case.data) % share == 0


def _read_scene(case: Case, bench: Bench) -> Iterator[str]:
    number = int(case.context)
    good, files = good_seeds().scenes[number], good_seeds().files[number]
    findings = Findings(shard="x.tar", sample=good.id)
    scene = check_sample(findings, {**files, JSON_MEMBER: case.data})
    yield _kinds(findings.faults)
    if scene is not None:
        view = SceneView(scene, files, place=f"sample {good.id} in x.tar")
        yield from _use(scene, view, rarely=_is_rare(case, 16))


def _read_picture(case: Case, bench: Bench) -> Iterator[str]:
    name, scene, files = case.context, good_seeds().scenes[1], good_seeds().files[1]
    sides = {
        one.image: (one.width, one.height) for each in scene.instances for one in each.references
    }
    size = sides.get(
        name, sides.get(name.replace(".mask.png", ".jpg"), (scene.width, scene.height))
    )
    mode, kind = {"mask.png": ("1", "PNG"), "png": ("RGBA", "PNG"), "jpg": ("RGB", "JPEG")}[
        name.partition(".")[2]
    ]
    findings = Findings(shard="x.tar", sample=scene.id)
    checked = check_image(findings, name, case.data, size=size, mode=mode, kind=kind)
    yield _kinds(findings.faults)
    view = SceneView(scene, {**files, name: case.data}, place="sample x in x.tar")
    said = attempt(lambda: _look_at_one(view, name))
    assert checked is None or said == "fine", f"validate is content, but: {said}"
    yield said
    if _is_rare(case, 2):
        yield attempt(lambda: _open_as_photo(case.data), PictureError)


def _look_at_one(view: SceneView, name: str) -> None:
    if name == view.record.target:
        view.target  # noqa: B018
        return
    for instance in view.instances:
        for one in instance.references:
            if name in (one.record.image, one.record.mask):
                assert one.mask is not None
                assert one.image.size == one.mask.shape[::-1]


def _open_as_photo(data: bytes) -> None:
    opened = open_picture(data, max_pixels=MAX_PIXELS)
    assert opened.to_rgb().mode == "RGB"
    assert opened.to_mask().shape == opened.image.size[::-1]


def _read_features(case: Case, bench: Bench) -> Iterator[str]:
    findings = Findings(shard="x.tar", sample="x")
    check_features(findings, case.data)
    said = attempt(lambda: features_from_bytes(case.data, place="x"))
    assert (said == "fine") == (not findings.faults)
    yield said


def _read_encoding(case: Case, bench: Bench) -> Iterator[str]:
    scene = good_seeds().scenes[1]
    findings = Findings(shard="x.tar", sample=scene.id)
    check_encoded(findings, scene, case.data)
    yield _kinds(findings.faults)

    def train() -> None:
        read = scene_from_bytes(case.data, sample=scene.id, encoding=ENCODING, place="x")
        for variant in read.layouts:
            sample = read.to_sample(variant)
            assert sample.target is not None
            assert sample.target.isfinite().all()
            assert sample.layout.shape == sample.target.shape

    said = attempt(train)
    assert said == "fine" or findings.faults or findings.encoding != ENCODING
    yield said


def _read_runs(case: Case, bench: Bench) -> Iterator[str]:
    try:
        mask = MaskRLE.model_validate_json(case.data)
    except ValidationError as error:
        yield f"schema: {error.errors()[0]['type']}"
        return
    [extent] = mask_extents([mask])
    alone = attempt(lambda: rle_to_mask(mask))
    assert (extent is not None) == (alone == "fine"), f"{extent}, but: {alone}"
    if extent is not None:
        assert int(np.count_nonzero(rle_to_mask(mask))) == extent.area
    yield alone


def _read_shard(case: Case, bench: Bench) -> Iterator[str]:
    dataset, shard = case.context, SHARDS[case.context]
    with bench.changed(dataset, shard, case.data) as folder:
        check = check_shard(folder / shard)
        yield _kinds(check.faults)
        yield attempt(lambda: list(read_tar(folder / shard)))
        yield from _read_dataset(bench.datasets[dataset])
        if _is_rare(case, 12):
            with _sealed(bench, dataset, check):
                yield attempt(lambda: list(_read_dataset(imig.Dataset(folder))))
                yield attempt(lambda: _read_parent(folder, samples=True))


@contextmanager
def _sealed(bench: Bench, dataset: str, check: ShardCheck) -> Iterator[None]:
    """With the index and the manifest that an attacker would write for a damaged shard."""
    manifest = read_manifest(bench.root / dataset / MANIFEST_NAME)
    record = ShardRecord(
        name=check.name, samples=len(check.rows), bytes=check.bytes, sha256=check.sha256
    )
    with WATCH.off():
        write_index(bench.root / "index.parquet", check.rows)
        index = (bench.root / "index.parquet").read_bytes()
    agreeing = manifest.model_copy(update={"shards": [record]}).model_dump_json().encode()
    with (
        bench.changed(dataset, INDEX_NAME, index),
        bench.changed(dataset, MANIFEST_NAME, agreeing),
    ):
        yield


def _read_dataset(dataset: imig.Dataset) -> Iterator[str]:
    def look() -> None:
        for scene in dataset:
            _look_at(scene)

    yield attempt(look)
    yield attempt(lambda: list(dataset.records()))
    for sample_id in dataset.ids:
        yield attempt(partial(dataset.read_member, sample_id, ENCODED_MEMBER))


def _read_manifest(case: Case, bench: Bench) -> Iterator[str]:
    dataset = case.context
    with bench.changed(dataset, "dataset.json", case.data) as folder:
        manifest = read_folder_manifest(folder)
        if isinstance(manifest, Fault):
            yield _kinds([manifest])
        else:
            yield _kinds(list(check_manifest(folder, manifest, bench.checks[dataset])))
        if _is_rare(case, 4):
            yield attempt(lambda: imig.Dataset(folder))
            yield attempt(lambda: _read_parent(folder, samples=False))


def _read_parent(folder: Path, *, samples: bool) -> None:
    parent = imig.Dataset(folder)
    assert len(parent.subsets) == len(parent)
    parent.funnel()
    parent.rejects()
    parent.quarantined()
    if samples:
        for scene, _ in parent.walk_shards():
            assert scene.id


def _read_index(case: Case, bench: Bench) -> Iterator[str]:
    dataset = case.context
    with bench.changed(dataset, "index.parquet", case.data) as folder:
        yield _kinds(list(check_index(folder, bench.checks[dataset], sha256=None)))
        yield attempt(lambda: _plan(folder))
        yield attempt(lambda: _read_parent(folder, samples=False))


def _plan(folder: Path) -> None:
    dataset = imig.Dataset(folder)
    assert len(dataset.index) == len(dataset)
    list(_read_dataset(dataset))
    data = TrainingData([folder], config=CONFIG, seed=0, batch_size=1, encode_as=lambda: ENCODING)
    for number in range(3):
        for sample in data[number]:
            assert sample.target is not None


def _read_report(case: Case, bench: Bench) -> Iterator[str]:
    with bench.changed(case.context, "report.json", case.data) as folder:
        yield attempt(lambda: read_funnel(folder / "report.json"))
        if _is_rare(case, 4):
            yield _kinds(list(check_files(folder)))


def _read_table(case: Case, bench: Bench) -> Iterator[str]:
    read: Callable[[Path], Any] = read_rejects if case.kind == "rejects" else read_quarantine
    with bench.changed(case.context, f"{case.kind}.parquet", case.data) as folder:
        yield attempt(lambda: read(folder))


def _read_folder(case: Case, bench: Bench) -> Iterator[str]:
    dataset, file = case.context.split("/")
    before = bench.files[dataset]
    with bench.changed(dataset, file, case.data) as folder:
        yield _kinds(validate_dataset(folder).faults)
        yield attempt(lambda: _plan(folder))
        yield attempt(lambda: _read_parent(folder, samples=True))
    assert bench.listing(dataset) == before, "files have come or gone"


READERS: dict[str, Callable[[Case, Bench], Iterator[str]]] = {
    "scene": _read_scene,
    "jpeg": _read_picture,
    "png": _read_picture,
    "features": _read_features,
    "encoding": _read_encoding,
    "runs": _read_runs,
    "shard": _read_shard,
    "manifest": _read_manifest,
    "index": _read_index,
    "report": _read_report,
    "rejects": _read_table,
    "quarantine": _read_table,
    "folder": _read_folder,
}
