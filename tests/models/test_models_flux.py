"""Families `flux` and `flux-kontext`: sizes, seeds, batches, settings, damaged folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.models_support import picture
from support.pipeline_folders import write_flux, write_klein, write_kontext

from imig.errors import UsageError
from imig.models.families.flux_kontext import seen_size
from imig.models.pipelines import enough_memory, generators
from imig.models.protocols import Drawer, DrawRequest, Editor, EditRequest, GeneratorSettings
from imig.models.registry import load_model, model_record
from imig.recipe.parts import ModelConfig

TWO_STEPS = GeneratorSettings(steps=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    kontext = write_kontext(root / "kontext")
    return {
        "flux-kontext": kontext,
        "flux": write_flux(root / "flux", kontext),
        "distilled": write_flux(root / "schnell", kontext, distilled=True),
    }


def _load(family: str, folder: Path, **options: Any) -> Any:
    config = ModelConfig(family=family, weights=str(folder), device="cpu", **options)
    return load_model(config, batch_size=2)


@pytest.fixture(scope="module")
def flux(folders: dict[str, Path]) -> Any:
    return _load("flux", folders["flux"])


@pytest.fixture(scope="module")
def kontext(folders: dict[str, Path]) -> Any:
    return _load("flux-kontext", folders["flux-kontext"])


def _differences(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).max())


class _Calls:
    """Counts a transformer's calls, and keeps what each was told."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[dict[str, Any]] = []
        transformer = model._pipeline.transformer
        forward = transformer.forward

        def counted(*arguments: Any, **named: Any) -> Any:
            self.told.append(named)
            return forward(*arguments, **named)

        monkeypatch.setattr(transformer, "forward", counted)


def test_requests_give_the_same_picture_in_any_batch(flux: Any) -> None:
    assert isinstance(flux, Drawer)
    requests = [
        DrawRequest("a red mug", 1, 64, 48),
        DrawRequest("a blue house", 2, 32, 32),
        DrawRequest("a red mug", 3, 64, 48),
        DrawRequest("a green car", 4, 64, 48),
    ]
    pictures = flux.draw(requests, settings=TWO_STEPS)
    assert [one.size for one in pictures] == [(64, 48), (32, 32), (64, 48), (64, 48)]
    for request, together in zip(requests, pictures, strict=True):
        [alone] = flux.draw([request], settings=TWO_STEPS)
        assert _differences(alone, together) <= 1
    # another seed, another prompt
    assert _differences(pictures[0], pictures[2]) > 8
    [other] = flux.draw([DrawRequest("a tree", 1, 64, 48)], settings=TWO_STEPS)
    assert _differences(pictures[0], other) > 0
    assert flux.draw([], settings=TWO_STEPS) == []


