"""An adapter in the base's weights: the same pictures as beside them, in every form of a base."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.adapter_files import (
    IN,
    LAST,
    MLP,
    NORM,
    SINGLE,
    Q,
    config,
    drawn,
    drawn_by_imig,
    flux,
    random_weights,
    tensors,
    write,
)
from support.adapter_readers import drawn_by_pipeline
from support.contextgen_samples import small_transformer

from imig.contextgen.adapter_merge import merge_adapter
from imig.errors import DataError, ImigError, UsageError

LAYERS = (IN, Q, MLP, SINGLE, LAST, NORM)
SINGLE_FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def base() -> FluxTransformer2DModel:
    return flux()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    weights = random_weights(LAYERS)
    return write(tmp_path / "a.safetensors", tensors(weights), config(r=8, lora_alpha=4))


def load(folder: Path) -> Any:
    kind: Any = FluxTransformer2DModel
    return kind.from_pretrained(folder).eval()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.*")}


@pytest.mark.parametrize("size", ["20KB", "10GB"], ids=["several files", "one file"])
def test_a_folder_draws_as_base_and_adapter(
    base: Any, adapter: Path, tmp_path: Path, size: str
) -> None:
    base.save_pretrained(tmp_path / "base", max_shard_size=size)
    seen: list[tuple[int, int]] = []
    result = merge_adapter(
        adapter,
        tmp_path / "base",
        tmp_path / "merged",
        progress=lambda done, of: seen.append((done, of)),
    )
    merged = drawn(load(tmp_path / "merged"))
    for other in (drawn_by_imig(base, adapter), drawn_by_pipeline(base, adapter)):
        torch.testing.assert_close(merged, other, atol=1e-5, rtol=1e-5)
    assert (merged - drawn(base)).abs().max() > 0.1
    before, after = contents(tmp_path / "base"), contents(tmp_path / "merged")
    assert before.keys() == after.keys()
    assert before["config.json"] == after["config.json"]
    total = len(base.state_dict())
    assert seen == [(number, total) for number in range(1, total + 1)]
    assert {one.name for one in result.parts} == {f"{layer}.weight" for layer in LAYERS}
    assert result.error < 1e-6
    weights = [name for name in after if name.endswith(".safetensors")]
    assert result.bytes == sum(len(after[name]) for name in weights)
    assert (len(weights) > 2) == (size == "20KB")
    for name in weights:
        with safe_open(tmp_path / "merged" / name, framework="pt") as file:
            assert file.metadata()["modelspec.merged_from"] == "base, a.safetensors"


def to_black_forest(base: Any) -> dict[str, torch.Tensor]:
    """The weights that differ in form, under the original code's names."""
    state = base.state_dict()
    named = {}
    for end in ("weight", "bias"):
        for name, layers in {
            "double_blocks.0.img_attn.qkv": [f"transformer_blocks.0.attn.to_{x}" for x in "qkv"],
            "single_blocks.0.linear1": [
                *(f"single_transformer_blocks.0.attn.to_{x}" for x in "qkv"), MLP,
            ],
            "single_blocks.0.linear2": [SINGLE],
            "img_in": [IN],
            "final_layer.linear": [LAST],
        }.items():  # fmt: skip
            named[f"{name}.{end}"] = torch.cat([state[f"{layer}.{end}"] for layer in layers])
        scale, shift = state[f"{NORM}.{end}"].chunk(2)
        named[f"final_layer.adaLN_modulation.1.{end}"] = torch.cat([shift, scale])
    return named


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_file_with_fused_layers(base: Any, adapter: Path, tmp_path: Path, prefix: str) -> None:
    plain = {prefix + key: one for key, one in to_black_forest(base).items()}
    others = {"vae.x": torch.ones(2, dtype=torch.int64), "flag": torch.tensor(True)}
    save_file(
        plain | others, tmp_path / "flux.safetensors", {"a": "1", "modelspec.hash_sha256": ""}
    )
    merge_adapter(adapter, tmp_path / "flux.safetensors", tmp_path / "out.safetensors")
    base.save_pretrained(tmp_path / "base")
    merge_adapter(adapter, tmp_path / "base", tmp_path / "merged")
    expected = to_black_forest(load(tmp_path / "merged"))
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == plain.keys() | others.keys()
    for name, one in expected.items():
        torch.testing.assert_close(found[prefix + name], one, atol=1e-6, rtol=0)
    assert all(torch.equal(found[name], one) for name, one in others.items())
    with safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        assert file.metadata() == {
            "a": "1", "format": "pt", "modelspec.merged_from": "flux.safetensors, a.safetensors",
        }  # fmt: skip


