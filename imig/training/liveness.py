"""Processes of one training keep an eye on each other: none waits for one that is no more.

A process that dies leaves the others in the middle of a sum that never comes: gloo says that some
connection is closed, NCCL waits for half an hour. So each writes a beat into the store through
which they met, and reads those of the others; on its own machine it looks whether they live. When
one is lost, the others say which, and end.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from imig.errors import DataError, ImigError
from imig.printable import to_printable
from imig.training.processes import WORKING_ALONE

BEAT_SECONDS: Final = 2.0
STALE_SECONDS: Final = 300.0
"""Without a beat for so long a process is lost, also one that has only been stopped. Loading
weights holds beats up, for tens of seconds."""
_SURE_SECONDS: Final = 15.0
"""Without a beat for so long it is lost, when a connection has broken off too."""
_GRACE_SECONDS: Final = 20.0
"""For a process to end by itself once another one is lost; NCCL keeps it from doing so."""
_STORE_TRIES: Final = 3
"""Beats that cannot be written before the store is given up."""
_SAID: Final = 300
"""Characters of an error that the others are told."""
_ALIVE, _LEFT, _FOLLOWED = "", "left", "followed"
"""What a process says of itself: at work; ended in order; ended because another one was lost."""


@dataclass(frozen=True)
class _Peer:
    """What is known of a process."""

    rank: int
    host: str
    process: int
    near: bool
    """Whether this machine, and this container, is its own too."""
    beat: str = ""
    since: float = 0.0
    """When its beat was first seen."""


class Liveness:
    """A thread that beats for this process and looks after the others.

    Parameters
    ----------
    store:
        A client of the store through which the processes met, for the thread alone.
    """

    def __init__(self, store: Any, *, rank: int, world: int, patience: timedelta) -> None:
        self._store, self._rank, self._world = store, rank, world
        self._ended = threading.Event()
        self._lost_now = threading.Lock()
        self.lost: str = ""
        """Which process was lost and how, once one is."""
        self._count = 0
        self._store_failures = 0
        store.set_timeout(patience)
        store.set(f"who/{rank}", json.dumps([socket.gethostname(), os.getpid(), _container()]))
        store.set(f"state/{rank}", _ALIVE)
        store.set(f"beat/{rank}", "0")
        self._peers = {one: self._meet(one) for one in range(world) if one != rank}
        store.set_timeout(timedelta(seconds=2 * BEAT_SECONDS))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _meet(self, rank: int) -> _Peer:
        self._store.wait([f"who/{rank}", f"state/{rank}", f"beat/{rank}"])
        host, process, container = json.loads(self._store.get(f"who/{rank}"))
        near = host == socket.gethostname() and container == _container()
        return _Peer(rank, host, process, near, since=time.monotonic())

    def say(self, state: str) -> None:
        """Tell the others how this process ends."""
        with self._lost_now, suppress(Exception):  # the store may be gone, and the others with it
            self._store.set(f"state/{self._rank}", state)

    def stop(self) -> None:
        self._ended.set()

    def find_lost(self) -> str:
        """Which process is lost, now that a connection has broken off; empty where all are well."""
        ends = time.monotonic() + _SURE_SECONDS + BEAT_SECONDS
        while not self.lost and time.monotonic() < ends:
            self._look(stale=_SURE_SECONDS)
            if not self.lost and all(one.near for one in self._peers.values()):
                # one that the system has ended is seen at once; give it the time to end
                ends = min(ends, time.monotonic() + BEAT_SECONDS)
            time.sleep(0.1)
        return self.lost

    def _watch(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._count += 1
            self._look(stale=STALE_SECONDS)
            if self.lost:
                self._end()
                return

    def _end(self) -> None:
        """End this process, if it does not end by itself: what it waits for is not to come.

        What process 0 writes alone it writes to its end first; it may be the checkpoint that the
        training goes on from.
        """
        while not self._ended.wait(_GRACE_SECONDS):
            if WORKING_ALONE.acquire(blocking=False):  # and keep it: nothing more begins
                print(f"error: {to_printable(self.lost)}\n  {CURE}", file=sys.stderr, flush=True)
                os._exit(1)

    def _look(self, *, stale: float) -> None:
        with self._lost_now:
            if self.lost:
                return
            ranks = list(self._peers)
            try:
                self._store.set(f"beat/{self._rank}", str(self._count))
                keys = [f"{what}/{one}" for what in ("state", "beat") for one in ranks]
                values = [one.decode() for one in self._store.multi_get(keys)]
            except Exception as error:  # torch raises RuntimeError and its own kinds
                self._store_failures += 1
                # of a process that is near one knows without
                states = {}
                if self._store_failures >= _STORE_TRIES:
                    self.lost = (
                        "the store through which the processes of this training met is gone, and "
                        f"with it the process that kept it (torchrun, or process 0): {error}"
                    ).partition("\n")[0]
            else:
                self._store_failures = 0
                states = dict(zip(ranks, values[: len(ranks)], strict=True))
                for rank, beat in zip(ranks, values[len(ranks) :], strict=True):
                    if beat != self._peers[rank].beat:
                        self._peers[rank] = replace(
                            self._peers[rank], beat=beat, since=time.monotonic()
                        )
            for peer in self._peers.values():
                reason = self._fate(peer, states.get(peer.rank, _ALIVE), stale)
                if reason:
                    self.lost = f"process {peer.rank} of {self._world} {reason}"
                    return

    def _fate(self, peer: _Peer, state: str, stale: float) -> str:
        """How a process was lost; empty where it was not."""
        if state in (_LEFT, _FOLLOWED):
            return ""
        where = f"(process ID {peer.process} on {peer.host})"
        if state != _ALIVE:
            return f"{where} has ended: {state}"
        if peer.near and not _is_alive(peer.process):
            return f"{where} has died"
        silent = time.monotonic() - peer.since
        if silent > stale:
            return f"{where} has not been heard of for {silent:.0f} seconds"
        return ""


CURE: Final = (
    "its own log says why (the system ends a process without a word where memory is short); the "
    "same command with --resume goes on from the last checkpoint, on any number of processes that "
    "can share its steps"
)


@contextmanager
def looking_after_each_other(
    store: Any, *, rank: int, world: int, patience: timedelta
) -> Iterator[None]:
    """Within, the loss of another process is an error that names it, and not a wait without end.

    Parameters
    ----------
    store:
        The store through which the processes met.
    patience:
        How long they wait for each other at the beginning.

    Raises
    ------
    DataError
        Another process is lost.
    """
    liveness = Liveness(store.clone(), rank=rank, world=world, patience=patience)
    try:
        yield
    except ImigError as error:
        liveness.say(error.message[:_SAID])
        raise
    except Exception as error:
        lost = liveness.find_lost()
        if not lost:
            liveness.say(f"{type(error).__name__}: {error}"[:_SAID])
            raise
        liveness.say(_FOLLOWED)
        raise DataError(lost, cure=CURE) from error
    except BaseException as error:
        liveness.say(type(error).__name__)
        raise
    else:
        liveness.say(_LEFT)
    finally:
        liveness.stop()


def _container() -> str:
    """What tells containers apart whose processes have numbers of their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):
        # one that has ended and was not yet asked for is a zombie
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
