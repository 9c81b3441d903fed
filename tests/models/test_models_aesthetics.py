"""Heads of both known layouts on the tiny open_clip tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.models_support import load, picture

import imig
from imig.errors import UsageError
from imig.models.families.aesthetics import read_head
from imig.models.protocols import AestheticsJudge
from imig.models.registry import model_record
from imig.recipe.parts import ModelConfig

TOWER = Path(imig.__file__).parent / "weights" / "open-clip"


class Improved(torch.nn.Module):
    """The head of LAION's improved-aesthetic-predictor, narrower."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(dimensions, 32),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(32, 16),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(16, 8),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(8, 4),
            torch.nn.Linear(4, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.layers(features)
        return answer


def dimensions() -> int:
    return int(load("open-clip", TOWER).embed_images([]).shape[1])


def test_the_published_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = Improved(dimensions()).eval()
    file = tmp_path / "sac+logos+ava1-l14-linearMSE.pth"
    torch.save(head.state_dict(), file)
    images = [picture(80, 60, seed=seed) for seed in range(3)]
    ours = load("aesthetics", TOWER, config=str(file))
    assert isinstance(ours, AestheticsJudge)
    features = torch.from_numpy(load("open-clip", TOWER).embed_images(images))
    with torch.no_grad():
        wanted = head(features)[:, 0].numpy()
    np.testing.assert_allclose(ours.judge_aesthetics(images), wanted, atol=1e-5)
    assert ours.judge_aesthetics([]) == []


def test_a_linear_head_learns_and_is_recorded(tmp_path: Path) -> None:
    """Dark pictures are worth 2, light ones 8: a least squares head says so."""
    shades = np.linspace(20, 235, 16)
    images = [picture(64, 64).point(lambda value, s=s: int(value * s / 255)) for s in shades]
    opinions = np.linspace(2, 8, 16)
    features = load("open-clip", TOWER).embed_images(images)
    table = np.column_stack([features, np.ones(16)])
    solution = np.linalg.lstsq(table, opinions, rcond=1e-4)[0]
    file = tmp_path / "linear.safetensors"
    save_file(
        {
            "weight": torch.tensor(solution[None, :-1], dtype=torch.float32),
            "bias": torch.tensor(solution[-1:], dtype=torch.float32),
        },
        file,
    )
    ours = load("aesthetics", TOWER, config=str(file))
    np.testing.assert_allclose(ours.judge_aesthetics(images), opinions, atol=0.5)

    config = ModelConfig(family="aesthetics", weights=str(TOWER), config=str(file))
    before = model_record(config).revision
    save_file({"weight": torch.zeros(1, features.shape[1]), "bias": torch.zeros(1)}, file)
    assert model_record(config).revision != before, "the head is a weight file too"


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "head.pth"
    with pytest.raises(UsageError, match="names no file"):
        load("aesthetics", TOWER, config=str(file))
    with pytest.raises(UsageError, match="no `config`"):
        load("aesthetics", TOWER)
    torch.save({"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}, file)
    with pytest.raises(UsageError, match=f"768 dimensions, the tower .* has {dimensions()}"):
        load("aesthetics", TOWER, config=str(file))
    for state in (
        {"weight": torch.zeros(2, 8), "bias": torch.zeros(2)},
        {"weight": torch.zeros(1, 8)},
        {"layers.0.weight": torch.zeros(4, 8), "layers.0.bias": torch.zeros(4)},
        {},
        {
            "layers.0.weight": torch.zeros(4, 8),
            "layers.0.bias": torch.zeros(4),
            "layers.2.weight": torch.zeros(1, 5),
            "layers.2.bias": torch.zeros(1),
        },
        ["no", "state"],
    ):
        torch.save(state, file)
        with pytest.raises(UsageError, match="no head that this family knows"):
            read_head(file)
    file.write_bytes(b"damaged")
    with pytest.raises(UsageError, match="no head that this family knows"):
        read_head(file)
