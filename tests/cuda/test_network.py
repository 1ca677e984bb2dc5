"""An engine on a device: the profile that fits, one batch at a time, and refusals that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.cuda.machines import normalise_on
from tests.cuda.runtime import PLAN, FakeLibrary

from bsbatch.cuda.engines import Engine, EngineKey
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.network import TensorRtNetwork, loaded
from bsbatch.cuda.ring import MODEL, Place, Ring
from bsbatch.errors import BackendError

PROFILES = [(1, 1), (2, 3)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    path = tmp_path / "model.engine"
    path.write_bytes(PLAN)
    return Engine(path, EngineKey("tensorrt_rtx", "1.7.1", "sm_89", "fp16", "0" * 16, (1, 3), ("probabilities",)))


@contextmanager
def on_device(
    engine: Engine, room: int = 9, needs: int = 0
) -> Iterator[tuple[FakeDevice, FakeLibrary, TensorRtNetwork]]:
    device = FakeDevice(1 << 26, {"normalise": normalise_on(MODEL)}, FakeHost())
    library = FakeLibrary(device, PROFILES, room, needs)
    with device, loaded(device, library, engine, "image") as network:
        yield device, library, network


def places_of(device: FakeDevice, values: list[float]) -> tuple[list[Place], list[object]]:
    counts, scales = device.pin((len(values), 512, 512), np.uint16), device.pin((len(values), 2, 2), np.float32)
    scales.array[:] = 0
    for place, value in zip(counts.array, values, strict=True):
        place[:] = np.float16(value).view(np.uint16)
    return [Place(*place) for place in zip(counts.array, scales.array, strict=True)], [counts, scales]


@pytest.mark.parametrize("values", [[0.25], [0.5, 0.75], [0.125, 0.25, 0.5]])
def test_a_batch_is_scored_with_the_profile_that_it_fits(engine: Engine, values: list[float]) -> None:
    with on_device(engine) as (device, _, network):
        ring = Ring(device, network, MODEL, (2, 3))
        places, pinned = places_of(device, values)
        scores = ring.wait(ring.submit(places)).probabilities
        assert np.array_equal(scores[:, 1], np.asarray(values, np.float32))
        ring.free()
        for thing in pinned:
            thing.free()  # type: ignore[attr-defined]


def test_a_batch_begins_when_the_one_before_it_has_ended_whatever_stream_is_ready(engine: Engine) -> None:
    with on_device(engine) as (device, library, network):
        ring = Ring(device, network, MODEL, (2, 3))
        places, pinned = places_of(device, [0.1, 0.2, 0.3])
        first, second = ring.submit(places[:1]), ring.submit(places[1:])
        assert (library.begun, library.done) == ([1, 2], [])
        _, _, down = device.streams.values()
        down.work(100)
        assert library.done == [1, 2]
        ring.wait(second)
        assert first.inference is not None
        ring.free()
        for thing in pinned:
            thing.free()  # type: ignore[attr-defined]


def test_an_input_is_filled_anew_as_soon_as_the_library_has_consumed_it_and_not_before(engine: Engine) -> None:
    """The third batch goes where the first one lies: it is up before the first is computed, and harms it not."""
    values = [0.125, 0.25, 0.5]
    with on_device(engine) as (device, library, network):
        ring = Ring(device, network, MODEL, (3, 1))
        places, pinned = places_of(device, values)
        tickets = [ring.submit([place]) for place in places]
        up, _, _ = device.streams.values()
        up.work(100)
        assert ring.uploaded() == places
        assert library.done == []
        found = [float(ring.wait(ticket).probabilities[0, 1]) for ticket in tickets]
        assert found == values
        ring.free()
        for thing in pinned:
            thing.free()  # type: ignore[attr-defined]


def test_profiles_that_there_is_no_memory_for_are_left_out(engine: Engine) -> None:
    with on_device(engine, room=1) as (device, _, network):
        assert network.largest == 1
        stream, event = device.stream(), device.event()
        with pytest.raises(MemoryError, match="no context for a batch of 2"):
            network.enqueue(2, 0, [0], stream, event)
        stream.free()
        event.free()


def test_no_memory_for_any_profile_is_refused_with_what_to_do(engine: Engine) -> None:
    with pytest.raises(BackendError, match=r"no memory on the GPU to run .*model\.engine"), on_device(engine, room=0):
        pass


@pytest.mark.parametrize(("needs", "largest"), [(1 << 24, 3), (1 << 25, 1)])
def test_a_profile_that_needs_more_memory_than_is_free_gets_no_context(
    needs: int, largest: int, engine: Engine
) -> None:
    with on_device(engine, needs=needs) as (_, _, network):
        assert network.largest == largest


def test_a_device_without_memory_for_the_smallest_profile_says_what_to_do(engine: Engine) -> None:
    with pytest.raises(BackendError, match="nvidia-smi names them"), on_device(engine, needs=1 << 27):
        pass


def test_an_engine_that_the_library_refuses_is_named(engine: Engine) -> None:
    engine.path.write_bytes(b"another plan")
    with pytest.raises(BackendError, match=r"model\.engine cannot be loaded here: compile it"), on_device(engine):
        pass


def test_a_batch_that_the_library_refuses_ends_the_run(engine: Engine) -> None:
    with on_device(engine) as (device, library, network):
        library.profiles[1] = (9, 9)
        ring = Ring(device, network, MODEL, (2, 3))
        places, pinned = places_of(device, [0.1, 0.2])
        with pytest.raises(BackendError, match="refuses a batch of 2: compile it again"):
            ring.submit(places)
        library.profiles[1] = (2, 3)
        ring.free()
        for thing in pinned:
            thing.free()  # type: ignore[attr-defined]
