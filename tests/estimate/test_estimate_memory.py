"""`imig build --plan --card`: what workers take of a GPU, and whether that fits."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imig.cli import main
from imig.estimate import cards, networks, weights, workers
from imig.estimate.cards import GIB, Card, Cards, parse_cards, smallest_of
from imig.estimate.networks import Counted
from imig.estimate.placing import Asking, place
from imig.estimate.weights import weigh
from imig.estimate.workers import (
    StageUse,
    WorkerKind,
    changes_until_it_fits,
    on_gpu,
    share_gpus,
    worker_kind,
)
from imig.models.families import FAMILIES
from imig.recipe.file import load_recipe
from imig.recipe.parts import ModelConfig
from imig.recipe.root import Recipe

PARAMETERS = {
    "FLUX.1 transformer": 12 * GIB,
    "T5-XXL encoder": 4 * GIB,
    "CLIP-L text": 0,
    "FLUX.1 VAE": 0,
}


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of round sizes, 1 GiB a picture: tests/test_benchmark_full_size_cost.py counts."""
    monkeypatch.setattr(
        weights, "counted", lambda name: Counted(PARAMETERS.get(name, GIB // 4), GIB // 8, 2)
    )
    monkeypatch.setattr(networks, "activation_bytes", lambda name, part, sizes, batch: batch * GIB)
    monkeypatch.setattr(workers, "CONTEXT_BYTES", GIB)


def kind_of(recipe: Recipe, *names: str, count: int = 1, gpus: float = 0.5) -> WorkerKind:
    stages = [
        StageUse(name, getattr(recipe, name), on_gpu(getattr(recipe, name))) for name in names
    ]
    return worker_kind(recipe, stages, workers=count, gpus=gpus)


@pytest.mark.parametrize(
    ("settings", "resident", "activations"),
    [
        ((), 32, 4),
        (("draw.resources.batch_size=1",), 32, 1),
        (("draw.resources.batch_size=auto", "engine.block_size=6"), 32, 6),
        (("draw.model.offload=model",), 24, 4),
        (("draw.model.offload=sequential",), 0.25, 4),
        (("draw.model.dtype=float32",), 64, 4),
    ],
    ids=["as it stands", "one picture", "auto", "one network", "one layer", "float32"],
)
def test_a_worker_is_weights_activations_and_cuda(
    settings: tuple[str, ...], resident: float, activations: int
) -> None:
    kind = kind_of(load_recipe("basic", overrides=settings).recipe, "draw")
    assert kind.resident == resident * GIB
    assert (kind.activations.bytes, kind.activations.how) == (activations * GIB, "counted")
    assert kind.together == (resident + activations + 1) * GIB
    assert kind.offloaded == (0 if kind.resident >= 32 * GIB else 32 * GIB)


def test_stages_that_share_a_worker_share_their_models_and_take_turns() -> None:
    recipe = load_recipe("basic", overrides=["score.resources.batch_size=3"]).recipe
    kind = kind_of(recipe, "score", "quality")
    assert len(kind.weights) == 2, "both see through the same CLIP"
    assert kind.activations.bytes == 8 * GIB, "of the stage that has more of them"


def test_workers_on_a_gpu_add_up_by_their_shares() -> None:
    recipe = load_recipe("basic").recipe
    kinds = [
        kind_of(recipe, "draw", count=3, gpus=0.5),
        kind_of(recipe, "ground", gpus=1.0),
        kind_of(recipe, "segment", gpus=0.0),
        kind_of(recipe, "filter", gpus=0.5),
    ]
    gpus = share_gpus(kinds, memory=80 * GIB)
    names = [[one.name for one in gpu.kinds] for gpu in gpus]
    assert names == [["draw", "draw", "segment"], ["draw"], ["ground"]]
    assert gpus[0].needed == (2 * (32 + 4 + 1) + 0.5 + 2 + 1) * GIB
    assert [(one.is_too_small, one.is_tight) for one in gpus] == [
        (False, True), (False, False), (False, False),
    ]  # fmt: skip
    assert share_gpus(kinds, memory=77 * GIB)[0].is_too_small
    assert place([Asking("a", 2.0, 1), Asking("b", 0.5, 1)]) == [["a"], [], ["b"]]


@pytest.mark.parametrize(
    ("memory", "settings", "needed"),
    [
        (43, ["draw.resources.batch_size=2"], 37.5),
        (35, ["draw.model.offload=model"], 31.5),
        (12, ["draw.model.offload=sequential"], 7.75),
        (6.5, ["draw.model.offload=sequential", "draw.resources.batch_size=2"], 5.75),
        (2, None, 4.75),
    ],
)
def test_the_mildest_changes_are_proposed_after_which_it_fits(
    memory: float, settings: list[str] | None, needed: float
) -> None:
    recipe = load_recipe("basic").recipe
    kinds = [kind_of(recipe, "draw"), kind_of(recipe, "segment", gpus=0.1)]
    kinds[1] = replace(kinds[1], activations=replace(kinds[1].activations, bytes=GIB))
    [gpu] = share_gpus(kinds, memory=round(memory * GIB))
    assert gpu.is_too_small or gpu.is_tight
    changed, after = changes_until_it_fits(recipe, gpu)
    assert settings is None or changed == settings
    assert after.needed == needed * GIB
    assert after.is_too_small == (settings is None)


@pytest.mark.parametrize("name", ["basic", "complex", "flexible", "photos", "photos-sam3", "demo"])
def test_every_shipped_recipe_can_be_estimated(name: str) -> None:
    overrides = ["source.path=."] if name.startswith("photos") else []
    recipe = load_recipe(name, overrides=overrides).recipe
    for stage in type(recipe).model_fields:
        block = getattr(recipe, stage)
        if stage != "source" and hasattr(block, "resources") and on_gpu(block):
            kind = kind_of(recipe, stage)
            assert kind.together > kind.resident + GIB, stage
            assert kind.activations.how in ("counted", "guessed")


@pytest.mark.parametrize(
    "family", [name for name, one in FAMILIES.items() if one.layout != "program"]
)
def test_the_size_of_every_published_checkpoint_is_known(family: str) -> None:
    for one in FAMILIES[family].checkpoints:
        found = weigh(ModelConfig(family=family, weights=one.weights, config=one.config))
        assert found.how in ("counted", "published", "files")
        assert found.whole > 0


@pytest.mark.parametrize(("family", "each"), [("dinov2", 2), ("segment-anything", 4)])
def test_files_are_weighed_by_the_numbers_in_them(tmp_path: Path, family: str, each: int) -> None:
    """Whatever they are stored in, they are converted on loading; SAM's stay float32."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    tensors = {"a": torch.zeros(30, 10), "b": torch.zeros(50, dtype=torch.float16)}
    save_file(tensors, tmp_path / "model.safetensors")
    found = weigh(ModelConfig(family=family, weights=str(tmp_path)))
    assert (found.whole, found.largest_layer, found.how) == (350 * each, 300 * each, "files")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 8, struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 9) + b'{"a": {}}'],
    ids=["empty", "endless", "no JSON", "no tensor"],
)
def test_a_file_that_is_damaged_is_weighed_by_its_size(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sam_vit_b.safetensors").write_bytes(data + bytes(400 - len(data)))
    config = ModelConfig(family="segment-anything", weights=str(tmp_path / "sam_vit_b.safetensors"))
    assert weigh(config).whole == 400


@pytest.mark.parametrize(
    ("text", "name", "gib", "count"),
    [
        ("h100", "h100", 79.1, None),
        ("4090", "rtx4090", 23.5, None),
        ("A100-40", "a100-40", 39.4, None),
        ("8xh100", "h100", 79.1, 8),
        ("24", "a card", 24, None),
        ("2x47.5GiB", "a card", 47.5, 2),
    ],
)
def test_cards_by_name(text: str, name: str, gib: float, count: int | None) -> None:
    assert parse_cards(text) == Cards(Card(name, round(gib * GIB)), count)


@pytest.mark.parametrize("text", ["h101", "0xh100", "nan", "-3", "", "inf"])
def test_a_card_that_there_is_not_is_refused_with_those_that_there_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "demo", "--plan", "--card", text]) == 2
    assert "8xh100" in capsys.readouterr().err


def test_the_cards_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["NVIDIA H100 80GB HBM3, 81559", "NVIDIA A10, 23028", "[N/A]"]
    assert smallest_of(lines) == Cards(Card("NVIDIA A10", 23028 << 20), 2)
    assert smallest_of([]) is None

    def fail(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(subprocess, "run", fail)
    assert cards.cards_here() is None


def test_a_recipe_is_judged_before_its_weights_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    words = ["build", "basic", "--plan", "--output", str(tmp_path / "d")]
    assert main([*words, "--card", "4090"]) == 2
    screen = capsys.readouterr()
    [line] = [one for one in screen.out.splitlines() if one.startswith("GPU 0")]
    assert line.endswith("by draw, ground, segment, score+quality: WILL NOT FIT")
    assert "counted" in screen.out
    assert "guessed" in screen.out
    assert "not found" in screen.err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "here", "expected"),
    [
        ((), None, ""),
        ((), Cards(Card("NVIDIA L4", 22 * GIB), 1), ""),
        (("--card", "l4"), None, "GiB of 22.0 GiB by "),
    ],
    ids=["no GPU here", "a GPU, tiny models", "asked"],
)
def test_tiny_models_are_estimated_only_when_asked(
    words: tuple[str, ...],
    here: Cards | None,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cards, "cards_here", lambda: here)
    assert main(["build", "demo", "--plan", "--output", str(tmp_path / "d"), *words]) == 0
    screen = capsys.readouterr().out
    assert expected in screen
    assert bool(expected) == ("GPU 0" in screen)


def test_a_card_without_a_plan_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "demo", "--card", "h100"]) == 2
    assert "add --plan" in capsys.readouterr().err


@pytest.mark.long
def test_the_complex_recipe_fits_an_h100_and_no_4090(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With networks that are really counted."""
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for card, verdict in (("h100", ": fits"), ("4090", ": WILL NOT FIT")):
        assert main(["build", "complex", "--plan", "--card", card]) == 2
        screen = capsys.readouterr()
        [line] = [one for one in screen.out.splitlines() if one.startswith("GPU 0")]
        assert line.endswith(verdict)
        assert "should be kept in float32" not in screen.err
