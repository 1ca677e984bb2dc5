"""A pool in virtual time, whose workers die, hang, answer late and answer twice."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from bsbatch.executors.dispatch import Answer, Event, Lost, Ready
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, Failure, ObjectRef, Outcome, SettledObject, Unit

SCORED = Verdict(Stage.INFER, Reason.SCORE_INVALID, "stands for a score")


def exam(number: int) -> Examination:
    return Examination(f"{number:032x}", (), None, None)


def units(sizes: Sequence[int]) -> list[Unit]:
    """Units of these sizes, each with one object that belongs to no examination."""
    numbers = count()
    return [
        Unit(
            tuple(exam(next(numbers)) for _ in range(size)),
            (SettledObject(ObjectRef(f"object-{position}", "", 0, ""), None, SCORED),),
        )
        for position, size in enumerate(sizes)
    ]


@dataclass(slots=True)
class Habits:
    """How often what happens, each in [0, 1], for one ticket."""

    dies: float = 0.0
    hangs: float = 0.0
    answers_twice: float = 0.0
    joins: float = 0.0
    seconds: float = 1.0
    """Time of one examination, on average."""
    poison: frozenset[str] = frozenset()
    """Examinations that end their worker."""


@dataclass(slots=True)
class FakePool:
    """Workers that do one ticket after the other; one that dies is replaced after some seconds."""

    luck: random.Random
    habits: Habits = field(default_factory=Habits)
    most: int = 3
    replaces: bool = True
    now: float = 0.0
    busy: float = 0.0
    ended: set[int] = field(default_factory=set)
    _events: list[tuple[float, int, Event]] = field(default_factory=list)
    _tickets: dict[int, deque[tuple[int, Sequence[Examination]]]] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        for _ in range(self.most):
            self.join()

    def join(self) -> None:
        self._later(self.luck.uniform(1, 20), Ready(next(self._numbers)))

    def submit(self, worker: int, ticket: int, exams: Sequence[Examination]) -> None:
        assert len(exams) > 0
        assert worker not in self.ended
        waiting = self._tickets.setdefault(worker, deque())
        waiting.append((ticket, exams))
        assert len(waiting) <= 2, "more than two units are in flight"
        if len(waiting) == 1:
            self._begin(worker)

    def wait(self, seconds: float) -> Sequence[Event]:
        if not self._events or self._events[0][0] > self.now + seconds:
            self.now += seconds
            return ()
        self.now, _, event = heappop(self._events)
        if isinstance(event, Answer):
            self._continue(event)
        return (event,)

    def end(self, worker: int) -> None:
        self.ended.add(worker)
        if self.replaces:
            self.join()

    def _continue(self, answer: Answer) -> None:
        waiting = self._tickets.get(answer.worker)
        if waiting and waiting[0][0] == answer.ticket:
            waiting.popleft()
            if waiting:
                self._begin(answer.worker)

    def _begin(self, worker: int) -> None:
        ticket, exams = self._tickets[worker][0]
        habits, luck = self.habits, self.luck
        seconds = habits.seconds * len(exams) * luck.uniform(0.5, 1.5)
        if habits.poison & {item.exam_id for item in exams} or luck.random() < habits.dies:
            self._later(seconds, Lost(worker, "killed"))
            self._tickets.pop(worker)
            if self.replaces:
                self.join()
        elif luck.random() < habits.hangs:
            if luck.random() < 0.5:  # it wakes up after it was given up
                self._later(luck.uniform(100, 2000), Answer(worker, ticket, answer_to(exams)))
        else:
            self.busy += seconds
            self._later(seconds, Answer(worker, ticket, answer_to(exams)))
            if luck.random() < habits.answers_twice:
                self._later(seconds * luck.uniform(1, 3), Answer(worker, ticket, answer_to(exams)))
        if luck.random() < habits.joins:
            self.join()

    def _later(self, seconds: float, event: Event) -> None:
        heappush(self._events, (self.now + seconds, next(self._numbers) + 1_000_000, event))


def answer_to(exams: Sequence[Examination]) -> tuple[Outcome, ...]:
    return tuple(Failure(item, SCORED) for item in exams)
