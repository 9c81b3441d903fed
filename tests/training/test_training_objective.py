"""The losses against numbers worked out by hand, on a made-up network of two parameters."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from support.training_doubles import FakeContextGen, small_batch

from imig.contextgen.batch import ModelBatch
from imig.training.objective import DpoFigures, dpo_loss, draw_timesteps, flow_loss
from imig.training.recipe import FlowObjective


def _constant(batch: ModelBatch, *, target: float, layout: float) -> ModelBatch:
    assert batch.target is not None
    return replace(
        batch,
        target=torch.full_like(batch.target, target),
        layout=torch.full_like(batch.layout, layout),
    )


def test_logit_normal_times_have_mean_and_deviation_as_set() -> None:
    objective = FlowObjective(mean=0.5, deviation=2.0)
    times = draw_timesteps(20000, objective=objective, generator=torch.Generator().manual_seed(0))
    logits = torch.logit(times.double())
    assert times.dtype == torch.float32
    assert logits.mean().item() == pytest.approx(0.5, abs=0.05)
    assert logits.std().item() == pytest.approx(2.0, abs=0.05)


def test_uniform_times_and_seeds() -> None:
    uniform = FlowObjective(timesteps="uniform")

    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return draw_timesteps(20000, objective=uniform, generator=generator)

    times = draw(1)
    assert times.dtype == torch.float32
    assert times.mean().item() == pytest.approx(1 / 2, abs=0.01)
    assert times.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.01)
    assert torch.equal(times, draw(1))
    assert not torch.equal(times, draw(2))


def test_flow_loss_by_hand() -> None:
    # x0 = 2, noise = -1: target -3. t = 1/4: x_t = 1.25; velocity 3 * 1.25 + 8 * 0.25 = 5.75,
    # error 8.75. t = 1: x_t = -1; velocity -3 + 8 = 5, error 8.
    model = FakeContextGen(scale=3.0, shift=8.0)
    batch = _constant(small_batch(2), target=2.0, layout=0.0)
    noise = torch.full((2, 6, 4), -1.0)
    loss = flow_loss(model, batch, noise=noise, t=torch.tensor([0.25, 1.0]), guidance=1.5)
    assert loss.tolist() == [8.75**2, 64.0]
    assert loss.dtype == torch.float32
    noisy, t, guidance, _ = model.seen[0]
    assert torch.equal(noisy[0], torch.full((6, 4), 1.25))
    assert t.tolist() == [0.25, 1.0]
    assert guidance == 1.5


def test_flow_loss_is_the_mean_over_tokens_and_channels_of_each_sample() -> None:
    batch = small_batch(3)
    assert batch.target is not None
    noise = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    loss = flow_loss(
        FakeContextGen(scale=0.0), batch, noise=noise, t=torch.full((3,), 0.5), guidance=1.0
    )
    expected = [((noise[i] - batch.target[i]) ** 2).sum().item() / 24 for i in range(3)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)


def test_flow_loss_of_bfloat16_latents_is_computed_in_float32() -> None:
    batch = small_batch(2, dtype=torch.bfloat16)
    assert batch.target is not None
    noise, t = torch.randn(2, 6, 4), torch.tensor([0.3, 0.6])
    loss = flow_loss(FakeContextGen(), batch, noise=noise, t=t, guidance=1.0)
    exact = replace(batch, target=batch.target.float())
    assert torch.equal(loss, flow_loss(FakeContextGen(), exact, noise=noise, t=t, guidance=1.0))


def test_flow_loss_descends_to_the_right_scale() -> None:
    # Target 0 and noise: x_t = t * noise, wanted velocity noise: scale 1 / t = 2.
    model = FakeContextGen(scale=0.0)
    batch = _constant(small_batch(2), target=0.0, layout=0.0)
    noise, t = torch.randn(2, 6, 4), torch.full((2,), 0.5)
    optimizer = torch.optim.SGD([model.scale], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        flow_loss(model, batch, noise=noise, t=t, guidance=1.0).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert model.scale.item() == pytest.approx(2.0, abs=1e-3)


def test_a_batch_without_targets_is_refused() -> None:
    batch = replace(small_batch(1), target=None)
    with pytest.raises(ValueError, match="basic-00000000 has no target"):
        flow_loss(
            FakeContextGen(), batch, noise=torch.zeros(1, 6, 4), t=torch.ones(1), guidance=1.0
        )


def _dpo(
    model: FakeContextGen, batch: ModelBatch, *, reference_scale: float, beta: float = 2.0
) -> DpoFigures:
    """With noise 1, t = 1/2, and a reference that differs in its scale."""

    @contextmanager
    def reference() -> Iterator[None]:
        held = model.scale.detach().clone()
        model.scale.data.fill_(reference_scale)
        yield
        model.scale.data.copy_(held)

    count = len(batch.ids)
    return dpo_loss(
        model,
        batch,
        noise=torch.ones(count, 6, 4),
        t=torch.full((count,), 0.5),
        guidance=1.0,
        beta=beta,
        reference=reference,
    )


def test_dpo_loss_by_hand() -> None:
    # Winner 1: x_t = 1, wanted 0. Loser 0: x_t = 0.5, wanted 1.
    # Scale 0.5: Lw = 0.25, Ll = 0.75^2 = 0.5625. Scale 1: Lw_ref = 1, Ll_ref = 0.25.
    # margin = -beta/2 * ((0.25 - 0.5625) - (1 - 0.25)) = 1.0625 for beta = 2.
    model = FakeContextGen(scale=0.5)
    batch = _constant(small_batch(2), target=1.0, layout=0.0)
    figures = _dpo(model, batch, reference_scale=1.0)
    assert figures.winner.tolist() == [0.25, 0.25]
    assert figures.loser.tolist() == [0.5625, 0.5625]
    assert figures.margin.tolist() == [1.0625, 1.0625]
    assert figures.loss.tolist() == pytest.approx([math.log(1 + math.exp(-1.0625))] * 2)
    assert figures.accuracy.item() == 1.0
    assert figures.loss.dtype == figures.margin.dtype == torch.float32


def test_dpo_of_the_reference_itself_is_log_2_and_undecided() -> None:
    figures = _dpo(FakeContextGen(scale=0.7), small_batch(3), reference_scale=0.7, beta=1000.0)
    assert figures.loss.tolist() == pytest.approx([math.log(2)] * 3)
    assert figures.accuracy.item() == 0.0


def test_dpo_gradient_moves_towards_the_winner() -> None:
    # Lw = s^2 falls with a smaller scale, Ll = (s/2 - 1)^2 with a larger one: down it must go.
    model = FakeContextGen(scale=0.5)
    batch = _constant(small_batch(1), target=1.0, layout=0.0)
    figures = _dpo(model, batch, reference_scale=0.5)
    figures.loss.mean().backward()  # type: ignore[no-untyped-call]
    # d loss / ds = beta/2 * sigmoid(-margin) * (dLw - dLl) = 1 * 0.5 * (1 - (-0.75))
    assert model.scale.grad is not None
    assert model.scale.grad.item() == pytest.approx(0.875)
    with torch.no_grad():
        model.scale.add_(model.scale.grad, alpha=-0.1)
    after = _dpo(model, batch, reference_scale=0.5)
    assert after.margin.item() > 0
    assert after.winner.item() < figures.winner.item()
    assert after.loser.item() > figures.loser.item()


def test_dpo_gives_the_four_forwards_the_same_noise_and_time_and_the_reference_no_graph() -> None:
    model = FakeContextGen(scale=0.5)
    batch = small_batch(2)
    assert batch.target is not None
    figures = _dpo(model, batch, reference_scale=1.0)
    assert [gradients for *_, gradients in model.seen] == [False, False, True, True]
    half = [(clean + 1) / 2 for clean in (batch.target, batch.layout)]
    for (noisy, t, _, _), clean in zip(model.seen, half * 2, strict=True):
        assert torch.allclose(noisy, clean)
        assert t.tolist() == [0.5, 0.5]
    assert figures.loss.requires_grad
    assert not any(one.requires_grad for one in (figures.winner, figures.loser, figures.margin))
    # With the trained model's own forwards out of it, nothing would be left to differentiate.
    model.scale.requires_grad_(False)
    model.shift.requires_grad_(False)
    assert not _dpo(model, batch, reference_scale=1.0).loss.requires_grad


def test_dpo_keeps_small_differences_that_bfloat16_would_lose() -> None:
    # Scales 1e-4 apart: with beta 1000 the margin is about 0.1; in bfloat16, where losses near 1
    # are 0.004 or more apart, it would be 0 or a whole nat.
    model = FakeContextGen(scale=0.5)
    batch = _constant(small_batch(1, dtype=torch.bfloat16), target=1.0, layout=0.0)
    figures = _dpo(model, batch, reference_scale=0.5001, beta=1000.0)
    exact = -500 * ((0.5**2 - 0.75**2) - (0.5001**2 - (0.5001 / 2 - 1) ** 2))
    assert figures.margin.item() == pytest.approx(exact, abs=2e-4)
