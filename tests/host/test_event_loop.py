import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from bsbatch.host.event_loop import wait_for


async def _double(number: int) -> int:
    await asyncio.sleep(0.001)
    return 2 * number


def test_many_threads_wait_for_results_of_their_own() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: wait_for(_double(number)), range(64))) == list(range(0, 128, 2))


def test_a_thread_with_a_running_loop_may_wait_as_well() -> None:
    async def run_in_notebook() -> int:
        return wait_for(_double(21))

    assert asyncio.run(run_in_notebook()) == 42


def test_errors_come_to_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        wait_for(fail())
