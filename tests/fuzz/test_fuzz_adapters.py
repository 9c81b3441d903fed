"""Adapter files with anything in them: diffusers' effect, or an error of ours in words."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from hypothesis import example, given
from hypothesis import strategies as st
from peft.tuners.lora import LoraLayer
from safetensors.torch import save
from support.adapter_files import (
    IN,
    LAST,
    SINGLE,
    Q,
    config,
    flux,
    load_by_diffusers,
    random_weights,
    tensors,
    write,
)

from imig.contextgen.adapter import load_adapter, read_settings
from imig.errors import ImigError

LAYERS = (IN, Q, SINGLE, LAST)
EIGHT = tensors(random_weights(LAYERS))
FLUX = flux()

NUMBERS = st.one_of(st.sampled_from([1, 2, 4, 8, 16, 0.5]), st.floats(), st.integers())
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["to_q", "proj_out", "^proj_out", ".*", IN, Q, "x_.*", "transformer.to_q"])
PATTERNS = st.dictionaries(NAMES | st.text(max_size=6), NUMBERS, max_size=3)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "r": st.just(8) | JSON,
        "lora_alpha": NUMBERS | JSON,
        "use_rslora": st.booleans() | JSON,
        "alpha_pattern": PATTERNS | JSON,
        "rank_pattern": st.dictionaries(NAMES, st.just(8), max_size=2) | PATTERNS | JSON,
        "init_lora_weights": st.sampled_from([True, False, "gaussian", "eva", "olora"]) | JSON,
        "bias": st.just("none") | JSON,
        "fan_in_fan_out": st.booleans(),
        "use_dora": st.just(False) | JSON,
        "lora_bias": st.booleans() | JSON,
        "modules_to_save": st.none() | JSON,
        "layer_replication": st.none() | JSON,
        "peft_type": st.just("LORA") | JSON,
    },
)
PIECES = st.lists(
    st.sampled_from(
        [
            "transformer", "base_model.model", "diffusion_model", "lora_unet", "text_encoder", IN,
            "double_blocks", "single_blocks", "transformer_blocks", "0", "1", "99", "attn", "to_q",
            "img_attn.qkv", "linear1", "processor", "qkv_lora1", "lora_A", "lora_B", "lora_down",
            "lora_up", "lora", "down", "up", "default", "weight", "bias", "alpha", "norm_q",
            "lora_magnitude_vector", "",
        ]
    )
    | st.text(max_size=4),
    max_size=7,
)  # fmt: skip
KEYS = st.builds(lambda parts, between: between.join(parts), PIECES, st.sampled_from("._"))
SHAPES = st.sampled_from(
    [(), (1,), (8,), (8, 32), (32, 8), (96, 8), (8, 16), (8, 32, 1, 1), (0, 8)]
)


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def load(path: Path) -> FluxTransformer2DModel | None:
    """The transformer with the file's adapter; None where imig refuses it, in words."""
    transformer = copy.deepcopy(FLUX)
    try:
        load_adapter(transformer, path, trainable=False)
    except ImigError as error:
        refusal = error
    else:
        return transformer
    assert refusal.cure
    assert str(path.parent) in refusal.message
    return None


def scales(transformer: FluxTransformer2DModel) -> dict[str, float]:
    return {
        name: next(iter(module.scaling.values()))
        for name, module in transformer.named_modules()
        if isinstance(module, LoraLayer)
    }


@example(fields={"r": 8, "lora_alpha": 16, "use_rslora": True})
@example(fields={"r": 8, "lora_alpha": 16, "alpha_pattern": {"proj_out": 4}})
@given(FIELDS)
def test_metadata(folder: Path, fields: dict[str, Any]) -> None:
    path = write(folder / "metadata.safetensors", EIGHT, config(**fields))
    ours = load(path)
    if ours is None:
        return
    theirs = copy.deepcopy(FLUX)
    try:
        load_by_diffusers(theirs, path, bare=False)
    except Exception:
        return  # of what it does not load itself, there is nothing to compare
    assert scales(ours) == pytest.approx(scales(theirs))


@given(
    st.dictionaries(st.sampled_from(["lora_alpha", "r", "imig"]) | st.text(), st.text() | NUMBERS)
)
def test_entries_of_the_header(folder: Path, header: dict[str, Any]) -> None:
    header = {key: str(value) for key, value in header.items()}
    path = write(folder / "header.safetensors", EIGHT, header)
    load(path)
    try:
        read_settings(path)
    except ImigError:
        assert "imig" in header


@given(JSON)
def test_configurations_of_peft(folder: Path, said: Any) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    load(write(folder / "adapter_model.safetensors", EIGHT))


@given(
    st.dictionaries(KEYS, SHAPES, max_size=4),
    st.sampled_from([torch.float32, torch.float16, torch.int64]),
    st.booleans(),
)
def test_keys(
    folder: Path, shapes: dict[str, tuple[int, ...]], kind: torch.dtype, more: bool
) -> None:
    state = {key: torch.ones(shape, dtype=kind) for key, shape in shapes.items()}
    try:
        path = write(folder / "keys.safetensors", (EIGHT if more else {}) | state)
    except Exception:
        return  # no name of a tensor
    load(path)


WHOLE = save(EIGHT, config(r=8, lora_alpha=16))


@given(st.integers(0, len(WHOLE)), st.binary(max_size=12), st.booleans())
def test_bytes(folder: Path, place: int, new: bytes, cut: bool) -> None:
    path = folder / "bytes.safetensors"
    path.write_bytes(WHOLE[:place] + new + (b"" if cut else WHOLE[place + len(new) :]))
    load(path)
    with contextlib.suppress(ImigError):
        read_settings(path)
