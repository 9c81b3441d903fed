"""Families in optional packages: what is missing is said with its cure."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from imig.errors import UsageError
from imig.models.registry import list_models, load_model, pull
from imig.models.table import models_text
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if all optional packages were installed, and `~` were empty."""
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: object())
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="dlib, face_recognition_models") as caught:
        resolve_weights(ModelConfig(family="dlib"))
    assert caught.value.cure == "pip install 'imig[faces]'"
    with pytest.raises(UsageError) as caught:
        resolve_weights(ModelConfig(family="insightface", weights="buffalo_l"))
    assert caught.value.cure == "pip install 'imig[faces-insightface]'"


@pytest.mark.usefixtures("_installed")
def test_a_pack_by_its_name(tmp_path: Path) -> None:
    config = ModelConfig(family="insightface", weights="buffalo_l")
    with pytest.raises(UsageError, match=r"\.insightface/models/buffalo_l") as caught:
        resolve_weights(config)
    assert "non-commercial" in caught.value.cure
    folder = tmp_path / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no \*\.onnx"):
        resolve_weights(config)
    (folder / "det_10g.onnx").write_bytes(b"1")
    first = resolve_weights(config)
    assert first.path == folder
    (folder / "w600k_r50.onnx").write_bytes(b"2")
    both = resolve_weights(config)
    assert [file.name for file in both.files] == ["det_10g.onnx", "w600k_r50.onnx"]
    assert both.revision != first.revision, "every file counts"
    by_path = resolve_weights(ModelConfig(family="insightface", weights=str(folder)))
    assert by_path.revision == both.revision


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("device", "is_there", "providers", "chosen"),
    [
        ("auto", "cuda", [CPU], CPU),
        ("auto", "cuda", [CUDA, CPU], (CUDA, {"device_id": 0})),
        ("auto", "cpu", [CUDA, CPU], CPU),
        ("cuda:1", "cuda:1", [CUDA, CPU], (CUDA, {"device_id": 1})),
        ("cuda", "cuda", [CPU], None),
        ("cpu", "cpu", [CPU], CPU),
    ],
)
def test_insightface_runs_where_its_onnxruntime_can(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    device: str,
    is_there: str,
    providers: list[str],
    chosen: object,
) -> None:
    """With stand-ins for its packages, which are not installed everywhere, and for the GPU."""
    asked: list[Any] = []

    def analysis(**arguments: Any) -> SimpleNamespace:
        asked.extend(arguments["providers"])
        models = {"detection": SimpleNamespace(use_kps=True), "recognition": object()}
        return SimpleNamespace(models=models, prepare=lambda **_: None)

    runtime = SimpleNamespace(
        get_available_providers=lambda: providers, SessionOptions=SimpleNamespace
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setitem(sys.modules, "insightface", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "insightface.app", SimpleNamespace(FaceAnalysis=analysis))
    monkeypatch.setattr("imig.models.registry.choose_device", lambda _: torch.device(is_there))
    (tmp_path / "det.onnx").write_bytes(b"1")
    config = ModelConfig(family="insightface", weights=str(tmp_path), device=device)
    if chosen is None:
        with pytest.raises(UsageError, match="cannot run on cuda") as caught:
            load_model(config, batch_size=1)
        assert "onnxruntime-gpu" in caught.value.cure
    else:
        load_model(config, batch_size=1)
        assert asked == [chosen]


@pytest.mark.usefixtures("_installed")
def test_no_tiny_weights_and_nothing_to_pull() -> None:
    with pytest.raises(UsageError, match="no tiny weights") as caught:
        resolve_weights(ModelConfig(family="insightface"))
    assert "None" not in caught.value.cure
    with pytest.raises(UsageError, match="not on the model hub"):
        pull("insightface")


def test_the_list_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.models.packages.find_spec", lambda name: None)
    text = models_text(list_models())
    assert "pip install 'imig[faces]'" in text
    assert "imig models pull insightface" not in text
