"""The loop resumes exactly, and takes up only checkpoints of the very same training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tools.tiny.loop import Batch, LoopConfig, train

CONFIG = LoopConfig("test", steps=10, warmup=2)


def _network() -> nn.Module:
    torch.manual_seed(3)
    # with dropout: what is random inside the model must not depend on where a run was resumed
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))


def _batch(rng: np.random.Generator) -> Batch:
    points = torch.from_numpy(rng.normal(size=(32, 6)).astype(np.float32))
    return {"points": points, "target": points.sum(1, keepdim=True)}


def _run(
    checkpoint: Path, *, config: LoopConfig = CONFIG, stop_after: int | None = None
) -> dict[str, Tensor]:
    network = _network()

    def losses(batch: Batch) -> dict[str, Tensor]:
        return {"loss": nn.functional.mse_loss(network(batch["points"]), batch["target"])}

    train(network, _batch, losses, config=config, checkpoint=checkpoint, stop_after=stop_after)
    return network.state_dict()


def _assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_five_steps_and_five_are_ten(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole.pt")
    _run(tmp_path / "parts.pt", stop_after=5)
    _assert_same(whole, _run(tmp_path / "parts.pt"))


def test_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    # sums depend on the number of threads: the process below has one, too
    torch.set_num_threads(1)
    whole = _run(tmp_path / "whole.pt", config=replace(CONFIG, steps=400))
    script = (
        "import sys, torch; sys.path.insert(0, sys.argv[2])\n"
        "torch.set_num_threads(1)\n"
        "from dataclasses import replace\nfrom pathlib import Path\n"
        "import test_tiny_loop as t\n"
        "slow = t._batch\n"
        "t._batch = lambda rng: (__import__('time').sleep(0.02), slow(rng))[1]\n"
        "t._run(Path(sys.argv[1]), config=replace(t.CONFIG, steps=400, checkpoint_seconds=0))\n"
    )
    checkpoint = tmp_path / "killed.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(checkpoint), str(Path(__file__).parent)]
    )
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < reached < 400
    _assert_same(whole, _run(checkpoint, config=replace(CONFIG, steps=400)))


def test_finished_training_is_only_loaded(tmp_path: Path) -> None:
    whole = _run(tmp_path / "state.pt")
    written = (tmp_path / "state.pt").stat().st_mtime_ns
    _assert_same(whole, _run(tmp_path / "state.pt"))
    assert (tmp_path / "state.pt").stat().st_mtime_ns == written


@pytest.mark.parametrize("change", [{"steps": 12}, {"learning_rate": 2e-3}, {"data": "other"}])
def test_other_settings_start_anew(tmp_path: Path, change: dict[str, object]) -> None:
    _run(tmp_path / "state.pt", stop_after=5)
    changed = replace(CONFIG, **change)  # type: ignore[arg-type]
    fresh = _run(tmp_path / "fresh.pt", config=changed)
    _assert_same(fresh, _run(tmp_path / "state.pt", config=changed))


def test_rate_warms_up_stays_and_falls() -> None:
    config = LoopConfig("rates", steps=1000, learning_rate=1.0, warmup=100, flat=0.4)
    rates = [config.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100:400] == pytest.approx([1.0] * 300)
    assert all(a > b for a, b in pairwise(rates[401:]))
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)


def test_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    network = nn.Linear(6, 1)

    def losses(batch: Batch) -> dict[str, Tensor]:
        return {"loss": network(batch["points"]).sum() * float("nan")}

    with pytest.raises(FloatingPointError, match="test: the loss of step 1"):
        train(network, _batch, losses, config=CONFIG, checkpoint=tmp_path / "state.pt")
