"""The model: the reductions are exact, a batch is its samples, and what cannot matter does not."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from support.contextgen_samples import HEAD_DIM, random_sample, small_transformer
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from imig.contextgen.adapter import adapter_parameters, add_adapter
from imig.contextgen.attention import attend
from imig.contextgen.batch import make_batch
from imig.contextgen.model import ContextGen, block_kinds, is_checkpointed
from imig.contextgen.sample import EncodedSample, TextEmbedding
from imig.contextgen.settings import AttentionConfig
from imig.contextgen.tokens import Role, TokenTable
from imig.contextgen.visibility import BLOCK, Kind, Mask, Variant, block_mask


def samples() -> list[EncodedSample]:
    return [
        random_sample(1, text=4, references=3),
        random_sample(2, text=7, references=1),
        random_sample(3, text=2, references=2),
    ]


def output_and_gradients(
    attention: AttentionConfig, *, checkpoint_blocks: float = 0.0, part: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Velocity, and the gradients of an adapter that already changes something."""
    transformer = small_transformer()
    add_adapter(transformer, rank=3, alpha=3, seed=1)
    generator = torch.Generator().manual_seed(5)
    for parameter in adapter_parameters(transformer).values():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    model = ContextGen(transformer, attention=attention, checkpoint_blocks=checkpoint_blocks)
    chosen = samples() if part is None else [samples()[part]]
    batch = make_batch(chosen, attention=attention)
    assert batch.target is not None
    output = model(
        batch, noisy=batch.target, t=torch.linspace(0.2, 0.9, 3)[part or 0 :][: len(chosen)]
    )
    output.square().sum().backward()
    gradients = {
        name: one.grad
        for name, one in adapter_parameters(transformer).items()
        if one.grad is not None
    }
    return output.detach(), gradients


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("ica", ["first", "middle", "last", "all", "none"])
def test_reductions_are_exact(variant: str, ica: str) -> None:
    settings = AttentionConfig.model_validate({"variant": variant, "ica": ica})
    full = settings.model_copy(update={"drop_background": False, "drop_references": False})
    expected, expected_gradients = output_and_gradients(full)
    for update in (
        {"drop_background": True, "drop_references": False},
        {"drop_background": False, "drop_references": True},
        {"drop_background": True, "drop_references": True},
    ):
        output, gradients = output_and_gradients(full.model_copy(update=update))
        assert torch.allclose(output, expected, atol=1e-5, rtol=1e-5), update
        for name, gradient in expected_gradients.items():
            # a layer that only reads references gets no gradient when there are none
            ours = gradients.get(name, torch.zeros_like(gradient))
            scale = gradient.abs().max().clamp(min=1)
            assert torch.allclose(ours / scale, gradient / scale, atol=1e-5, rtol=0), (update, name)


def test_masks_matter() -> None:
    outputs = [
        output_and_gradients(AttentionConfig.model_validate(one))[0]
        for one in (
            {},
            {"ica": "first"},
            {"ica": "none"},
            {"variant": "paper"},
            {"layout": False},
            {"position_offsets": False},
            {"bfloat16_positions": True},
        )
    ]
    for number, one in enumerate(outputs[1:-1], start=1):
        assert (one - outputs[0]).abs().max() > 1e-3, number
    assert torch.equal(outputs[-1], outputs[0]), "indices below 256 are whole numbers in bfloat16"


