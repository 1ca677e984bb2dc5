"""A pytest plugin that runs the tests once, to find which functions each of them reaches, and again for each mutant.

A process is forked for each mutant. It exchanges the code of one function and runs the tests that reach it until one
fails: first those whose module is named after the function's, then the quick ones. Python processes that tests start,
such as workers, are watched and changed like it (`child/sitecustomize.py`). Tests that fail in a fork without a mutant
are left out, as are those of more than six seconds and those that need a trained model.
"""

import functools
import gc
import marshal
import math
import os
import resource
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType, FunctionType

import pytest
from _pytest.runner import runtestprotocol
from tests.mutants.mutant import ENGINE, Mutant

from bsbatch.dicom.headers.templates import TemplateCache

CHILD = Path(__file__).with_name("child")
_SLOW_SECONDS = 6.0
_MEMORY = 4 << 30
Function = tuple[str, str]
"""Path and qualified name."""


class Trial:
    """A pytest plugin: runs the tests once, then again for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], note: Callable[[Mutant, str], None], folder: Path) -> None:
        """Try nothing yet; ``folder`` passes what other processes reach, and the changed module to them."""
        self._mutants, self._note = mutants, note
        self._reached_by_others, self._module = folder / "reached", folder / "module"
        self._reached: defaultdict[str, set[Function]] = defaultdict(set)
        self._by = ""
        """Test or module that reaches functions now; empty while all are imported."""
        self._seconds: dict[str, float] = {}
        self._functions: dict[Function, FunctionType] = {}
        self._forgets: list[Callable[[], None]] = []
        sys.path.insert(0, str(CHILD))  # some tests set PYTHONPATH to it
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        _watch(self._reach)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop over the tests."""
        items = [item for item in session.items if "twin" not in getattr(item, "fixturenames", ())]
        self._find_functions()
        os.environ["BSBATCH_REACHED"] = str(self._reached_by_others)
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            self._measure(item, following)
        _watch(None)
        del os.environ["BSBATCH_REACHED"]
        self._find_functions()  # of modules that tests have imported
        items = [item for item in items if self._seconds[item.nodeid] < _SLOW_SECONDS]
        gc.freeze()  # a collection in a fork would copy the memory
        items = [item for module in _by_module(items) for item in self._sound(module)]
        print(f"{len(items)} of {len(session.items)} tests, {sum(self._seconds[item.nodeid] for item in items):.0f} s")
        for mutant in self._mutants:
            chosen = self._chosen(items, mutant)
            alone = "on import" if mutant.function in self._reached[""] else "not reached"
            self._note(mutant, self._fork(chosen, mutant) if chosen else alone)
        return True

    def _find_functions(self) -> None:
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType):
                self._functions[thing.__code__.co_filename, thing.__qualname__] = thing
            elif isinstance(thing, functools._lru_cache_wrapper):
                self._forgets.append(thing.cache_clear)
            elif isinstance(thing, TemplateCache):
                self._forgets.append(functools.partial(TemplateCache.__init__, thing))

    def _forget(self) -> None:
        """Clear the results that functions remember: they would hide what a test reaches, and a mutant."""
        for forget in self._forgets:
            forget()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Count from now on for the test alone; what its fixtures reach counts for all of its module."""
        self._by = item.nodeid

    def _reach(self, frame: FrameType, event: str, _: object) -> None:
        path, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if event == "call" and path.startswith(str(ENGINE)):
            self._reached[self._by].add((path, name.split(".<locals>")[0]))

    def _count_others(self, item: pytest.Item) -> None:
        """Count what other processes have reached for the whole module of a test: they may serve several tests."""
        if self._reached_by_others.exists():
            lines = self._reached_by_others.read_text().splitlines()
            reached = {(path, name) for path, name in (line.split("\t") for line in lines)}
            self._reached[str(item.path)] |= reached - self._reached[""]  # they import modules, too
            os.truncate(self._reached_by_others, 0)

    def _measure(self, item: pytest.Item, following: pytest.Item) -> None:
        self._forget()
        _watch(self._reach)  # anew: a test may count calls by the same means
        self._by, started = str(item.path), (sum(os.times()[:4]), time.monotonic())
        runtestprotocol(item, nextitem=following, log=False)
        self._count_others(item)
        self._seconds[item.nodeid] = max(sum(os.times()[:4]) - started[0], 0.5 * (time.monotonic() - started[1]))

    def _chosen(self, items: Sequence[pytest.Item], mutant: Mutant) -> list[pytest.Item]:
        """Tests that reach the function, by modules: first those with its module's name, then the quick ones."""
        module = Path(mutant.function[0]).stem
        reached = {key for key, functions in self._reached.items() if mutant.function in functions}
        groups = _by_module([item for item in items if item.nodeid in reached or str(item.path) in reached])
        groups.sort(
            key=lambda group: (module not in group[0].path.stem, sum(self._seconds[item.nodeid] for item in group))
        )
        return [item for group in groups for item in group]

    def _sound(self, items: list[pytest.Item]) -> list[pytest.Item]:
        if self._fork(items) == "survived":
            return items
        return [item for item in items if self._fork([item]) == "survived"]

    def _fork(self, items: list[pytest.Item], mutant: Mutant | None = None) -> str:
        """Run tests in a process of its own until one fails; return the result."""
        pid = os.fork()
        if pid == 0:
            status = 3
            try:
                _prepare()
                if mutant is not None:
                    self._change(mutant)
                self._forget()
                status = 1
                status = int(
                    any(self._fails(item, after) for item, after in zip(items, [*items[1:], None], strict=True))
                )
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # its workers
        return {0: "survived", 1: "killed", 3: "impossible"}.get(status, "timeout")

    def _change(self, mutant: Mutant) -> None:
        """Change a function in this process, if it has it, and in all that it starts."""
        if mutant.function in self._functions:
            self._functions[mutant.function].__code__ = mutant.code()
        self._module.write_bytes(marshal.dumps((mutant.function[0], mutant.module())))
        os.environ["BSBATCH_MUTANT"] = str(self._module)

    def _fails(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        """Run a test; a signal ends the process if the test needs much more time than before."""
        seconds = math.ceil(self._seconds[item.nodeid])
        used = math.ceil(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + 5 + 5 * seconds, resource.RLIM_INFINITY))
        signal.alarm(20 + 10 * seconds)
        return any(report.failed for report in runtestprotocol(item, nextitem=following, log=False))


def _watch(note: Callable[[FrameType, str, object], None] | None) -> None:
    sys.setprofile(note)
    threading.setprofile(note)


def _by_module(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    return [list(group) for _, group in groupby(items, lambda item: item.path)]


def _prepare() -> None:
    """Make a forked process quiet, the head of a group, and bounded in memory."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
