"""insightface's code on a made-up model pack: the published ones are not free, so none is here.

The pack's networks are real ONNX graphs in the interfaces of SCRFD and ArcFace; the detector always
answers two faces, the recognition network the mean colours of the aligned face.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imig.errors import UsageError
from imig.models.protocols import FaceAnalyser
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig

onnx = pytest.importorskip("onnx", reason="the extra `faces-insightface` is not installed")
pytest.importorskip("insightface", reason="the extra `faces-insightface` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `faces-insightface` is not installed")

SIDE = 640
LANDMARKS = np.array([[-16, -12], [16, -12], [0, 4], [-12, 18], [12, 18]], np.float32)
"""About a face's centre; the large face has twice these."""


def constant_graph(name: str, values: dict[str, NDArray[np.float32]]) -> Any:
    helper = onnx.helper
    wanted = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    nodes, outputs = [], []
    for key, value in values.items():
        nodes.append(
            helper.make_node(
                "Constant", [], [key], value=onnx.numpy_helper.from_array(value, f"{key}_value")
            )
        )
        outputs.append(
            helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, list(value.shape))
        )
    graph = helper.make_graph(nodes, name, [wanted], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def save_detector(path: Path, *, landmarks: bool = True) -> None:
    """A small face about (240, 160) with score 0.95, and one twice as large about (416, 416)."""
    values = {}
    for part, width in (("score", 1), ("box", 4), *([("kps", 10)] if landmarks else [])):
        for stride in (8, 16, 32):
            values[f"{part}{stride}"] = np.zeros(((SIDE // stride) ** 2 * 2, width), np.float32)
    for stride, (x, y), score, size in ((8, (240, 160), 0.95, 1), (16, (416, 416), 0.7, 2)):
        row = (y // stride * (SIDE // stride) + x // stride) * 2
        values[f"score{stride}"][row] = score
        values[f"box{stride}"][row] = 30 * size / stride
        if landmarks:
            values[f"kps{stride}"][row] = LANDMARKS.ravel() * size / stride
    onnx.save(constant_graph("detector", values), str(path))


def save_recognition(path: Path) -> None:
    helper = onnx.helper
    wanted = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 112, 112])
    answer = helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1, 3])
    axes = onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    node = helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0)
    graph = helper.make_graph([node], "recognition", [wanted], [answer], initializer=[axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "made_up"
    folder.mkdir()
    save_detector(folder / "det.onnx")
    save_recognition(folder / "rec.onnx")
    return folder


def load(folder: Path) -> Any:
    config = ModelConfig(family="insightface", weights=str(folder), device="cpu")
    return load_model(config, batch_size=2)


def test_faces_in_pixels_of_the_picture_largest_first(pack: Path) -> None:
    model = load(pack)
    assert isinstance(model, FaceAnalyser)
    assert model.name.startswith(f"insightface:{pack}@")
    pixels = np.zeros((320, 320, 3), np.uint8)
    pixels[:, :, 0] = 255  # red: the small face
    pixels[160:, :] = (0, 0, 255)
    large, small = model.find_faces([Image.fromarray(pixels)])[0]
    # The detector sees the picture at twice its size.
    assert small.box == (105, 65, 135, 95)
    assert large.box == (178, 178, 238, 238)
    np.testing.assert_allclose((small.score, large.score), (0.95, 0.7), atol=1e-3)
    np.testing.assert_allclose(small.landmarks, LANDMARKS / 2 + np.array((120, 80)), atol=0.01)
    np.testing.assert_allclose(large.landmarks, LANDMARKS + np.array((208, 208)), atol=0.01)
    for face in (small, large):
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    # Colours are in their order: red is first, as the networks of insightface have it.
    assert int(np.argmax(small.embedding)) == 0
    assert int(np.argmax(large.embedding)) == 2


def test_packs_that_do_not_fit(pack: Path) -> None:
    save_detector(pack / "det.onnx", landmarks=False)
    with pytest.raises(UsageError, match="detector with landmarks"):
        load(pack)
    (pack / "det.onnx").unlink()
    with pytest.raises(UsageError, match="no detector in it"):
        load(pack)
    (pack / "det.onnx").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="does not load"):
        load(pack)
