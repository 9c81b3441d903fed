"""Adapter files of many tools: what is honoured has diffusers' effect, what is not is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import FluxLoraLoaderMixin
from safetensors.torch import save_file
from support.adapter_files import (
    IN,
    LAST,
    MLP,
    NORM,
    SINGLE,
    K,
    Q,
    V,
    Weights,
    config,
    drawn,
    drawn_by_diffusers,
    drawn_by_imig,
    drawn_merged,
    flux,
    random_weights,
    tensors,
    write,
)
from torch import Tensor

from imig.contextgen.adapter import (
    TARGETS,
    add_adapter,
    counted_rank,
    load_adapter,
    read_settings,
    save_adapter,
)
from imig.contextgen.adapter_file import AdapterFile
from imig.contextgen.adapter_keys import adapter_layers
from imig.errors import DataError, ImigError, UsageError

LAYERS = (IN, Q, SINGLE, LAST)
EIGHT = random_weights(LAYERS)
MIXED = random_weights(LAYERS, rank={IN: 8, Q: 4, SINGLE: 8, LAST: 2})


@pytest.fixture(scope="module")
def base() -> FluxTransformer2DModel:
    return flux()


@dataclass(frozen=True)
class Case:
    """A file that loads, and the scale of each of its layers."""

    name: str
    weights: Weights
    scales: float | Mapping[str, float]
    state: Mapping[str, Tensor]
    header: Mapping[str, str] = field(default_factory=dict)
    diffusers: str = "pipeline"
    """Which of its loaders honours the file too; empty where none does."""


def prefixed(name: str, weights: Weights, scales: float | Mapping[str, float], **said: Any) -> Case:
    return Case(name, weights, scales, tensors(weights), config(**said) if said else {})


def kohya(layers: Mapping[str, tuple[str, ...]], alpha: float | None) -> dict[str, Tensor]:
    """Kohya's names; a fused layer's rows of B are those of its parts."""
    state = {}
    for name, parts in layers.items():
        a = ALIKE[parts[0]][0]
        state[f"{name}.lora_down.weight"] = a.clone()
        state[f"{name}.lora_up.weight"] = torch.cat([ALIKE[part][1] for part in parts])
        if alpha is not None:
            state[f"{name}.alpha"] = torch.tensor(alpha)
    return state


def with_a_in_common(weights: Weights, *groups: tuple[str, ...]) -> Weights:
    common = {layer: weights[group[0]][0] for group in groups for layer in group}
    return {layer: (common.get(layer, a), b) for layer, (a, b) in weights.items()}


SINGLES = (*(f"single_transformer_blocks.0.attn.to_{one}" for one in "qkv"), MLP)
ALIKE = with_a_in_common(random_weights((Q, K, V, SINGLE, *SINGLES, IN)), (Q, K, V), SINGLES)
UNFUSED = {layer: ALIKE[layer] for layer in (Q, K, V, SINGLE)}
QKV = {"lora_unet_double_blocks_0_img_attn_qkv": (Q, K, V)}
KOHYA = QKV | {"lora_unet_single_blocks_0_linear2": (SINGLE,)}
DOTTED = {
    "diffusion_model.double_blocks.0.img_attn.qkv": (Q, K, V),
    "diffusion_model.single_blocks.0.linear2": (SINGLE,),
}


def renamed(state: Mapping[str, Tensor], **parts: str) -> dict[str, Tensor]:
    """With other names for lora_down and lora_up."""
    result = {}
    for key, value in state.items():
        for old, new in parts.items():
            key = key.replace(f".{old}.", f".{new}.")
        result[key] = value
    return result


XLABS = {
    "double_blocks.0.processor.qkv_lora1.down.weight": ALIKE[Q][0],
    "double_blocks.0.processor.qkv_lora1.up.weight": torch.cat([ALIKE[x][1] for x in (Q, K, V)]),
    "single_blocks.0.processor.proj_lora.down.weight": ALIKE[SINGLE][0],
    "single_blocks.0.processor.proj_lora.up.weight": ALIKE[SINGLE][1],
}
ALPHAS = {f"transformer.{layer}.alpha": torch.tensor(4.0) for layer in LAYERS}
CASES = [
    prefixed("no metadata: alpha is the rank", EIGHT, 1.0),
    prefixed("no metadata, mixed ranks", MIXED, 1.0),
    *(
        Case(f"wrapped: {prefix}", EIGHT, 1.0, tensors(EIGHT, prefix=prefix), diffusers="")
        for prefix in (
            "module.base_model.model.", "base_model.model.module.", "_fsdp_wrapped_module.",
            "_orig_mod.transformer.", "transformer._orig_mod._checkpoint_wrapped_module.",
        )
    ),
    Case("wrapped within", EIGHT, 1.0, {
        key.replace("blocks.0.", "blocks.0._fsdp_wrapped_module._orig_mod."): one
        for key, one in tensors(EIGHT).items()
    }, diffusers=""),
    prefixed("r and lora_alpha", EIGHT, 2.0, r=8, lora_alpha=16),
    prefixed("use_rslora", EIGHT, 16 / math.sqrt(8), r=8, lora_alpha=16, use_rslora=True),
    prefixed(
        "alpha_pattern by the whole name", EIGHT, {IN: 2, Q: 0.5, SINGLE: 2, LAST: 2},
        r=8, lora_alpha=16, alpha_pattern={Q: 4},
    ),
    prefixed(
        "alpha_pattern by the last name", EIGHT, {IN: 2, Q: 2, SINGLE: 0.5, LAST: 0.5},
        r=8, lora_alpha=16, alpha_pattern={"proj_out": 4},
    ),
    prefixed(
        "alpha_pattern by a regular expression", EIGHT, {IN: 2, Q: 2, SINGLE: 2, LAST: 0.5},
        r=8, lora_alpha=16, alpha_pattern={"^proj_.*": 4, "nowhere": 99},
    ),
    prefixed(
        "rank_pattern", MIXED, {IN: 2, Q: 4, SINGLE: 2, LAST: 8},
        r=8, lora_alpha=16, rank_pattern={"to_q": 4, "^proj_out": 2},
    ),
    prefixed(
        "rank_pattern, alpha_pattern and use_rslora", MIXED,
        {IN: 16 / 8**0.5, Q: 3 / 2, SINGLE: 16 / 8**0.5, LAST: 16 / 2**0.5},
        r=8, lora_alpha=16, rank_pattern={"to_q": 4, "^proj_out": 2}, alpha_pattern={"to_q": 3},
        use_rslora=True,
    ),
    prefixed("a rank alone: PEFT's alpha", random_weights(LAYERS, rank=4), 2.0, r=4),
    prefixed("alpha 0", EIGHT, 0.0, r=8, lora_alpha=0),
    prefixed("alpha a fraction", EIGHT, 1 / 16, r=8, lora_alpha=0.5),
    Case("patterns null", EIGHT, 2.0, tensors(EIGHT),
         config(r=8, lora_alpha=16, rank_pattern=None, alpha_pattern=None), ""),
    prefixed(
        "what changes nothing", EIGHT, 2.0, r=8, lora_alpha=16, init_lora_weights="gaussian",
        bias="none", modules_to_save=None, use_dora=False, fan_in_fan_out=False, lora_dropout=0.1,
        peft_type="LORA", target_modules=["to_q"], layer_replication=None, loftq_config={},
    ),
    prefixed("init eva", EIGHT, 2.0, r=8, lora_alpha=16, init_lora_weights="eva"),
    prefixed("init orthogonal", EIGHT, 2.0, r=8, lora_alpha=16, init_lora_weights="orthogonal"),
    Case("bare keys and metadata", EIGHT, 2.0, tensors(EIGHT, prefix=""),
         config(prefix="", r=8, lora_alpha=16), "bare"),
    Case("bare lora_alpha in diffusers' entry", EIGHT, 2.0, tensors(EIGHT),
         config(prefix="", lora_alpha=16), ""),
    Case("bare lora_alpha as an entry of its own", EIGHT, 2.0, tensors(EIGHT),
         {"lora_alpha": "16", "r": "8"}, ""),
    Case("bare entries with rslora", EIGHT, 16 / 8**0.5, tensors(EIGHT),
         {"lora_alpha": "16.0", "use_rslora": "True"}, ""),
    Case("a text encoder's metadata beside it", EIGHT, 2.0, tensors(EIGHT), {
        "lora_adapter_metadata": json.dumps(
            {"transformer.r": 8, "transformer.lora_alpha": 16, "text_encoder.lora_alpha": 3,
             "transformer.target_modules": ["to_q"]}
        )}),
    Case("PEFT's prefix", EIGHT, 1.0, tensors(EIGHT, prefix="base_model.model."), {}, ""),
    Case("an adapter's name in the keys", EIGHT, 1.0,
         tensors(EIGHT, down="lora_A.default", up="lora_B.default"), {}, ""),
    Case("diffusers' older names", EIGHT, 1.0, tensors(EIGHT, down="lora.down", up="lora.up")),
    Case("alphas as tensors", EIGHT, 0.5, tensors(EIGHT) | ALPHAS),
    Case("alphas as tensors, one other", EIGHT, {IN: 0.5, Q: 2, SINGLE: 0.5, LAST: 0.5},
         tensors(EIGHT) | ALPHAS | {f"transformer.{Q}.alpha": torch.tensor(16.0)}),
    Case("kohya", UNFUSED, 0.5, kohya(KOHYA, 4.0)),
    Case("kohya without alphas", UNFUSED, 1.0, kohya(KOHYA, None)),
    Case("kohya's fused single layer", {one: ALIKE[one] for one in SINGLES}, 0.25,
         kohya({"lora_unet_single_blocks_0_linear1": SINGLES}, 2.0), {}, ""),
    Case("ComfyUI with lora_down", UNFUSED, 0.5, kohya(DOTTED, 4.0)),
    Case("ComfyUI with lora_A", UNFUSED, 1.0,
         renamed(kohya(DOTTED, None), lora_down="lora_A", lora_up="lora_B"), {}, ""),
    Case("OneTrainer", {Q: ALIKE[Q], IN: ALIKE[IN]}, 0.5, kohya({
        "lora_transformer_transformer_blocks_0_attn_to_q": (Q,),
        "lora_transformer_x_embedder": (IN,)}, 4.0)),
    Case("XLabs", UNFUSED, 1.0, XLABS),
    Case("a text encoder that is not changed", UNFUSED, 0.5, kohya(KOHYA, 4.0) | {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.randn(4, 20),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.zeros(40, 4)}),
    *(
        Case(str(kind), {layer: (a.to(kind), b.to(kind)) for layer, (a, b) in EIGHT.items()}, 2.0,
             {key: value.to(kind) for key, value in tensors(EIGHT).items()},
             config(r=8, lora_alpha=16))
        for kind in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64)
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_files_have_their_effect(base: FluxTransformer2DModel, tmp_path: Path, case: Case) -> None:
    path = write(tmp_path / "lora.safetensors", case.state, case.header)
    scales = (
        case.scales
        if isinstance(case.scales, Mapping)
        else dict.fromkeys(case.weights, case.scales)
    )
    ours = drawn_by_imig(base, path)
    torch.testing.assert_close(ours, drawn_merged(base, case.weights, scales), atol=1e-5, rtol=1e-5)
    if any(scales.values()):
        assert (ours - drawn(base)).abs().max() > 1e-3
    if case.diffusers:
        theirs = drawn_by_diffusers(base, path, bare=case.diffusers == "bare")
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_biases_of_lora_b(base: FluxTransformer2DModel, tmp_path: Path) -> None:
    state = tensors(EIGHT) | {f"transformer.{Q}.lora_B.bias": torch.randn(32)}
    for layer in LAYERS:
        state.setdefault(f"transformer.{layer}.lora_B.bias", torch.zeros(len(EIGHT[layer][1])))
    path = write(tmp_path / "lora.safetensors", state)
    expected = drawn_by_diffusers(base, path, bare=False)
    torch.testing.assert_close(drawn_by_imig(base, path), expected, atol=1e-5, rtol=1e-5)
    with_zeros_left_out = {key: one for key, one in state.items() if one.count_nonzero()}
    assert len(with_zeros_left_out) == len(state) - 3
    write(path, with_zeros_left_out)
    torch.testing.assert_close(drawn_by_imig(base, path), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("given", ["folder", "file"])
def test_folders_of_peft(base: FluxTransformer2DModel, tmp_path: Path, given: str) -> None:
    said = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": "x", "bias": "none",
        "r": 8, "lora_alpha": 16, "use_rslora": True, "alpha_pattern": {"to_q": 4},
        "target_modules": ["to_q", "proj_out"], "inference_mode": True, "auto_mapping": {"a": "b"},
    }  # fmt: skip
    (tmp_path / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    state = tensors(EIGHT, prefix="base_model.model.")
    path = write(tmp_path / "adapter_model.safetensors", state, {"format": "pt"})
    scales = dict.fromkeys(LAYERS, 16 / 8**0.5) | {Q: 4 / 8**0.5}
    ours = drawn_by_imig(base, tmp_path if given == "folder" else path)
    torch.testing.assert_close(ours, drawn_merged(base, EIGHT, scales), atol=1e-5, rtol=1e-5)
    assert read_settings(tmp_path) == {}


def refused(name: str, message: str, *more: object, **said: Any) -> object:
    """A file of `EIGHT` with a configuration that is not honoured."""
    header = config(**({"r": 8, "lora_alpha": 16} | said)) if said else {}
    state = tensors(EIGHT)
    for one in more:
        assert isinstance(one, dict)
        state |= one
    return pytest.param(state, header, message, id=name)


def spoilt(key: str, value: float) -> dict[str, Tensor]:
    tensor = tensors(EIGHT)[key]
    tensor[0, 0] = value
    return {key: tensor}


A_OF_Q, B_OF_Q = f"transformer.{Q}.lora_A.weight", f"transformer.{Q}.lora_B.weight"
LACKING = {key: value for key, value in tensors(EIGHT).items() if key != B_OF_Q}
ONE = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("state", "header", "message"),
    [
        refused("rank by the metadata", "the rank of layer 'x_embedder' is 8, and 4 by", r=4),
        refused("rank_pattern", "'transformer.*to_q' is 8, and 2 by", rank_pattern={"to_q": 2}),
        refused("alpha is a text", "lora_alpha '16', which is no number", lora_alpha="16"),
        refused("alpha is NaN", "lora_alpha nan, which is no finite", lora_alpha=math.nan),
        refused("alpha is true", "lora_alpha True, which is no number", lora_alpha=True),
        refused("alpha is huge", "which is no finite number", lora_alpha=10**400),
        refused("rank 0", "r 0, which is no rank", r=0),
        refused(
            "a pattern is a list", "alpha_pattern .'to_q'., and not a map", alpha_pattern=["to_q"]
        ),
        refused(
            "no regular expression", r"alpha_pattern '\*to_q', and not", alpha_pattern={"*to_q": 4}
        ),
        refused("rslora is a text", "use_rslora 'no', and not true or false", use_rslora="no"),
        refused("use_dora", "use_dora: True; it is a DoRA", use_dora=True),
        refused("bias", "bias: 'lora_only'; biases of the base", bias="lora_only"),
        refused("modules_to_save", "whole layers were trained", modules_to_save=["proj_out"]),
        refused("layer_replication", "has layers twice", layer_replication=[[0, 1], [0, 1]]),
        refused("target_parameters", "linear layers alone", target_parameters=["x.weight"]),
        refused("another method", "reads LoRA, no other", peft_type="ADALORA"),
        refused("an unknown field", "new_thing: 3; imig does not know", new_thing=3),
        *(
            refused(f"init {name}", "beginning changes the base model's", init_lora_weights=name)
            for name in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga")
        ),
        refused("unknown init", "does not know this beginning", init_lora_weights="sunrise"),
        refused(
            "NaN", "1 of 256 numbers of '.*to_q.lora_A.weight' are NaN", spoilt(A_OF_Q, math.nan)
        ),
        refused("infinity", "to_q.lora_B.weight' are NaN or inf", spoilt(B_OF_Q, -math.inf)),
        pytest.param(LACKING, {}, r"lora_A or lora_B, and needs both: only '.*to_q", id="no B"),
        refused("DoRA", "it is a DoRA", {f"transformer.{Q}.lora_magnitude_vector": torch.ones(32)}),
        refused("kohya's DoRA", "it is a DoRA", {f"lora_unet_{Q}.dora_scale": ONE}),
        refused("LoHa", "another kind of adapter", {"lora_unet_img_in.hada_w1_a": ONE}),
        refused("LoKr", "another kind of adapter", {f"transformer.{Q}.lokr_w1": ONE}),
        refused("Tucker", "another kind", {f"lora_unet_{Q}.lora_mid.weight": ONE}),
        refused("differences", "changes a whole layer", {"diffusion_model.img_in.diff_b": ONE}),
        refused(
            "Control LoRA",
            "a Control LoRA",
            {"double_blocks.0.img_attn.norm.query_norm.scale": ONE},
        ),
        refused(
            "a wide input", "a Control LoRA", {f"transformer.{IN}.lora_A.weight": torch.ones(8, 32)}
        ),
        refused(
            "whole layers",
            "'transformer.proj_out.weight' is no LoRA",
            {"transformer.proj_out.weight": ONE},
        ),
        refused(
            "text encoder",
            "changes a text encoder too",
            {"text_encoder.x.lora_A.weight": ONE, "text_encoder.x.lora_B.weight": ONE},
        ),
        refused("kohya's text encoder", "a text encoder too", {"lora_te1_x.lora_up.weight": ONE}),
        refused("two adapters", "stands there twice", {f"{Q}.lora_A.other.weight": ONE}),
        refused(
            "fused and single",
            "two LoRAs for the layer '.*to_q'",
            {
                "double_blocks.0.img_attn.qkv.lora_A.weight": torch.ones(8, 32),
                "double_blocks.0.img_attn.qkv.lora_B.weight": torch.ones(96, 8),
            },
        ),
        refused(
            "another model",
            "has no linear layer 'down_blocks.0.attn.to_q'",
            {
                "unet.down_blocks.0.attn.to_q.lora_A.weight": ONE,
                "transformer.down_blocks.0.attn.to_q.lora_A.weight": ONE,
                "transformer.down_blocks.0.attn.to_q.lora_B.weight": ONE,
            },
        ),
        refused(
            "not all alphas", "has no alpha, and others have", {f"transformer.{Q}.alpha": ONE[0, 0]}
        ),
        refused(
            "alpha of two numbers", "4 numbers, an alpha is one", {f"transformer.{Q}.alpha": ONE[0]}
        ),
        refused(
            "alpha is infinite",
            "are NaN or infinite",
            {f"transformer.{Q}.alpha": ONE[0, 0] * math.inf},
        ),
        refused("alphas twice", "is 4 by its tensor, and 16 by", ALPHAS, lora_alpha=16),
        refused(
            "integers", "is of type I8", {f"transformer.{Q}.lora_A.weight": ONE.to(torch.int8)}
        ),
        refused(
            "complex", "is of type C64", {f"transformer.{Q}.lora_A.weight": ONE.to(torch.complex64)}
        ),
        pytest.param(
            {A_OF_Q: ONE[:0], B_OF_Q: ONE[:, :0].contiguous()},
            {},
            "expected .rank",
            id="rank 0 of tensors",
        ),
        pytest.param(
            tensors(EIGHT), {"lora_adapter_metadata": "[" * 10**5}, "no JSON object", id="deep JSON"
        ),
        pytest.param(
            tensors(EIGHT), {"lora_alpha": "many"}, "lora_alpha 'many', which is no", id="bare text"
        ),
        pytest.param(
            tensors(MIXED),
            {"use_rslora": "true"},
            "say use_rslora and no lora_alpha",
            id="no alpha",
        ),
        pytest.param(
            tensors(EIGHT),
            config(r=8, lora_alpha=16) | {"lora_alpha": "8"},
            "lora_alpha is 16 in its metadata '.*', and 8 in its",
            id="two alphas",
        ),
    ],
)
def test_what_is_refused_is_named(
    base: FluxTransformer2DModel,
    tmp_path: Path,
    state: Mapping[str, Tensor],
    header: Mapping[str, str],
    message: str,
) -> None:
    path = write(tmp_path / "lora.safetensors", state, header)
    before = list(base.state_dict())
    with pytest.raises(ImigError, match=message) as caught:
        load_adapter(base, path, trainable=False)
    assert str(path) in caught.value.message
    assert caught.value.cure
    assert list(base.state_dict()) == before, "nothing has been added"


def pickled(path: Path) -> None:
    torch.save(tensors(EIGHT), path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.safetensors", b"", "is empty"),
        ("lora.bin", pickled, "pickle of PyTorch"),
        ("lora.safetensors", pickled, "pickle of PyTorch"),
        ("old.pt", b"\x80\x02}q\x00.", "pickle of PyTorch"),
        (
            "lfs.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid",
            "Git LFS's pointer",
        ),
        ("page.safetensors", b"<!DOCTYPE html><html>", "is a web page"),
        ("words.safetensors", b"Entry not found", "is a text, not an adapter: 'Entry not found'"),
        ("flux.gguf", b"GGUF\x03\x00\x00\x00", "GGUF file"),
        ("noise.safetensors", bytes(range(200)), "not a whole safetensors file"),
        ("adapter_model.safetensors", None, "adapter_config.json is not beside it"),
        ("folder", "folder", "no adapter in the folder"),
        ("x" * 300, "nothing", "cannot read the adapter|no adapter file"),
        ("nul\0.safetensors", "nothing", "cannot read the adapter|no adapter file"),
    ],
)
def test_other_formats_are_told_apart(
    base: FluxTransformer2DModel,
    tmp_path: Path,
    name: str,
    content: bytes | str | Callable[[Path], None] | None,
    message: str,
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif callable(content):
        content(path)
    elif content is None:
        write(path, tensors(EIGHT))
    elif content == "folder":
        path.mkdir()
    with pytest.raises(ImigError, match=message):
        load_adapter(base, path, trainable=False)
    if content is not None:
        with pytest.raises(ImigError, match=message):
            read_settings(path)


def test_names_of_full_size_files_are_diffusers_own(tmp_path: Path) -> None:
    """Against its converters, which have FLUX.1's widths written in: kohya's name of each layer."""
    width, modules = 3072, {
        "double_blocks_0_img_attn_qkv": (3072, 9216), "double_blocks_0_img_attn_proj": (3072, 3072),
        "double_blocks_0_img_mlp_0": (3072, 12288), "double_blocks_0_img_mlp_2": (12288, 3072),
        "double_blocks_0_img_mod_lin": (3072, 18432), "double_blocks_0_txt_attn_qkv": (3072, 9216),
        "double_blocks_0_txt_attn_proj": (3072, 3072), "double_blocks_0_txt_mlp_0": (3072, 12288),
        "double_blocks_0_txt_mlp_2": (12288, 3072), "double_blocks_0_txt_mod_lin": (3072, 18432),
        "single_blocks_0_linear1": (3072, 21504), "single_blocks_0_linear2": (15360, 3072),
        "single_blocks_0_modulation_lin": (3072, 9216), "img_in": (64, 3072),
        "txt_in": (4096, 3072), "time_in_in_layer": (256, 3072), "time_in_out_layer": (3072, 3072),
        "vector_in_in_layer": (768, 3072), "vector_in_out_layer": (3072, 3072),
        "guidance_in_in_layer": (256, 3072), "guidance_in_out_layer": (3072, 3072),
        "final_layer_linear": (3072, 64), "final_layer_adaLN_modulation_1": (3072, 6144),
    }  # fmt: skip
    state = {}
    for name, (inputs, outputs) in modules.items():
        state[f"lora_unet_{name}.lora_down.weight"] = torch.randn(2, inputs)
        state[f"lora_unet_{name}.lora_up.weight"] = torch.randn(outputs, 2)
        if "final_layer" not in name:  # whose alphas diffusers passes over
            state[f"lora_unet_{name}.alpha"] = torch.tensor(1.0)
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(
            num_layers=1, num_single_layers=1, guidance_embeds=True
        )
    ours = adapter_layers(AdapterFile(tmp_path, state, {}, None), transformer)
    converted = FluxLoraLoaderMixin.lora_state_dict(dict(state))
    theirs = {key.removeprefix("transformer."): value for key, value in converted.items()}
    assert {f"{name}.lora_{side}.weight" for name in ours for side in "AB"} == set(theirs)
    assert NORM in ours
    assert width == transformer.inner_dim
    for name, layer in ours.items():
        x = torch.randn(layer.a.shape[1])
        scale = 1.0 if layer.alpha is None else layer.alpha / layer.rank
        expected = theirs[f"{name}.lora_B.weight"] @ (theirs[f"{name}.lora_A.weight"] @ x)
        torch.testing.assert_close(scale * layer.b @ (layer.a @ x), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_loaded_adapter_is_saved_with_its_scale(
    base: FluxTransformer2DModel, tmp_path: Path, rslora: bool
) -> None:
    """What a training that started from a file exports: for imig, and for diffusers."""
    header = config(
        r=8, lora_alpha=16, use_rslora=rslora, alpha_pattern={"^proj_out": 3},
        rank_pattern={"to_q": 4, "^proj_out": 2},
    )  # fmt: skip
    path = write(tmp_path / "lora.safetensors", tensors(MIXED), header)
    transformer = flux()
    scale = load_adapter(transformer, path, trainable=True)
    assert (scale.rank, scale.alpha, scale.rslora) == (8, 16, rslora)
    assert str(scale).startswith("rank 8, alpha 16")
    assert str(scale).endswith("2 of 4 layers have others")
    expected, again = drawn(transformer), tmp_path / "again.safetensors"
    save_adapter(transformer, again)
    torch.testing.assert_close(drawn_by_imig(base, again), expected, atol=1e-5, rtol=1e-5)
    theirs = drawn_by_diffusers(base, again, bare=False)
    torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=1e-5)


def test_the_rank_that_is_counted(tmp_path: Path) -> None:
    transformer = flux()
    add_adapter(transformer, rank=6, alpha=6, seed=0)
    assert counted_rank(transformer) == 6
    file = tmp_path / "adapter.safetensors"
    save_adapter(transformer, file)
    again = flux()
    load_adapter(again, file, trainable=True)
    assert counted_rank(again) == 6
    assert again.peft_config["default"].target_modules == TARGETS
    save_file(tensors(random_weights((Q,), rank=8)), file)
    part = flux()
    load_adapter(part, file, trainable=True)
    assert 0 < counted_rank(part) < 1, "one layer of thirteen"


def test_errors_are_of_the_call_or_of_the_data(
    base: FluxTransformer2DModel, tmp_path: Path
) -> None:
    """Exit codes: another file, or another copy of it."""
    path = tmp_path / "lora.safetensors"
    write(path, tensors(EIGHT), config(r=8, lora_alpha=16, use_dora=True))
    with pytest.raises(UsageError):
        load_adapter(base, path, trainable=False)
    write(path, spoilt(A_OF_Q, math.nan))
    with pytest.raises(DataError):
        load_adapter(base, path, trainable=False)
