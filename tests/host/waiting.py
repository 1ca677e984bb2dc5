"""Wait for threads and signals, with a time limit."""

import threading
import time
from collections.abc import Callable

PATIENCE = 5.0


def wait_until(condition: Callable[[], bool]) -> bool:
    """Return True as soon as the condition holds, False after `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def idle() -> None:
    """Wait in small steps: a signal that another thread receives does not end the sleep of this one."""
    wait_until(lambda: False)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]
