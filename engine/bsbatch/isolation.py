"""Calls in worker processes that may die: a decoder that crashes or never ends costs one call, not the run."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from bsbatch.errors import WorkerLostError

_SECONDS = 60.0
_PROGRAM_SECONDS = 10.0
_PROGRAM = "import sys; from bsbatch.isolation import serve; serve(int(sys.argv[1]))"

Arguments = ParamSpec("Arguments")
Out = TypeVar("Out")


class Isolation:
    """As many worker processes as there are calls at once, started when they are first needed.

    A worker is a fresh interpreter, so it holds no lock and no library of this one, and it ends when this process does.
    """

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
            is_done, value = worker.call((function, arguments, options), self._seconds)
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


class _Worker:
    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)

    def call(self, task: Any, seconds: float) -> tuple[bool, Any]:
        try:
            self._connection.send(task)
            if not self._connection.poll(seconds):
                raise WorkerLostError(f"no answer within {seconds:g} s")
            reply: tuple[bool, Any] = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise WorkerLostError("the process died") from error
        return reply

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Answer calls until the other side closes; the body of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the run decides what ends
    with Connection(descriptor) as connection:
        while True:
            try:
                function, arguments, options = connection.recv()
            except EOFError:
                os._exit(0)
            connection.send(_answer(function, arguments, options))


def _answer(function: Callable[..., Any], arguments: Any, options: Any) -> tuple[bool, Any]:
    try:
        return True, function(*arguments, **options)
    except Exception as error:  # raised again on the other side
        return False, error


def answer_of(command: list[str]) -> str | None:
    """What a program of the system writes, stripped; None where it is not there, fails or takes ten seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PROGRAM_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
