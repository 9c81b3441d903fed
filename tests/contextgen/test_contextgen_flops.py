"""Counting work: pairs against the dense mask, products against PyTorch's own counter."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from support.contextgen_samples import random_sample, small_transformer
from torch.utils.flop_counter import FlopCounterMode

from imig.contextgen.adapter import add_adapter
from imig.contextgen.batch import make_batch
from imig.contextgen.flops import batch_work, sizes_of, visible_pairs
from imig.contextgen.model import ContextGen
from imig.contextgen.settings import AttentionConfig
from imig.contextgen.visibility import dense_mask

SAMPLES = [random_sample(1, text=4, references=3), random_sample(2, text=7, references=1)]


@pytest.mark.parametrize("drop_background", [True, False])
@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("kind", ["cla", "ica"])
def test_pairs_are_those_of_the_mask(
    kind: Literal["cla", "ica"], variant: Literal["released", "paper"], drop_background: bool
) -> None:
    attention = AttentionConfig(drop_background=drop_background)
    tokens = make_batch(SAMPLES, attention=attention).tokens
    mask = dense_mask(tokens, kind=kind, variant=variant)
    assert visible_pairs(tokens, kind=kind, variant=variant) == int(mask.sum())


def test_products_are_those_that_pytorch_counts() -> None:
    attention = AttentionConfig()
    transformer = small_transformer()
    add_adapter(transformer, rank=8, alpha=8, seed=0)
    model = ContextGen(transformer, attention=attention)
    batch = make_batch([random_sample(1, grid=(12, 12), text=16)], attention=attention)
    assert batch.target is not None
    work = batch_work(
        sizes_of(transformer),
        batch.tokens,
        model.kinds,
        variant="released",
        leave=model.references_leave_before(),
        rank=8,
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch, noisy=batch.target, t=torch.tensor([0.5]))
    counted = counter.get_flop_counts()["Global"]
    linear = sum(v for k, v in counted.items() if str(k) in ("aten.addmm", "aten.mm"))
    # the embeddings and modulations are not ours: a few percent in a model this narrow
    assert work.linear + work.adapter == pytest.approx(linear, rel=0.05)


def test_flux_12b_agrees_with_the_reference() -> None:
    """REFERENCE 3.6a counts 727, 487 and 425 TFLOP a sample (60 % foreground)."""
    from types import SimpleNamespace

    from imig.contextgen.flops import BlockLoad, forward_work
    from imig.contextgen.model import block_kinds
    from imig.contextgen.tokens import ReferenceTokens, SampleTokens, token_table

    sizes = SimpleNamespace(
        num_layers=19, num_single_layers=38, attention_head_dim=128, num_attention_heads=24,
        in_channels=64, joint_attention_dim=4096,
    )  # fmt: skip
    valid = torch.zeros(32, 32, dtype=torch.bool)
    valid.view(-1)[:614] = True
    references = tuple(ReferenceTokens(valid, (100, 100, 400, 400)) for _ in range(4))
    sample = SampleTokens(512, (48, 48), references)
    length = 512 + 2 * 2304 + 4 * 1024
    dense = forward_work(sizes, [BlockLoad(512, length - 512, length**2)] * 57, rank=512).training(
        recomputed=1
    )
    assert dense == pytest.approx(727e12, rel=0.05)
    kinds = block_kinds(57, "middle")

    def ours(drop_background: bool) -> float:
        return batch_work(
            sizes,
            token_table([sample], drop_background=drop_background),
            kinds,
            variant="released",
            leave=38,
            rank=512,
        ).training(recomputed=1)

    assert ours(False) == pytest.approx(487e12, rel=0.05)
    assert ours(True) == pytest.approx(425e12, rel=0.05)
    assert ours(True) < 0.6 * dense
