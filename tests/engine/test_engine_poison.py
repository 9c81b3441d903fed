"""Scenes that kill, hang or madden their worker, in real builds on Ray.

`support/poison/sitecustomize.py` makes a stage misbehave over chosen scenes; imig does not know.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.engine_process import processes_of

from imig.checks.dataset import validate_dataset
from imig.schema import Quarantine
from imig.shards.dataset import Dataset
from imig.shards.writer import read_tar

pytestmark = pytest.mark.long

SUPPORT = Path(__file__).resolve().parents[1] / "support"
GUILTY = "basic-00000009"
BATCH = {"basic-00000008", GUILTY, "basic-00000010"}
"""The batch of three that it is in."""
RECIPE = """\
name: engine-test
source: {kind: tabletop}
engine: {block_size: 4, max_error_rate: 0.3, patience: 2}
write: {scenes_per_shard: 16}
"""


@dataclass(frozen=True)
class Run:
    """A build in a process of its own."""

    folder: Path

    def start(self, poison: str | None, *, timeout: float = 60.0) -> subprocess.Popen[str]:
        recipe = self.folder / "engine-test.yaml"
        recipe.write_text(RECIPE)
        paths = [SUPPORT / "poison", SUPPORT.parent, SUPPORT.parents[1]]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        env["POISON_LOG"] = str(self.folder / "log")
        if poison is not None:
            env["POISON"] = poison
        words = [sys.executable, SUPPORT / "poison_build.py", self.folder / "d", recipe, timeout]
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )

    def finish(self, poison: str | None, *, timeout: float = 60.0) -> str:
        """What is printed by a build that comes to its end."""
        process = self.start(poison, timeout=timeout)
        out, err = process.communicate(timeout=500)
        assert (process.returncode, err) == (0, ""), out
        assert processes_of(process.pid) == []
        return out

    @property
    def misdeeds(self) -> list[str]:
        """Ids of the batches over which the stage has misbehaved, in their order."""
        log = self.folder / "log"
        return [line.split()[2] for line in log.read_text().splitlines()] if log.exists() else []

    def scenes(self) -> dict[str, dict[str, bytes]]:
        """All bytes of each sample."""
        shards = sorted((self.folder / "d").glob("*.tar"))
        return {span.id: files for shard in shards for span, files in read_tar(shard)}

    def quarantined(self) -> list[Quarantine]:
        return Dataset(self.folder / "d").quarantined()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.finish(None)
    return run


def require_only_the_guilty_is_missing(run: Run, undisturbed: Run) -> Quarantine:
    """The guilty scene's record; all that it shares no batch with has the same bytes."""
    assert validate_dataset(run.folder / "d").faults == []
    counts = Dataset(run.folder / "d").manifest.counts
    assert counts.input == counts.written + counts.rejected + counts.quarantined == 24
    ours, theirs = run.scenes(), undisturbed.scenes()
    assert set(ours) == set(theirs) - {GUILTY}
    assert {one for one in ours if ours[one] != theirs[one]} <= BATCH
    (record,) = run.quarantined()
    assert (record.id, record.stage) == (GUILTY, "filter")
    return record


@pytest.mark.parametrize(
    ("mode", "error", "words", "fault"),
    [
        pytest.param("segv", "WorkerDied: SIGSEGV", "Segmentation fault", "data", id="segv"),
        pytest.param("kill", "WorkerDied: SIGKILL", "no words", "data", id="kill"),
        pytest.param("exit", "WorkerDied: exit code 3", "no words", "data", id="exit"),
        pytest.param("hang", "WorkerHung: no answer within 5 s", "Timeout", "data", id="hang"),
        pytest.param("hang-in-c", "WorkerHung: no answer", "Timeout", "data", id="hang-in-c"),
        pytest.param("memory", "MemoryError: MemoryError; twice", "Needed: ", "data", id="memory"),
        pytest.param("io", "OSError: [Errno 5]", "Traceback", "system", id="failing-disk"),
        pytest.param("nan", "AbsurdOutput: scores.figures.poison", "Traceback", "data", id="nan"),
        pytest.param("system-exit", "RuntimeError: stage filter", "SystemExit", "data", id="quits"),
    ],
)
def test_poison_costs_its_scene_alone(
    undisturbed: Run, tmp_path: Path, mode: str, error: str, words: str, fault: str
) -> None:
    run = Run(tmp_path)
    screen = run.finish(f"{mode}:filter:{GUILTY}", timeout=5 if "hang" in mode else 60)
    record = require_only_the_guilty_is_missing(run, undisturbed)
    assert record.error.startswith(error)
    assert words in record.traceback
    assert record.fault == fault
    assert f"{int(fault == 'system')} by faults of the system" in screen


def test_a_build_that_is_killed_while_it_looks_for_the_guilty_goes_on(
    undisturbed: Run, tmp_path: Path
) -> None:
    run, kills = Run(tmp_path), 0
    for misdeeds in (2, 4):  # while the halves are tried, and when it has died alone
        process = run.start(f"segv:filter:{GUILTY}")
        deadline = time.monotonic() + 120
        while len(run.misdeeds) < misdeeds and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)  # the driver writes down twice a second what is known
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=60)
    assert kills
    run.finish(f"segv:filter:{GUILTY}")
    require_only_the_guilty_is_missing(run, undisturbed)
    # In Ray's worker; then to fresh ones: the block, a half, a quarter, alone, alone. What was
    # under way at a kill is shown once more.
    assert len(run.misdeeds) <= 6 + kills


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_ray_killed_in_the_middle_is_an_error_with_its_cure(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path)
    process = run.start(f"hang:filter:{GUILTY}", timeout=500)  # still at work when it is killed
    deadline = time.monotonic() + 120
    while not run.misdeeds:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(ray_process(process.pid, name), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith("error: Ray's ")
    assert "finished work is kept: the same command continues" in err
    assert "Traceback" not in err


def ray_process(build: int, name: str) -> int:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        line = b" ".join(words).decode(errors="replace")
        if words[0].endswith(f"/{name}".encode()) and f"/{build}/" in line:
            return int(path.parent.name)
    raise AssertionError(f"no {name} of build {build}")
