"""Optimizers against the packages they stand for; schedules, clipping and averages by hand."""

import math
import sys

import prodigyopt
import pytest
import torch
from torch import Tensor, nn

from imig.errors import UsageError
from imig.training.optimizer import (
    Average,
    clip_gradients,
    learning_rate,
    make_optimizer,
    make_scheduler,
)
from imig.training.prodigy import Prodigy
from imig.training.recipe import OptimizerConfig


def _adapter() -> list[nn.Parameter]:
    """As an adapter starts: A random, B zero; and a bias."""
    torch.manual_seed(0)
    values = [torch.randn(4, 6), torch.zeros(5, 4), torch.randn(5)]
    return [nn.Parameter(one) for one in values]


def _loss(parameters: list[nn.Parameter], step: int) -> Tensor:
    a, b, bias = parameters
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 6, generator=generator)
    wanted = x @ torch.linspace(-1, 1, 30).reshape(6, 5)
    return (x @ a.T @ b.T + bias - wanted).square().mean()


def _train(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> float:
    loss = torch.tensor(0.0)
    for step in range(steps):
        optimizer.zero_grad()
        loss = _loss(parameters, step)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.item()


def test_prodigy_computes_what_the_package_computes() -> None:
    ours, theirs = _adapter(), _adapter()
    config = OptimizerConfig(kind="prodigy", weight_decay=0.01)
    optimizer = make_optimizer(ours, config)
    package = prodigyopt.Prodigy(
        theirs, lr=1.0, use_bias_correction=True, safeguard_warmup=True, weight_decay=0.01
    )
    for steps in (1, 20, 150):
        _train(optimizer, ours, steps)
        _train(package, theirs, steps)
        assert optimizer.param_groups[0]["d"] == pytest.approx(
            package.param_groups[0]["d"], rel=1e-4
        )
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert optimizer.param_groups[0]["d"] > 1e-4  # it did find a rate far from where it started


def test_prodigy_learns_and_reports_the_rate_it_found() -> None:
    parameters = _adapter()
    optimizer = make_optimizer(parameters, OptimizerConfig(kind="prodigy", weight_decay=0.0))
    before = _loss(parameters, 0).item()
    assert learning_rate(optimizer) == 1e-6
    assert _train(optimizer, parameters, 300) < before / 10
    assert 1e-4 < learning_rate(optimizer) < 10


def test_slices_of_prodigy_take_less_memory_and_find_a_rate_of_the_same_order() -> None:
    whole, sliced = _adapter(), _adapter()
    first = Prodigy(whole)
    second = Prodigy(sliced, slice_p=3)
    _train(first, whole, 200)
    _train(second, sliced, 200)
    assert second.state[sliced[0]]["s"].shape == second.state[sliced[0]]["p0"].shape == (4, 2)
    assert first.param_groups[0]["d"] / 5 < second.param_groups[0]["d"]
    assert second.param_groups[0]["d"] < first.param_groups[0]["d"] * 5


def test_prodigy_with_no_rate_or_no_gradient_changes_nothing() -> None:
    parameters = _adapter()
    before = [one.detach().clone() for one in parameters]
    optimizer = Prodigy(parameters)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.0
    _train(optimizer, parameters, 1)
    optimizer.param_groups[0]["lr"] = 1.0
    for one in parameters:
        one.grad = torch.zeros_like(one)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))
    assert optimizer.param_groups[0]["steps"] == 0


def test_adamw_takes_its_settings_from_the_recipe() -> None:
    config = OptimizerConfig(kind="adamw", learning_rate=1e-3, weight_decay=0.1, betas=(0.8, 0.95))
    ours, theirs = _adapter(), _adapter()
    optimizer = make_optimizer(ours, config)
    _train(optimizer, ours, 5)
    _train(torch.optim.AdamW(theirs, lr=1e-3, weight_decay=0.1, betas=(0.8, 0.95)), theirs, 5)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert learning_rate(optimizer) == 1e-3


def test_adamw8bit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # an import of it fails
    with pytest.raises(UsageError, match=r"bitsandbytes.*\n.*pip install bitsandbytes.*adamw"):
        make_optimizer(_adapter(), OptimizerConfig(kind="adamw8bit"))


def _rates(config: OptimizerConfig, *, steps: int, beyond: int = 0) -> list[float]:
    optimizer = make_optimizer(_adapter(), config)
    scheduler = make_scheduler(optimizer, config, steps)
    rates = []
    for _ in range(steps + beyond):
        rates.append(learning_rate(optimizer))
        optimizer.step()
        scheduler.step()
    return rates


def test_constant_schedule_after_a_warm_up() -> None:
    config = OptimizerConfig(kind="adamw", learning_rate=0.4, warmup_steps=4)
    assert _rates(config, steps=6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_cosine_schedule_goes_from_the_warm_up_to_zero_at_the_end() -> None:
    config = OptimizerConfig(kind="adamw", learning_rate=1.0, warmup_steps=2, schedule="cosine")
    rates = _rates(config, steps=6, beyond=2)
    cosine = [(1 + math.cos(math.pi * part / 4)) / 2 for part in range(4)]
    assert rates == pytest.approx([0.5, 1.0, *cosine, 0.0, 0.0])


def test_clipping_gives_the_norm_before_and_scales_to_the_bound() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter()]
    parameters[0].grad, parameters[1].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    norm = clip_gradients(parameters, 0.5)
    assert norm.shape == ()
    assert norm.item() == pytest.approx(7.0)
    clipped = torch.cat([parameters[0].grad, parameters[1].grad])
    assert clipped.tolist() == pytest.approx([1 / 7, 1.5 / 7, 3 / 7], rel=1e-4)
    assert clip_gradients(parameters, 100.0).item() == pytest.approx(0.5, rel=1e-4)
    assert torch.equal(clipped, torch.cat([parameters[0].grad, parameters[1].grad]))


def test_average_by_hand_and_swapped() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = Average(dict(layer.named_parameters()), decay=0.25)
    layer.weight.data.fill_(1.0)
    average.update()  # decay 2/11: 1 - 2/11
    layer.weight.data.fill_(3.0)
    average.update()  # decay 3/12 = 0.25
    expected = (9 / 11) * 0.25 + 3 * 0.75
    seen = []

    def look_and_fail() -> None:
        with average.swapped(layer):
            seen.append(layer.weight.item())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        look_and_fail()
    assert seen == [pytest.approx(expected)]
    assert layer.weight.item() == 3.0
    with average.swapped(layer):
        assert layer.weight.item() == pytest.approx(expected)


def test_average_starts_over_from_loaded_parameters() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = Average(dict(layer.named_parameters()), decay=0.9)
    layer.weight.data.fill_(5.0)
    average.capture()
    layer.weight.data.fill_(1.0)
    with average.swapped(layer):
        assert layer.weight.item() == 5.0
