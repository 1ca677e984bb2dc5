"""Waiting for threads and signals, with an end."""

import threading
import time
from collections.abc import Callable

PATIENCE = 5.0


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it came true."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def idle() -> None:
    """Wait in small steps: a signal that the system gives to another thread does not end the sleep of this one."""
    wait_until(lambda: False)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]
