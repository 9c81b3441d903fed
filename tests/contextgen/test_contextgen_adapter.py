"""The adapter's file: ours, diffusers' and the released trainer's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from support.contextgen_samples import random_sample, small_transformer

from imig.contextgen.adapter import (
    TARGETS,
    adapter_off,
    adapter_parameters,
    adapter_state,
    adapter_used,
    add_adapter,
    load_adapter,
    read_settings,
    save_adapter,
)
from imig.contextgen.batch import make_batch
from imig.contextgen.model import ContextGen
from imig.contextgen.settings import AttentionConfig
from imig.errors import DataError, UsageError


def trained(*, double: int = 2, single: int = 4) -> FluxTransformer2DModel:
    """With an adapter that changes the output."""
    transformer = small_transformer(double=double, single=single)
    add_adapter(transformer, rank=4, alpha=8, seed=3)
    generator = torch.Generator().manual_seed(5)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return transformer


def output(transformer: FluxTransformer2DModel) -> torch.Tensor:
    attention = AttentionConfig()
    batch = make_batch([random_sample(1)], attention=attention)
    assert batch.target is not None
    with torch.no_grad():
        result: torch.Tensor = ContextGen(transformer, attention=attention)(
            batch, noisy=batch.target, t=torch.tensor([0.5])
        )
    return result


def test_targets_are_the_343_layers_of_flux() -> None:
    with torch.device("meta"):
        flux = FluxTransformer2DModel()
    found = [
        name
        for name, module in flux.named_modules()
        if re.fullmatch(TARGETS, name) and isinstance(module, torch.nn.Linear)
    ]
    assert len(found) == 343
    shapes = [flux.get_submodule(name) for name in found]
    sizes = sum(512 * (one.in_features + one.out_features) for one in shapes)
    assert sizes == pytest.approx(1.85e9, rel=0.01), "REFERENCE 3.6a"


def test_a_new_adapter_changes_nothing_and_is_what_is_trained() -> None:
    transformer = small_transformer()
    before = output(transformer)
    add_adapter(transformer, rank=4, alpha=4, seed=0)
    assert torch.equal(output(transformer), before)
    trainable = {name for name, one in transformer.named_parameters() if one.requires_grad}
    assert trainable == set(adapter_parameters(transformer))
    again = small_transformer()
    torch.manual_seed(99)
    add_adapter(again, rank=4, alpha=4, seed=0)
    for one, other in zip(
        adapter_parameters(transformer).values(), adapter_parameters(again).values(), strict=True
    ):
        assert torch.equal(one, other), "the seed alone decides the draw"


def test_round_trip(tmp_path: Path) -> None:
    transformer = trained()
    expected = output(transformer)
    file = tmp_path / "adapter.safetensors"
    save_adapter(transformer, file, settings={"recipe": "train-tiny"})
    assert read_settings(file) == {"recipe": "train-tiny"}
    fresh = small_transformer()
    load_adapter(fresh, file, trainable=True)
    assert torch.equal(output(fresh), expected)
    assert all(one.requires_grad for one in adapter_parameters(fresh).values())
    assert (output(small_transformer()) - expected).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("training", "alpha"),
    [
        ({"rank": 4, "alpha": 8}, 8.0),
        ({"rank": 8, "alpha": 8}, 4.0),  # resized since
        ({"rank": 4, "alpha": 0}, 4.0),
        ({"rank": 4}, 4.0),
        ("nonsense", 4.0),
        (None, 4.0),
    ],
)
def test_a_training_goes_on_with_its_own_alpha(
    tmp_path: Path, training: object, alpha: float
) -> None:
    """Which is not the file's, where the scale is in B; the effect is the same either way."""
    transformer = trained(double=1, single=1)
    file = tmp_path / "adapter.safetensors"
    save_adapter(transformer, file, settings={} if training is None else {"training": training})
    fresh = small_transformer(double=1, single=1)
    scale = load_adapter(fresh, file, trainable=True, as_trained=True)
    assert (scale.rank, scale.alpha) == (4, alpha)
    found, expected = adapter_state(fresh), adapter_state(transformer)
    for key, one in expected.items():
        # trained with alpha 8: what is in B comes out of it again
        assert torch.equal(found[key], one if "lora_A" in key else one * 8 / alpha)
    if alpha == 8:
        assert torch.equal(output(fresh), output(transformer))


def test_diffusers_loads_it(tmp_path: Path) -> None:
    transformer = trained()
    file = tmp_path / "adapter.safetensors"
    save_adapter(transformer, file)
    fresh = small_transformer()
    fresh.load_lora_adapter(str(tmp_path), weight_name=file.name)
    assert fresh.peft_config["default_0"].lora_alpha == 4, "the scale is in B"
    assert torch.allclose(output(fresh), output(transformer), atol=1e-6)


