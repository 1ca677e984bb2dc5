import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.waiting import PATIENCE, threads_named, wait_until

from bsbatch.errors import OutputError
from bsbatch.host import replay
from bsbatch.host.replay import Replay


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3 * replay._BLOCK), st.integers(1, 3))
def test_every_iteration_yields_all_items_of_an_iterable_that_is_consumed_once(length: int, times: int) -> None:
    consumed = iter(range(length))
    with Replay(consumed) as items:
        for _ in range(times):
            assert list(items) == list(range(length))
        assert items.count() == length


def test_an_item_is_there_as_soon_as_it_was_produced() -> None:
    go_on = threading.Event()

    def produced() -> Iterator[str]:
        yield "first"
        assert go_on.wait(PATIENCE)
        yield "second"

    with Replay(produced()) as items:
        iterator = iter(items)
        assert next(iterator) == "first"
        go_on.set()
        assert list(iterator) == ["second"]


def test_readers_at_different_positions_do_not_disturb_each_other() -> None:
    with Replay(range(5 * replay._BLOCK)) as items:
        first, second = iter(items), iter(items)
        for _ in range(replay._BLOCK + 7):
            next(first)
        assert list(second) == list(range(5 * replay._BLOCK))
        assert list(first) == list(range(replay._BLOCK + 7, 5 * replay._BLOCK))


@pytest.mark.parametrize("length", [0, 3, replay._BLOCK, replay._BLOCK + 1])
def test_an_error_comes_after_the_items_before_it_in_every_iteration(length: int) -> None:
    def failing() -> Iterator[int]:
        yield from range(length)
        raise ValueError("no more")

    with Replay(failing()) as items:
        for _ in range(2):
            found: list[int] = []
            with pytest.raises(ValueError, match="no more"):
                found.extend(items)
            iterator = iter(items)
            assert [next(iterator) for _ in range(length)] == list(range(length))
        with pytest.raises(ValueError, match="no more"):
            items.count()


def test_the_end_of_the_block_ends_an_endless_iterable_and_closes_it() -> None:
    is_closed = threading.Event()

    def endless() -> Iterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            is_closed.set()

    with Replay(endless()) as items:
        assert next(iter(items)) == 0

    assert is_closed.is_set()
    wait_until(lambda: not threads_named("bsbatch-replay"))


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with Replay(range(3 * replay._BLOCK), tmp_path) as items:
        assert items.count() == 3 * replay._BLOCK
        assert not list(tmp_path.iterdir())


def test_a_full_disk_stops_the_readers_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, _offset: int) -> None: ...

        def write(self, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(replay, "TemporaryFile", lambda **_: Full())
    with Replay(range(2 * replay._BLOCK)) as items, pytest.raises(OutputError, match="Make room"):
        list(items)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent"), Replay([1], tmp_path / "absent"):
        pass
