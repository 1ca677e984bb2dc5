"""The kernel's source, compiled for the host, gives the engine's image rounded to float16, bit for bit."""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from bsbatch.errors import ItemError
from bsbatch.imaging.preprocess import compact, compose

SHIM = Path(__file__).parent / "shim"
KERNELS = Path(__file__).parents[2] / "engine" / "bsbatch" / "cuda" / "kernels"
GPP, NVCC, PTXAS = shutil.which("g++"), shutil.which("nvcc"), shutil.which("ptxas")
PTX_VERSION = ".version 6.3"
"""Of CUDA 10.0, the lowest that admits sm_75: a driver refuses a version above its own."""
THREADS = 256
PIXELS = 512 * 512

View = NDArray[np.uint8 | np.uint16 | np.float32]
Views = tuple[View, View]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if GPP is None:
        pytest.skip("there is no g++ to compile the kernel with")
    out = tmp_path_factory.mktemp("shim") / "launch.so"
    # no contraction to fused multiply-adds, which the host compiler may do and the kernel's division excludes
    options = ["-std=c++17", "-O2", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([GPP, *options, f"-I{SHIM}", f"-I{KERNELS}", "-o", out, SHIM / "launch.cpp"], check=True)
    return ctypes.CDLL(str(out))


def launch(library: ctypes.CDLL, counts: NDArray[np.uint16], scales: NDArray[np.float32]) -> NDArray[np.float16]:
    image = np.zeros(counts.shape, np.float16)
    blocks = -(-counts.size // THREADS)
    arrays = (ctypes.c_void_p(array.ctypes.data) for array in (counts, scales, image))
    library.launch(blocks, THREADS, *arrays, ctypes.c_uint(counts.size))
    return image


def poisson(seed: int, mean: float, dtype: DTypeLike, shape: tuple[int, int] = (1024, 256)) -> Views:
    random = np.random.default_rng(seed)
    spots = [np.where(random.random(shape) < 0.01, 40.0, 1.0) for _ in range(2)]
    first, second = (random.poisson(mean * each).astype(dtype) for each in spots)
    return first, second


def above_zero(anterior: View, posterior: View) -> Views:
    return anterior + np.uint16(7), posterior + np.uint16(9)


KINDS: dict[str, Callable[[int], Views]] = {
    "the common matrix of uint16": lambda seed: poisson(seed, 3.0, np.uint16),
    "counts whose sums just fit 16 bits": lambda seed: poisson(seed, 800.0, np.uint16),
    "sums beyond 16 bits": lambda seed: poisson(seed, 1500.0, np.uint16),
    "uint8": lambda seed: poisson(seed, 2.0, np.uint8),
    "another matrix": lambda seed: poisson(seed, 5.0, np.uint16, (512, 128)),
    "rescaled counts": lambda seed: poisson(seed, 3.0, np.float32),
    "one view of integers, one of floats": lambda seed: (
        poisson(seed, 3, np.uint16)[0],
        poisson(seed, 3, np.float32)[1],
    ),
    "nothing is zero": lambda seed: above_zero(*poisson(seed, 3.0, np.uint16)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_gives_the_engines_image_in_float16_bit_for_bit(shim: ctypes.CDLL, kind: str) -> None:
    exams = [KINDS[kind](seed) for seed in range(3)]
    counts, scales = np.empty((3, 512, 512), np.uint16), np.empty((3, 2, 2), np.float32)
    for index, views in enumerate(exams):
        compact(*views, counts[index], scales[index])
    expected = np.stack([compose(*views) for views in exams]).astype(np.float16)
    actual = launch(shim, counts, scales)
    assert np.array_equal(actual.view(np.uint16), expected.view(np.uint16))


def test_common_scans_are_uploaded_as_counts(shim: ctypes.CDLL) -> None:
    counts, scales = np.empty((512, 512), np.uint16), np.empty((2, 2), np.float32)
    anterior, posterior = poisson(0, 3.0, np.uint16)
    compact(anterior, posterior, counts, scales)
    assert np.array_equal(counts[:, 256:], posterior[0::2] + posterior[1::2])
    assert np.array_equal(scales[:, 1], [half.max() - half.min() for half in (counts[:, :256], counts[:, 256:])])


def test_threads_beyond_the_last_pixel_write_nothing(shim: ctypes.CDLL) -> None:
    counts = np.ones((1, 512, 512), np.uint16)
    scales = np.array([[[0, 2], [0, 2]]], np.float32)
    image = np.zeros((1, 512, 512), np.float16)
    arrays = (ctypes.c_void_p(array.ctypes.data) for array in (counts, scales, image))
    shim.launch(PIXELS // THREADS, THREADS, *arrays, ctypes.c_uint(PIXELS - 1))
    assert image.ravel()[-1] == 0
    assert (image.ravel()[:-1] == 0.5).all()


def test_the_shim_rounds_to_float16_as_numpy_does(shim: ctypes.CDLL) -> None:
    """Every float16, every midpoint between two of them, and the neighbours of all of these."""
    with np.errstate(over="ignore"):
        grid = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
        midpoints = (grid[:-1] + grid[1:]) / 2
        points = np.concatenate([grid, midpoints, [65519.0, 65520.0, 1e9, np.inf]]).astype(np.float32)
        values = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
        values = np.concatenate([values, -values])
        expected = values.astype(np.float16)
    halves = np.empty(values.shape, np.float16)
    arrays = (ctypes.c_void_p(array.ctypes.data) for array in (values, halves))
    shim.to_half(*arrays, ctypes.c_uint(values.size))
    assert np.array_equal(halves.view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize("value", [0, 9])
def test_a_view_of_a_constant_is_refused(value: int) -> None:
    blank = np.full((1024, 256), value, np.uint16)
    counts, scales = np.empty((512, 512), np.uint16), np.empty((2, 2), np.float32)
    with pytest.raises(ItemError) as compacted:
        compact(blank, blank, counts, scales)
    with pytest.raises(ItemError) as composed:
        compose(blank, blank)
    assert compacted.value.reason == composed.value.reason


def test_the_ptx_is_what_nvcc_makes_of_the_source(tmp_path: Path) -> None:
    shipped = (KERNELS / "normalise.ptx").read_text(encoding="utf-8")
    release = re.search(r"release [\d.]+, V[\d.]+", shipped)
    assert release is not None
    if NVCC is None or release[0] not in subprocess.check_output([NVCC, "--version"], text=True):
        pytest.skip(f"there is no nvcc of {release[0]}")
    made = tmp_path / "normalise.ptx"
    options = ["-std=c++17", "-arch=compute_75", "-ptx"]
    subprocess.run([NVCC, *options, "-o", made, KERNELS / "normalise.cu"], check=True)
    assert with_version(made.read_text(encoding="utf-8"), PTX_VERSION) == shipped


def with_version(ptx: str, line: str) -> str:
    return re.sub(r"^\.version .*$", line, ptx, flags=re.MULTILINE)


def test_the_ptx_names_the_lowest_version_that_its_target_admits() -> None:
    """A driver that is older than the named version refuses the kernel, and nvcc names its own."""
    lines = (KERNELS / "normalise.ptx").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(".version")] == [PTX_VERSION]


@pytest.mark.skipif(PTXAS is None, reason="there is no ptxas")
@pytest.mark.parametrize(("line", "is_assembled"), [(PTX_VERSION, True), (".version 6.2", False)])
def test_ptxas_assembles_the_named_version_and_no_lower_one(line: str, is_assembled: bool, tmp_path: Path) -> None:
    made = tmp_path / "normalise.ptx"
    made.write_text(with_version((KERNELS / "normalise.ptx").read_text(encoding="utf-8"), line), encoding="utf-8")
    command = [str(PTXAS), "--gpu-name", "sm_75", "--output-file", str(tmp_path / "normalise.cubin"), str(made)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode == 0) is is_assembled, done.stderr
    assert is_assembled or b"does not support .target sm_75" in done.stderr


def test_the_ptx_rounds_as_the_source_says() -> None:
    """A division or conversion that is only nearly exact would still pass most images."""
    text = (KERNELS / "normalise.ptx").read_text(encoding="utf-8")
    assert "div.rn.f32" in text
    assert "cvt.rn.f16.f32" in text
    assert ".ftz" not in text
    assert ".target sm_75" in text
