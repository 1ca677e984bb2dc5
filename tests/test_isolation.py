import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bsbatch.errors import ItemError, WorkerLostError
from bsbatch.isolation import Isolation, answer_of


@pytest.fixture
def isolation() -> Iterator[Isolation]:
    with Isolation(seconds=5.0) as workers:
        yield workers


def test_a_call_gives_what_the_function_gives_in_another_process(isolation: Isolation) -> None:
    assert isolation.call(divmod, 7, 3) == (2, 1)
    assert isolation.call(os.getpid) != os.getpid()
    assert isolation.call(np.ones, (2, 3)).shape == (2, 3)


def test_a_worker_serves_one_call_after_the_other(isolation: Isolation) -> None:
    assert isolation.call(os.getpid) == isolation.call(os.getpid)


def test_an_error_comes_back_as_it_was(isolation: Isolation) -> None:
    with pytest.raises(ZeroDivisionError):
        isolation.call(divmod, 1, 0)
    assert isolation.call(divmod, 7, 3) == (2, 1)


def test_our_own_errors_survive_the_way() -> None:
    error = ItemError("decode_failed", "words")
    copy = type(error)(*error.args)
    assert (copy.reason, str(copy)) == ("decode_failed", "words")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_dies_costs_one_call(isolation: Isolation, number: signal.Signals) -> None:
    with pytest.raises(WorkerLostError, match="died"):
        isolation.call(signal.raise_signal, number)
    assert isolation.call(divmod, 7, 3) == (2, 1)


def test_a_call_that_never_ends_is_given_up() -> None:
    with Isolation(seconds=1.0) as isolation, pytest.raises(WorkerLostError, match="no answer within 1 s"):
        isolation.call(time.sleep, 60)


def test_calls_of_several_threads_do_not_disturb_one_another(isolation: Isolation) -> None:
    answers: dict[int, tuple[int, int]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            answers[number] = isolation.call(divmod, number, 3)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {number: divmod(number, 3) for number in range(4)}


def test_nothing_is_left_behind() -> None:
    with Isolation() as isolation:
        worker = isolation.call(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_program_of_the_system_answers_or_there_is_no_answer() -> None:
    assert answer_of([sys.executable, "-c", "print(' 42 ')"]) == "42"
    assert answer_of([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert answer_of(["no-such-program-of-this-system"]) is None
