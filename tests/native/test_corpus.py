"""Inputs of `tests.guided` that reach every branch: no buffer is exceeded, and all bits equal those of numpy."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tests.fuzzing import read_corpus
from tests.native.test_view_pairs import COMMON, Counts, compact_with, compose_with, judge_with, measure, profiles_of

from bsbatch.imaging.position import judge
from bsbatch.native.library import LIBRARY
from bsbatch.native.view_pairs import PairFunctions, PairStatistics, pair_functions
from bsbatch.view_pixels import ViewPixels

HARNESS = Path(__file__).parent / "harness.c"
SANITIZED = ("-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CORPUS = read_corpus(Path(__file__).parent / "views.corpus")
MEASURE, FILL, JUDGE = range(3)
MOST_RECTANGLES, MOST_PROFILE = 16, (1 << 26) - 1


class Input:
    """An input of fuzz_views.c, read in the same way."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(f"<{form}")
        part = self.data[self.at : self.at + size].ljust(size, b"\0")
        self.at += size
        return struct.unpack(f"<{form}", part)

    def views(self, shape: tuple[int, int]) -> tuple[Counts, Counts]:
        (rows, columns), (front, back) = shape, self.take("HH")
        views = np.full(shape, front, np.uint16), np.full(shape, back, np.uint16)
        noise = (np.arange(rows * columns, dtype=np.uint32) * np.uint32(2654435761) >> 16).reshape(shape)
        for side, top, height, left, width, value, mask in islice(self._rectangles(), MOST_RECTANGLES):
            part = np.s_[top % rows : top % rows + height, left % columns : left % columns + width]
            views[side % 2][part] = value + (noise[part] & mask)
        return views

    def _rectangles(self) -> Iterator[tuple[int, ...]]:
        while self.at < len(self.data):
            yield self.take("BHHHHHH")


def inputs_of(function: int) -> Iterator[Input]:
    for given in map(Input, CORPUS):
        if given.take("B")[0] % 4 == function:
            yield given


@pytest.fixture
def native() -> PairFunctions:
    """The installed functions: harness.c compares those of all processors."""
    found = pair_functions()
    if found is None:
        pytest.skip("the compiled library is not installed")
    return found


def test_no_function_reads_or_writes_beyond_its_buffers(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path / "harness"
    command: list[str | Path] = [compiler, *SANITIZED, f"-I{LIBRARY.parent}", "-o", program, HARNESS, "-lm"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode and "san" in made.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert made.returncode == 0, made.stderr
    for number, data in enumerate(CORPUS):
        (tmp_path / str(number)).write_bytes(data)
    corpus = [tmp_path / str(number) for number in range(len(CORPUS))]
    done = subprocess.run([program, tmp_path / "views", *corpus], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_metrics_equal_those_of_numpy(native: PairFunctions) -> None:
    compared = 0
    for given in inputs_of(MEASURE):
        rows, columns, *_ = given.take("QQII")
        if 0 < columns <= 4096 and 0 < rows * columns <= 1 << 21 and rows % 2 == columns % 16 == 0:
            front, back = map(ViewPixels, given.views((rows, columns)))
            assert measure(native, front, back) == measure(None, front, back)
            compared += 1
    assert compared > 3


def test_images_and_counts_equal_those_of_numpy(native: PairFunctions) -> None:
    for given in inputs_of(FILL):
        views = given.views(COMMON)
        assert compose_with(native, *views) == compose_with(None, *views)
        assert compact_with(native, *views) == compact_with(None, *views)


def test_positions_equal_those_of_numpy(native: PairFunctions) -> None:
    for given in inputs_of(JUDGE):
        statistics = PairStatistics(body_cells=given.take("H")[0])
        profiles = np.frombuffer(memoryview(statistics.profiles), np.uint32)
        profiles[:] = [width & MOST_PROFILE for width in given.take("160I")]
        rows, columns = given.take("HH")
        found = judge_with(native, statistics, (1.0, 1.0), (rows + 1, columns + 1))
        assert found == judge(profiles_of(statistics), (1.0, 1.0), (rows + 1, columns + 1))