@pytest.mark.parametrize("form", ["diffusers", "peft", "plain"])
def test_other_files_load(tmp_path: Path, form: str) -> None:
    transformer = trained()
    file = tmp_path / "other.safetensors"
    if form == "diffusers":
        # the released trainer saves through diffusers
        transformer.save_lora_adapter(str(tmp_path), weight_name=file.name)
    else:
        prefix = "base_model.model." if form == "peft" else "transformer."
        state = get_peft_model_state_dict(transformer)
        save_file({prefix + key: value.contiguous() / 1 for key, value in state.items()}, file)
    fresh = small_transformer()
    load_adapter(fresh, file, trainable=False)
    assert not any(one.requires_grad for one in adapter_parameters(fresh).values())
    if form != "diffusers":
        # nothing in the file says alpha: as diffusers has it, it is the rank
        for module in transformer.modules():
            if hasattr(module, "scaling"):
                module.scaling = {"default": 1.0}
    assert torch.allclose(output(fresh), output(transformer), atol=1e-6)


def test_off_and_other_adapter(tmp_path: Path) -> None:
    base = output(small_transformer())
    transformer = trained()
    file = tmp_path / "adapter.safetensors"
    save_adapter(transformer, file)
    trained_ones = [one.requires_grad for one in transformer.parameters()]
    with adapter_off(transformer):
        assert torch.equal(output(transformer), base)
        assert [one.requires_grad for one in transformer.parameters()] == trained_ones
    start = output(transformer)
    load_adapter(transformer, file, name="reference", trainable=False)
    for parameter in adapter_parameters(transformer).values():
        parameter.requires_grad_(True)
        parameter.data *= 0.5
    moved = output(transformer)
    assert (moved - start).abs().max() > 1e-3
    with adapter_used(transformer, "reference"):
        assert torch.allclose(output(transformer), start, atol=1e-6)
    assert torch.equal(output(transformer), moved)
    state = adapter_state(transformer)
    assert len(state) == len(adapter_parameters(transformer))


def test_errors_name_the_file(tmp_path: Path) -> None:
    transformer = small_transformer()
    with pytest.raises(UsageError, match="no adapter file"):
        load_adapter(transformer, tmp_path / "none.safetensors", trainable=False)
    file = tmp_path / "adapter.safetensors"
    save_adapter(trained(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        load_adapter(transformer, file, trainable=False)
    file.write_bytes(whole)
    with pytest.raises(UsageError, match="no linear layer"):
        load_adapter(small_transformer(single=1), file, trainable=False)
    state = load_file(file)
    narrow = {key: value[:, :-1].contiguous() for key, value in state.items() if "_A." in key}
    save_file(state | narrow, file)
    with pytest.raises(UsageError, match="width"):
        load_adapter(transformer, file, trainable=False)


A, B = "transformer.x_embedder.lora_A.weight", "transformer.x_embedder.lora_B.weight"


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({}, {}, "has no weights in it"),
        ({A: torch.zeros(4, 8)}, {}, "layer 'x_embedder' has lora_A or lora_B, and needs both"),
        ({A: torch.zeros(4, 8), B: torch.zeros(8, 3)}, {}, r"lora_A \(4, 8\) and lora_B \(8, 3\)"),
        ({A: torch.zeros(4), B: torch.zeros(4)}, {}, r"expected \(rank, inputs\)"),
        (None, {"lora_adapter_metadata": "?"}, "'lora_adapter_metadata' is no JSON object: '\\?'"),
        (None, {"lora_adapter_metadata": '{"lora_alpha": "8"}'}, "lora_alpha '8', which is no"),
    ],
)
def test_damaged_contents_are_named(
    tmp_path: Path, state: dict[str, torch.Tensor] | None, metadata: dict[str, str], message: str
) -> None:
    file = tmp_path / "adapter.safetensors"
    if state is None:
        save_adapter(trained(), file)
        state = load_file(file)
    save_file(state, file, metadata=metadata or None)
    with pytest.raises(DataError, match=message):
        load_adapter(small_transformer(), file, trainable=False)


def test_settings_that_are_no_mapping_are_named(tmp_path: Path) -> None:
    file = tmp_path / "adapter.safetensors"
    for text in ("nonsense", "[]"):
        save_file({A: torch.zeros(4, 8)}, file, metadata={"imig": text})
        with pytest.raises(DataError, match="its metadata 'imig' is no JSON object"):
            read_settings(file)