@pytest.mark.parametrize("reduced", [True, False])
def test_512_padded_tokens_are_attended_to_as_in_the_stock_transformer(reduced: bool) -> None:
    """Without references CLA lets all tokens see each other, as FLUX itself does."""
    attention = AttentionConfig(
        text_length=512, drop_background=reduced, drop_references=reduced, bfloat16_positions=True
    )
    sample = random_sample(1, text=512, references=0)
    batch = make_batch([sample], attention=attention)
    assert batch.tokens.text == 512
    assert (batch.tokens.role[0, :512] == Role.TEXT).all()
    assert not batch.tokens.positions[0, :512].any()
    assert batch.target is not None
    t = torch.tensor([0.4])
    transformer = small_transformer()
    with torch.no_grad():
        ours = ContextGen(transformer, attention=attention)(
            batch, noisy=batch.target, t=t, guidance=3.5
        )
        stock = small_transformer()(
            hidden_states=torch.cat((batch.target, batch.layout), dim=1),
            encoder_hidden_states=batch.text,
            pooled_projections=batch.pooled,
            timestep=t,
            guidance=torch.tensor([3.5]),
            img_ids=batch.tokens.positions[0, 512:],
            txt_ids=torch.zeros(512, 3),
        ).sample
    assert torch.allclose(ours, stock[:, : ours.shape[1]], atol=1e-5)
    padded_off = replace(sample, text=TextEmbedding(sample.text.tokens[:100], sample.text.pooled))
    shorter = make_batch([padded_off], attention=AttentionConfig())
    with torch.no_grad():
        model = ContextGen(small_transformer(), attention=AttentionConfig())
        other = model(shorter, noisy=batch.target, t=t, guidance=3.5)
    assert (other - ours).abs().max() > 1e-3, "padding counts"
    with pytest.raises(ValueError, match="of \\[100\\] tokens, not 512"):
        make_batch([padded_off], attention=attention)


def test_a_batch_gives_what_its_samples_give_alone() -> None:
    together, _ = output_and_gradients(AttentionConfig())
    for part in range(3):
        alone, _ = output_and_gradients(AttentionConfig(), part=part)
        assert torch.allclose(together[part], alone[0], atol=1e-5)


