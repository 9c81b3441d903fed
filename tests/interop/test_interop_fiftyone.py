"""FiftyOne: its own type of dataset, read by the rules of its importer.

FiftyOne itself needs a running MongoDB. What is done here is what its importer does
(fiftyone/utils/data/importers.py, `FiftyOneDatasetImporter`) up to the database, and what its
fields do with a mask (`fiftyone.core.utils.deserialize_numpy_array`).
"""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.tiny_dataset import make_samples, seal, write_tiny_dataset

import imig
from imig.errors import UsageError
from imig.interop.exporting import export_dataset
from imig.interop.formats import find_importer
from imig.shards.writer import write_tar
from imig.stages.instances import set_instances

OBJECT_ID = re.compile("[0-9a-f]{24}")
DEFAULT_FIELDS = {"id", "filepath", "tags", "metadata", "_media_type", "_rand", "_dataset_id"}


def read_fiftyone(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The dataset's document, and its samples with masks decoded over the whole picture."""
    document = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert "version" in document  # without, it would be taken for the form before 0.8
    fields = {one["db_field"]: one for one in document["sample_fields"]}
    assert {one["name"] for one in fields.values()} >= DEFAULT_FIELDS
    samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["samples"]
    for sample in samples:
        assert sample.keys() <= fields.keys()
        assert OBJECT_ID.fullmatch(sample["_id"]["$oid"])
        assert not Path(sample["filepath"]).is_absolute()
        size = sample["metadata"]["width"], sample["metadata"]["height"]
        for one in sample["instances"]["detections"]:
            assert OBJECT_ID.fullmatch(one["_id"]["$oid"])
            if one["mask"] is not None:
                one["mask"] = _whole(_decode(one["mask"]), one["bounding_box"], size)
    return document, samples


def _decode(stored: dict[str, Any]) -> NDArray[np.bool_]:
    assert stored["$binary"]["subType"] == "00"
    data = zlib.decompress(base64.b64decode(stored["$binary"]["base64"]))
    mask: NDArray[np.bool_] = np.load(io.BytesIO(data), allow_pickle=False)
    return mask


def _whole(mask: NDArray[np.bool_], box: list[float], size: tuple[int, int]) -> NDArray[np.bool_]:
    whole = np.zeros(size[::-1], dtype=bool)
    x, y = round(box[0] * size[0]), round(box[1] * size[1])
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert mask.shape == (round(box[3] * size[1]), round(box[2] * size[0]))
    return whole


def test_what_fiftyone_reads_is_what_the_dataset_holds(tmp_path: Path) -> None:
    dataset = write_tiny_dataset(tmp_path / "dataset", scenes=4, scenes_per_shard=2)
    done = export_dataset(dataset, "fiftyone", output=tmp_path / "out")
    assert done.losses.kinds.keys() == {"references"}
    document, samples = read_fiftyone(tmp_path / "out")
    assert document["default_classes"] == ["ball"]
    ids = {one["_id"]["$oid"] for one in samples}
    assert len(ids) == 4
    for scene, sample in zip(imig.Dataset(dataset), samples, strict=True):
        path = tmp_path / "out" / sample["filepath"]
        assert path.read_bytes() == scene.files["target.jpg"]
        assert path.stat().st_size == sample["metadata"]["size_bytes"]
        assert (sample["scene"], sample["caption"]) == (scene.record.id, scene.record.caption)
        assert sample["coverage"] == scene.record.scores.coverage
        detections = sample["instances"]["detections"]
        for one, found in zip(scene.instances, detections, strict=True):
            assert (one.mask == found["mask"]).all()
            assert (found["label"], found["phrase"]) == (one.record.noun, one.record.phrase)
            assert found["identity_id"] == one.record.identity_id
            assert found["confidence"] == one.record.grounding.score
            x, y, width, height = found["bounding_box"]
            x1, y1, x2, y2 = one.record.box
            assert np.allclose(
                [x * 96, y * 64, width * 96, height * 64], [x1, y1, x2 - x1, y2 - y1]
            )


def test_oddities(tmp_path: Path) -> None:
    """A scene without instances, an instance without a mask, names that are no ASCII."""
    empty, odd = make_samples(2)
    set_instances(empty, [], layer_order=[])
    empty.files = {"target.jpg": empty.files["target.jpg"]}
    one = odd.scene.instances[0]
    one.mask, one.area, one.grounding, one.noun, one.box = None, None, None, "球", (0, 0, 1, 1)
    dataset, shard = tmp_path / "dataset", "basic-000000.tar"
    seal(dataset, {shard: [empty, odd]}, {shard: write_tar(dataset / shard, [empty, odd])})
    export_dataset(dataset, "fiftyone", output=tmp_path / "out")
    document, samples = read_fiftyone(tmp_path / "out")
    assert document["classes"] == {"instances": ["ball", "球"]}
    assert samples[0]["instances"]["detections"] == []
    found = samples[1]["instances"]["detections"][0]
    assert (found["mask"], found["confidence"], found["label"]) == (None, None, "球")
    assert found["bounding_box"] == [0, 0, 1 / 96, 1 / 64]


def test_the_same_dataset_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = write_tiny_dataset(tmp_path / "dataset", scenes=2)
    for name in ("a", "b"):
        export_dataset(dataset, "fiftyone", output=tmp_path / name)
    for name in ("samples.json", "metadata.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_it_is_only_written() -> None:
    with pytest.raises(UsageError, match="imig only writes fiftyone"):
        find_importer("fiftyone")
