"""An engine on a device: the profile that fits, one batch at a time, and refusals with advice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.cuda.machines import normalise_on
from tests.cuda.runtime import PLAN, FakeLibrary

from bsbatch.cuda.device import DeviceError
from bsbatch.cuda.engines import PRECISION, Engine, EngineKey
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.network import TensorRtNetwork, load_network
from bsbatch.cuda.ring import MODEL_SHAPE, Ring
from bsbatch.errors import BackendError
from bsbatch.records import PinnedImage

PROFILES = [(1, 1), (2, 3)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    path = tmp_path / "model.engine"
    path.write_bytes(PLAN)
    return Engine(path, EngineKey("tensorrt_rtx", "1.7.1", "sm_89", PRECISION, "0" * 16, (1, 3), ("probabilities",)))


@contextmanager
def on_device(
    engine: Engine, contexts: int = 9, needs: int = 0
) -> Iterator[tuple[FakeDevice, FakeLibrary, TensorRtNetwork]]:
    device = FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, FakeHost())
    library = FakeLibrary(device, PROFILES, contexts, needs)
    with device, load_network(device, library, engine, "image") as network:
        yield device, library, network


@contextmanager
def images_of(device: FakeDevice, values: list[float]) -> Iterator[list[PinnedImage]]:
    counts, scales = device.pin((len(values), 512, 512), np.uint16), device.pin((len(values), 2, 2), np.float32)
    scales.array[:] = 0
    for pixels, value in zip(counts.array, values, strict=True):
        pixels[:] = np.float16(value).view(np.uint16)
    yield [PinnedImage(*pair) for pair in zip(counts.array, scales.array, strict=True)]
    counts.free()
    scales.free()


@pytest.mark.parametrize("values", [[0.25], [0.5, 0.75], [0.125, 0.25, 0.5]])
def test_a_batch_is_scored_with_the_profile_that_it_fits(engine: Engine, values: list[float]) -> None:
    with on_device(engine) as (device, _, network), images_of(device, values) as images:
        ring = Ring(device, network, MODEL_SHAPE, slots=2, batch=3)
        scores = ring.wait(ring.submit(images)).probabilities
        assert np.array_equal(scores[:, 1], np.asarray(values, np.float32))
        ring.free()


def test_a_batch_begins_after_the_previous_one_has_ended_whichever_stream_is_ready(engine: Engine) -> None:
    with on_device(engine) as (device, library, network), images_of(device, [0.1, 0.2, 0.3]) as images:
        ring = Ring(device, network, MODEL_SHAPE, slots=2, batch=3)
        first, second = ring.submit(images[:1]), ring.submit(images[1:])
        assert (library.begun, library.done) == ([1, 2], [])
        _, _, down = device.streams.values()
        down.work(100)
        assert library.done == [1, 2]
        ring.wait(second)
        assert first.inference is not None
        ring.free()


def test_an_input_is_refilled_as_soon_as_the_library_has_consumed_it_and_not_before(engine: Engine) -> None:
    """The third batch goes to the first one's input: it is uploaded before the first is computed and does no harm."""
    values = [0.125, 0.25, 0.5]
    with on_device(engine) as (device, library, network), images_of(device, values) as images:
        ring = Ring(device, network, MODEL_SHAPE, slots=3, batch=1)
        batches = [ring.submit([image]) for image in images]
        up, _, _ = device.streams.values()
        up.work(100)
        assert ring.poll_uploaded() == images
        assert library.done == []
        assert [float(ring.wait(batch).probabilities[0, 1]) for batch in batches] == values
        ring.free()


def test_profiles_beyond_the_memory_are_left_out(engine: Engine) -> None:
    with on_device(engine, contexts=1) as (device, _, network):
        assert network.largest == 1
        stream, event = device.stream(), device.event()
        with pytest.raises(MemoryError, match="no context for a batch of 2"):
            network.enqueue(2, 0, [0], stream, event)
        stream.free()
        event.free()


def test_no_memory_for_any_profile_is_refused_with_advice(engine: Engine) -> None:
    with (
        pytest.raises(BackendError, match=r"no memory on the GPU to run .*model\.engine"),
        on_device(engine, contexts=0),
    ):
        pass


def test_the_contexts_of_all_profiles_share_one_workspace(engine: Engine) -> None:
    with on_device(engine, needs=1 << 20) as (device, library, network):
        assert network.largest == 3
        assert library.workspaces == [(library.workspaces[0][0], 3 << 20)] * 2
        assert device.free_memory() == device.memory - (3 << 20)
    with device:
        assert device.free_memory() == device.memory


@pytest.mark.parametrize(("needs", "largest"), [(1 << 24, 3), (1 << 25, 1)])
def test_a_profile_that_needs_more_memory_than_is_free_gets_no_context(
    needs: int, largest: int, engine: Engine
) -> None:
    with on_device(engine, needs=needs) as (_, _, network):
        assert network.largest == largest


def test_a_device_without_memory_for_the_smallest_profile_is_refused_with_advice(engine: Engine) -> None:
    with pytest.raises(BackendError, match="nvidia-smi names them"), on_device(engine, needs=1 << 27):
        pass


def test_an_engine_that_the_library_refuses_is_named(engine: Engine) -> None:
    engine.path.write_bytes(b"another plan")
    with (
        pytest.raises(BackendError, match=r"engine cannot be loaded here \(the plan is of another version\): compile"),
        on_device(engine),
    ):
        pass


def test_a_batch_that_the_library_refuses_ends_the_run(engine: Engine) -> None:
    with on_device(engine) as (device, library, network), images_of(device, [0.1, 0.2]) as images:
        library.profiles[1] = (9, 9)
        ring = Ring(device, network, MODEL_SHAPE, slots=2, batch=3)
        with pytest.raises(BackendError, match=r"refuses a batch of 2 \(the shape is outside .*: compile it again"):
            ring.submit(images)
        library.profiles[1] = (2, 3)
        ring.free()


def test_a_batch_that_the_library_cannot_compute_ends_the_run_with_its_message(engine: Engine) -> None:
    """Such a failure is no fault of the engine: nothing advises to compile it again."""
    with on_device(engine) as (device, library, network), images_of(device, [0.1, 0.2]) as images:
        library.fails = True
        ring = Ring(device, network, MODEL_SHAPE, slots=2, batch=3)
        with pytest.raises(BackendError, match=r"failed on a batch of 2 \(Cask convolution execution\)") as failed:
            ring.submit(images)
        assert "compile" not in str(failed.value)
        ring.free()


def test_the_message_of_the_library_survives_a_device_that_fails_with_it(engine: Engine) -> None:
    def fail(*_: object) -> None:
        raise DeviceError("an illegal memory access was encountered")

    with on_device(engine) as (device, library, network), images_of(device, [0.1, 0.2]) as images:
        library.fails, device._kernels = True, {"normalise": fail}
        ring = Ring(device, network, MODEL_SHAPE, slots=2, batch=3)
        with pytest.raises(BackendError, match="Cask convolution execution"):
            ring.submit(images)
        assert device.ownership.is_broken
        ring.free()
