import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from tests.executors.pools import FakePool, Habits, exam, units

from bsbatch.errors import ClusterError, UsageError
from bsbatch.executors.dispatch import Dispatcher, Event, Refused
from bsbatch.reasons import Reason
from bsbatch.records import Failure, Unit, UnitOutcome

PATIENCE = 600.0


def dispatch(
    pool: FakePool, planned: list[Unit], notes: list[str] | None = None
) -> tuple[Dispatcher, list[UnitOutcome]]:
    note = (lambda _: None) if notes is None else notes.append
    dispatcher = Dispatcher(pool, PATIENCE, note, clock=lambda: pool.now)
    return dispatcher, list(dispatcher.run(planned))


def reasons(outcomes: list[UnitOutcome]) -> dict[str, Reason]:
    """The reason of each examination; there must be one outcome for each."""
    items = [item for outcome in outcomes for item in outcome.outcomes]
    counts = Counter(item.exam.exam_id for item in items)
    assert set(counts.values()) <= {1}, "an examination has two outcomes"
    return {item.exam.exam_id: item.verdict.reason for item in items if isinstance(item, Failure)}


def settled(outcomes: list[UnitOutcome]) -> list[str]:
    return sorted(item.ref.source for outcome in outcomes for item in outcome.settled)


def expected(planned: list[Unit]) -> tuple[set[str], list[str]]:
    exams = {item.exam_id for unit in planned for item in unit.exams}
    return exams, sorted(item.ref.source for unit in planned for item in unit.settled)


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happens_to_workers_no_examination_is_lost_and_none_comes_twice(seed: int) -> None:
    luck = random.Random(seed)
    planned = units([luck.choice([0, 1, 2, 7, 16]) for _ in range(luck.randint(1, 25))])
    exams, objects = expected(planned)
    poison = frozenset(luck.sample(sorted(exams), min(len(exams), luck.choice([0, 0, 1, 2]))))
    dies, hangs, twice, joins = (luck.choice([0.0, 0.05, 0.2]) for _ in range(4))
    habits = Habits(dies, hangs, twice, joins, poison=poison)
    pool = FakePool(luck, habits, most=luck.randint(1, 6))

    _, outcomes = dispatch(pool, planned)

    found = reasons(outcomes)
    assert set(found) == exams
    assert settled(outcomes) == objects
    failed = {name for name, reason in found.items() if reason is Reason.WORKER_LOST}
    assert poison <= failed
    if not habits.dies and not habits.hangs:
        assert failed == poison


def test_an_undisturbed_stream_is_not_cut_but_at_its_end() -> None:
    pool = FakePool(random.Random(1), most=2)
    planned = units([16] * 40)
    dispatcher, outcomes = dispatch(pool, planned)
    sizes = [len(outcome.outcomes) for outcome in outcomes]
    assert sizes[:30] == [16] * 30
    assert min(sizes) == 2 == sizes[-1]
    assert dispatcher.counts["again"] == dispatcher.counts["lost"] == 0


def test_answers_that_come_together_are_committed_together() -> None:
    class Together(FakePool):
        def wait(self, seconds: float) -> list[Event]:
            return [event for _ in range(4) for event in super(Together, self).wait(seconds)]

    _, outcomes = dispatch(Together(random.Random(1), most=4), planned := units([100] * 12))
    assert set(reasons(outcomes)) == expected(planned)[0]
    assert settled(outcomes) == expected(planned)[1]
    sizes = [len(outcome.outcomes) for outcome in outcomes]
    assert 100 < max(sizes) <= 256


def test_two_workers_end_at_about_the_same_time() -> None:
    pool = FakePool(random.Random(1), Habits(seconds=1.0), most=2)
    dispatch(pool, units([16] * 20))
    assert pool.busy > 0.9 * 2 * (pool.now - 20)


def test_one_examination_that_ends_its_workers_fails_and_its_neighbours_are_scored() -> None:
    planned = units([8, 8, 8])
    poison = planned[1].exams[5].exam_id
    notes: list[str] = []
    dispatcher, outcomes = dispatch(
        FakePool(random.Random(3), Habits(poison=frozenset({poison})), most=2), planned, notes
    )
    found = reasons(outcomes)
    assert [name for name, reason in found.items() if reason is Reason.WORKER_LOST] == [poison]
    assert len(found) == 24
    assert dispatcher.counts["lost"] <= 6
    assert any("worker_lost" in note for note in notes)


def test_workers_that_die_of_themselves_cost_no_examination_of_a_unit() -> None:
    """A unit that was only waiting before a lost worker is not at fault."""
    pool = FakePool(random.Random(5), Habits(dies=0.1), most=4)
    _, outcomes = dispatch(pool, units([4] * 60))
    assert set(reasons(outcomes).values()) == {Reason.SCORE_INVALID}


