"""SIGINT and SIGTERM as a request to stop between two units of work."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """How often somebody asked the run to stop.

    Signals that arrive during one long call into C reach Python as one, so they are counted through the wake-up
    descriptor, into which the interpreter writes the number of each.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._lock = threading.RLock()
        self._count = 0
        self._read_end = -1

    @property
    def is_requested(self) -> bool:
        """True from the first signal on."""
        return self._count > 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal in the main thread; the second one stops it."""
        self._take()
        if self._count > 1:
            raise KeyboardInterrupt

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Announce the first signal at once, whatever the main thread is busy with."""
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(write_end, False)
        previous = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, name="bsbatch-signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            os.close(write_end)
            watcher.join()
            os.close(self._read_end)

    def _watch(self) -> None:
        is_open = True
        while is_open:
            select.select([self._read_end], [], [])
            is_open = self._take()

    def _take(self) -> bool:
        """Count the signals that wait in the pipe; False at its end."""
        with self._lock:
            try:
                numbers = os.read(self._read_end, 64)
            except BlockingIOError:
                return True
            asked = sum(number in _STOP_SIGNALS for number in numbers)
            if asked and not self._count:
                self._announce()
            self._count += asked
            return bool(numbers)


@contextmanager
def handle_interrupts(announce: Callable[[], None]) -> Iterator[Interruption]:
    """Turn the first SIGINT or SIGTERM into a polite request; the second one raises `KeyboardInterrupt`.

    Parameters
    ----------
    announce
        Called at the first signal, to tell the user what happens now; in any thread.
    """
    interruption = Interruption(announce)
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield interruption
        return
    with interruption.watch(), _handled_by(interruption.handle):
        yield interruption


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
