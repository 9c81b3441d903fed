"""Adapters in the styles of other programs: what these draw is what imig draws."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import FluxLoraLoaderMixin
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.adapter_files import (
    IN,
    LAST,
    MLP,
    NORM,
    SINGLE,
    K,
    Q,
    V,
    config,
    drawn,
    drawn_by_imig,
    drawn_merged,
    flux,
    random_weights,
    tensors,
    write,
)
from support.adapter_readers import drawn_by_comfyui, drawn_by_pipeline

from imig.contextgen.adapter import add_adapter, load_adapter, read_settings, save_adapter
from imig.contextgen.adapter_convert import convert_adapter
from imig.contextgen.adapter_info import describe_adapter
from imig.contextgen.adapter_styles import Style, read_adapter, to_parts
from imig.contextgen.safetensors_file import DIGEST
from imig.errors import DataError, ImigError, UsageError

LAYERS = (IN, Q, K, V, MLP, SINGLE, LAST, NORM)
EIGHT = random_weights(LAYERS)
MIXED = random_weights(LAYERS, rank={one: 2 + number for number, one in enumerate(LAYERS)})
STYLES: tuple[Style, ...] = ("diffusers", "comfyui", "kohya")


@pytest.fixture(scope="module")
def base() -> FluxTransformer2DModel:
    return flux()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


SOURCES: dict[str, tuple[Any, Mapping[str, str], float]] = {
    "alpha is the rank": (EIGHT, {}, 1.0),
    "a scale in the metadata": (EIGHT, config(r=8, lora_alpha=3), 3 / 8),
    "rank-stabilised": (EIGHT, config(r=8, lora_alpha=4, use_rslora=True), 4 / 8**0.5),
    "mixed ranks": (MIXED, {}, 1.0),
}


@pytest.mark.parametrize(
    ("source", "style"),
    [
        *(
            (source, style)
            for source in ("a scale in the metadata", "mixed ranks")
            for style in STYLES
        ),
        ("alpha is the rank", "diffusers"),
        ("rank-stabilised", "kohya"),
    ],
)
def test_every_program_draws_the_same(
    base: FluxTransformer2DModel, tmp_path: Path, source: str, style: Style
) -> None:
    weights, header, scale = SOURCES[source]
    path = write(tmp_path / "source.safetensors", tensors(weights), header)
    expected = drawn_merged(base, weights, dict.fromkeys(LAYERS, scale))
    assert (expected - drawn(base)).abs().max() > 0.1
    output = tmp_path / "new.safetensors"
    convert_adapter(path, output, style=style)
    close(drawn_by_imig(base, output), expected)
    close(drawn_by_comfyui(base, output), expected)
    # diffusers takes kohya's single blocks for as wide as FLUX.1's, and where alphas differ that of
    # `proj_out` for one of every block
    if style == "diffusers" or (style == "comfyui" and weights is not MIXED):
        close(drawn_by_pipeline(base, output), expected)
    # and back, and once more: nothing changes any further
    again = tmp_path / "again.safetensors"
    convert_adapter(output, again, style="diffusers")
    assert describe_adapter(again).layers == len(LAYERS)
    close(drawn_by_pipeline(base, again), expected)
    convert_adapter(again, tmp_path / "last.safetensors", style=style)
    assert (tmp_path / "last.safetensors").read_bytes() == output.read_bytes()
    with safe_open(output, framework="pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
    assert any(key.endswith(".alpha") for key in keys) == (style != "diffusers")
    assert ("lora_adapter_metadata" in metadata) == (style == "diffusers")


def test_double_blocks_of_kohya_load_in_the_pipeline(
    base: FluxTransformer2DModel, tmp_path: Path
) -> None:
    """Q has a LoRA and its neighbours have none: their rows of the fused one are zero."""
    weights = random_weights((Q, SINGLE), rank={Q: 6, SINGLE: 4})
    header = config(r=6, lora_alpha=3, rank_pattern={"proj_out": 4})
    path = write(tmp_path / "a.safetensors", tensors(weights), header)
    output = tmp_path / "kohya.safetensors"
    convert_adapter(path, output, style="kohya")
    expected = drawn_merged(base, weights, {Q: 3 / 6, SINGLE: 3 / 4})
    close(drawn_by_pipeline(base, output), expected)
    close(drawn_by_comfyui(base, output), expected)


def test_kohya_at_full_size_is_what_diffusers_reads(tmp_path: Path) -> None:
    """Every layer of FLUX.1's widths, through diffusers' converter of kohya's names."""
    with torch.device("meta"):
        transformer: Any = FluxTransformer2DModel(
            num_layers=1, num_single_layers=1, guidance_embeds=True
        )
    state: dict[str, torch.Tensor] = {}
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    generator = torch.Generator().manual_seed(3)
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear):
            a = torch.randn(2, module.in_features, generator=generator)
            b = torch.randn(module.out_features, 2, generator=generator)
            state |= {f"transformer.{name}.lora_A.weight": a}
            state |= {f"transformer.{name}.lora_B.weight": b}
            layers[name] = a, b
    path = write(tmp_path / "a.safetensors", state, config(r=2, lora_alpha=1))
    convert_adapter(path, tmp_path / "kohya.safetensors", style="kohya")
    converted = FluxLoraLoaderMixin.lora_state_dict(
        str(tmp_path), weight_name="kohya.safetensors", local_files_only=True
    )
    # it forgets the prefix of layers outside of the blocks
    theirs = {key.removeprefix("transformer."): one for key, one in converted.items()}
    assert len(theirs) == len(state)
    for name, (a, b) in layers.items():
        x = torch.randn(a.shape[1], generator=generator)
        found = theirs[f"{name}.lora_B.weight"] @ (theirs[f"{name}.lora_A.weight"] @ x)
        torch.testing.assert_close(found, b @ (a @ x) / 2, atol=1e-3, rtol=1e-4)


