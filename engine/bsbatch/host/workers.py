"""Worker processes: a library that crashes or hangs costs one call or batch, not the run.

`Isolation` runs single calls, each in any free worker. The workers of a `WorkerPool` each hold an object, such as a
loaded model. Through `SharedMemory` they read images that were not copied through a pipe.

Workers are new interpreters, so they inherit no lock and no library of this process. They ignore Ctrl-C, which signals
the whole process group, and end with this process, even if it is killed. They can open no socket: no library that meets
bytes of a file needs one.
"""

import mmap
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, TypeVarTuple, cast

from bsbatch.errors import WorkerLostError, WorkerTimeoutError
from bsbatch.host import limits
from bsbatch.host.origin import note_place
from bsbatch.host.seccomp import refuse_sockets

_SECONDS = 60.0
"""Time limit of a call, and of the start of a worker with the packages of its first call."""
_PROGRAM = "import sys; from bsbatch.host.workers import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"

Arguments = ParamSpec("Arguments")
MakeArguments = TypeVarTuple("MakeArguments")
Out = TypeVar("Out")

_Reply = tuple[bool, object]
"""True and the result of a task, or False and the exception that it raised."""


class Isolation:
    """Runs calls in worker processes: as many workers as simultaneous calls, started when first needed."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        """Start no worker yet; a call may take at most ``seconds``, unless it has a limit of its own."""
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
        """Call a module's function in a worker. Arguments, result and errors are pickled; errors see `call_within`."""
        return self.call_within(self._seconds, function, *arguments, **options)

    def call_within(
        self,
        seconds: float,
        function: Callable[Arguments, Out],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Out:
        """Call a function as `call` does, with a time limit of its own, without the start of its worker.

        Raises
        ------
        WorkerLostError
            The process died.
        WorkerTimeoutError
            The call took too long.
        """
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        is_new, worker = worker is None, worker or _Worker()
        try:
            if is_new:
                worker.send(_Task.CALL, _import, (function,))
                _result_of(worker.receive(_SECONDS))
            worker.send(_Task.CALL, function, arguments, options)
            reply = worker.receive(seconds)
        except BaseException:
            worker.end()
            raise
        if worker.resident_bytes > limits.WORKER_BYTES:
            worker.end()
        else:
            with self._lock:
                self._idle.append(worker)
        return cast("Out", _result_of(reply))


class SharedMemory:
    """Memory shared by this process and its workers. It has no name, so a killed process leaves nothing behind."""

    def __init__(self, size: int) -> None:
        """Allocate ``size`` bytes of zeros."""
        self.size = size
        self.descriptor = os.memfd_create("bsbatch")
        os.truncate(self.descriptor, size)
        self.buffer = mmap.mmap(self.descriptor, size)

    def close(self) -> None:
        """Close the descriptor. The memory is freed when no process maps it any more."""
        os.close(self.descriptor)


class WorkerPool(Generic[Out]):
    """Worker processes that each hold a callable and apply it to one piece of work after another.

    For use by one thread. After an error the pool cannot be used any more; leave it.
    """

    def __init__(self, size: int, seconds: float) -> None:
        """Start no worker yet; each of the ``size`` workers may take at most ``seconds`` for one answer."""
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

    def start(
        self,
        make: Callable[[*MakeArguments], Callable[..., Out]],
        *arguments: *MakeArguments,
        memory: SharedMemory,
    ) -> None:
        """Start the workers; each creates and holds ``make(*arguments)`` and inherits the memory's descriptor.

        Raises
        ------
        WorkerLostError
            A process died, or took too long.
        """
        self._workers = [_Worker([memory.descriptor]) for _ in range(self._size)]
        for worker in self._workers:
            worker.send(_Task.MAKE, make, arguments)
        for worker in self._workers:
            _result_of(worker.receive(self._seconds))

    def map(self, pieces: Sequence[tuple[object, ...]]) -> list[Out]:
        """Call the held callable with the arguments of each piece, in any free worker; return results in order.

        Raises
        ------
        WorkerLostError
            A process died, or took too long.
        """
        results: dict[int, Out] = {}
        waiting, idle = deque(range(len(pieces))), list(self._workers)
        busy: dict[Connection, tuple[_Worker, int]] = {}
        while waiting or busy:
            while waiting and idle:
                worker, number = idle.pop(), waiting.popleft()
                worker.send(_Task.USE, None, pieces[number])
                busy[worker.connection] = worker, number
            for connection in self._wait_for_replies(busy):
                worker, number = busy.pop(connection)
                results[number] = cast("Out", _result_of(worker.receive(0)))
                idle.append(worker)
        return [results[number] for number in range(len(pieces))]

    def _wait_for_replies(self, connections: Iterable[Connection]) -> list[Connection]:
        """Return the connections that have a reply."""
        ready = wait(connections, self._seconds)
        if not ready:
            raise WorkerTimeoutError(f"no answer within {self._seconds:g} s")
        return cast("list[Connection]", ready)


class _Task(Enum):
    CALL = auto()
    """Call a function."""
    MAKE = auto()
    """Call a function and hold its result, a callable."""
    USE = auto()
    """Call the held callable."""


class _Worker:
    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        """Start a process that inherits the descriptors under the same numbers."""
        self.connection, theirs = Pipe()
        lifeline, self._lifeline = os.pipe()
        with theirs:
            command = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(lifeline)]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno(), lifeline, *descriptors],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # C libraries print to it
                stderr=subprocess.DEVNULL,
            )
        os.close(lifeline)

    def send(
        self,
        task: _Task,
        function: Callable[..., object] | None,
        arguments: Sequence[object],
        options: Mapping[str, object] | None = None,
    ) -> None:
        try:
            self.connection.send((task, function, arguments, options or {}))
        except ConnectionError as error:
            # its frames hold a view of a buffer, about which Python 3.13's garbage collector warns
            raise WorkerLostError(self._cause_of_death()) from error.with_traceback(None)

    def receive(self, seconds: float) -> _Reply:
        try:
            if not self.connection.poll(seconds):
                raise WorkerTimeoutError(f"no answer within {seconds:g} s")
            reply: _Reply = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise WorkerLostError(self._cause_of_death()) from error
        return reply

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 where the system has no account of it."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except OSError:  # not Linux, or it has just died, which the next call finds out
            return 0
        return int(pages) * mmap.PAGESIZE

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.wait()
        os.close(self._lifeline)

    def _cause_of_death(self) -> str:
        self._process.kill()  # its connection is closed, so it is ending; the first cause stays its exit status
        status = self._process.wait()
        return f"the process died: {signal.strsignal(-status)}" if status < 0 else "the process died"


