"""The process that measures: one part after the other, what they find in one journal.

Started by `benchmarks.gpu.supervise` with the path of a plan; nobody else calls it.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import platform
import signal
import sys
import threading
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SETTINGS = {
    # Before a part imports NumPy or PyTorch: spinning threads on a shared core are no measurement.
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # What a process that dies says last should be its error.
    "TQDM_DISABLE": "1",
    # No part may wait for a network that is not there.
    "HF_HUB_OFFLINE": "1",
}
PACKAGES = (
    "torch", "triton", "torchvision", "transformers", "diffusers", "peft", "accelerate",
    "open_clip_torch", "segment-anything", "prodigyopt", "bitsandbytes", "numpy", "pydantic",
)  # fmt: skip
LEFT_BEHIND = 2**30
"""Bytes on the GPU after a part that are too many to go on in this process."""


def main(plan_path: str) -> int:
    """Runs the parts of the plan; ends early where the next one needs a fresh process."""
    faulthandler.enable()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # behind the machine's own packages, which fit its PyTorch
    sys.path.append(plan["extra_path"])
    waiting = dict(plan["shares"])
    import torch  # now, so that no part pays for it

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    while waiting and (left := plan["end"] - time.time()) > 0:
        share = next(iter(waiting.values())) / sum(waiting.values())
        part = next(iter(waiting))
        del waiting[part]
        _run(part, time.time() + left * share, plan, device)
        if not _fit_to_go_on():
            break
    return 0


def _end_with(parent: int) -> None:
    """Ends this process and what it started when the one that looks after it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def _run(part: str, deadline: float, plan: dict[str, Any], device: Any) -> None:
    from benchmarks.gpu.journal import Journal, release_memory

    path = Path(plan["journal"])
    journal = Journal(path, part, deadline, known=_known(path), folder=Path(plan["folder"]))
    journal.write("begun", time=time.time(), deadline=deadline, machine=describe(device))
    started, why = time.perf_counter(), ""
    try:
        if device.type == "cpu" and not plan["small"]:
            raise RuntimeError(
                "PyTorch sees no GPU, though nvidia-smi does: is it built with CUDA?"
            )
        module = importlib.import_module(f"{plan['package']}.{part}")
        module.measure(journal, small=plan["small"], device=device)
    except Exception:
        # A boundary: a part's failure is recorded, and the next part runs.
        why = traceback.format_exc()
    journal.write("ended", seconds=time.perf_counter() - started, why=why)
    release_memory()


def _known(path: Path) -> dict[str, dict[str, Any]]:
    """Figures of earlier parts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [line for line in map(json.loads, lines) if line["kind"] == "figure"]
    return {f"{line['part']}/{line['name']}": line["values"] for line in found}


def _fit_to_go_on() -> bool:
    """False after an error that stays with the process, or where a part left its tensors behind."""
    import torch

    if not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated() < LEFT_BEHIND
    except RuntimeError:
        return False


def describe(device: Any) -> dict[str, Any]:
    """The machine as this process sees it."""
    import torch

    told: dict[str, Any] = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "cuda": torch.version.cuda,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "settings": {name: os.environ.get(name) for name in SETTINGS},
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        told |= {
            "card": card.name,
            "capability": f"{card.major}.{card.minor}",
            "memory_gib": card.total_memory / 2**30,
            "multiprocessors": card.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return told


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
