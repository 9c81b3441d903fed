"""Folders of diffusers pipelines on disk: complete, sharded, named by their content, pulled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from imig.errors import UsageError
from imig.models import registry
from imig.models.families import FAMILIES
from imig.models.pipeline_folder import pipeline_files, pipeline_revision
from imig.models.registry import list_models, pull
from imig.models.weights import resolve_weights
from imig.recipe.parts import ModelConfig

FLUX = FAMILIES["flux"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "black-forest-labs/FLUX.1-schnell"


def _pipeline(folder: Path) -> Path:
    """As FLUX.1 is published: a transformer in shards, other parts whole, no safety checker."""
    files = {
        "transformer/config.json": "{}",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": "first",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": "second",
        "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(
            {
                "weight_map": {
                    "a": "diffusion_pytorch_model-00001-of-00002.safetensors",
                    "b": "diffusion_pytorch_model-00002-of-00002.safetensors",
                    "c": "diffusion_pytorch_model-00002-of-00002.safetensors",
                }
            }
        ),
        "vae/config.json": "{}",
        "vae/diffusion_pytorch_model.safetensors": "vae",
        "text_encoder/config.json": "{}",
        "text_encoder/model.safetensors": "clip",
        "tokenizer/tokenizer_config.json": "{}",
        "tokenizer/vocab.json": "{}",
        # some repositories have it
        "tokenizer/config.json": "{}",
        "scheduler/scheduler_config.json": "{}",
        "model_index.json": json.dumps(
            {
                "_class_name": "FluxPipeline",
                "_diffusers_version": "0.42.0",
                "feature_extractor": [None, None],
                "safety_checker": ["diffusers", "SafetyChecker"],
                "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "transformer": ["diffusers", "FluxTransformer2DModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            }
        ),
        "README.md": "card",
        # second copies, which nobody asks for
        "flux1-schnell.safetensors": "everything again",
        "ae.safetensors": "vae again",
        "vae/diffusion_pytorch_model.fp16.safetensors": "half",
        "vae/flax_model.msgpack": "flax",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_weight_files_are_those_of_all_components(tmp_path: Path) -> None:
    folder = _pipeline(tmp_path)
    found = [one.relative_to(folder).as_posix() for one in pipeline_files(FLUX, folder)]
    assert sorted(found) == [
        "text_encoder/model.safetensors",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer/diffusion_pytorch_model-00002-of-00002.safetensors", "lacks 1 of 2 shards"),
        ("text_encoder/model.safetensors", "text_encoder holds no weights"),
        ("scheduler/scheduler_config.json", "scheduler holds none of"),
        ("transformer/config.json", "transformer holds none of"),
        ("model_index.json", r"no model_index\.json"),
    ],
)
def test_an_incomplete_copy_is_an_error_before_anything_is_loaded(
    tmp_path: Path, name: str, message: str
) -> None:
    folder = _pipeline(tmp_path)
    (folder / name).unlink()
    with pytest.raises(UsageError, match=message) as caught:
        resolve_weights(ModelConfig(family="flux", weights=str(folder)))
    assert caught.value.cure


def test_unreadable_indices(tmp_path: Path) -> None:
    folder = _pipeline(tmp_path)
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text("[]")
    with pytest.raises(UsageError, match="not an index of shards"):
        pipeline_files(FLUX, folder)
    (folder / "model_index.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        pipeline_files(FLUX, folder)
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(UsageError, match="holds a None"):
        pipeline_files(FLUX, folder)


def _revision(folder: Path) -> str:
    return pipeline_revision(folder, pipeline_files(FLUX, folder))


@pytest.mark.parametrize(
    "name",
    [
        "vae/diffusion_pytorch_model.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "model_index.json",
    ],
)
def test_the_revision_is_that_of_weights_and_configuration(tmp_path: Path, name: str) -> None:
    folder = _pipeline(tmp_path / "one")
    before = _revision(folder)
    assert len(before) == 12
    assert _revision(_pipeline(tmp_path / "two")) == before
    (folder / "README.md").write_text("another card")
    assert _revision(folder) == before
    (folder / name).write_text((folder / name).read_text() + " ")
    assert _revision(folder) != before


def test_of_large_weights_blocks_are_read(tmp_path: Path) -> None:
    folder = _pipeline(tmp_path)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    megabyte = 1 << 20
    size = 40 * megabyte
    weights.write_bytes(b"")
    os.truncate(weights, size)
    before = _revision(folder)

    def changed_at(place: int) -> bool:
        with weights.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(weights, (place, place))
        after = _revision(folder)
        with weights.open("r+b") as file:
            file.seek(place)
            file.write(b"\0")
        return after != before

    assert changed_at(0)
    assert changed_at(size - 1)
    assert changed_at(21 * megabyte)  # in the block that starts at 39 / 15 * 8
    # documented: damage between the blocks goes unnoticed
    assert not changed_at(megabyte + 10)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with one repository; what is fetched lands in a cache laid out as the hub's."""
    published = _pipeline(tmp_path / "published")
    cache = tmp_path / "hub"
    root = cache / f"models--{REPOSITORY.replace('/', '--')}"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    fetched: list[str] = []

    def list_repo_files(self: Any, repo: str, revision: str | None = None) -> list[str]:
        assert repo == REPOSITORY
        every = (one for one in published.rglob("*") if one.is_file())
        return [one.relative_to(published).as_posix() for one in every]

    def snapshot_download(
        repo: str,
        *,
        revision: str | None,
        cache_dir: Path,
        allow_patterns: list[str] | None = None,
        local_files_only: bool = False,
    ) -> str:
        folder = root / "snapshots" / COMMIT
        if local_files_only:
            if not folder.is_dir():
                from huggingface_hub.errors import LocalEntryNotFoundError

                raise LocalEntryNotFoundError("not there")
            return str(folder)
        assert revision in (None, COMMIT)
        for name in allow_patterns or []:
            fetched.append(name)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((published / name).read_bytes())
        return str(folder)

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", list_repo_files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return {"fetched": fetched, "folder": root / "snapshots" / COMMIT}


def test_pull_fetches_the_components_and_no_second_copy(hub: dict[str, Any]) -> None:
    found = pull("flux", REPOSITORY)
    assert found.path == hub["folder"]
    assert found.revision == COMMIT[:12]
    assert len(found.files) == 4
    unwanted = {
        "flux1-schnell.safetensors",
        "ae.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/flax_model.msgpack",
    }
    assert not unwanted & set(hub["fetched"])
    assert "tokenizer/vocab.json" in hub["fetched"]
    row = next(one for one in list_models() if one.weights == REPOSITORY)
    assert row.found
    with pytest.raises(UsageError, match="holds a FluxPipeline, not a FluxKontextPipeline"):
        pull("flux-kontext", REPOSITORY)


def test_a_single_file_is_no_pipeline(hub: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not the file ae") as caught:
        pull("flux", f"{REPOSITORY}/ae.safetensors")
    assert caught.value.cure == f"imig models pull flux {REPOSITORY}"
    assert not hub["fetched"]


def test_families_of_pipelines_are_listed() -> None:
    rows = {(one.family, one.weights): one for one in list_models()}
    for family in ("flux", "flux-kontext", "multi-reference"):
        for checkpoint in FAMILIES[family].checkpoints:
            assert rows[family, checkpoint.weights].task == FAMILIES[family].tasks[0]
        with pytest.raises(UsageError, match="no tiny weights") as caught:
            registry.load_model(ModelConfig(family=family), batch_size=1)
        assert "family tabletop has" in caught.value.cure