def _result_of(reply: _Reply) -> object:
    """Return the result of a task, or raise its error."""
    is_done, value = reply
    if not is_done:
        raise cast("Exception", value)
    return value


def serve(descriptor: int, lifeline: int) -> None:
    """Run tasks until the connection is closed: the main loop of a worker."""
    refuse_sockets()  # before a library can start a thread
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole process group; the run ends its workers
    _end_with(lifeline)
    held: Any = None
    with Connection(descriptor) as connection:
        while True:
            try:
                task, function, arguments, options = connection.recv()
            except EOFError:
                os._exit(0)
            is_done, value = _run(held if task is _Task.USE else function, arguments, options)
            if task is _Task.MAKE and is_done:
                held, value = value, None
            connection.send((is_done, value))


def _end_with(lifeline: int) -> None:
    """Have the kernel end this process when the pipe's other end closes, even in a call into C that never returns."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # the default action ends the process
    fcntl(lifeline, F_SETOWN, os.getpid())
    fcntl(lifeline, F_SETFL, fcntl(lifeline, F_GETFL) | os.O_ASYNC)


def _import(_function: Callable[..., object]) -> None:
    """Import the module of a function, as unpickling the argument does."""


def _run(function: Callable[..., object], arguments: Sequence[object], options: Mapping[str, object]) -> _Reply:
    try:
        return True, function(*arguments, **options)
    except Exception as error:  # raised again in the calling process
        note_place(error)
        return False, error
