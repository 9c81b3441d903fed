"""Ctrl-C, SIGTERM and a scheduler's warnings: the training saves, and ends.

Whoever stops a training from outside kills it when its time is up (Slurm after `KillWait`, torchrun
30 seconds after SIGTERM). So a training that is told to stop finishes neither the step at hand nor
validation and pictures: it saves what the last step left.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from imig.training.processes import any_process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""The last two are what `sbatch --signal` is told to send before a job's time is up (PyTorch
Lightning's habit is SIGUSR1, submitit's SIGUSR2)."""


class Stopped(Exception):
    """Raised, on every process, where a training has to leave what it is at, save and end."""


class StopRequest:
    """Within it, the first of `SIGNALS` is only taken note of; look at it between batches.

    Ctrl-C after it raises KeyboardInterrupt at once, for whoever does not want to wait. Other
    signals after it change nothing: a scheduler's SIGTERM often comes twice, from itself and from
    torchrun, and must not end what is just being saved. A signal that the caller's process ignores
    stays ignored, as under `nohup`. Python takes signals on its main thread only: elsewhere this
    does nothing, and no stop is ever requested.

    ::

        with StopRequest() as stop:
            try:
                for step in range(steps):
                    ...
                    stop.check()
            except Stopped:
                save()
                return stop.exit_code
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN:
                    self._before[number] = handler
                    signal.signal(number, self._take_note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            # A handler that Python did not install is None, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    @property
    def requested(self) -> bool:
        """Whether this process was told to stop."""
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130, 143, ..; 0 without one.

        Of several processes one may have got no signal when another had: each has its own code.
        """
        return 0 if self._signal is None else 128 + self._signal

    def requested_anywhere(self) -> bool:
        """Whether any process was told to stop; all processes must ask at the same places.

        Saving takes all of them, and a signal may come to them on both sides of a batch's end. The
        answer does not wait for a GPU.
        """
        return any_process(self.requested)

    def check(self) -> None:
        """Raise `Stopped` where `requested_anywhere`; all processes must call it alike."""
        if self.requested_anywhere():
            raise Stopped

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
