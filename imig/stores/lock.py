"""One process writes into a folder of a store at a time: a lock by conditional put.

The lock is an object that is put only where none is (``If-None-Match: *``). A store frees nothing
when a process dies, so whoever holds the lock writes it anew every `BEAT_SECONDS`; one that has not
changed for `LEASE_SECONDS` is taken over, by a put on the condition that it still has not
(``If-Match``). Clocks are not compared: whoever waits watches for changes.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from imig.errors import ImigError, UsageError
from imig.stores.filesystem import scheme_of
from imig.stores.path import StorePath, guard, unguard
from imig.stores.patience import error_number, status_of
from imig.stores.scratch import is_alive, remove_scratch_of_the_dead

_log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
LEASE_SECONDS = 75.0
"""Five beats: a store that is slow for a minute must not cost a build its lock."""
_LOOK_SECONDS: Final = 1.0
_PRECONDITION: Final = 412
_NOT_IMPLEMENTED: Final = 501


_held: set[str] = set()
"""Tokens of the locks that this process has, or waits for."""


@dataclass(frozen=True)
class _Seen:
    """A lock as it was found."""

    data: bytes
    etag: str | None

    @property
    def holder(self) -> dict[str, Any]:
        try:
            value = json.loads(self.data)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def who(self) -> str:
        one = self.holder
        return f"process {one.get('process', '?')} on {one.get('host', '?')}"

    @property
    def is_near(self) -> bool:
        """Whether it is of a process of this very machine, of which one can tell if it lives."""
        one = self.holder
        return one.get("machine") == _machine() and isinstance(one.get("process"), int)

    @property
    def is_of_the_dead(self) -> bool:
        """Whether nobody holds it: it is of a process of this very machine that is no more."""
        if not self.is_near:
            return False
        process = self.holder["process"]
        if process == os.getpid():  # one that could not be given back
            return self.holder.get("token") not in _held
        return not is_alive(process) or self.holder.get("started") != _started(process)


@contextmanager
def store_lock(path: StorePath, *, folder: StorePath, who: str) -> Iterator[None]:
    """Hold the lock object `path` of an output folder.

    Parameters
    ----------
    who:
        What else may hold it, for the message: ``another build``.

    Raises
    ------
    UsageError
        When another process holds it: says which on which host. When nothing can be written there.
    DataError
        When the store does not answer.
    """
    remove_scratch_of_the_dead()
    holder = _Holder(path, folder)
    _held.add(holder.token)
    try:
        _take(holder, who)
        thread = threading.Thread(target=holder.beat, name="imig-lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            holder.ended.set()
            thread.join(_LOOK_SECONDS)  # longer only where the store does not answer
            holder.release()
    finally:
        _held.discard(holder.token)


def _take(holder: _Holder, who: str) -> None:
    try:
        holder.take(who)
    except FileNotFoundError as error:
        raise UsageError(
            f"cannot write into {holder.folder}: there is no such bucket",
            cure="make the bucket, or give another --output",
        ) from error


class _Holder:
    """This process, while it wants or has a lock."""

    def __init__(self, path: StorePath, folder: StorePath) -> None:
        self.path, self.folder = path, folder
        self.ended = threading.Event()
        self.token = uuid.uuid4().hex
        self._beats = 0
        self._confirmed = 0.0
        """When the store has last said that it is ours."""
        self._lost: str | None = None
        self._conditional = True
        """Whether the store takes conditions, as far as is known."""
        self._one_at_a_time = threading.Lock()

    def take(self, who: str) -> None:
        seen: _Seen | None = None
        since = time.monotonic()
        while not self._create():
            now = _look(self.path)
            if now is None:  # it has just been given back
                continue
            if now.holder.get("token") == self.token:
                break  # our own put, whose answer was lost
            if now.is_of_the_dead:
                if self._take_over(now):
                    break
                continue
            if now.is_near or (seen is not None and now.data != seen.data):
                raise UsageError(
                    f"{who} writes into {self.folder}: {now.who}",
                    cure="wait until it ends, or give another --output",
                )
            if seen is None:
                _log.warning(
                    f"{now.who} holds {self.folder}; waiting for up to {LEASE_SECONDS:.0f} "
                    "seconds to see whether it still lives"
                )
            elif time.monotonic() - since > LEASE_SECONDS:
                if self._take_over(now):
                    break
                continue
            seen = seen or now
            time.sleep(min(_LOOK_SECONDS, LEASE_SECONDS / 10))
        self._confirmed = time.monotonic()
        self._require_conditions()
        guard(self.folder, self.why_lost)

    def _create(self) -> bool:
        """Whether the lock is ours: there was none."""
        if self._conditional:
            try:
                self._put(mode="create")
                return True
            except FileExistsError:
                return False
            except NotImplementedError:
                _say_unkept(self.folder)
                self._conditional = False
        if self.path.is_file():
            return False
        self._put()
        return True

    def _take_over(self, seen: _Seen) -> bool:
        """Whether the lock is ours: nobody has touched it since."""
        try:
            if seen.etag is not None:
                self._put(IfMatch=seen.etag)
                return True
            with suppress(FileNotFoundError):
                self.path.unlink()
            return self._create()
        except (FileExistsError, FileNotFoundError):
            return False

    def _put(self, **condition: Any) -> None:
        """Write the lock. Raises FileExistsError where the condition is not met."""
        self._beats += 1
        wanted = condition if self._conditional else {}
        data = json.dumps(
            {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "machine": _machine(),
                "started": _started(os.getpid()),
                "token": self.token,
                "beats": self._beats,
            }
        ).encode()

        def put(store: Any) -> None:
            try:
                store.pipe_file(self.path.address, data, **wanted)
            except OSError as error:
                if status_of(error) == _PRECONDITION:
                    raise FileExistsError(str(self.path)) from error
                if status_of(error) == _NOT_IMPLEMENTED or error_number(error) == errno.ENOSYS:
                    raise NotImplementedError from error
                raise

        self.path.ask(put)

    def _require_conditions(self) -> None:
        """Say so where a store takes conditions and does not keep them."""
        if not self._conditional:
            return
        with suppress(FileExistsError):
            self._put(mode="create")
            _say_unkept(self.folder)

    def beat(self) -> None:
        """Write the lock anew, again and again, until `ended`."""
        while not self.ended.wait(BEAT_SECONDS):
            # A store that does not answer: whoever writes next asks whether it is still ours.
            with suppress(ImigError, OSError):
                self._renew()

    def why_lost(self) -> str | None:
        """Why the folder is not this process's any more; None: it is.

        Asks the store where the lease may have ended. Raises as `patiently`.
        """
        if self._lost is None and time.monotonic() - self._confirmed > LEASE_SECONDS:
            self._renew()
        return self._lost

    def _renew(self) -> None:
        with self._one_at_a_time:
            if self._lost is not None or self.ended.is_set():
                return
            asked = time.monotonic()
            now = _look(self.path)
            if now is None:
                self._lost = "its lock has been removed"
            elif now.holder.get("token") != self.token:
                self._lost = f"{now.who} has taken it over"
            else:
                # Where it has changed in between, the next time tells.
                with suppress(FileExistsError, FileNotFoundError):
                    self._put(**({} if now.etag is None else {"IfMatch": now.etag}))
                    self._confirmed = asked

    def release(self) -> None:
        """Give the lock back, if it is still ours; what cannot be removed ends by itself."""
        unguard(self.folder)
        with suppress(ImigError, OSError):
            now = _look(self.path)
            if now is not None and now.holder.get("token") == self.token:
                self.path.unlink(missing_ok=True)


def _look(path: StorePath) -> _Seen | None:
    """The lock that is there."""
    try:
        # Its mark first: content that is newer than the mark makes a takeover fail, no other harm.
        info = path.ask(lambda store: store.info(path.address))
        etag = info.get("ETag") if scheme_of(path.address) in ("s3", "s3a") else None
        return _Seen(path.read_bytes(), etag)
    except FileNotFoundError:
        return None


def _say_unkept(folder: StorePath) -> None:
    _log.warning(
        f"the store of {folder} keeps no conditional writes (If-None-Match): nothing keeps a "
        "second command out of the same folder; see to it that there is only one"
    )


def _machine() -> str:
    """This machine since it was started, and this container of it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()}:{uuid.getnode():x}"


def _started(process: int) -> str:
    """When a process began, in the kernel's ticks: numbers of processes come again."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