def test_checkpointing_changes_nothing() -> None:
    expected, expected_gradients = output_and_gradients(AttentionConfig())
    output, gradients = output_and_gradients(AttentionConfig(), checkpoint_blocks=0.5)
    assert torch.equal(output, expected)
    assert gradients.keys() == expected_gradients.keys()
    assert all(torch.equal(gradients[name], one) for name, one in expected_gradients.items())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_flex_attention_gives_what_the_dense_mask_gives(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU runs, on a CPU: FlexAttention uncompiled, for it has no backward pass there."""
    settings = AttentionConfig.model_validate({"variant": variant})
    transformer = small_transformer()
    model = ContextGen(transformer, attention=settings)
    # several blocks of 128 tokens
    chosen = [
        random_sample(seed, grid=(9, 10), text=text, references=3)
        for seed, text in ((1, 20), (2, 33))
    ]
    batch = make_batch(chosen, attention=settings)
    assert batch.target is not None
    assert batch.tokens.length > 2 * BLOCK - 64

    def velocity() -> Tensor:
        with torch.no_grad():
            result: Tensor = model(batch, noisy=batch.target, t=torch.tensor([0.3, 0.7]))
        return result

    dense = velocity()
    made: list[Mask] = []

    def as_on_a_gpu(tokens: TokenTable, *, kind: Kind, variant: Variant) -> Mask:
        made.append(block_mask(tokens, kind=kind, variant=variant))
        return made[-1]

    monkeypatch.setattr("imig.contextgen.model.attention_mask", as_on_a_gpu)
    monkeypatch.setattr(
        "imig.contextgen.attention._compiled_flex_attention", lambda: flex_attention
    )
    assert torch.allclose(velocity(), dense, atol=1e-5)
    assert len(made) == 3, "CLA, ICA, and after the references have left"


def test_attention_stays_in_the_dtype_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's autocast makes norms float32, and FlexAttention would follow them."""
    seen: list[torch.dtype] = []

    def watched(query: Tensor, key: Tensor, value: Tensor, mask: Mask) -> Tensor:
        seen.extend(one.dtype for one in (query, key, value))
        return attend(query, key, value, mask)

    monkeypatch.setattr("imig.contextgen.attention.attend", watched)
    transformer = copy.deepcopy(small_transformer()).to(torch.bfloat16)
    for module in transformer.modules():
        if isinstance(module, torch.nn.RMSNorm):
            module.register_forward_hook(lambda _module, _inputs, output: output.float())
    model = ContextGen(transformer, attention=AttentionConfig())
    batch = make_batch(samples(), attention=AttentionConfig()).to("cpu", torch.bfloat16)
    assert batch.target is not None
    model(batch, noisy=batch.target, t=torch.tensor([0.1, 0.5, 0.9]))
    assert set(seen) == {torch.bfloat16}


def test_attention_gets_gradients_of_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single block's is a slice of wider rows, and cuDNN would read it as a double block's."""
    strides = []

    def watched(query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None) -> Tensor:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        mixed.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: strides.append(gradient.stride())
        )
        return mixed

    monkeypatch.setattr(
        "imig.contextgen.attention.F", SimpleNamespace(scaled_dot_product_attention=watched)
    )
    model = ContextGen(small_transformer(double=1, single=2), attention=AttentionConfig(ica="none"))
    batch = make_batch([random_sample(1)], attention=model.attention)
    assert batch.target is not None
    model(batch, noisy=batch.target, t=torch.tensor([0.5])).sum().backward()
    assert len(strides) == 3
    assert len(set(strides)) == 1


@pytest.mark.parametrize("gradients", [True, False])
def test_compiled_blocks_give_the_same(gradients: bool) -> None:
    """Three are compiled, whatever the lengths: double, single, and single without references."""
    transformer = small_transformer(double=2, single=4)
    plain, compiled = (
        ContextGen(one, attention=AttentionConfig(), checkpoint_blocks=0.5)
        for one in (transformer, copy.deepcopy(transformer))
    )
    compiled.compile_blocks(backend="eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for number, text in enumerate((HEAD_DIM, 5, 7)):
        chosen = [random_sample(10 * number + one, text=text) for one in range(2)]
        batch = make_batch(chosen, attention=AttentionConfig())
        assert batch.target is not None
        t = torch.tensor([0.2, 0.6])
        with torch.set_grad_enabled(gradients):
            expected = plain(batch, noisy=batch.target, t=t)
            found = compiled(batch, noisy=batch.target, t=t)
        assert torch.allclose(found, expected, atol=1e-5)
        assert found.requires_grad is gradients
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]


def test_background_tokens_never_matter() -> None:
    transformer = small_transformer()
    attention = AttentionConfig(drop_background=False)
    model = ContextGen(transformer, attention=attention)

    def velocity(sample: EncodedSample) -> Tensor:
        batch = make_batch([sample], attention=attention)
        assert batch.target is not None
        with torch.no_grad():
            result: Tensor = model(batch, noisy=batch.target, t=torch.tensor([0.5]))
        return result

    sample = random_sample(1, references=1)
    reference = sample.references[0]
    assert not reference.valid.all()
    outside = ~reference.valid.flatten()
    background = reference.latents.clone()
    background[outside] += 3
    subject = reference.latents.clone()
    subject[~outside] += 3
    first = velocity(sample)
    changed = replace(sample, references=(replace(reference, latents=background),))
    assert torch.equal(velocity(changed), first)
    changed = replace(sample, references=(replace(reference, latents=subject),))
    assert (velocity(changed) - first).abs().max() > 1e-3


def test_the_ablations_are_thirds_of_all_blocks() -> None:
    flux = block_kinds(57, "middle")
    assert [i for i, kind in enumerate(flux) if kind == "ica"] == list(range(19, 38))
    assert block_kinds(6, "first") == ["ica"] * 2 + ["cla"] * 4
    assert block_kinds(6, "last") == ["cla"] * 4 + ["ica"] * 2
    assert set(block_kinds(57, "all")) == {"ica"}
    assert set(block_kinds(57, "none")) == {"cla"}


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 3), (0.5, 6), (1.0, 12)])
def test_share_of_checkpointed_blocks(share: float, count: int) -> None:
    assert sum(is_checkpointed(block, share) for block in range(12)) == count


def test_bfloat16_network_with_float32_adapter() -> None:
    transformer = copy.deepcopy(small_transformer()).to(torch.bfloat16)
    add_adapter(transformer, rank=2, alpha=2, seed=0)
    assert {one.dtype for one in adapter_parameters(transformer).values()} == {torch.float32}
    model = ContextGen(transformer, attention=AttentionConfig())
    batch = make_batch(samples(), attention=AttentionConfig())
    assert batch.target is not None
    reduced = batch.to("cpu", torch.bfloat16)
    output = model(reduced, noisy=batch.target, t=torch.tensor([0.1, 0.5, 0.9]))
    assert output.dtype == torch.float32
    exact = ContextGen(small_transformer(), attention=AttentionConfig())(
        batch, noisy=batch.target, t=torch.tensor([0.1, 0.5, 0.9])
    )
    assert (output - exact).abs().max() < 0.05 * exact.abs().max()
