"""The first signal is a flag, the second one ends at once, and handlers come back."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from imig.training.stop import Stopped, StopRequest


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGUSR1, 138),
        (signal.SIGUSR2, 140),
    ],
)
def test_the_first_signal_is_a_flag(number: signal.Signals, code: int) -> None:
    with StopRequest() as stop:
        before = (stop.requested, stop.requested_anywhere(), stop.exit_code)
        os.kill(os.getpid(), number)
        after = (stop.requested, stop.requested_anywhere(), stop.exit_code)
    assert before == (False, False, 0)
    assert after == (True, True, code)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_after_it_ends_at_once(first: signal.Signals) -> None:
    def be_impatient() -> None:
        with StopRequest():
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        be_impatient()


def test_what_a_scheduler_sends_after_it_disturbs_no_saving() -> None:
    """From Slurm and from torchrun: one SIGTERM each."""
    with StopRequest() as stop:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.exit_code == 138
        with pytest.raises(Stopped):
            stop.check()


def test_handlers_come_back() -> None:
    def own(number: int, frame: object) -> None:
        pass

    signal.signal(signal.SIGTERM, own)
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) is not own
    assert signal.getsignal(signal.SIGTERM) is own
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.requested


def test_off_the_main_thread_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[bool] = []

    def work() -> None:
        with StopRequest() as stop:
            seen.append(signal.getsignal(signal.SIGINT) is before and not stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


SCRIPT = """
import sys, time
from imig.training.stop import StopRequest
with StopRequest() as stop:
    print("at work", flush=True)
    while not stop.requested_anywhere():
        time.sleep(0.01)
    print("saved", flush=True)
sys.exit(stop.exit_code)
"""


def test_a_training_that_gets_sigterm_saves_and_exits_with_143() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "saved\n"
    assert process.wait() == 143
