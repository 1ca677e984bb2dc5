"""Work in processes that may die: a library that crashes or never ends costs a call or a batch, not the run.

`Isolation` makes single calls, each in whichever worker is free. `WorkerPool` is a number of workers that each hold an
object, such as a loaded model. Through `SharedMemory` they see images without a copy through a pipe.

Workers are fresh interpreters, so they hold no lock and no library of this process. They outlive Ctrl-C, which goes to
the whole process group, and end when this process does, however it ends.
"""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from bsbatch.errors import WorkerLostError

_SECONDS = 60.0
_PROGRAM = "import sys; from bsbatch.host.workers import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"

Arguments = ParamSpec("Arguments")
Out = TypeVar("Out")


class Isolation:
    """As many worker processes as there are calls at once, started when they are first needed."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        """Start nothing yet; a call that takes longer than ``seconds`` is given up."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().end()

    def call(self, function: Callable[Arguments, Out], *arguments: Arguments.args, **options: Arguments.kwargs) -> Out:
        """Call a module's function elsewhere; arguments, result and errors travel pickled.

        Raises
        ------
        WorkerLostError
            The process died, or the call took too long.
        """
        worker = self._take()
        try:
            worker.send(_Task.CALL, function, arguments, options)
            is_done, value = worker.receive(self._seconds)
        except BaseException:
            worker.end()
            raise
        with self._lock:
            self._idle.append(worker)
        if not is_done:
            raise value
        return cast("Out", value)

    def _take(self) -> "_Worker":
        with self._lock:
            return self._idle.pop() if self._idle else _Worker()


class SharedMemory:
    """Bytes that this process and its workers see alike. They have no name, so nothing is left behind by a kill."""

    def __init__(self, size: int) -> None:
        """Reserve ``size`` bytes of zeros."""
        self.size = size
        self.descriptor = os.memfd_create("bsbatch")
        os.truncate(self.descriptor, size)
        self.buffer = mmap.mmap(self.descriptor, size)

    def close(self) -> None:
        """Forget the descriptor; the bytes go with the last process that looks at them."""
        os.close(self.descriptor)


class WorkerPool:
    """Worker processes that each hold a callable made there, and take one piece of work after the other.

    After any error the crew is of no more use; leave it. Used by one thread.
    """

    def __init__(self, size: int, seconds: float) -> None:
        """Start nothing yet; ``size`` workers, of which none may take longer than ``seconds`` for one answer."""
        self._size = size
        self._seconds = seconds
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            self._workers.pop().end()

    def start(self, make: Callable[..., Callable[..., Any]], *arguments: Any, memory: SharedMemory) -> None:
        """Have every worker keep ``make(*arguments)``, all at the same time; they inherit the memory's descriptor.

        Raises
        ------
        WorkerLostError
            A process died, or took too long.
        """
        self._workers = [_Worker([memory.descriptor]) for _ in range(self._size)]
        for worker in self._workers:
            worker.send(_Task.KEEP, make, arguments)
        for worker in self._workers:
            _value_of(worker.receive(self._seconds))

    def map(self, pieces: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call what the workers hold with each piece; whoever is free takes the next. Results are in order.

        Raises
        ------
        WorkerLostError
            A process died, or took too long.
        """
        results: list[Any] = [None] * len(pieces)
        waiting, idle = deque(range(len(pieces))), list(self._workers)
        busy: dict[Connection, tuple[_Worker, int]] = {}
        while waiting or busy:
            while waiting and idle:
                worker, number = idle.pop(), waiting.popleft()
                worker.send(_Task.USE, None, pieces[number])
                busy[worker.connection] = worker, number
            for connection in self._answering(busy):
                worker, number = busy.pop(connection)
                results[number] = _value_of(worker.receive(0))
                idle.append(worker)
        return results

    def _answering(self, connections: Iterable[Connection]) -> list[Connection]:
        ready = wait(connections, self._seconds)
        if not ready:
            raise WorkerLostError(f"no answer within {self._seconds:g} s")
        return cast("list[Connection]", ready)


class _Task(Enum):
    CALL = auto()
    """Call a function."""
    KEEP = auto()
    """Call a function and keep what it gives."""
    USE = auto()
    """Call what is kept."""


class _Worker:
    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        """Start a process that inherits the descriptors under their numbers."""
        self.connection, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        with theirs:
            command = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(lifeline)]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno(), lifeline, *descriptors],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # libraries in C write what they like
                stderr=subprocess.DEVNULL,
            )
        os.close(lifeline)

    def send(self, task: _Task, function: Any, arguments: Any, options: Any = None) -> None:
        try:
            self.connection.send((task, function, arguments, options or {}))
        except ConnectionError as error:
            # the frames hold a view of a buffer, over which Python 3.13's garbage collector stumbles aloud
            raise WorkerLostError(self._obituary()) from error.with_traceback(None)

    def receive(self, seconds: float) -> tuple[bool, Any]:
        try:
            if not self.connection.poll(seconds):
                raise WorkerLostError(f"no answer within {seconds:g} s")
            reply: tuple[bool, Any] = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise WorkerLostError(self._obituary()) from error
        return reply

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.wait()
        os.close(self._lifeline)

    def _obituary(self) -> str:
        self._process.kill()  # it closed its end, so it ends or has ended; what it died of stays its status
        status = self._process.wait()
        return f"the process died: {signal.strsignal(-status)}" if status < 0 else "the process died"


def _value_of(reply: tuple[bool, Any]) -> Any:
    is_done, value = reply
    if not is_done:
        raise value
    return value


def serve(descriptor: int, lifeline: int) -> None:
    """Answer calls until the other side closes; the body of a worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the run decides what ends
    _end_with(lifeline)
    kept: Any = None
    with Connection(descriptor) as connection:
        while True:
            try:
                task, function, arguments, options = connection.recv()
            except EOFError:
                os._exit(0)
            is_done, value = _answer(kept if task is _Task.USE else function, arguments, options)
            if task is _Task.KEEP and is_done:
                kept, value = value, None
            connection.send((is_done, value))


def _end_with(lifeline: int) -> None:
    """Have the kernel end this process when the other end of the pipe closes, even in a call into C that never ends."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # by default it ends the process
    fcntl(lifeline, F_SETOWN, os.getpid())
    fcntl(lifeline, F_SETFL, fcntl(lifeline, F_GETFL) | os.O_ASYNC)


def _answer(function: Callable[..., Any], arguments: Any, options: Any) -> tuple[bool, Any]:
    try:
        return True, function(*arguments, **options)
    except Exception as error:  # raised again on the other side
        return False, error