def test_strength_and_rounding(base: Any, adapter: Path, tmp_path: Path) -> None:
    rounded = {key: one.bfloat16() for key, one in base.state_dict().items()}
    save_file(rounded, tmp_path / "base.safetensors")
    result = merge_adapter(
        adapter, tmp_path / "base.safetensors", tmp_path / "out.safetensors", strength=0.5
    )
    found, weights = load_file(tmp_path / "out.safetensors"), random_weights(LAYERS)
    lost = {}
    for layer, (a, b) in weights.items():
        change, before = 0.25 * b @ a, rounded[f"{layer}.weight"].float()
        after = found[f"{layer}.weight"]
        assert torch.equal(after, (before + change).bfloat16())
        lost[f"{layer}.weight"] = float((after.float() - before - change).norm() / change.norm())
    assert {one.name: one.error for one in result.parts} == pytest.approx(lost, rel=1e-4)
    assert 1e-4 < result.error < max(lost.values())
    assert result.worst[0].error == max(one.error for one in result.parts)
    untouched = set(rounded) - {f"{layer}.weight" for layer in LAYERS}
    assert all(torch.equal(found[name], rounded[name]) for name in untouched)
    whole = merge_adapter(
        adapter, tmp_path / "base.safetensors", tmp_path / "whole.safetensors", dtype=torch.float32
    )
    assert whole.error < 1e-6
    found = load_file(tmp_path / "whole.safetensors")
    assert {one.dtype for one in found.values()} == {torch.float32}
    assert all(torch.equal(found[name], rounded[name].float()) for name in untouched)


def test_another_type_in_several_files(base: Any, adapter: Path, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path / "base", max_shard_size="20KB")
    result = merge_adapter(adapter, tmp_path / "base", tmp_path / "out", dtype=torch.bfloat16)
    assert result.error > 1e-4
    index = json.loads((tmp_path / "out" / f"{SINGLE_FILE}.index.json").read_bytes())
    old = json.loads((tmp_path / "base" / f"{SINGLE_FILE}.index.json").read_bytes())
    assert index["weight_map"] == old["weight_map"]
    assert index["metadata"]["total_size"] * 2 == old["metadata"]["total_size"]
    for file in (tmp_path / "out").glob("*.safetensors"):
        assert {one.dtype for one in load_file(file).values()} == {torch.bfloat16}
    assert drawn(load(tmp_path / "out")).isfinite().all()


def test_biases_are_merged(base: Any, tmp_path: Path) -> None:
    state = tensors(random_weights((Q,))) | {f"transformer.{Q}.lora_B.bias": torch.randn(32)}
    path = write(tmp_path / "a.safetensors", state)
    base.save_pretrained(tmp_path / "base")
    merge_adapter(path, tmp_path / "base", tmp_path / "merged")
    expected = drawn_by_imig(base, path)
    torch.testing.assert_close(drawn(load(tmp_path / "merged")), expected, atol=1e-5, rtol=1e-5)


def refused(
    adapter: Path, base: Path, output: Path, kind: type[ImigError], message: str, **more: Any
) -> None:
    before = contents(base.parent)
    with pytest.raises(kind, match=message) as caught:
        merge_adapter(adapter, base, output, **more)
    assert caught.value.cure
    assert contents(base.parent) == before, "nothing is written, and nothing lost"
    left = [one.name for one in output.parent.iterdir() if ".tmp-" in one.name]
    assert not left


