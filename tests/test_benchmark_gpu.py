"""benchmarks/gpu: it runs in small on a bare machine, and whatever fails, it loses nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import benchmarks.gpu.__main__
from benchmarks.gpu import supervise, wheels
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.journal import Journal
from benchmarks.gpu.parts import SECONDS
from benchmarks.gpu.parts.stages import count_operations
from benchmarks.gpu.report import PartReport, Report
from benchmarks.gpu.supervise import Plan
from benchmarks.gpu.timing import relative_error

ROOT = Path(__file__).parents[1]
BARE = ("torch", "torchvision", "transformers", "peft", "accelerate")
"""What the page says that a machine has, with what these bring."""
BARE_FINDER = """
    import sys
    from importlib.machinery import PathFinder

    class BareFinder(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            lacking = name.partition(".")[0] in LACKING
            return None if lacking else super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = BareFinder
"""
FIGURES = {
    "card": ("matrix product bfloat16", "tflops"),
    "masks": ("whole ica", "flex_of_dense"),
    "train_step": ("ours to released, batch of 1", "ratio"),
    "stages": ("segment-anything ViT-H, ours", "images_per_second"),
    "sampling": ("adapter merged, 128 px", "steps_per_second"),
    "optimizers": ("prodigy, ours", "ms"),
    "offload": ("offload sequential", "second_picture_seconds"),
}
CHECKS = {
    "masks": (
        "trimmed cla, flex, result",
        "no mask, sliced gradient",
        "mask of whole ica, other blocks",
    ),
    "train_step": ("losses, ours and released", "gradients, ours and released"),
    "sampling": ("velocity, adapter merged and beside",),
    "optimizers": ("adamw, fused and plain", "prodigy, ours and plain"),
    "offload": ("pictures, model and none", "pictures, sequential and none"),
}


@pytest.mark.long
def test_all_of_it_runs_in_small_on_a_bare_machine(tmp_path: Path) -> None:
    lacking = f"LACKING = {modules_that_a_bare_machine_lacks()!r}\n"
    (tmp_path / "sitecustomize.py").write_text(lacking + dedent(BARE_FINDER))
    path = tmp_path / "report" / "gpu.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--small", "--json", str(path)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    report = json.loads(path.read_text())
    parts = report["parts"]
    for name, part in parts.items():
        assert part["status"] == "done", f"{name}: {part['why']}"
        assert not part["failures"], f"{name}: {part['failures']}"
        assert all(one["holds"] for one in part["checks"]), f"{name}: {part['checks']}"
    assert list(parts) == list(SECONDS)
    for name, (figure, value) in FIGURES.items():
        assert parts[name]["figures"][figure][value] > 0
    for name, checks in CHECKS.items():
        assert set(checks) <= {one["name"] for one in parts[name]["checks"]}
    assert any("no backward pass on a CPU" in note for note in parts["masks"]["notes"])
    assert report["machine"]["device"] == "cpu"
    assert report["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert run.returncode == 0, run.stdout + run.stderr
    assert "train_step: done" in run.stdout


def modules_that_a_bare_machine_lacks() -> set[str]:
    """All that is installed here but for `BARE`, what it needs, and the wheels."""
    wheels_text = (ROOT / "benchmarks" / "gpu" / "wheels.txt").read_text()
    carried = {canonicalize_name(one) for one in re.findall("^[a-z].*", wheels_text, re.MULTILINE)}
    there: set[str] = set()
    waiting = list(BARE)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in there:
            continue
        there.add(name)
        for line in metadata.distribution(name).requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not {canonicalize_name(one) for one in distributions} & (there | carried | {"imig"})
    }


def test_without_a_gpu_the_full_size_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without nvidia-smi
    monkeypatch.setattr(benchmarks.gpu.__main__, "DEVICES", tmp_path)
    assert main(["--json", str(tmp_path / "gpu.json")]) == 2
    assert "--small" in capsys.readouterr().out
    assert not (tmp_path / "gpu.json").exists()


DOUBLES = {
    "raises": """
        journal.figure("before", value=1.0)
        raise ValueError("of a part")
    """,
    "dies": """
        import os

        journal.figure("before", value=1.0)
        print("the card has fallen off", file=__import__("sys").stderr, flush=True)
        os._exit(3)
    """,
    "hangs": """
        import time

        journal.figure("before", value=1.0)
        time.sleep(600)
    """,
    "works": """
        journal.figure("knows", earlier=sorted(journal.known))
        journal.attempt("wrong", lambda: 1 / 0)
        journal.check("alike", found=float("nan"), allowed=1.0)
    """,
}


@pytest.fixture
def run_doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Runs parts that fail in every way there is."""
    package = tmp_path / "site" / "gpu_doubles"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, body in DOUBLES.items():
        text = "def measure(journal, *, small, device):\n" + body
        (package / f"{name}.py").write_text(dedent(text))
    monkeypatch.setattr(supervise, "GRACE", 0.5)
    monkeypatch.chdir(ROOT)

    def run(*names: str, seconds: float = 120.0) -> Report:
        plan = Plan(
            small=True,
            # of one that hangs a hundredth
            shares={name: 1.0 if name == "hangs" else 99.0 for name in names},
            end=time.time() + seconds,
            extra_path=str(tmp_path / "site"),
            folder=tmp_path,
            package="gpu_doubles",
        )
        report = Report({"machine": {}}, {name: PartReport() for name in names})
        supervise.supervise(plan, report, lambda: report.write(tmp_path / "gpu.json"))
        assert json.loads((tmp_path / "gpu.json").read_text())["parts"].keys() == set(names)
        return report

    return run


def test_a_part_that_fails_costs_the_others_nothing(run_doubles: Callable[..., Report]) -> None:
    report = run_doubles("raises", "dies", "hangs", "works")
    raises, dies, hangs, works = report.parts.values()
    assert (raises.status, dies.status, hangs.status) == ("failed", "failed", "cut")
    assert "ValueError: of a part" in raises.why
    assert "the card has fallen off" in dies.why
    assert "code 3" in dies.why
    assert "longer than it may" in hangs.why
    assert 0 < hangs.seconds < 30
    for one in (raises, dies, hangs):
        assert one.figures == {"before": {"value": 1.0}}, "what it had is kept"
    assert works.status == "done"
    known = [f"{name}/before" for name in ("dies", "hangs", "raises")]
    assert works.figures["knows"]["earlier"] == known
    assert "ZeroDivisionError" in works.failures[0]["traceback"]
    assert works.checks[0]["holds"] is False, "not a number is not alike"
    assert not report.holds


def test_parts_without_time_are_said_to_be(run_doubles: Callable[..., Report]) -> None:
    report = run_doubles("works", seconds=-1.0)
    assert report.parts["works"].status == "cut"
    assert "no time left" in report.parts["works"].why


def test_nobody_goes_on_measuring_alone(tmp_path: Path) -> None:
    package = tmp_path / "site" / "gpu_doubles"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    hangs = f"""
        def measure(journal, *, small, device):
            import os, pathlib, time

            pathlib.Path({str(tmp_path / "number")!r}).write_text(str(os.getpid()))
            time.sleep(600)
    """
    (package / "hangs.py").write_text(dedent(hangs))
    looks_after = f"""
        import time
        from pathlib import Path

        from benchmarks.gpu.report import PartReport, Report
        from benchmarks.gpu.supervise import Plan, supervise

        folder = Path({str(tmp_path)!r})
        plan = Plan(
            small=True, shares={{"hangs": 1.0}}, end=time.time() + 300,
            extra_path=str(folder / "site"), folder=folder, package="gpu_doubles",
        )
        supervise(plan, Report({{"machine": {{}}}}, {{"hangs": PartReport()}}), lambda: None)
    """
    parent = subprocess.Popen([sys.executable, "-c", dedent(looks_after)], cwd=ROOT)
    try:
        assert in_time(lambda: (tmp_path / "number").exists() and (tmp_path / "number").read_text())
    finally:
        parent.kill()
        parent.wait()
    number = int((tmp_path / "number").read_text())
    assert in_time(lambda: not Path(f"/proc/{number}").exists())


def in_time(holds: Callable[[], object], seconds: float = 120) -> bool:
    """Whether it comes to hold."""
    end = time.time() + seconds
    while time.time() < end:
        if holds():
            return True
        time.sleep(0.2)
    return False


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl", "part", time.time() + 60)


def lines_of(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.path.read_text().splitlines()]


def test_a_step_that_takes_too_long_is_left_out(journal: Journal) -> None:
    assert journal.attempt("long", lambda: 1, seconds=90) is None
    assert journal.attempt("short", lambda: 1, seconds=30) == 1
    note, took = lines_of(journal)
    assert note["kind"] == "note"
    assert "long: left out" in note["text"]
    assert (took["kind"], took["name"]) == ("took", "short")


def test_what_does_not_fit_is_tried_smaller_and_said(journal: Journal) -> None:
    def run(size: int) -> str:
        if size == 4:
            raise torch.OutOfMemoryError("CUDA out of memory.\nand a long story")
        if size == 3:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ...")
        return f"ran {size}"

    assert journal.first_that_fits("batch", (4, 3, 2, 1), run) == (2, "ran 2")
    assert journal.first_that_fits("batch", (4,), run) is None
    notes = [line["text"] for line in lines_of(journal)]
    assert notes[0] == "batch: 4 does not fit: CUDA out of memory."
    assert "3 does not fit: CUDA error" in notes[1]
    with pytest.raises(RuntimeError, match="of another kind"):
        journal.first_that_fits("batch", (1,), lambda _: _raise(RuntimeError("of another kind")))


def test_relative_errors() -> None:
    true = torch.tensor([3.0, 4.0])
    assert relative_error(torch.tensor([3.0, 4.5]), true) == pytest.approx(0.1)
    assert relative_error(true.double(), true.double()) == 0


def test_operations_of_fused_layers_are_counted() -> None:
    width, hidden, tokens = 8, 16, 5
    layer = torch.nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True).eval()
    states = torch.randn(1, tokens, width)
    with torch.inference_mode():
        counted = count_operations(lambda: layer(states))
    linear = 2 * tokens * (4 * width**2 + 2 * width * hidden)
    assert counted in (linear, linear + 4 * tokens**2 * width), "attention itself on a GPU only"
    assert torch.backends.mha.get_fastpath_enabled()


def test_wheels_are_unpacked_beside_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{name}/__init__.py", f"NAME = {name!r}\n")
    into = tmp_path / "site"
    files = [f"{name}-1.0-py3-none-any.whl" for name in ("one", "two")]
    assert wheels.unpack(tmp_path, into) == files
    assert (into / "two" / "__init__.py").read_text() == "NAME = 'two'\n"
    assert wheels.unpack(tmp_path / "missing", into) == []


def test_wheels_have_the_versions_of_the_lock_file() -> None:
    locked = (ROOT / "requirements.lock").read_text().lower()
    names = (ROOT / "benchmarks" / "gpu" / "wheels.txt").read_text().splitlines()
    for name in names:
        if not name.startswith("#"):
            assert re.search(rf"^{re.escape(name.lower())}==", locked, re.MULTILINE), name


def _raise(error: Exception) -> None:
    raise error
