"""Kernels of TensorRT-RTX are compiled before a batch is computed, once for a machine; TensorRT has none to compile."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cuda.machines import normalise_on
from tests.cuda.runtime import PLAN, FakeLibrary

from bsbatch.cuda import kernel_cache
from bsbatch.cuda.device import Freeable
from bsbatch.cuda.engines import PRECISION, Engine, EngineKey
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.network import load_network
from bsbatch.cuda.ring import MODEL_SHAPE

KEY = EngineKey("tensorrt_rtx", "1.7.1", "sm_89", PRECISION, "0" * 16, (1, 3), ("probabilities",))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of the engine's kernels, in an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bsbatch" / "kernels" / f"tensorrt_rtx.sm_89-1.7.1-{'0' * 16}"


def run_process(folder: Path, batches: Sequence[int], key: EngineKey = KEY) -> list[int]:
    """Compute batches as a process of its own; return the sizes that waited for kernels."""
    path = folder / "model.engine"
    path.write_bytes(PLAN)
    device = FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, FakeHost())
    library = FakeLibrary(device, [(1, 1), (2, 3)], name=key.library)
    with device, load_network(device, library, Engine(path, key), "image") as network:
        blank, image, scores = device.pin((3, 512, 512), np.float16), device.allocate(3 << 19), device.allocate(24)
        stream, event = device.stream(), device.event()
        blank.array[:] = 0
        stream.upload(blank.array, image.address)
        for batch in batches:
            network.enqueue(batch, image.address, [scores.address], stream, event)
        stream.record(event)
        event.wait()
        owned: list[Freeable] = [blank, image, scores, stream, event]
        for resource in owned:
            resource.free()
    return library.waited


def test_kernels_are_compiled_once_for_each_batch_size_and_kept_for_the_next_process(
    kernels: Path, tmp_path: Path
) -> None:
    assert run_process(tmp_path, [3, 1, 3]) == [3, 1]
    assert kernels.read_bytes() == b"kernels 1 3"
    assert run_process(tmp_path, [1, 2, 3]) == [2]
    assert run_process(tmp_path, [1, 2, 3]) == []


def test_another_graph_or_version_has_kernels_of_its_own(kernels: Path, tmp_path: Path) -> None:
    assert run_process(tmp_path, [1]) == [1]
    assert run_process(tmp_path, [1], replace(KEY, graph="1" * 16)) == [1]
    assert run_process(tmp_path, [1], replace(KEY, version="1.8.0")) == [1]
    assert len(list(kernels.parent.glob("tensorrt_rtx*"))) == 3


def test_kernels_that_the_library_refuses_are_compiled_again(kernels: Path, tmp_path: Path) -> None:
    kernels.parent.mkdir(parents=True)
    kernels.write_bytes(b"of another GPU")
    assert run_process(tmp_path, [1]) == [1]
    assert kernels.read_bytes() == b"kernels 1"


def test_kernels_are_not_kept_without_a_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise OSError("no home")

    monkeypatch.setattr(kernel_cache, "cache_folder", nowhere)
    assert run_process(tmp_path, [1]) == [1]


def test_an_engine_of_tensorrt_has_its_kernels_in_it(kernels: Path, tmp_path: Path) -> None:
    """The stand-in refuses a runtime configuration there, and anything else with TensorRT-RTX."""
    run_process(tmp_path, [1], replace(KEY, library="tensorrt"))
    assert not kernels.parent.exists()
