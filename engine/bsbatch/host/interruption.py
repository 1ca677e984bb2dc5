"""SIGINT and SIGTERM as requests to stop between two units of work."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IMPORTS, _AGAIN_SECONDS = "<frozen importlib._bootstrap>", 0.05


class Interruption:
    """Counter of the stop signals that arrived.

    Python merges signals that arrive during one long call into C. They are therefore counted through the wake-up file
    descriptor, to which the interpreter writes the number of each signal.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._lock = threading.RLock()
        self._count = 0
        self._read_end = -1

    @property
    def is_requested(self) -> bool:
        """True once the first signal has arrived."""
        return self._count > 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal in the main thread; the second one raises `KeyboardInterrupt`."""
        self._count_signals()
        if self._count > 1:
            raise KeyboardInterrupt

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch for signals in a thread, so that the first is announced even during a long call in the main thread."""
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
            is_open = self._count_signals()

    def _count_signals(self) -> bool:
        """Count the signals in the pipe; return False at its end."""
        with self._lock:
            try:
                numbers = os.read(self._read_end, 64)
            except BlockingIOError:
                return True
            stops = sum(number in _STOP_SIGNALS for number in numbers)
            if stops and not self._count:
                self._announce()
            self._count += stops
            return bool(numbers)


@contextmanager
def handle_interrupts(announce: Callable[[], None]) -> Iterator[Interruption]:
    """Turn the first SIGINT or SIGTERM into a request to stop; the second one raises `KeyboardInterrupt`.

    Parameters
    ----------
    announce
        Called at the first signal, in any thread, to inform the user.
    """
    interruption = Interruption(announce)
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield interruption
        return
    with interruption.watch(), _install_handler(interruption.handle):
        yield interruption


@contextmanager
def interrupt_after_imports() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt` in the main thread, but only behind the import that it is at.

    Python ignores the exception in callbacks of its own. One of them holds the import lock: every other thread that
    imports would then wait for ever. A handler that was set on purpose stays.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None and frame.f_code.co_filename != _IMPORTS:
        frame = frame.f_back
    if frame is None:
        raise KeyboardInterrupt
    again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


@contextmanager
def preserve_handlers() -> Iterator[None]:
    """Undo what a library does to the handlers of stop signals."""
    previous = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # no other may set them
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def _install_handler(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
