"""Requests under way: threads that ask an endpoint, earlier numbers first."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from imig.prompts.asking import Brief

Ask = Callable[[Sequence[Brief]], str]


@dataclass(frozen=True)
class Answer:
    """What came back for some briefs."""

    briefs: Sequence[Brief]
    text: str = ""
    error: Exception | None = None
    """Instead of a text."""


class Requests:
    """A pool of threads with a queue before and behind it; use `requests_under_way`."""

    def __init__(self, ask: Ask, threads: int) -> None:
        self._ask = ask
        self._order = itertools.count()
        self._wanted: queue.PriorityQueue[tuple[int, int, Sequence[Brief]]] = queue.PriorityQueue()
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._stopped = threading.Event()
        self.outstanding = 0
        """Requests whose answers have not been taken yet."""
        for number in range(threads):
            # Daemons: a Ctrl-C must not wait until the slowest answer is there.
            threading.Thread(target=self._work, name=f"imig-ask-{number}", daemon=True).start()

    def send(self, briefs: Sequence[Brief]) -> None:
        """Ask as soon as a thread is free; briefs of earlier numbers first."""
        self.outstanding += 1
        self._wanted.put((briefs[0].number, next(self._order), briefs))

    def take(self, *, seconds: float) -> Answer | None:
        """The next answer; None when none comes within that time."""
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            return None
        self.outstanding -= 1
        return answer

    def take_what_is_there(self) -> Iterator[Answer]:
        """Answers that have come already."""
        while (answer := self.take(seconds=0.001)) is not None:
            yield answer

    def stop(self) -> None:
        """Send nothing more; what is under way ends by itself, unheard."""
        self._stopped.set()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                _, _, briefs = self._wanted.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                answer = Answer(briefs, text=self._ask(briefs))
            except Exception as error:
                answer = Answer(briefs, error=error)
            self._answers.put(answer)


@contextmanager
def requests_under_way(ask: Ask, *, threads: int) -> Iterator[Requests]:
    """Threads that ask while the block runs."""
    requests = Requests(ask, threads)
    try:
        yield requests
    finally:
        requests.stop()