def test_a_fused_layer_keeps_its_rank(base: FluxTransformer2DModel, tmp_path: Path) -> None:
    """With one A in common; and with several it comes apart into the ranks that it was made of."""
    a = EIGHT[Q][0]
    common = {layer: (a, EIGHT[layer][1]) for layer in (Q, K, V)}
    path = write(tmp_path / "a.safetensors", tensors(common))
    result = convert_adapter(path, tmp_path / "k.safetensors", style="kohya")
    assert result.ranks == (8, 8)
    write(path, tensors({layer: EIGHT[layer] for layer in (Q, K, V)}))
    result = convert_adapter(path, tmp_path / "k.safetensors", style="kohya")
    assert result.ranks == (8, 24)
    result = convert_adapter(
        tmp_path / "k.safetensors", tmp_path / "d.safetensors", style="diffusers"
    )
    assert result.ranks == (24, 8)
    before, after = load_file(path), load_file(tmp_path / "d.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_is_exported_has_scale_one_in_bfloat16(
    base: FluxTransformer2DModel, tmp_path: Path
) -> None:
    transformer = flux()
    add_adapter(transformer, rank=8, alpha=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    path = tmp_path / "adapter.safetensors"
    save_adapter(transformer, path, settings={"weights": "tiny"}, dtype=torch.bfloat16)
    info = describe_adapter(path)
    assert (info.scales, info.alphas, info.ranks) == ({1.0: 13}, {8.0: 13}, {8: 13})
    assert (info.dtypes, info.base, info.style) == ({"bfloat16": 13}, "tiny", "diffusers")
    assert info.notes == ()
    ours = drawn_by_imig(base, path)
    close(drawn_by_pipeline(base, path), ours)
    close(drawn_by_comfyui(base, path), ours)
    whole = tmp_path / "whole.safetensors"
    save_adapter(transformer, whole)
    close(drawn_by_imig(base, whole), drawn(transformer))
    assert path.stat().st_size < 0.6 * whole.stat().st_size + 2000
    # a power of two is no rounding: bfloat16 loses what its own digits lose
    for key, value in load_file(path).items():
        assert torch.equal(value, load_file(whole)[key].bfloat16())


def test_old_adapters_keep_their_scale(base: FluxTransformer2DModel, tmp_path: Path) -> None:
    """float32 with the scale in the metadata, as imig wrote them before."""
    header = config(r=8, lora_alpha=16) | {"imig": '{"weights": "tiny"}'}
    path = write(tmp_path / "old.safetensors", tensors(EIGHT), header)
    close(drawn_by_imig(base, path), drawn_merged(base, EIGHT, dict.fromkeys(LAYERS, 2.0)))
    [note] = describe_adapter(path).notes
    assert note.startswith("ComfyUI reads no metadata: it would draw at scale 1, and not at 2;")
    convert_adapter(path, tmp_path / "new.safetensors", style="diffusers")
    assert read_settings(tmp_path / "new.safetensors") == {"weights": "tiny"}
    assert describe_adapter(tmp_path / "new.safetensors").notes == ()


def test_the_hash_is_that_of_the_tensors(tmp_path: Path) -> None:
    header = {"modelspec.title": "é", "ss_seed": "1", "ss_network_dim": "4", DIGEST: "0x1"}
    path = write(tmp_path / "a.safetensors", tensors(EIGHT), header)
    result = convert_adapter(path, tmp_path / "b.safetensors", style="comfyui")
    assert result.left_out == ("ss_network_dim",)
    data = (tmp_path / "b.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8:start])["__metadata__"]
    assert metadata.pop(DIGEST) == "0x" + hashlib.sha256(data[start:]).hexdigest()
    assert metadata == {
        "format": "pt", "modelspec.title": "é", "ss_seed": "1",
        "modelspec.implementation": "diffusers",
    }  # fmt: skip
    assert list(metadata) == sorted(metadata)


@pytest.mark.parametrize(
    ("prefix", "origin"),
    [
        ("transformer.", "diffusers"),
        ("", "diffusers"),
        ("base_model.model.", "PEFT"),
        ("diffusion_model.", "comfyui (fused)"),
        ("lycoris_", "LyCORIS"),
        ("lora_transformer_", "OneTrainer"),
    ],
)
def test_styles_are_told_by_their_keys(tmp_path: Path, prefix: str, origin: str) -> None:
    path = write(tmp_path / "a.safetensors", tensors(EIGHT, prefix=prefix))
    assert describe_adapter(path).style == origin


def changed(**more: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The tensors of `EIGHT` with others, or none; `Q.` stands for the layer's name in the file."""
    state: dict[str, torch.Tensor | None] = dict(tensors(EIGHT))
    state |= {key.replace("Q.", f"transformer.{Q}."): one for key, one in more.items()}
    return {key: one for key, one in state.items() if one is not None}


ONE = torch.ones(4, 4)
FAULTS: dict[str, tuple[Mapping[str, torch.Tensor], Mapping[str, str], type[ImigError], str]] = {
    "NaN": (
        changed(**{"Q.lora_A.weight": torch.full((8, 32), torch.nan)}), {}, DataError,
        r"256 of 256 numbers of '.*to_q.lora_A.weight' are NaN",
    ),
    "no B": (
        changed(**{"Q.lora_B.weight": None}), {}, DataError,
        r"has lora_A or lora_B, and needs both: only '.*to_q.lora_A.weight'",
    ),
    "ranks of a pair": (
        changed(**{"Q.lora_A.weight": torch.ones(4, 32)}), {}, DataError,
        r"lora_A \(4, 32\) and lora_B \(32, 8\)",
    ),
    "alpha 0": (
        tensors(EIGHT), config(r=8, lora_alpha=0), DataError, "alpha is 0 for 8 of 8 layers",
    ),
    "alpha 0 as a tensor": (
        changed(**{f"transformer.{one}.alpha": torch.tensor(0.0 if one == Q else 8.0)
                   for one in LAYERS}),
        {}, DataError, "alpha is 0 for 1 of 8 layers, the first is '.*to_q'",
    ),
    "another model": (
        {"transformer.layers.0.attn.to_q.lora_A.weight": ONE,
         "transformer.layers.0.attn.to_q.lora_B.weight": ONE}, {}, UsageError,
        r"FLUX.1 has no linear layer 'layers.0.attn.to_q' \('transformer.layers.0",
    ),
    "Stable Diffusion": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": ONE,
         "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": ONE}, {}, UsageError,
        "FLUX.1 has no linear layer 'down_blocks_0",
    ),
    "no qkv": (
        {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(4, 32),
         "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(97, 4)}, {}, DataError,
        "'double_blocks_0_img_attn_qkv' has 97 outputs and 32 inputs, which are not those of 3",
    ),
    "queries and keys of two models": (
        changed(**{"Q.lora_B.weight": torch.ones(48, 8)}), {}, DataError, "are of different widths",
    ),
    "a huge number of blocks": (
        {"transformer.transformer_blocks.99999999999.attn.to_q.lora_A.weight": ONE,
         "transformer.transformer_blocks.99999999999.attn.to_q.lora_B.weight": ONE}, {}, UsageError,
        "FLUX.1 has no linear layer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_and_nothing_is_written(tmp_path: Path, fault: str) -> None:
    state, header, kind, message = FAULTS[fault]
    path = write(tmp_path / "bad.safetensors", state, header)
    with pytest.raises(kind, match=message) as caught:
        convert_adapter(path, tmp_path / "out.safetensors", style="kohya")
    assert str(path) in caught.value.message
    assert caught.value.cure
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("spoil", ["cut", "header", "length"])
def test_damaged_files_are_named(tmp_path: Path, spoil: str) -> None:
    path = write(tmp_path / "bad.safetensors", tensors(EIGHT))
    data = path.read_bytes()
    if spoil == "cut":
        path.write_bytes(data[:-10])
    elif spoil == "header":
        path.write_bytes(data.replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1))
    else:
        path.write_bytes((2**40).to_bytes(8, "little") + data[8:])
    with pytest.raises(DataError, match=r"bad.safetensors is not a whole safetensors file"):
        describe_adapter(path)


def test_biases_stay_in_diffusers_style_and_are_refused_elsewhere(
    base: FluxTransformer2DModel, tmp_path: Path
) -> None:
    state = tensors(EIGHT) | {f"transformer.{Q}.lora_B.bias": torch.randn(32)}
    path = write(tmp_path / "a.safetensors", state, config(r=8, lora_alpha=16, lora_bias=True))
    output = tmp_path / "b.safetensors"
    convert_adapter(path, output, style="diffusers")
    close(drawn_by_imig(base, output), drawn_by_imig(base, path))
    close(drawn_by_pipeline(base, output), drawn_by_imig(base, path))
    output.unlink()
    with pytest.raises(UsageError, match="has a bias beside B, which comfyui does not"):
        convert_adapter(path, output, style="comfyui")
    assert not output.exists()


def test_a_number_that_is_too_large_for_float16(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.safetensors", changed(**{"Q.lora_A.weight": torch.full((8, 32), 1e6)})
    )
    with pytest.raises(DataError, match=r"to_q.lora_A.weight: numbers up to 1e\+06 are too large"):
        convert_adapter(path, tmp_path / "b.safetensors", style="diffusers", dtype=torch.float16)
    assert not (tmp_path / "b.safetensors").exists()


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    """The system ends the file after 4 kB; safetensors' own error never comes through."""
    path = write(tmp_path / "a.safetensors", tensors(EIGHT))
    output = tmp_path / "b.safetensors"
    output.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(DataError, match=rf"cannot write {output}: .*{os.strerror(27)}"):
            convert_adapter(path, output, style="comfyui")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert output.read_bytes() == b"before"
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, output.name]


def test_an_adapter_is_read_alone_as_with_its_model(tmp_path: Path) -> None:
    """Without a transformer the layers and scales are those that loading finds."""
    path = write(tmp_path / "a.safetensors", tensors(MIXED), config(r=8, lora_alpha=4,
                 rank_pattern={f"^{name}": len(a) for name, (a, _) in MIXED.items()}))  # fmt: skip
    alone = read_adapter(path)
    transformer = flux()
    scale = load_adapter(transformer, path, trainable=False)
    assert alone.scale == scale
    parts = list(to_parts(alone, "diffusers"))
    assert [one.name for one in parts] == list(scale.ranks)


@pytest.mark.parametrize(
    ("kind", "written"),
    [(torch.float64, torch.float32), (torch.float8_e4m3fn, torch.bfloat16)],
    ids=str,
)
def test_unusual_types_are_read_and_written_as_usual_ones(
    tmp_path: Path, kind: torch.dtype, written: torch.dtype
) -> None:
    path = write(tmp_path / "a.safetensors", tensors(EIGHT))
    convert_adapter(path, tmp_path / "k.safetensors", style="kohya")
    state = {
        key: one if key.endswith(".alpha") else one.to(kind)
        for key, one in load_file(tmp_path / "k.safetensors").items()
    }
    save_file(state, path)
    assert describe_adapter(path).dtypes == {str(kind).removeprefix("torch."): 11}
    result = convert_adapter(path, tmp_path / "b.safetensors", style="diffusers")
    assert result.dtype == written
    assert describe_adapter(tmp_path / "b.safetensors").layers == len(LAYERS)
