import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from tests.host.waiting import PATIENCE, idle, threads_named, wait_until

from bsbatch.host.interruption import handle_interrupts, interrupt_after_imports
from bsbatch.host.threads import run_in_background


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_requests_a_stop_and_the_second_raises(number: int) -> None:
    announced: list[str] = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with handle_interrupts(lambda: announced.append("stopping")) as interruption:
        assert not interruption.is_requested
        os.kill(os.getpid(), number)
        assert wait_until(lambda: interruption.is_requested)
        assert announced == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            signal_and_wait(number)

    assert announced == ["stopping"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def signal_and_wait(number: int) -> None:
    os.kill(os.getpid(), number)
    idle()


def test_handlers_are_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(ValueError, match="inside"), handle_interrupts(lambda: None):
        raise ValueError("inside")

    assert signal.getsignal(signal.SIGINT) is before


def test_two_signals_during_one_long_call_count_as_two() -> None:
    sender = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -INT {os.getpid()}; sleep 0.1; kill -INT {os.getpid()}"])

    with handle_interrupts(lambda: None), pytest.raises(KeyboardInterrupt):
        work_and_wait()

    assert sender.wait(PATIENCE) == 0


def work_and_wait() -> None:
    sum(range(30_000_000))  # half a second during which Python handles no signal
    idle()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals SIGUSR1 that have arrived."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGUSR1, before)


def test_the_first_signal_is_announced_during_a_call_into_c_that_no_signal_interrupts(heard: list[int]) -> None:
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    is_held, is_announced, in_time = threading.Event(), threading.Event(), list[bool]()

    def hold() -> None:
        libc.pthread_mutex_lock(mutex)
        is_held.set()
        in_time.append(is_announced.wait(PATIENCE))
        libc.pthread_mutex_unlock(mutex)

    holder = threading.Thread(target=hold)
    with handle_interrupts(is_announced.set):
        os.kill(os.getpid(), signal.SIGUSR1)  # another signal before it makes no difference
        assert wait_until(lambda: bool(heard))
        time.sleep(0.05)
        holder.start()
        assert is_held.wait(PATIENCE)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        libc.pthread_mutex_lock(mutex)
    holder.join()

    assert in_time == [True]


TWO_KINDS_AT_ONCE = """
import os, signal, time
from bsbatch.host.interruption import handle_interrupts, interrupt_after_imports

both, errors = [signal.SIGINT, signal.SIGTERM], set()
for _ in range(20):
    try:
        with handle_interrupts(lambda: None):
            signal.pthread_sigmask(signal.SIG_BLOCK, both)
            for number in both:
                os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
            for _ in range(500):
                time.sleep(0.01)
    except BaseException as error:
        errors.add(type(error).__name__)
print(*errors)
"""


def test_a_signal_that_arrives_while_handlers_are_restored_raises_no_other_error() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_KINDS_AT_ONCE], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["KeyboardInterrupt"]


def test_another_signal_requests_nothing(heard: list[int]) -> None:
    with handle_interrupts(lambda: None) as interruption:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert wait_until(lambda: bool(heard))
        time.sleep(0.05)

        assert not interruption.is_requested


@pytest.mark.parametrize("is_main_thread", [True, False])
def test_no_file_and_no_thread_stays_open(is_main_thread: bool) -> None:
    def run() -> None:
        with handle_interrupts(lambda: None):
            pass

    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        if is_main_thread:
            run()
        else:
            run_in_background(run).result(PATIENCE)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threads_named("bsbatch-signals") == []


def test_ctrl_c_in_an_import_is_raised_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["import os, signal", "os.kill(os.getpid(), signal.SIGINT)", "sum(range(10**6))", "IS_WHOLE = True"]
    (tmp_path / "interrupted_module.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    before, is_whole = signal.getsignal(signal.SIGINT), list[bool]()

    def run() -> None:
        with interrupt_after_imports():
            is_whole.append(import_module("interrupted_module").IS_WHOLE)
            wait_until(lambda: False)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert is_whole == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_after_imports():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside: list[object] = []

    def run() -> None:
        with handle_interrupts(lambda: None):
            inside.append(signal.getsignal(signal.SIGINT))

    run_in_background(run).result(PATIENCE)

    assert inside == [before]


def test_a_signal_that_another_thread_has_counted_does_not_end_the_watch() -> None:
    with handle_interrupts(lambda: None) as interruption:
        assert interruption._count_signals()
    assert not interruption.is_requested


def test_the_wake_up_of_before_is_restored() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    before = signal.set_wakeup_fd(write_end)
    try:
        with handle_interrupts(lambda: None):
            pass
        assert signal.set_wakeup_fd(write_end) == write_end
    finally:
        signal.set_wakeup_fd(before)
        os.close(read_end)
        os.close(write_end)