def test_settings_reach_the_pipeline(flux: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _Calls(flux, monkeypatch)
    request = DrawRequest("a mug", 0, 32, 32)
    flux.draw([request], settings=GeneratorSettings(steps=3, guidance=7.5))
    assert len(calls.told) == 3
    assert calls.told[0]["guidance"].item() == 7.5
    flux.draw([request], settings=GeneratorSettings())
    assert len(calls.told) == 3 + 28
    assert calls.told[-1]["guidance"].item() == 3.5


def test_a_distilled_checkpoint_takes_few_steps(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    schnell = _load("flux", folders["distilled"])
    calls = _Calls(schnell, monkeypatch)
    request = DrawRequest("a mug", 0, 32, 32)
    schnell.draw([request], settings=GeneratorSettings(guidance=9.0))
    assert len(calls.told) == 4
    assert calls.told[0]["guidance"] is None
    assert calls.told[0]["encoder_hidden_states"].shape[1] == 256


def _edit(image: Image.Image, seed: int, width: int, height: int, text: str = "") -> EditRequest:
    return EditRequest(image, text or "by lamplight", seed, width, height, phrase="mug")


def test_edited_pictures_have_the_size_asked_for(kontext: Any) -> None:
    assert isinstance(kontext, Editor)
    requests = [
        _edit(picture(100, 70), 1, 96, 64),
        _edit(picture(37, 90, seed=1), 2, 48, 112),
        _edit(picture(100, 70, seed=2), 3, 96, 64),
        # proportions of its own
        _edit(picture(40, 200, seed=3), 4, 64, 64),
    ]
    pictures = kontext.edit(requests, settings=TWO_STEPS)
    assert [one.size for one in pictures] == [(96, 64), (48, 112), (96, 64), (64, 64)]
    for request, together in zip(requests, pictures, strict=True):
        [alone] = kontext.edit([request], settings=TWO_STEPS)
        assert _differences(alone, together) <= 1


def test_picture_instruction_and_seed_all_matter(
    kontext: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _Calls(kontext, monkeypatch)
    base, other_picture, other_text, other_seed = kontext.edit(
        [
            _edit(picture(64, 64), 1, 64, 64),
            _edit(picture(64, 64, seed=9), 1, 64, 64),
            _edit(picture(64, 64), 1, 64, 64, "turned around"),
            _edit(picture(64, 64), 2, 64, 64),
        ],
        settings=GeneratorSettings(steps=2, guidance=2.5),
    )
    for other in (other_picture, other_text, other_seed):
        assert _differences(base, other) > 0
    assert len(calls.told) == 2 * 2  # two batches of two
    assert calls.told[0]["guidance"].tolist() == [2.5, 2.5]
    # 16 tokens of the answer and as many of the picture, at the same places
    assert calls.told[0]["img_ids"].shape == (32, 3)


@pytest.mark.parametrize(
    ("size", "wanted", "seen"),
    [
        ((300, 200), (1248, 832), (1248, 832)),
        ((301, 199), (1248, 832), (1248, 832)),
        ((200, 200), (1248, 832), (1024, 1024)),
        ((10, 1000), (64, 64), (16, 640)),
    ],
)
def test_a_picture_is_never_squeezed(
    size: tuple[int, int], wanted: tuple[int, int], seen: tuple[int, int]
) -> None:
    assert seen_size(size, wanted) == seen


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_is_harmless_on_a_cpu(flux: Any, folders: dict[str, Path], offload: str) -> None:
    request = DrawRequest("a mug", 0, 32, 32)
    model = _load("flux", folders["flux"], offload=offload)
    [one] = model.draw([request], settings=TWO_STEPS)
    [other] = flux.draw([request], settings=TWO_STEPS)
    assert _differences(one, other) == 0


def test_dtype_reaches_all_parts(folders: dict[str, Path]) -> None:
    model = _load("flux", folders["flux"], dtype="bfloat16")
    for name in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        assert getattr(model._pipeline, name).dtype == torch.bfloat16
    [drawn] = model.draw([DrawRequest("a mug", 0, 32, 32)], settings=TWO_STEPS)
    assert drawn.size == (32, 32)


def test_sizes_that_no_pipeline_draws(flux: Any) -> None:
    with pytest.raises(UsageError, match="100 x 64 pixels") as caught:
        flux.draw([DrawRequest("a mug", 0, 100, 64)], settings=TWO_STEPS)
    assert "multiples of 16" in caught.value.cure


def test_foreign_pipelines_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a FluxPipeline, not a FluxKontextPipeline"):
        _load("flux-kontext", folders["flux"])
    klein = write_klein(tmp_path / "klein")
    with pytest.raises(UsageError, match="holds a Flux2KleinPipeline") as caught:
        _load("flux", klein)
    assert "imig models list" in caught.value.cure
    with pytest.raises(UsageError, match=r"no model_index\.json"):
        _load("flux", folders["flux"] / "transformer")


def test_damaged_folders_are_errors_with_a_cure(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(folders["flux"], folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"transformer of .* does not load") as caught:
        _load("flux", folder)
    assert "complete" in caught.value.cure
    weights.unlink()
    with pytest.raises(UsageError, match="holds no weights") as caught:
        _load("flux", folder)
    assert "imig models pull flux" in caught.value.cure
    weights.write_bytes(whole)
    config = folder / "transformer" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"num_layers": 2}))
    with pytest.raises(UsageError, match=r"lacks .* of the model's weights"):
        _load("flux", folder)
    config.write_text(json.dumps(values))
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(UsageError, match="tokenizer holds none of"):
        _load("flux", folder)


def test_a_component_of_another_library_is_not_run(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(folders["flux"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("transformer", "tokenizer"):
        changed = index | {name: ["my_module", "Mine"]}
        (folder / "model_index.json").write_text(json.dumps(changed))
        with pytest.raises(UsageError, match=rf"{name} is a my_module\.Mine"):
            _load("flux", folder)


def test_the_record_names_the_folder_and_its_content(folders: dict[str, Path]) -> None:
    config = ModelConfig(family="flux", weights=str(folders["flux"]))
    record = model_record(config)
    assert len(record.revision) == 12
    assert (
        record.revision
        != model_record(ModelConfig(family="flux", weights=str(folders["distilled"]))).revision
    )


def test_seeds_are_those_of_each_request() -> None:
    first, second = generators([3, 4])
    alone = torch.randn(4, generator=torch.Generator("cpu").manual_seed(4))
    torch.randn(9, generator=first)
    assert torch.equal(torch.randn(4, generator=second), alone)


def test_a_full_gpu_is_an_error_with_a_cure() -> None:
    with pytest.raises(UsageError, match="memory is too small") as caught, enough_memory("flux"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert "offload" in caught.value.cure
