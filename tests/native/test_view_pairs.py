"""Compiled code and numpy give the same results for the same views, to the last bit."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.dicom.objects import scan

from bsbatch.dicom.headers.read import read_header
from bsbatch.dicom.pairing import examine
from bsbatch.dicom.pixels import read_frames
from bsbatch.errors import ItemError
from bsbatch.imaging import preprocess, quality
from bsbatch.imaging.position import COMPILED_PIECES, Position, combine, judge, judge_compiled
from bsbatch.imaging.preprocess import check_ranges, compact, compose
from bsbatch.imaging.profiles import PairProfile, profile_pair
from bsbatch.imaging.quality import assess, assess_loaded
from bsbatch.native.checksum import is_compiled
from bsbatch.native.view_pairs import CELLS, Frame, LoadedPair, PairFunctions, PairRequest, PairStatistics
from bsbatch.protocols import FilePart
from bsbatch.records import Quality
from bsbatch.view_pixels import LookupTable, ViewPixels

COMMON = (1024, 256)
SHAPES = [COMMON, (512, 128), (256, 1024), (2, 16), (4, 48), (30, 80), (6, 4096), (2048, 1024)]
OTHERS = [(1, 16), (3, 32), (4, 8), (5, 3), (1, 1), (2, 4112), (2050, 1024), (1023, 255)]

Counts = NDArray[np.uint16]


class CountingFunctions(PairFunctions):
    """Counts the calls that compiled code did not refuse."""

    def __init__(self, native: PairFunctions) -> None:
        self.__dict__.update(native.__dict__)
        self.accepted = 0

    def measure(self, *arguments: Any) -> Any:
        return self._count(super().measure(*arguments))

    def compose(self, *arguments: Any) -> Any:
        return self._count(super().compose(*arguments))

    def compact(self, *arguments: Any) -> Any:
        return self._count(super().compact(*arguments))

    def _count(self, result: Any) -> Any:
        self.accepted += result is not None
        return result


@contextmanager
def using(native: PairFunctions | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (quality, preprocess):
            patch.setattr(module, "pair_functions", lambda: native)
        yield


def measure(native: PairFunctions | None, front: ViewPixels, back: ViewPixels, bits_stored: int = 16) -> Quality:
    with using(native):
        return assess(examine((scan("AP", "both", bits_stored=bits_stored),)), front, back)


def judge_with(
    native: PairFunctions, statistics: PairStatistics, totals: tuple[float, float], shape: tuple[int, int]
) -> Position:
    cells = statistics.body_cells, statistics.absent_cells
    return combine(judge_compiled(native, statistics, shape), cells, totals)


def load(
    native: PairFunctions,
    frames: tuple[Frame, Frame],
    limits: tuple[int, int] | None,
    target: NDArray[Any],
    stored: Counts | None = None,
) -> LoadedPair | None:
    request = PairRequest.of(frames, target, limits, stored)
    assert request is not None
    (pair,) = native.load([request], COMPILED_PIECES)
    return pair


def compose_with(native: PairFunctions | None, front: NDArray[Any], back: NDArray[Any]) -> bytes | str:
    with using(native):
        try:
            return compose(front, back).tobytes()
        except ItemError as error:
            return str(error.reason)


def compact_with(native: PairFunctions | None, front: NDArray[Any], back: NDArray[Any]) -> bytes | str:
    counts, scales = np.zeros((512, 512), np.uint16), np.zeros((2, 2), np.float32)
    with using(native):
        try:
            compact(front, back, counts, scales)
        except ItemError as error:
            return str(error.reason)
    return counts.tobytes() + scales.tobytes()


def one_pixel(shape: tuple[int, int], random: np.random.Generator, value: int) -> Counts:
    counts = np.zeros(shape, np.uint16)
    counts[random.integers(shape[0]), random.integers(shape[1])] = value
    return counts


def body(shape: tuple[int, int], random: np.random.Generator) -> Counts:
    """Counts in the shape of a body, with a hot spot."""
    rows, columns = (np.linspace(-1, 1, size) for size in shape)
    inside = np.hypot(rows[:, np.newaxis], columns * 1.5 - random.normal(0, 0.1)) < 0.9
    hot = np.hypot(rows[:, np.newaxis] - 0.3, columns - 0.2) < 0.1
    return random.poisson(inside * random.exponential(6) + hot * random.exponential(300)).astype(np.uint16)


CONTENTS = {
    "zero": lambda shape, _: np.zeros(shape, np.uint16),
    "constant": lambda shape, random: np.full(shape, random.integers(1, 65536), np.uint16),
    "full": lambda shape, _: np.full(shape, 65535, np.uint16),
    "one": lambda shape, random: one_pixel(shape, random, 1),
    "hot": lambda shape, random: one_pixel(shape, random, 65535) + random.poisson(1, shape).astype(np.uint16),
    "few": lambda shape, random: (random.poisson(9, shape) * (random.random(shape) < 0.002)).astype(np.uint16),
    "faint": lambda shape, random: random.poisson(0.05, shape).astype(np.uint16),
    "poisson": lambda shape, random: random.poisson(random.exponential(20), shape).astype(np.uint16),
    "noise": lambda shape, random: random.integers(0, 65536, shape, np.uint16),
    "nothing is zero": lambda shape, random: random.integers(1000, 1100, shape, np.uint16),
    "saturating sums": lambda shape, random: random.poisson(33_000, shape).astype(np.uint16),
    "sums at the border": lambda shape, random: random.integers(32_760, 32_769, shape, np.uint16),
    "body": body,
}

contents = st.sampled_from(sorted(CONTENTS))
seeds = st.integers(0, 2**32 - 1)


def counts_of(content: str, shape: tuple[int, int], seed: int) -> Counts:
    return np.asarray(CONTENTS[content](shape, np.random.default_rng(seed)), np.uint16)


@settings(deadline=None, max_examples=100)
@given(st.tuples(contents, contents), st.sampled_from(SHAPES), seeds, st.sampled_from([16, 12, 8, 1]))
def test_the_quality_metrics_equal_those_of_numpy(
    native: PairFunctions, kinds: tuple[str, str], shape: tuple[int, int], seed: int, bits_stored: int
) -> None:
    counting = CountingFunctions(native)
    views = ViewPixels(counts_of(kinds[0], shape, seed)), ViewPixels(counts_of(kinds[1], shape, seed + 1))

    found = measure(counting, *views, bits_stored=bits_stored)

    assert found == measure(None, *views, bits_stored=bits_stored)
    assert counting.accepted == 1


def profiles_of(statistics: PairStatistics) -> PairProfile:
    """Return the profiles that compiled code has computed."""
    widths = np.frombuffer(memoryview(statistics.profiles), np.uint32).reshape(2, sum(CELLS))
    missing = statistics.views[0].missing_rows + statistics.views[1].missing_rows
    rows, columns = widths[:, : CELLS[0]], widths[:, CELLS[0] :]
    return PairProfile(rows, columns, missing, statistics.body_cells, statistics.absent_cells)


@settings(deadline=None, max_examples=60)
@given(st.tuples(contents, contents), st.sampled_from(SHAPES), seeds, st.integers(1, 9))
def test_the_profiles_equal_those_of_numpy(
    native: PairFunctions, kinds: tuple[str, str], shape: tuple[int, int], seed: int, step: int
) -> None:
    front, back = counts_of(kinds[0], shape, seed), counts_of(kinds[1], shape, seed + 1)
    front[::step] = 0

    statistics = native.measure(front, back, (65535, 65535))

    assert statistics is not None
    found, expected = profiles_of(statistics), profile_pair(front, back)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.columns, expected.columns)
    assert found[2:] == expected[2:]


@st.composite
def widths(draw: st.DrawFn) -> NDArray[np.uint32]:
    """``(80,)`` profiles of a view: like a body, upside down or cut, with noise; or of any shape."""
    kind, seed = (
        draw(st.sampled_from(["body", "reverse", "top", "bottom", "noise", "flat", "spike", "empty"])),
        draw(seeds),
    )
    random, top = np.random.default_rng(seed), draw(st.sampled_from([1, 30, 4000, 4096, 1 << 20]))
    rows = np.interp(np.linspace(0, 39, 60), np.arange(40), BODY)
    rows = {"reverse": rows[::-1], "top": rows[:35], "bottom": rows[25:], "round": np.hanning(60)}.get(kind, rows)
    made = np.zeros(sum(CELLS))
    made[2 : 2 + len(rows)] = rows
    made[CELLS[0] + 2 : -2] = np.hanning(12)
    if kind in {"noise", "flat", "spike", "empty"}:
        made[:] = {"noise": random.random(80), "flat": 1.0, "spike": np.arange(80) == seed % 80, "empty": 0.0}[kind]
    noise = draw(st.sampled_from([0.0, 0.1, 0.4]))
    return np.asarray(top * np.maximum(0, made * random.normal(1, noise, made.size)), np.uint32)


BODY = [0.3, 0.5, 0.6, 0.6, 0.6, 0.6, 1.4, 1.7, 1.7, 1.7, 1.7, 1.7, 1.7, 1.7, 1.6, 1.6, 1.7, 1.7, 1.6, 1.4]
BODY += [1.3, 1.2, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.3]


@settings(deadline=None, max_examples=300)
@given(widths(), widths(), st.sampled_from([(1024, 256), (512, 256), (300, 140), (256, 1024)]))
def test_the_position_of_the_body_equals_that_of_numpy(
    native: PairFunctions, front: NDArray[np.uint32], back: NDArray[np.uint32], shape: tuple[int, int]
) -> None:
    statistics = PairStatistics(body_cells=100, absent_cells=4)
    np.frombuffer(memoryview(statistics.profiles), np.uint32)[:] = np.concatenate((front, back))

    found = judge_with(native, statistics, (1.0, 2.0), shape)

    assert found == judge(profiles_of(statistics), (1.0, 2.0), shape)


@settings(deadline=None, max_examples=40)
@given(contents, contents, seeds)
def test_the_image_equals_that_of_numpy(native: PairFunctions, front: str, back: str, seed: int) -> None:
    counting = CountingFunctions(native)
    views = counts_of(front, COMMON, seed), counts_of(back, COMMON, seed + 1)

    assert compose_with(counting, *views) == compose_with(None, *views)
    assert counting.accepted == 1


@settings(deadline=None, max_examples=40)
@given(contents, contents, seeds)
def test_the_counts_for_a_gpu_equal_those_of_numpy(native: PairFunctions, front: str, back: str, seed: int) -> None:
    views = counts_of(front, COMMON, seed), counts_of(back, COMMON, seed + 1)

    assert compact_with(native, *views) == compact_with(None, *views)


@pytest.mark.parametrize("shape", OTHERS)
def test_matrices_of_unsupported_sizes_are_left_to_numpy(native: PairFunctions, shape: tuple[int, int]) -> None:
    counting = CountingFunctions(native)
    views = ViewPixels(counts_of("poisson", shape, 1)), ViewPixels(counts_of("poisson", shape, 2))

    assert measure(counting, *views) == measure(None, *views)
    assert compose_with(counting, views[0].values, views[1].values) == compose_with(
        None, views[0].values, views[1].values
    )
    assert counting.accepted == 0


FRONT, BACK = counts_of("body", COMMON, 1), counts_of("body", COMMON, 2)
SQUARES = LookupTable(0, np.arange(256, dtype=np.uint16) ** 2)


@pytest.mark.parametrize(
    ("front", "back"),
    [
        (FRONT.astype("i2"), BACK),
        (FRONT.astype(">u2"), BACK),
        (FRONT, BACK.astype("u1")),
        (FRONT.astype("f4"), BACK.astype("f4")),
        (FRONT[:, ::-1], BACK),
        (np.asfortranarray(FRONT), BACK),
        (FRONT, BACK[:512]),
    ],
    ids=["signed", "big-endian", "eight bits", "floats", "mirrored", "by columns", "of two sizes"],
)
def test_views_in_another_form_are_left_to_numpy(
    native: PairFunctions, front: NDArray[Any], back: NDArray[Any]
) -> None:
    counting = CountingFunctions(native)

    assert compose_with(counting, front, back) == compose_with(None, front, back)
    assert measure(counting, ViewPixels(front), ViewPixels(back)) == measure(None, ViewPixels(front), ViewPixels(back))
    assert counting.accepted == 0


@pytest.mark.parametrize("changes", [{"slope": 2.0}, {"intercept": -1.0}, {"table": SQUARES}])
def test_rescaled_views_and_those_with_a_table_are_left_to_numpy(
    native: PairFunctions, changes: dict[str, Any]
) -> None:
    counting = CountingFunctions(native)
    measure(counting, ViewPixels(FRONT), ViewPixels(BACK, **changes))
    assert counting.accepted == 0


def test_a_target_that_is_not_contiguous_is_left_to_numpy(native: PairFunctions) -> None:
    counts, scales = np.zeros((512, 1024), np.uint16)[:, ::2], np.zeros((2, 2), np.float32)
    with using(native):
        compact(FRONT, BACK, counts, scales)
    np.testing.assert_array_equal(counts[:, :256], FRONT[0::2] + FRONT[1::2])


@dataclass(frozen=True)
class Stored:
    """Two views in files: name and offset of each."""

    files: dict[str, bytes]
    front: tuple[str, int]
    back: tuple[str, int]

    def write(self, folder: Path) -> tuple[Frame, Frame]:
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        front = FilePart(str(folder / self.front[0]), 0)
        back = front if self.back[0] == self.front[0] else FilePart(str(folder / self.back[0]), 0)
        return (front, self.front[1]), (back, self.back[1])


A, P = counts_of("body", COMMON, 3), counts_of("body", COMMON, 4)
SIZE = A.nbytes
STORED = {
    "one behind the other": Stored({"a": b"x" * 984 + A.tobytes() + P.tobytes()}, ("a", 984), ("a", 984 + SIZE)),
    "at odd bytes": Stored({"a": b"x" * 7 + A.tobytes() + P.tobytes() + b"more"}, ("a", 7), ("a", 7 + SIZE)),
    "the other way round": Stored({"a": b"x" * 10 + P.tobytes() + A.tobytes()}, ("a", 10 + SIZE), ("a", 10)),
    "with a frame between": Stored({"a": A.tobytes() + bytes(SIZE) + P.tobytes()}, ("a", 0), ("a", 2 * SIZE)),
    "in two files": Stored({"a": b"x" + A.tobytes(), "b": b"xyz" + P.tobytes()}, ("a", 1), ("b", 3)),
}
LIMITS = 65535, 65535


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_views_are_loaded_from_any_offset_and_file(native: PairFunctions, stored: Stored, tmp_path: Path) -> None:
    frames, image, found = stored.write(tmp_path), np.empty((512, 512), np.float32), np.empty((2, *COMMON), np.uint16)

    pair = load(native, frames, LIMITS, image, found)

    assert pair is not None
    np.testing.assert_array_equal(found, [A, P])
    assert image.tobytes() == compose_with(None, A, P)
    views = ViewPixels(A), ViewPixels(P)
    with using(None):
        exam = examine((scan("AP", "both"),))
        assert pair.measured is not None
        assert assess_loaded(exam, pair.measured) == assess(exam, *views)
    assert all(0 <= seconds < 10 for seconds in pair.seconds)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_views_are_loaded_from_memory_as_from_files(native: PairFunctions, stored: Stored, tmp_path: Path) -> None:
    (front, first), (back, second) = stored.write(tmp_path)
    contents = stored.files[stored.front[0]], stored.files[stored.back[0]]
    for one, other in (contents, (front, contents[1]), (contents[0], back)):
        image, found = np.empty((512, 512), np.float32), np.empty((2, *COMMON), np.uint16)

        pair = load(native, ((one, first), (other, second)), LIMITS, image, found)

        assert pair is not None
        np.testing.assert_array_equal(found, [A, P])
        assert image.tobytes() == compose_with(None, A, P)


def checked(frames: tuple[Frame, Frame], stored: Stored, lead: int = 0, **changes: int) -> tuple[Frame, Frame]:
    """The same views in objects with a checksum: all of their files behind the first bytes."""
    parts = {}
    for name, data in stored.files.items():
        path = next(part.path for part, _ in frames if isinstance(part, FilePart) and part.path.endswith(f"/{name}"))
        part = FilePart(path, lead, len(data) - lead, zlib.crc32(data[lead:]))
        parts[name] = part._replace(**{field: getattr(part, field) + by for field, by in changes.items()})
    return (parts[stored.front[0]], frames[0][1]), (parts[stored.back[0]], frames[1][1])


@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_views_of_objects_with_a_checksum_are_loaded_as_others(
    native: PairFunctions, stored: Stored, lead: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    frames = stored.write(tmp_path)
    if lead > min(frames[0][1], frames[1][1]):
        pytest.skip("a view begins there")
    image, found = np.empty((512, 512), np.float32), np.empty((2, *COMMON), np.uint16)

    pair = load(native, checked(frames, stored, lead), LIMITS, image, found)

    if "this processor" not in request.node.name or not is_compiled():
        assert pair is None  # such a processor has no fast checksum
        return
    assert pair is not None
    np.testing.assert_array_equal(found, [A, P])
    assert image.tobytes() == compose_with(None, A, P)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_a_wrong_checksum_or_an_object_that_ends_early_is_left_to_python(
    native: PairFunctions, stored: Stored, tmp_path: Path
) -> None:
    frames, image = stored.write(tmp_path), np.empty((512, 512), np.float32)
    whole = checked(frames, stored)

    for changes in ({"crc": 1}, {"length": 1}, {"length": -1}, {"length": -SIZE}):
        assert load(native, checked(frames, stored, **changes), LIMITS, image) is None
    assert load(native, (whole[0], frames[1]), LIMITS, image) is None


@pytest.mark.parametrize("offset", [-1, SIZE + 1])
def test_a_view_that_leaves_an_object_with_a_checksum_is_left_to_python(
    native: PairFunctions, offset: int, tmp_path: Path
) -> None:
    stored = Stored({"a": A.tobytes() + P.tobytes()}, ("a", 0), ("a", offset))

    assert load(native, checked(stored.write(tmp_path), stored), LIMITS, np.empty((512, 512), np.float32)) is None


@pytest.mark.parametrize("offset", [0, 8, SIZE - 8])
def test_views_that_overlap_in_an_object_with_a_checksum_are_loaded_or_left_to_python(
    native: PairFunctions, offset: int, tmp_path: Path
) -> None:
    data = A.tobytes() + P.tobytes()
    stored, found = Stored({"a": data}, ("a", 0), ("a", offset)), np.empty((2, *COMMON), np.uint16)

    pair = load(native, checked(stored.write(tmp_path), stored), LIMITS, np.empty((512, 512), np.float32), found)

    if pair is not None:
        back = np.frombuffer(data, np.uint16, A.size, offset).reshape(A.shape)
        np.testing.assert_array_equal(found, [A, back])


@given(contents, contents, seeds)
@settings(deadline=None, max_examples=30)
def test_the_hash_equals_that_of_the_library_of_xxhash(native: PairFunctions, front: str, back: str, seed: int) -> None:
    views = counts_of(front, COMMON, seed), counts_of(back, COMMON, seed + 1)
    content = b"".join(view.tobytes() for view in views)
    frames = (content, 0), (content, SIZE)

    pair = load(native, frames, LIMITS, np.empty((512, 512), np.float32))

    assert pair is not None
    assert pair.measured is not None
    assert pair.measured.pixel_xxh3 == quality._pixel_hash(ViewPixels(views[0]), ViewPixels(views[1]))


def test_pairs_are_loaded_together_as_each_alone_and_a_bad_one_costs_no_other(
    native: PairFunctions, tmp_path: Path
) -> None:
    whole = []
    for name, stored in STORED.items():
        (tmp_path / name).mkdir()
        whole.append(stored.write(tmp_path / name))
    bad = Stored({"a": A.tobytes()}, ("a", 0), ("a", SIZE)).write(tmp_path)
    several = [whole[0], bad, *whole[1:], bad]
    images, alone = np.zeros((2, len(several), 512, 512), np.float32)
    requests = [PairRequest.of(frames, image, LIMITS) for frames, image in zip(several, images, strict=True)]

    found = native.load([request for request in requests if request is not None], COMPILED_PIECES)

    expected = [load(native, frames, LIMITS, image) for frames, image in zip(several, alone, strict=True)]
    assert [pair is None for pair in found] == [frames is bad for frames in several]
    for pair, single in zip(found, expected, strict=True):
        if pair is not None and single is not None:
            assert pair.measured is not None
            assert single.measured is not None
            assert pair.measured + pair.ranges == single.measured + single.ranges
    for frames, image, single_image in zip(several, images, alone, strict=True):
        assert frames is bad or image.tobytes() == single_image.tobytes()


@pytest.mark.parametrize("offset", [-1, 1, SIZE, SIZE + 1, 1 << 62])
def test_a_view_beyond_a_content_in_memory_is_left_to_python(native: PairFunctions, offset: int) -> None:
    frames = (A.tobytes(), 0), (P.tobytes(), offset)

    assert load(native, frames, LIMITS, np.empty((512, 512), np.float32)) is None


def test_views_are_loaded_as_counts_without_statistics(native: PairFunctions, tmp_path: Path) -> None:
    frames, counts = STORED["in two files"].write(tmp_path), np.empty((512, 512), np.uint16)

    pair = load(native, frames, None, counts)

    assert pair is not None
    assert pair.measured is None
    scales = np.zeros((2, 2), np.float32)
    check_ranges(pair.ranges, scales)
    assert counts.tobytes() + scales.tobytes() == compact_with(None, A, P)


def test_a_constant_view_has_an_empty_range(native: PairFunctions, tmp_path: Path) -> None:
    frames = Stored({"a": A.tobytes() + bytes(SIZE)}, ("a", 0), ("a", SIZE)).write(tmp_path)

    pair = load(native, frames, LIMITS, np.empty((512, 512), np.float32))

    assert pair is not None
    with pytest.raises(ItemError, match="single count"):
        check_ranges(pair.ranges)


@pytest.mark.parametrize(
    "stored",
    [
        Stored({"a": A.tobytes() + P.tobytes()[:-1]}, ("a", 0), ("a", SIZE)),
        Stored({"a": A.tobytes() + P.tobytes()}, ("a", 0), ("a", SIZE + 2)),
        Stored({"a": A.tobytes()}, ("a", 0), ("absent", 0)),
        Stored({"a": A.tobytes()}, ("absent", 0), ("absent", SIZE)),
        Stored({"a": A.tobytes()}, ("a", 0), (".", 0)),
    ],
    ids=["cut off", "beyond the end", "one absent", "both absent", "a folder"],
)
def test_a_view_that_cannot_be_read_is_left_to_python(native: PairFunctions, stored: Stored, tmp_path: Path) -> None:
    frames, before = stored.write(tmp_path), len(list(Path("/proc/self/fd").iterdir()))

    assert load(native, frames, LIMITS, np.empty((512, 512), np.float32)) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pipe_in_the_place_of_a_view_is_not_waited_for(native: PairFunctions, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for frames in (Stored({}, ("pipe", 0), ("pipe", SIZE)), Stored({"a": A.tobytes()}, ("a", 0), ("pipe", 0))):
        assert load(native, frames.write(tmp_path), LIMITS, np.empty((512, 512), np.float32)) is None


def test_sums_beyond_16_bits_are_left_to_numpy(native: PairFunctions, tmp_path: Path) -> None:
    full = np.full(COMMON, 65535, np.uint16)
    frames = Stored({"a": A.tobytes() + full.tobytes()}, ("a", 0), ("a", SIZE)).write(tmp_path)

    assert load(native, frames, LIMITS, np.empty((512, 512), np.uint16)) is None


def test_phantoms_have_the_same_metrics_and_images(native: PairFunctions, phantoms: Path) -> None:
    counting, compared = CountingFunctions(native), 0
    for path in sorted((phantoms / "archive").rglob("*")):
        views = views_of(path)
        if views:
            assert measure(counting, views[0], views[1]) == measure(None, views[0], views[1])
            pair = views[0].values, views[1].values
            assert compose_with(counting, *pair) == compose_with(None, *pair)
            compared += 1
    assert compared > 10
    assert counting.accepted > compared


def views_of(path: Path) -> tuple[ViewPixels, ...]:
    """Both frames of an NM object of two frames; empty for any other file."""
    if not path.is_file():
        return ()
    with path.open("rb") as stream:
        try:
            header = read_header(stream, path.stat().st_size)
            return read_frames(stream, header, (1, 2)) if header.modality == "NM" and header.frames == 2 else ()
        except ItemError:
            return ()
