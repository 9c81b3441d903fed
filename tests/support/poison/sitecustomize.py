"""Makes a stage misbehave over chosen scenes, in every process that finds this on its PYTHONPATH.

    POISON=MODE:STAGE:ID[,ID..]

Python imports a module of this name when it starts: nothing in imig knows of it. `POISON_LOG` names
a file that gets a line for each misdeed: process, mode, ids of the batch.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PATCHED = "imig.engine.blocks"


def misbehave(mode: str, real: Callable[[Any, Any], Any], stage: Any, batch: Any) -> Any:
    """What happens to a batch with a poisoned scene."""
    if mode == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "exit":
        os._exit(3)
    elif mode == "hang":
        time.sleep(10**6)
    elif mode == "hang-in-c":  # and keeps the interpreter's lock
        import ctypes

        ctypes.PyDLL(None).sleep(10**6)
    elif mode == "memory":
        raise MemoryError
    elif mode == "io":
        raise OSError(5, "Input/output error")
    elif mode == "system-exit":
        raise SystemExit(3)
    elif mode == "nan":
        done = real(stage, batch)
        for sample in done:
            if is_poisoned(sample):
                sample.scene.scores.figures["poison"] = float("nan")
        return done
    return real(stage, batch)


def poison(module: ModuleType, mode: str, name: str) -> None:
    real = module._call

    def call(stage: Any, batch: Sequence[Any]) -> Any:
        if stage.name != name or not any(map(is_poisoned, batch)):
            return real(stage, batch)
        with open(os.environ["POISON_LOG"], "a", encoding="utf-8") as log:
            ids = ",".join(sample.scene.id for sample in batch)
            log.write(f"{os.getpid()} {mode} {ids}\n")
        return misbehave(mode, real, stage, batch)

    module._call = call  # type: ignore[attr-defined]


def is_poisoned(sample: Any) -> bool:
    return sample.scene.id in os.environ["POISON"].split(":")[2].split(",")


class _Poisoner(MetaPathFinder, Loader):
    """Lets the module be loaded as ever, and changes it then."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != PATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        self._loader = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        mode, stage, _ = os.environ["POISON"].split(":")
        poison(module, mode, stage)


if os.environ.get("POISON"):
    sys.meta_path.insert(0, _Poisoner())
