"""Smaller ranks: the nearest there is, with the error that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.adapter_files import (
    IN,
    MLP,
    K,
    Q,
    V,
    config,
    drawn_by_imig,
    flux,
    random_weights,
    tensors,
    write,
)
from support.adapter_readers import drawn_by_comfyui, drawn_by_pipeline

from imig.contextgen.adapter_convert import convert_adapter
from imig.contextgen.adapter_info import describe_adapter
from imig.contextgen.adapter_resize import resize_adapter, shrink
from imig.contextgen.adapter_styles import Part, read_adapter, to_parts
from imig.errors import UsageError

LAYERS = (IN, Q, K, V, MLP)
EIGHT = random_weights(LAYERS)


def part(seed: int, *, rank: int = 6, inputs: int = 9, outputs: int = 7) -> Part:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, inputs, generator=generator)
    return Part(name="x", a=a, b=torch.randn(outputs, rank, generator=generator))


@given(
    seed=st.integers(0, 99), rank=st.integers(1, 8), inputs=st.integers(1, 9),
    outputs=st.integers(1, 9), kept=st.integers(1, 9),
)  # fmt: skip
def test_the_nearest_of_a_rank(seed: int, rank: int, inputs: int, outputs: int, kept: int) -> None:
    """By the decomposition of the whole matrix, which is never made otherwise."""
    one = part(seed, rank=rank, inputs=inputs, outputs=outputs)
    whole = (one.b @ one.a).double()
    left, values, right = torch.linalg.svd(whole, full_matrices=False)
    nearest = left[:, :kept] * values[:kept] @ right[:kept]
    small = shrink(one, rank=kept)
    assert len(small.a) == min(kept, rank, inputs, outputs)
    torch.testing.assert_close(
        small.b.double() @ small.a.double(), nearest, atol=1e-5 * float(whole.norm()) + 1e-9, rtol=0
    )


def test_an_energy_keeps_as_many_as_it_takes() -> None:
    values = torch.tensor([4.0, 2.0, 1.0])  # energies 16, 4, 1 of 21
    one = Part(name="x", a=torch.diag(values), b=torch.eye(3))
    shares = {0.5: 1, 16 / 21: 1, 0.77: 2, 20 / 21: 2, 0.96: 3, 1.0: 3}
    for share, rank in shares.items():
        assert len(shrink(one, energy=share).a) == rank, share
    assert len(shrink(one, energy=1.0, rank=2).a) == 2
    assert len(shrink(Part("x", torch.zeros(3, 3), torch.eye(3)), energy=0.9).a) == 1


def test_a_rank_that_is_not_there_is_none_of_the_energy(tmp_path: Path) -> None:
    """Rank 8 by its shape, and 3 by its content: that is what an energy of 1 keeps."""
    weights = {layer: (a[:3], b[:, :3]) for layer, (a, b) in EIGHT.items()}
    mixed = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    wide = {layer: (torch.linalg.pinv(mixed) @ a, b @ mixed) for layer, (a, b) in weights.items()}
    path = write(tmp_path / "a.safetensors", tensors(wide))
    result = resize_adapter(path, tmp_path / "b.safetensors", energy=0.999999)
    assert {(one.rank_before, one.rank) for one in result.parts} == {(8, 3)}
    assert result.error < 1e-5
    base = flux()
    torch.testing.assert_close(
        drawn_by_imig(base, tmp_path / "b.safetensors"), drawn_by_imig(base, path),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("style", ["diffusers", "comfyui", "kohya"])
def test_the_error_is_that_of_the_file(tmp_path: Path, style: str) -> None:
    source = write(tmp_path / "source.safetensors", tensors(EIGHT), config(r=8, lora_alpha=4))
    path, output = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    convert_adapter(source, path, style=style)  # type: ignore[arg-type]
    result = resize_adapter(path, output, rank=4, dtype=torch.bfloat16)
    assert result.style == style
    assert result.bytes == output.stat().st_size < result.bytes_before == path.stat().st_size
    before = {one.name: one.b @ one.a for one in to_parts(read_adapter(path), result.style)}
    after = {one.name: one.b @ one.a for one in to_parts(read_adapter(output), result.style)}
    assert [one.name for one in result.parts] == list(before)
    for one in result.parts:
        assert one.rank == 4
        error = (before[one.name] - after[one.name]).norm() / before[one.name].norm()
        assert one.error == pytest.approx(float(error), rel=1e-3)
    lost = sum(float((before[name] - after[name]).square().sum()) for name in before)
    whole = sum(float(one.square().sum()) for one in before.values())
    assert result.error == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    errors = [one.error for one in result.worst]
    assert errors == sorted(errors, reverse=True)
    assert set(describe_adapter(output).scales) == {1.0}
    again = resize_adapter(path, tmp_path / "c.safetensors", rank=4, dtype=torch.bfloat16)
    assert again.parts == result.parts
    assert (tmp_path / "c.safetensors").read_bytes() == output.read_bytes()


def test_ranks_that_differ_load_everywhere(tmp_path: Path) -> None:
    weights = {
        layer: (a * torch.logspace(0, -number, len(a))[:, None], b)
        for number, (layer, (a, b)) in enumerate(EIGHT.items())
    }
    path = write(tmp_path / "a.safetensors", tensors(weights))
    output = tmp_path / "b.safetensors"
    result = resize_adapter(path, output, energy=0.9)
    assert len({one.rank for one in result.parts}) > 2
    assert all(one.error <= 0.1**0.5 + 1e-6 for one in result.parts)
    base = flux()
    ours = drawn_by_imig(base, output)
    torch.testing.assert_close(drawn_by_pipeline(base, output), ours, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(drawn_by_comfyui(base, output), ours, atol=1e-5, rtol=1e-5)


def test_one_of_the_two_must_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", tensors(EIGHT))
    with pytest.raises(UsageError, match="neither a rank nor an energy"):
        resize_adapter(path, tmp_path / "b.safetensors")
