"""Dispatch of units to workers that may die, hang, answer late or answer twice. Knows no engine: a `Pool` has one.

Every examination gets exactly one outcome, because a ticket is answered once and only the caller commits. A unit that
loses its worker is done again. One that loses another is cut in halves, until the examination is known that ends
workers: it fails, and the others are scored.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from bsbatch.errors import ClusterError, UsageError
from bsbatch.host.threads import Pending, run_in_background
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, Failure, Outcome, SettledObject, Unit, UnitOutcome

_IN_FLIGHT = 2
"""Units before a worker: it has the next one at hand while its answer travels."""
_CUT_AFTER, _FAIL_AFTER = 2, 3
"""Lost workers after which a unit is cut in halves, and after which a single examination fails."""
_SMALLEST_SHARE = 8
"""Towards the end, units are cut to this part of their size, so that all workers end at about the same time."""
_MOST_COMMITTED = 256
"""Examinations in one commit, at most: those of the largest unit."""
_HUNGRY_SECONDS, _FULL_SECONDS = 0.02, 1.0
"""Longest wait for an event while a worker has nothing to do and units are planned, and otherwise."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has proved itself and may be given units."""

    worker: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker has done a unit."""

    worker: int
    ticket: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker has ended, or the machine that it ran on."""

    worker: int
    cause: str
    is_blameless: bool = False
    """True if its unit is surely not at fault."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker cannot be used: it has another version, or does not see the archive."""

    cause: str
    """With the advice what to do."""


Event = Ready | Answer | Lost | Refused


class Pool(Protocol):
    """Workers of an engine, under numbers that are never used again. A pool replaces the workers that end."""

    def submit(self, worker: int, ticket: int, exams: Sequence[Examination]) -> None:
        """Queue examinations for a worker, which does one ticket after the other; returns at once."""
        ...

    def wait(self, seconds: float) -> Sequence[Event]:
        """Block until something happens, or for some time."""
        ...

    def end(self, worker: int) -> None:
        """End a worker that does not answer."""
        ...


@dataclass(slots=True)
class _Task:
    unit: Unit
    losses: int = 0


@dataclass(slots=True)
class _Worker:
    since: float
    """Time at which it began with its oldest ticket, at the latest."""
    tickets: deque[int] = field(default_factory=deque)


