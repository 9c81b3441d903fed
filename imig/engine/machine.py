"""What the machine, or the cluster, has for workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from imig.threads import cpu_count

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Machine:
    """CPUs and GPUs to share out, and bytes of memory."""

    cpus: int
    gpus: int
    memory: int


def local_machine() -> Machine:
    """This machine, as far as this process may use it."""
    return Machine(cpus=cpu_count(), gpus=_gpu_count(), memory=_memory())


def _gpu_count() -> int:
    """NVIDIA GPUs, without importing torch, which takes a second."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return sum(one.strip() not in ("", "-1", "NoDevFiles") for one in visible.split(","))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _memory() -> int:
    """Physical memory, or what a container leaves of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical
