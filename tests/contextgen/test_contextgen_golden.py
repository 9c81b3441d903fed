"""Agreement with outputs of the released code (../shared/golden, skipped where it is absent)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file
from support.golden import golden_file, golden_names

from imig.contextgen.batch import make_batch
from imig.contextgen.model import ContextGen
from imig.contextgen.sample import EncodedReference, EncodedSample, TextEmbedding
from imig.contextgen.settings import AttentionConfig
from imig.contextgen.tokens import ReferenceTokens, Role, SampleTokens, TokenTable, token_table
from imig.contextgen.visibility import dense_mask

UNREDUCED = AttentionConfig(drop_background=False, drop_references=False)


def read_case(name: str) -> tuple[dict[str, Any], Path]:
    path = golden_file(f"{name}.json")
    return json.loads(path.read_text()), path.parent


def case_tokens(case: dict[str, Any]) -> list[SampleTokens]:
    grid = (case["height_tokens"], case["width_tokens"])
    return [
        SampleTokens(
            case["text_tokens"],
            grid,
            tuple(
                ReferenceTokens(torch.tensor(one["mask"]).bool(), tuple(one["bbox_px"]))
                for one in references
            ),
        )
        for references in case["samples"]
    ]


@pytest.mark.parametrize("name", golden_names("attention"))
def test_masks_and_positions_are_those_of_the_released_code(name: str) -> None:
    case, folder = read_case(name)
    golden = np.load(folder / f"{name}.npz")
    tokens = token_table(case_tokens(case))
    length = int(golden["length"])
    assert tokens.length == length
    for kind in ("cla", "ica"):
        expected = np.unpackbits(golden[kind], axis=-1)[..., :length].astype(bool)
        ours = dense_mask(tokens, kind=kind, variant="released")[:, 0].numpy()
        assert np.array_equal(ours, expected), kind
    assert np.array_equal(tokens.positions[:, tokens.text :].numpy(), golden["position_ids"])


def forward_case(name: str) -> tuple[FluxTransformer2DModel, list[EncodedSample], dict[str, Any]]:
    case, folder = read_case(name)
    tensors = load_file(folder / f"{name}.safetensors")
    transformer = FluxTransformer2DModel(**case["config"])
    prefix = "weights."
    transformer.load_state_dict(
        {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    )
    samples = []
    for index, sample in enumerate(case_tokens(case)):
        rows = tensors["hidden_states"][index]
        count = sample.grid[0] * sample.grid[1]
        target, layout, rest = rows[:count], rows[count : 2 * count], rows[2 * count :]
        references = []
        for one in sample.references:
            latents, rest = rest[: one.valid.numel()], rest[one.valid.numel() :]
            references.append(EncodedReference(latents, one.valid, one.box))
        text = TextEmbedding(tensors["encoder_hidden_states"][index], tensors["pooled"][index])
        samples.append(
            EncodedSample(str(index), text, sample.grid, layout, tuple(references), target)
        )
    return transformer.eval(), samples, tensors


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("name", golden_names("forward"))
def test_forward_is_that_of_the_released_code(name: str, reduced: bool) -> None:
    transformer, samples, tensors = forward_case(name)
    attention = AttentionConfig() if reduced else UNREDUCED
    model = ContextGen(transformer, attention=attention)
    batch = make_batch(samples, attention=attention)
    assert batch.target is not None
    guidance = float(tensors["guidance"][0])
    with torch.no_grad():
        output = model(batch, noisy=batch.target, t=tensors["timestep"], guidance=guidance)
    assert torch.allclose(output, tensors["output"], atol=1e-4, rtol=0)


def check_padding(tokens: TokenTable) -> None:
    """Rows of padding see the text, and nothing sees them."""
    for kind in ("cla", "ica"):
        mask = dense_mask(tokens, kind=kind, variant="released")[:, 0]
        for sample, padding in zip(mask, tokens.role == Role.PADDING, strict=True):
            assert not sample[:, padding].any()
            assert (sample[padding][:, : tokens.text]).all()
            assert not sample[padding][:, tokens.text :].any()


@pytest.mark.parametrize("name", golden_names("attention"))
def test_padding_reads_the_text_only(name: str) -> None:
    case, _ = read_case(name)
    samples = case_tokens(case)
    check_padding(token_table(samples))
    # Few cases have samples of different lengths: the first one beside itself without references.
    tokens = token_table([samples[0], replace(samples[0], references=())])
    assert (tokens.role[1] == Role.PADDING).sum() == tokens.length - tokens.trunk > 0
    check_padding(tokens)