@dataclass(slots=True)
class Dispatcher:
    """Distributes streams of units, one after the other. The thread that iterates `run` does all the work."""

    pool: Pool
    patience: float
    """Seconds without a worker after which the run stops, and without an answer after which a worker counts as lost."""
    note: Callable[[str], None] = lambda _: None
    """Called with sentences about lost and refused workers."""
    announce: Callable[[int], None] = lambda _: None
    """Called with the number of workers whenever it changes."""
    clock: Callable[[], float] = time.monotonic
    early: list[Event] = field(default_factory=list)
    """Events that came before the first `run`."""
    counts: Counter[str] = field(default_factory=Counter)
    """Workers that were ready, workers lost, workers refused, units done again, answers dropped."""
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _tasks: dict[int, _Task] = field(default_factory=dict)
    """By ticket: what is in flight."""
    _queue: deque[_Task] = field(default_factory=deque)
    _largest: int = 1
    """Examinations of the largest unit so far."""
    _is_planned: bool = False
    """True once all units are known."""
    _last_cause: str = "none has come"

    def run(
        self, units: Iterable[Unit], is_stopping: Callable[[], bool] = lambda: False
    ) -> Generator[UnitOutcome, None, None]:
        """Yield the outcomes of all units as they come: parts of units, or several that came together.

        Once `is_stopping` returns True, each worker finishes the unit that it is at, and none is given another.

        Raises
        ------
        ClusterError
            There was no worker for `patience` seconds.
        UsageError
            A worker was refused before the first answer.
        """
        planned, had_worker = _Planned(iter(units)), self.clock()
        done = [outcome for event in self.early for outcome in self._handle(event)]
        self.early.clear()
        self._is_planned = False
        in_hand: set[int] | None = None
        try:
            while True:
                if in_hand is None and is_stopping():
                    in_hand = {worker.tickets[0] for worker in self._workers.values() if worker.tickets}
                if in_hand is None:
                    done += self._plan(planned)
                    self._submit()  # before the caller commits: no worker waits for that
                yield from _merge(done)
                done.clear()
                if self._has_ended(in_hand):
                    return
                for event in self.pool.wait(self._wait_seconds()):
                    done += self._handle(event)
                done += self._end_silent()
                had_worker = self.clock() if self._workers else had_worker
                self._check_patience(had_worker)
        finally:
            planned.close()

    def _has_ended(self, in_hand: set[int] | None) -> bool:
        """Return True if everything is done, or the tickets that were in hand at a stop."""
        if in_hand is not None:
            return in_hand.isdisjoint(self._tasks)
        return self._is_planned and not self._queue and not self._tasks

    def _plan(self, planned: "_Planned") -> Iterator[UnitOutcome]:
        """Queue as many units as are planned, up to one for each worker. Units without an examination are done."""
        while not self._is_planned and len(self._queue) <= len(self._workers) and planned.is_ready:
            unit = planned.take()
            if unit is None:
                self._is_planned = True
            elif unit.exams:
                self._queue.append(_Task(unit))
                self._largest = max(self._largest, len(unit.exams))
            else:
                yield UnitOutcome((), unit.settled)

    def _wait_seconds(self) -> float:
        has_room = any(len(worker.tickets) < _IN_FLIGHT for worker in self._workers.values())
        return _HUNGRY_SECONDS if has_room and not (self._queue or self._is_planned) else _FULL_SECONDS

    def _submit(self) -> None:
        while self._queue and self._workers:
            number, worker = min(self._workers.items(), key=lambda item: len(item[1].tickets))
            if len(worker.tickets) >= _IN_FLIGHT:
                return
            self.counts["tickets"] += 1
            ticket, task = self.counts["tickets"], self._next_task()
            if not worker.tickets:
                worker.since = self.clock()
            worker.tickets.append(ticket)
            self._tasks[ticket] = task
            self.pool.submit(number, ticket, task.unit.exams)

    def _next_task(self) -> _Task:
        """Take the first task; once all units are planned, no more of it than a fair share of the rest."""
        task = self._queue.popleft()
        if not self._is_planned or task.losses:
            return task
        left = len(task.unit.exams) + sum(len(other.unit.exams) for other in self._queue)
        share = max(ceil(left / (_IN_FLIGHT * len(self._workers))), self._largest // _SMALLEST_SHARE, 1)
        if share >= len(task.unit.exams):
            return task
        first, rest = _cut(task.unit, share)
        self._queue.appendleft(_Task(rest))
        return _Task(first)

    def _handle(self, event: Event) -> Iterator[UnitOutcome]:
        if isinstance(event, Ready):
            self._workers[event.worker] = _Worker(self.clock())
            self.counts["workers"] += 1
            self.announce(len(self._workers))
        elif isinstance(event, Answer):
            yield from self._accept(event)
        elif isinstance(event, Refused):
            self._refuse(event.cause)
        elif event.worker in self._workers:
            yield from self._lose(event.worker, event.cause, is_blameless=event.is_blameless)
        else:
            self._last_cause = event.cause

    def _accept(self, answer: Answer) -> Iterator[UnitOutcome]:
        """Yield an answer, unless its worker had been given up or has answered before."""
        worker = self._workers.get(answer.worker)
        if worker is None or answer.ticket not in worker.tickets:
            self.counts["dropped"] += 1
            return
        worker.tickets.remove(answer.ticket)
        worker.since = self.clock()
        self.counts["answers"] += 1
        yield UnitOutcome(answer.outcomes, self._tasks.pop(answer.ticket).unit.settled)

    def _refuse(self, cause: str) -> None:
        if not self.counts["answers"]:
            raise UsageError(cause)
        self.counts["refused"] += 1
        self._last_cause = cause
        self.note(f"A worker was refused: {cause}")

    def _lose(self, number: int, cause: str, *, is_blameless: bool = False) -> Iterator[UnitOutcome]:
        """Do the units of a lost worker again. It was at work on the oldest one, which alone may be at fault."""
        tickets = self._workers.pop(number).tickets
        self.counts["lost"] += 1
        self.announce(len(self._workers))
        self._last_cause = cause
        self.note(f"Worker {number} is lost ({cause}); units to be done again: {len(tickets)}.")
        for position, ticket in reversed(list(enumerate(tickets))):
            task = self._tasks.pop(ticket)
            self.counts["again"] += 1
            yield from self._again(task.unit, task.losses + (position == 0 and not is_blameless))

    def _again(self, unit: Unit, losses: int) -> Iterator[UnitOutcome]:
        size = len(unit.exams)
        if size == 1 and losses >= _FAIL_AFTER:
            self.note("An examination has ended every worker that it was given to: it fails (reason worker_lost).")
            verdict = Verdict.of(Stage.INFER, Reason.WORKER_LOST)
            yield UnitOutcome((Failure(unit.exams[0], verdict),), unit.settled)
        elif size > 1 and losses >= _CUT_AFTER:
            halves = _cut(unit, size // 2)
            self._queue.extendleft(_Task(half, _CUT_AFTER - 1) for half in reversed(halves))
        else:
            self._queue.appendleft(_Task(unit, losses))

    def _end_silent(self) -> Iterator[UnitOutcome]:
        """End the workers that have had a unit for too long."""
        now = self.clock()
        silent = [
            number for number, worker in self._workers.items() if worker.tickets and now - worker.since > self.patience
        ]
        for number in silent:
            self.pool.end(number)
            yield from self._lose(number, f"no answer within {self.patience:g} s")

    def _check_patience(self, had_worker: float) -> None:
        if not self._workers and self.clock() - had_worker > self.patience:
            raise ClusterError(
                f"no worker could be had for {self.patience:g} s ({self._last_cause}): look at the nodes and their "
                "free processors with ray status, then run the same command to go on, with more --patience if need be"
            )


def _cut(unit: Unit, size: int) -> tuple[Unit, Unit]:
    """Cut a unit behind its first examinations, which keep the other objects."""
    return Unit(unit.exams[:size], unit.settled), Unit(unit.exams[size:], ())


def _merge(outcomes: Iterable[UnitOutcome]) -> Iterator[UnitOutcome]:
    """Join outcomes that came together: one commit takes as long for many examinations as for a few."""
    items, settled = list[Outcome](), list[SettledObject]()
    for outcome in outcomes:
        if items and len(items) + len(outcome.outcomes) > _MOST_COMMITTED:
            yield UnitOutcome(tuple(items), tuple(settled))
            items, settled = [], []
        items += outcome.outcomes
        settled += outcome.settled
    if items or settled:
        yield UnitOutcome(tuple(items), tuple(settled))


class _Planned:
    """A stream that is read in another thread, one unit ahead, so that answers are dealt with meanwhile."""

    def __init__(self, units: Iterator[Unit]) -> None:
        self._units = units
        self._next: Pending[Unit | None] | None = None

    @property
    def is_ready(self) -> bool:
        """True if `take` returns at once."""
        if self._next is None:
            self._next = run_in_background(lambda: next(self._units, None))
        return self._next.done()

    def take(self) -> Unit | None:
        """Return the next unit, None at the end of the stream."""
        pending, self._next = self._next or run_in_background(lambda: next(self._units, None)), None
        return pending.result()

    def close(self) -> None:
        """Wait for the unit that is being read: only then may the stream be closed."""
        if self._next is not None:
            self._next.exception()
