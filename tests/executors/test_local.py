from collections.abc import Generator, Iterable

from tests.executors.pools import answer_to, units

from bsbatch.executors.local import LocalExecutor
from bsbatch.records import Unit, UnitOutcome


def test_a_stop_ends_behind_the_unit_in_hand_and_closes_what_works() -> None:
    closed = list[bool]()

    def work(stream: Iterable[Unit]) -> Generator[UnitOutcome, None, None]:
        try:
            for unit in stream:
                yield UnitOutcome(answer_to(unit.exams), unit.settled)
        finally:
            closed.append(True)

    outcomes = list[UnitOutcome]()
    for outcome in LocalExecutor(work).run(units([1] * 9), lambda: len(outcomes) == 3):
        outcomes.append(outcome)
    assert len(outcomes) == 3
    assert closed == [True]
