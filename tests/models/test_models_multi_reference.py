"""Family `multi-reference`: every pipeline that it calls, built tiny."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.models_support import picture
from support.pipeline_folders import (
    write_flux2,
    write_klein,
    write_kontext,
    write_omnigen,
    write_qwen,
)

from imig.errors import UsageError
from imig.models.families import FAMILIES
from imig.models.families.multi_reference import CALLS
from imig.models.protocols import (
    ComposedReference,
    Composer,
    ComposeRequest,
    GeneratorSettings,
)
from imig.models.registry import load_model
from imig.recipe.parts import ModelConfig

WRITERS: dict[str, Callable[[Path], Path]] = {
    "QwenImageEditPlusPipeline": write_qwen,
    "Flux2KleinPipeline": write_klein,
    "Flux2Pipeline": write_flux2,
    "OmniGenPipeline": write_omnigen,
}
TWO_STEPS = GeneratorSettings(steps=2)


def _load(folder: Path, **options: Any) -> Any:
    config = ModelConfig(family="multi-reference", weights=str(folder), device="cpu", **options)
    return load_model(config, batch_size=2)


@pytest.fixture(scope="module", params=sorted(WRITERS))
def composer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _load(WRITERS[request.param](tmp_path_factory.mktemp(request.param)))


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen's pipeline scales each reference to a megapixel: too much for a test."""
    module = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus"
    monkeypatch.setattr(f"{module}.VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(f"{module}.CONDITION_IMAGE_SIZE", 56 * 56)


def _reference(seed: int, phrase: str = "red mug", size: tuple[int, int] = (70, 80)) -> Any:
    return ComposedReference(picture(*size, seed=seed), phrase)


REQUEST = ComposeRequest(
    references=(_reference(0), _reference(1, "blue car")),
    prompt="a red mug and a blue car on a table",
    seed=5,
    width=64,
    height=48,
)


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).max())


def test_the_same_request_gives_the_same_picture(composer: Any) -> None:
    assert isinstance(composer, Composer)
    larger = replace(REQUEST, references=(_reference(2), *REQUEST.references), width=96)
    first, second, third = composer.compose([REQUEST, larger, REQUEST], settings=TWO_STEPS)
    assert (first.size, second.size) == ((64, 48), (96, 48))
    assert _difference(first, third) == 0
    assert composer.compose([], settings=TWO_STEPS) == []


def test_references_prompt_and_seed_all_matter(composer: Any) -> None:
    changes: list[dict[str, Any]] = [
        {"references": (REQUEST.references[0], _reference(9, "blue car"))},
        {"references": (_reference(9), REQUEST.references[1])},
        {"references": REQUEST.references[::-1]},
        {"references": (*REQUEST.references, _reference(3, "duck"))},
        {"prompt": "two things in the grass"},
        {"seed": 6},
    ]
    requests = [REQUEST, *(replace(REQUEST, **one) for one in changes)]
    base, *others = composer.compose(requests, settings=TWO_STEPS)
    for change, other in zip(changes, others, strict=True):
        assert _difference(base, other) > 0, change


def test_steps_reach_the_pipeline(composer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        composer._pipeline.scheduler,
        "step",
        _counted(composer._pipeline.scheduler.step, told),
    )
    composer.compose([REQUEST], settings=GeneratorSettings(steps=3, guidance=1.0))
    assert len(told) == 3


def _counted(call: Callable[..., Any], told: list[Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        told.append(named)
        return call(*arguments, **named)

    return counted


def test_extreme_references_are_brought_within_limits(composer: Any) -> None:
    references = (
        _reference(0, size=(9, 200)),
        _reference(1, size=(20, 30)),
        ComposedReference(picture(70, 70).convert("L"), "grey thing"),
    )
    [drawn] = composer.compose([replace(REQUEST, references=references)], settings=TWO_STEPS)
    assert drawn.size == (64, 48)


def _arguments(composer: Any, settings: GeneratorSettings) -> dict[str, Any]:
    kind = type(composer._pipeline).__name__
    return CALLS[kind](composer._pipeline, REQUEST, settings)


def test_prompts_say_which_picture_shows_what(composer: Any) -> None:
    arguments = _arguments(composer, GeneratorSettings())
    prompt = arguments["prompt"]
    text = prompt if isinstance(prompt, str) else prompt[0]
    assert text.startswith(REQUEST.prompt)
    assert "The blue car is the one in" in text
    assert "2" in text


def test_guidance_is_passed_under_each_pipelines_name(composer: Any) -> None:
    kind = type(composer._pipeline).__name__
    name = "true_cfg_scale" if kind.startswith("Qwen") else "guidance_scale"
    assert _arguments(composer, GeneratorSettings(guidance=2.5))[name] == 2.5
    without = _arguments(composer, GeneratorSettings())
    assert without.get(name) == (4.0 if kind.startswith("Qwen") else None)
    # the klein of the fixture is distilled
    assert without.get("num_inference_steps") == (4 if kind == "Flux2KleinPipeline" else None)


def test_a_composer_without_references_is_a_wrong_call(composer: Any) -> None:
    with pytest.raises(ValueError, match="none was given"):
        composer.compose([replace(REQUEST, references=())], settings=TWO_STEPS)


def test_offload_is_harmless_on_a_cpu(tmp_path: Path) -> None:
    folder = write_klein(tmp_path / "klein")
    [one] = _load(folder).compose([REQUEST], settings=TWO_STEPS)
    for offload in ("model", "sequential"):
        [other] = _load(folder, offload=offload).compose([REQUEST], settings=TWO_STEPS)
        assert _difference(one, other) == 0


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_qwen_s_text_encoder_gives_pictures_rows_and_columns(
    tmp_path: Path, guidance: float
) -> None:
    composer = _load(write_qwen(tmp_path / "qwen"))
    encoder = composer._pipeline.text_encoder
    asked: list[Any] = []
    read: list[Any] = []
    encoder.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append(kwargs), with_kwargs=True
    )
    encoder.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["position_ids"]), with_kwargs=True
    )
    composer.compose([REQUEST], settings=GeneratorSettings(steps=1, guidance=guidance))
    assert len(asked) == len(read) == (2 if guidance > 1 else 1)
    for inputs, positions in zip(asked, read, strict=True):
        pictures = inputs["input_ids"] == encoder.config.image_token_id
        wanted, _ = encoder.model.get_rope_index(
            inputs["input_ids"],
            mm_token_type_ids=pictures.int(),
            image_grid_thw=inputs["image_grid_thw"],
            attention_mask=inputs["attention_mask"],
        )
        assert len(inputs["image_grid_thw"]) == len(REQUEST.references)
        assert (wanted[1] != wanted[2]).any()
        assert torch.equal(positions, wanted)


def test_the_table_of_families_and_the_table_of_calls_agree() -> None:
    assert set(CALLS) == set(FAMILIES["multi-reference"].pipelines) == set(WRITERS)


def test_foreign_and_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a FluxKontextPipeline") as caught:
        _load(write_kontext(tmp_path / "kontext"))
    for name in CALLS:
        assert name in caught.value.message
    folder = write_omnigen(tmp_path / "omnigen")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UsageError, match=r"vae of .* does not load"):
        _load(folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(UsageError, match="vae holds none of"):
        _load(folder)
