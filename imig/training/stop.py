"""Ctrl-C and SIGTERM: the training ends after the step at hand, and saves first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch

from imig.training.processes import any_process

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Within it, the first SIGINT or SIGTERM is only taken note of; look at it between steps.

    A second signal raises KeyboardInterrupt at once, for whoever does not want to wait. A signal
    that the caller's process ignores stays ignored, as under `nohup`. Python takes signals on its
    main thread only: elsewhere this does nothing, and no stop is ever requested.

    ::

        with StopRequest() as stop:
            for step in range(steps):
                ...
                if stop.requested_anywhere():
                    save()
                    return stop.exit_code
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
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
        """What a shell expects of a process that a signal ended: 130 or 143; 0 without one.

        Of several processes one may have got no signal when another had: each has its own code.
        """
        return 0 if self._signal is None else 128 + self._signal

    def requested_anywhere(self, *, device: torch.device | str = "cpu") -> bool:
        """Whether any process was told to stop; all processes must ask after the same steps.

        Saving takes all of them, and a signal may come to them on both sides of a step's end.
        `device` is where collectives run; on a GPU the answer waits for it, so ask every few steps.
        """
        return any_process(self.requested, device=device)

    def _take_note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