def test_what_does_not_fit_is_named(base: Any, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base.save_pretrained(tmp_path / "base")
    weights = tmp_path / "base" / SINGLE_FILE
    state = load_file(weights)
    refused(adapter, tmp_path / "none", out, UsageError, "there is no base model")
    small_transformer(double=1, single=0).save_pretrained(tmp_path / "few")
    refused(adapter, tmp_path / "few", out, UsageError, "'single_transformer_blocks.0.*not have")
    save_file(state | {f"{Q}.weight": torch.ones(32, 33)}, weights)
    refused(adapter, tmp_path / "base", out, UsageError, r"is \(32, 32\), and .* is \(32, 33\)")
    save_file(state | {f"{Q}.weight": torch.ones(32, 32).to(torch.float8_e4m3fn)}, weights)
    refused(adapter, tmp_path / "base", out, UsageError, "type F8_E4M3: what the adapter changes")
    save_file(state | {f"{Q}.weight": torch.full((32, 32), torch.nan)}, weights)
    refused(adapter, tmp_path / "base", out, DataError, "to_q.weight' would have numbers")
    save_file(state, weights)
    weights.write_bytes(weights.read_bytes()[:-1])
    refused(adapter, tmp_path / "base", out, DataError, "is not a whole safetensors file")
    (tmp_path / "base" / "other.safetensors").write_bytes(b"")
    refused(adapter, tmp_path / "base", out, UsageError, "2 safetensors files and no")
    index = tmp_path / "base" / f"{SINGLE_FILE}.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../a.safetensors"}}), encoding="utf-8")
    refused(adapter, tmp_path / "base", out, DataError, "names '../a.safetensors', which is not")
    index.write_text("[]", encoding="utf-8")
    refused(adapter, tmp_path / "base", out, DataError, "is no index of weights")


def test_outputs_that_are_in_the_way(base: Any, adapter: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "base", tmp_path / "out"
    base.save_pretrained(folder)
    for output in (folder, folder / "in", tmp_path):
        refused(adapter, folder, output, UsageError, "is, or is in, or holds, what is read")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    refused(adapter, folder, out, UsageError, "out exists")
    refused(adapter, folder, out, UsageError, "something else than a model", overwrite=True)
    (out / "mine.txt").unlink()
    merge_adapter(adapter, folder, out)  # an empty folder is free
    first = contents(out)
    refused(adapter, folder, out, UsageError, "out exists")
    merge_adapter(adapter, folder, out, strength=2, overwrite=True)
    assert contents(out).keys() == first.keys()
    assert contents(out) != first
    assert not [one for one in tmp_path.iterdir() if ".tmp-" in one.name]
    refused(adapter, folder / SINGLE_FILE, out, UsageError, "is a folder, and .* is none")


def test_a_folder_with_other_things_beside_a_model_is_not_replaced(
    base: Any, adapter: Path, tmp_path: Path
) -> None:
    """Many a folder has a `config.json`."""
    folder, out = tmp_path / "base", tmp_path / "out"
    base.save_pretrained(folder)
    merge_adapter(adapter, folder, out)
    (out / "photos").mkdir()
    (out / "photos" / "mine.jpg").write_text("mine")
    refused(adapter, folder, out, UsageError, r"photos/mine\.jpg for one", overwrite=True)
    (out / "photos" / "mine.jpg").unlink()
    (out / f"{SINGLE_FILE}.index.json").write_text("{}")  # of one in several files
    merge_adapter(adapter, folder, out, overwrite=True)
    assert contents(out).keys() == contents(folder).keys()


def test_a_full_disk_leaves_what_was_there(base: Any, adapter: Path, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path / "base")
    merge_adapter(adapter, tmp_path / "base", tmp_path / "out")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        refused(
            adapter, tmp_path / "base", tmp_path / "out", DataError,
            rf"cannot write .*: {os.strerror(27)}", overwrite=True, strength=2.0,
        )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    merged = drawn(load(tmp_path / "out"))
    torch.testing.assert_close(merged, drawn_by_imig(base, adapter), atol=1e-5, rtol=1e-5)
