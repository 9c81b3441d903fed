"""Watching: figures that add up, files that a resumed run cuts back, pictures, wandb on request."""

import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imig.console.texts import seconds_to_clock
from imig.errors import DataError, UsageError
from imig.training.device_figures import peak_flops, peak_memory
from imig.training.metrics import append_metrics, cut_metrics, read_metrics
from imig.training.recipe import WatchConfig
from imig.training.watch import StepFigures, Watch


class _Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def _figures(loss: float, *, flops: float | None = None, margin: float = 0.0) -> StepFigures:
    return StepFigures(
        loss=torch.tensor(loss),
        gradient_norm=torch.tensor(loss / 2),
        samples=4,
        tokens=300,
        padded_tokens=400,
        learning_rate=1e-4,
        flops=flops,
        extra={"margin": torch.tensor(margin)},
    )


def _watch(run: Path, *, terminal: bool = False, **settings: object) -> tuple[Watch, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    options: dict[str, object] = {"steps": 8, "clock": _Clock(), "console": console} | settings
    config = options.pop("config", WatchConfig(log_every=2))
    assert isinstance(config, WatchConfig)
    return Watch(run, config, **options), text  # type: ignore[arg-type]


def test_figures_of_a_window_are_averages_and_rates(tmp_path: Path) -> None:
    clock = _Clock()
    watch, text = _watch(tmp_path / "run", clock=clock)
    with watch:
        clock.now += 3
        watch.step(1, _figures(1.0, margin=2.0))
        with watch.pause():
            clock.now += 1000  # validation is no training
        clock.now += 1
        watch.step(2, _figures(3.0, margin=6.0))
    (line,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert line == {
        "step": 2,
        "loss": 2.0,
        "margin": 4.0,
        "learning_rate": 1e-4,
        "gradient_norm": 1.5,
        "samples_per_second": 2.0,
        "tokens_per_second": 150.0,
        "padding": 0.25,
        "memory_gib": line["memory_gib"],
        "seconds_per_step": 2.0,
    }
    shown = text.getvalue()
    assert shown.startswith("run: 2/8, loss 2.0000, 2 samples/s, 150 tokens/s, rate 1.00e-04, ")
    assert "padding 25.0%" in shown
    assert "margin 4" in shown
    assert shown.rstrip().endswith("0:12 left")
    assert shown.count("\n") == 1


def test_mfu_where_the_peak_and_the_flops_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imig.training.watch.device_peak_flops", lambda device: 1e12)
    clock = _Clock()
    watch, text = _watch(tmp_path, clock=clock)
    with watch:
        for step in range(1, 5):
            clock.now += 2
            watch.step(step, _figures(1.0, flops=8e11 if step <= 2 else None))
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first["mfu"] == pytest.approx(0.4)
    assert "mfu" not in second
    assert "MFU 40%" in text.getvalue()


def test_the_last_step_is_always_logged(tmp_path: Path) -> None:
    watch, _ = _watch(tmp_path, steps=3)
    with watch:
        for step in (1, 2, 3):
            watch.step(step, _figures(float(step)))
    assert [(one["step"], one["loss"]) for one in read_metrics(tmp_path / "metrics.jsonl")] == [
        (2, 1.5),
        (3, 3.0),
    ]


def test_a_terminal_gets_a_bar_with_the_figures(tmp_path: Path) -> None:
    watch, text = _watch(tmp_path / "run", terminal=True)
    with watch:
        for step in range(1, 5):
            watch.step(step, _figures(0.5))
        watch.message("drawing")
    shown = text.getvalue()
    assert "drawing" in shown
    assert "4/8" in shown
    assert "loss 0.5000" in shown


def test_tensorboard_and_records_and_pictures(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    watch, text = _watch(tmp_path)
    with watch:
        watch.step(1, _figures(1.0))
        watch.step(2, _figures(2.0))
        watch.record(2, {"validation/loss": 0.75})
        watch.picture("basic-00000003", image, 400)
    saved = tmp_path / "pictures" / "step-000400-basic-00000003.png"
    assert np.array_equal(np.asarray(Image.open(saved)), image)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [(2, 1.5)]
    assert [one.value for one in events.Scalars("validation/loss")] == [0.75]
    (drawn,) = events.Images("pictures/basic-00000003")
    assert drawn.step == 400
    decoded = np.asarray(Image.open(io.BytesIO(drawn.encoded_image_string)))
    assert np.array_equal(decoded, image)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1] == {"step": 2, "validation/loss": 0.75}
    assert "step 2: validation/loss 0.75" in text.getvalue()


def test_a_resumed_run_cuts_back_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    watch, _ = _watch(tmp_path)
    with watch:
        for step in range(1, 7):
            watch.step(step, _figures(1.0))
    resumed, _ = _watch(tmp_path, start=4)
    with resumed:
        for step in (5, 6):
            resumed.step(step, _figures(2.0))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(one["step"], one["loss"]) for one in lines] == [(2, 1.0), (4, 1.0), (6, 2.0)]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = [(one.step, one.value) for one in events.Scalars("train/loss")]
    assert scalars == [(2, 1.0), (4, 1.0), (6, 2.0)]


def test_metrics_survive_a_line_cut_by_a_kill_and_have_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_metrics(path, 1, {"loss": 1.0})
    append_metrics(path, 2, {"loss": float("nan")})
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": None}]
    cut_metrics(path, 2)
    append_metrics(path, 3, {"loss": 3.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    cut_metrics(path, 0)
    assert path.read_text() == ""
    with pytest.raises(DataError, match="cannot write"):
        append_metrics(tmp_path / "missing" / "metrics.jsonl", 1, {})


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imig.training.watch.process_rank", lambda: 1)
    watch, text = _watch(tmp_path / "run")
    with watch:
        watch.step(1, _figures(1.0))
        watch.step(2, _figures(1.0))
        watch.record(2, {"validation/loss": 1.0})
        watch.picture("a", np.zeros((4, 4, 3), np.uint8), 2)
        watch.message("hello")
    assert not (tmp_path / "run").exists()
    assert text.getvalue() == ""


def test_wandb_that_is_missing_is_an_error_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = WatchConfig(wandb=True)
    with pytest.raises(UsageError, match=r"wandb.*not installed\n.*pip install wandb"):
        _watch(tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_wandb_gets_the_same_figures_and_goes_on_in_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object, object]] = []

    class FakeRun:
        """Not wandb's run: takes notes."""

        def log(self, figures: dict[str, float], *, step: int) -> None:
            calls.append(("log", step, sorted(figures)))

        def finish(self, *, exit_code: int) -> None:
            calls.append(("finish", exit_code, None))

    def fake_init(**options: object) -> FakeRun:
        calls.append(("init", options["id"], options["config"]))
        return FakeRun()

    fake = types.ModuleType("wandb")
    fake.__dict__["init"] = fake_init
    fake.__dict__["Image"] = lambda image: image
    fake.__dict__["util"] = types.SimpleNamespace(generate_id=lambda: f"id{len(calls)}")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 2):
        watch, _ = _watch(
            tmp_path, start=start, config=WatchConfig(wandb=True, log_every=2), settings={"seed": 4}
        )
        with watch:
            watch.record(start + 1, {"validation/loss": 1.0})
    logged = ["validation/loss"]
    assert calls == [
        ("init", "id0", {"seed": 4}),
        ("log", 1, logged),
        ("finish", 0, None),
        ("init", "id0", {"seed": 4}),
        ("log", 3, logged),
        ("finish", 0, None),
    ]


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756.5e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 311.9e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_peak_flops_by_the_drivers_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compares with /proc")
def test_peak_memory_of_a_cpu_is_that_of_the_process() -> None:
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)
    assert peak_memory(torch.device("cpu")) == pytest.approx(int(kibibytes) * 1024, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (11110, "3:05:10")]
)
def test_time_left(seconds: float, text: str) -> None:
    assert seconds_to_clock(seconds) == text
