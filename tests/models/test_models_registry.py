"""Finding weights: on this disk, in the hub's cache, or nowhere."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imig.errors import DataError, UsageError
from imig.models import families, libraries
from imig.models import weights as weights_module
from imig.models.families import FAMILIES, FAMILY_CLASSES
from imig.models.hub import HubId, parse_hub_id
from imig.models.protocols import TASKS
from imig.models.registry import list_models, load_model, model_record, pull
from imig.models.table import models_text
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _checkpoint(folder: Path, content: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    (folder / "preprocessor_config.json").write_text("{}")
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache; huggingface_hub reads the environment once, so its constant is set."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def _cached(cache: Path, repo: str) -> Path:
    """A repository in the cache, laid out as huggingface_hub does it."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    return root / "snapshots" / COMMIT


def test_local_folder_is_named_by_its_content(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "mine")
    config = ModelConfig(family="dinov2", weights=str(folder))
    found = resolve_weights(config)
    digest = hashlib.sha256(b"weights").hexdigest()[:12]
    assert (found.path, found.revision) == (folder, digest)
    assert found.name == f"dinov2:{folder}@{digest}"
    assert model_record(config).model_dump() == {
        "family": "dinov2",
        "weights": str(folder),
        "revision": digest,
    }
    _checkpoint(folder, b"other weights")
    assert resolve_weights(config).revision != digest


def test_hub_cache_is_found_without_network(hub_cache: Path) -> None:
    folder = _checkpoint(_cached(hub_cache, "facebook/dinov2-base"))
    found = resolve_weights(ModelConfig(family="dinov2", weights="facebook/dinov2-base"))
    assert (found.path, found.revision) == (folder, COMMIT[:12])
    pinned = ModelConfig(family="dinov2", weights=f"facebook/dinov2-base@{COMMIT}")
    assert resolve_weights(pinned).name == f"dinov2:facebook/dinov2-base@{COMMIT[:12]}"
    row = next(one for one in list_models() if one.weights == "facebook/dinov2-base")
    assert row.found
    assert row.where == str(folder)


def test_one_file_of_a_hub_repository(hub_cache: Path) -> None:
    folder = _cached(hub_cache, "ybelkada/segment-anything") / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "sam_vit_b_01ec64.pth").write_bytes(b"x")
    weights = "ybelkada/segment-anything/checkpoints/sam_vit_b_01ec64.pth"
    found = resolve_weights(ModelConfig(family="segment-anything", weights=weights))
    assert found.files == (folder / "sam_vit_b_01ec64.pth",)
    assert parse_hub_id(weights + "@v1") == HubId(
        "ybelkada/segment-anything", "checkpoints/sam_vit_b_01ec64.pth", "v1"
    )
    assert parse_hub_id("/absolute/path") is None


def test_missing_weights_say_where_and_how(hub_cache: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_weights(ModelConfig(family="dinov2", weights="facebook/dinov2-base"))
    assert str(hub_cache) in caught.value.message
    assert str(Path("facebook/dinov2-base").absolute()) in caught.value.message
    assert "imig models pull dinov2 facebook/dinov2-base (about 346 MB)" in caught.value.cure
    with pytest.raises(UsageError, match="/nowhere/at/all") as caught:
        load_model(ModelConfig(family="blip", weights="/nowhere/at/all"), batch_size=1)
    assert "imig models pull blip Salesforce/blip-image-captioning-base" in caught.value.cure


@pytest.mark.parametrize(
    ("family", "others"),
    [
        ("sam2", "family segment-anything has"),
        ("groundingdino", "family grounding-dino has"),
        ("sam3", "families grounding-dino, segment-anything have"),
    ],
)
def test_families_without_tiny_name_those_that_have(family: str, others: str) -> None:
    with pytest.raises(UsageError, match=f"{family} has no tiny weights") as caught:
        resolve_weights(ModelConfig(family=family))
    assert f"{others}; or on a machine" in caught.value.cure


def test_missing_tiny_weights_name_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "tiny_folder", lambda family: tmp_path / family.name)
    with pytest.raises(UsageError, match="the tiny weights are missing") as caught:
        resolve_weights(ModelConfig(family="blip"))
    assert "make weights" in caught.value.cure


def test_incomplete_and_ambiguous_folders(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "half")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match="no preprocessor_config"):
        resolve_weights(ModelConfig(family="dinov2", weights=str(folder)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="no weights in"):
        resolve_weights(ModelConfig(family="dinov2", weights=str(folder)))
    for name in ("sam_vit_b.pth", "sam_vit_h.pth"):
        (folder / name).touch()
    with pytest.raises(UsageError, match="several weight files"):
        resolve_weights(ModelConfig(family="segment-anything", weights=str(folder)))
    with pytest.raises(UsageError, match="is a file; this family loads a folder"):
        resolve_weights(ModelConfig(family="dinov2", weights=str(folder / "sam_vit_b.pth")))


def test_unknown_family_and_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown model family 'dino'"):
        resolve_weights(ModelConfig(family="dino"))
    folder = _checkpoint(tmp_path / "mine")
    for device, message in (("gpu", "unknown device"), ("cuda:99", "is not there")):
        config = ModelConfig(family="dinov2", weights=str(folder), device=device)
        with pytest.raises(UsageError, match=message):
            load_model(config, batch_size=1)


def test_pull_honours_the_offline_switch(tmp_path: Path) -> None:
    code = (
        "from imig.errors import UsageError\n"
        "from imig.models.registry import pull\n"
        "try:\n    pull('dinov2')\nexcept UsageError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "the hub's offline switch is set" in done.stdout


def test_pull_without_network_says_so(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens there: the connection is refused at once, as without a network.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    # It tries again five times, 23 seconds of waiting in all.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(DataError, match="could not download facebook/dinov2-base"):
        pull("dinov2")
    with pytest.raises(UsageError, match="not a hub id"):
        pull("dinov2", "/some/path")


def test_list_names_every_family(hub_cache: Path) -> None:
    rows = list_models()
    assert {row.family for row in rows} == set(FAMILIES)
    assert all(row.licence and row.where for row in rows)
    printed = models_text(rows)
    assert "imig models pull sam2 facebook/sam2.1-hiera-large" in printed


def test_every_file_of_a_family_is_listed_once() -> None:
    files = {path.stem for path in Path(families.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(one.__module__.rpartition(".")[2] for one in families.CLASSES) == sorted(files)
    assert len(FAMILIES) == len(families.CLASSES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_class_has_the_methods_of_its_tasks(family: str) -> None:
    for protocol, task in TASKS.items():
        if task in FAMILIES[family].tasks:
            wanted = [name for name in vars(protocol) if name[0] != "_"]
            assert wanted
            assert [one for one in wanted if not hasattr(FAMILY_CLASSES[family], one)] == []


def test_registry_imports_no_large_library() -> None:
    code = (
        "import sys, imig.models.registry\n"
        "large = ('diffusers', 'open_clip', 'torch', 'transformers', 'segment_anything', 'dlib')\n"
        "print([n for n in large if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_family_writes_of_a_large_library_is_the_library_s_own() -> None:
    import torch
    import transformers

    assert libraries.torch.nn.Module is torch.nn.Module
    assert libraries.transformers.AutoModel is transformers.AutoModel
    with pytest.raises(AttributeError, match="no_such_thing"):
        libraries.torch.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert libraries.inference_mode(torch.is_inference_mode_enabled)()
    assert not torch.is_inference_mode_enabled()