def test_a_worker_without_an_answer_is_ended_and_its_late_answer_dropped() -> None:
    pool = FakePool(random.Random(2), Habits(hangs=0.2), most=3)
    dispatcher, outcomes = dispatch(pool, units([3] * 40))
    assert len(reasons(outcomes)) == 120
    assert pool.ended
    assert dispatcher.counts["lost"] == len(pool.ended)
    assert dispatcher.counts["dropped"]


def test_every_change_of_the_number_of_workers_is_announced() -> None:
    announced = list[int]()
    pool = FakePool(random.Random(7), Habits(dies=0.2), most=3)
    dispatcher = Dispatcher(pool, PATIENCE, announce=announced.append, clock=lambda: pool.now)
    list(dispatcher.run(units([3] * 40)))
    assert announced[0] == 1
    assert {abs(after - before) for before, after in pairwise(announced)} == {1}
    assert len(announced) == dispatcher.counts["workers"] + dispatcher.counts["lost"] > 3


def test_without_any_worker_the_run_stops_once_patience_is_over() -> None:
    pool = FakePool(random.Random(2), Habits(dies=1.0), most=2, replaces=False)
    with pytest.raises(ClusterError, match=r"no worker could be had for 600 s \(killed\).*ray status"):
        dispatch(pool, units([2, 2]))
    assert PATIENCE < pool.now < PATIENCE + 100


def test_a_worker_that_joins_late_goes_on_where_all_others_were_lost() -> None:
    pool = FakePool(random.Random(2), Habits(dies=0.5), most=1, replaces=False)
    pool.habits.joins = 1.0
    _, outcomes = dispatch(pool, units([2] * 10))
    assert len(reasons(outcomes)) == 20


def test_objects_without_an_examination_need_no_worker() -> None:
    pool = FakePool(random.Random(2), most=0)
    _, outcomes = dispatch(pool, units([0, 0]))
    assert settled(outcomes) == ["object-0", "object-1"]


def test_a_stop_waits_for_the_units_that_workers_are_at_and_begins_no_other() -> None:
    pool, seen = FakePool(random.Random(3), most=4), list[tuple[int, int]]()

    def is_stopping() -> bool:
        if len(outcomes) >= 5 and not seen:
            seen.append((len(outcomes), dispatcher.counts["tickets"]))
        return bool(seen)

    dispatcher, outcomes = Dispatcher(pool, PATIENCE, clock=lambda: pool.now), list[UnitOutcome]()
    for outcome in dispatcher.run(units([4] * 60), is_stopping):
        outcomes.append(outcome)
    ((before, tickets),) = seen
    assert dispatcher.counts["tickets"] == tickets
    assert before + 4 <= len(outcomes) <= before + 8  # four workers, each of which may have begun with its next unit
    assert len(reasons(outcomes)) == 4 * len(outcomes)


def test_a_stop_does_not_wait_for_workers_that_hang_or_come_later() -> None:
    pool = FakePool(random.Random(3), Habits(hangs=1.0), most=2)
    dispatcher = Dispatcher(pool, PATIENCE, clock=lambda: pool.now)
    outcomes = list(dispatcher.run(units([4] * 60), lambda: pool.now > 50))
    assert dispatcher.counts["lost"] + len(outcomes) == 2  # one that wakes up in time may answer
    assert dispatcher.counts["lost"] > 0
    assert PATIENCE < pool.now < PATIENCE + 60

    alone = FakePool(random.Random(3), most=0)
    assert list(Dispatcher(alone, PATIENCE, clock=lambda: alone.now).run(units([4]), lambda: alone.now > 50)) == []
    assert 50 < alone.now < 60


class RefusingPool(FakePool):
    """A pool one of whose workers is refused at a time."""

    refused_at = 0.0

    def wait(self, seconds: float) -> "Iterator[Event] | list[Event]":  # type: ignore[override]  # a list is a sequence
        if self.refused_at <= self.now:
            self.refused_at = 1e9
            return [Refused("another bsbatch")]
        return list(super().wait(seconds))


def test_a_worker_that_is_refused_at_the_start_is_an_error() -> None:
    with pytest.raises(UsageError, match="another bsbatch"):
        dispatch(RefusingPool(random.Random(2)), units([2]))


def test_a_worker_that_is_refused_later_is_noted_and_not_used() -> None:
    pool, notes = RefusingPool(random.Random(2)), list[str]()
    pool.refused_at = 60.0
    dispatcher, outcomes = dispatch(pool, units([2] * 100), notes)
    assert len(reasons(outcomes)) == 200
    assert dispatcher.counts["refused"] == 1
    assert "another bsbatch" in notes[0]


def test_an_error_of_the_plan_is_raised() -> None:
    def planned() -> Iterator[Unit]:
        yield Unit((exam(1),), ())
        raise ValueError("listing")

    pool = FakePool(random.Random(2))
    with pytest.raises(ValueError, match="listing"):
        list(Dispatcher(pool, PATIENCE, clock=lambda: pool.now).run(planned()))
