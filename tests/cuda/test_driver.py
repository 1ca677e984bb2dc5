"""Direct calls of the driver, which is a recorder: how the host waits, and when it lets go of the interpreter lock."""

import ctypes
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bsbatch.cuda import driver_api
from bsbatch.cuda.device import MisuseError
from bsbatch.cuda.driver import CudaDevice, CudaStream
from bsbatch.cuda.driver_api import DriverApi

BLOCKING_SYNC = 1
"""``CU_EVENT_BLOCKING_SYNC``."""


class Recorder:
    """A driver's library, opened so that its calls keep the interpreter lock, or let go of it."""

    def __init__(self, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            self._calls.append((name, arguments))
            return 0

        return call


class Calls:
    """Calls of the driver by the way in which they were made."""

    def __init__(self) -> None:
        self.holding: list[tuple[str, tuple[Any, ...]]] = []
        self.waiting: list[tuple[str, tuple[Any, ...]]] = []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    opened = SimpleNamespace(PyDLL=lambda _: Recorder(calls.holding), CDLL=lambda _: Recorder(calls.waiting))
    monkeypatch.setattr(driver_api, "ctypes", opened)
    return calls


@pytest.fixture
def device(calls: Calls) -> Iterator[CudaDevice]:
    """A device that is entered, without pycuda."""
    device = CudaDevice(0)
    device.ownership.acquire()
    device._api, device.driver = DriverApi(), SimpleNamespace(Stream=lambda: SimpleNamespace(handle=77))  # type: ignore[assignment]
    yield device
    device.ownership.is_broken = True  # nothing is freed by a recorder
    device.ownership.release()


def test_only_waiting_lets_go_of_the_interpreter_lock(device: CudaDevice, calls: Calls) -> None:
    stream, event, array = CudaStream(device), device.event(), np.zeros(8, np.uint16)

    stream.upload(array, 4096)
    stream.download(4096, array)
    stream.record(event)
    stream.follow(event)
    assert event.is_done
    event.wait()

    assert [name for name, _ in calls.waiting] == ["cuEventSynchronize"]
    names = ["cuEventCreate", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuStreamWaitEvent"]
    assert [name for name, _ in calls.holding] == [*names, "cuEventQuery"]


def test_the_host_sleeps_until_an_event_instead_of_spinning(device: CudaDevice, calls: Calls) -> None:
    device.event()

    (_, (_, flags)) = calls.holding[0]
    assert flags == BLOCKING_SYNC


def test_a_copy_names_address_size_and_stream(device: CudaDevice, calls: Calls) -> None:
    array = np.zeros((4, 2), np.uint16)

    CudaStream(device).upload(array[1:], 1 << 40)

    (_, (target, source, size, stream)) = calls.holding[0]
    assert (target.value, source.value, size.value, stream.value) == (1 << 40, array.ctypes.data + 4, 12, 77)
    assert isinstance(target, ctypes.c_uint64)


def test_a_copy_of_an_array_that_is_not_contiguous_is_refused(device: CudaDevice) -> None:
    with pytest.raises(MisuseError, match="not contiguous"):
        CudaStream(device).upload(np.zeros((4, 2), np.uint16)[:, 0], 0)
