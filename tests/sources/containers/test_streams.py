import gzip
import io
import lzma
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.containers.made import COMPRESS

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.sources.containers.streams import Inflated, first_bytes

KINDS = list(COMPRESS)
NOISE = random.Random(1).randbytes(3_000_000)


def inflated(kind: str, data: bytes) -> bytes:
    stream = Inflated(kind, io.BytesIO(data))
    return b"".join(iter(lambda: stream.read(100_000), b""))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"x", NOISE, bytes(5_000_000)], ids=["empty", "byte", "noise", "zeros"])
def test_a_stream_gives_what_was_compressed(kind: str, data: bytes) -> None:
    assert inflated(kind, COMPRESS[kind](data)) == data


@pytest.mark.parametrize("kind", KINDS)
def test_joined_streams_are_read_to_the_last(kind: str) -> None:
    assert inflated(kind, COMPRESS[kind](NOISE) + COMPRESS[kind](b"second")) == NOISE + b"second"


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_padding_and_rubbish_behind_a_stream_are_left(kind: str) -> None:
    assert inflated(kind, COMPRESS[kind](b"data") + bytes(600)) == b"data"
    assert inflated(kind, COMPRESS[kind](b"data") + b"rubbish") == b"data"


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.booleans(), st.integers(0, 9000)), max_size=10))
def test_reading_and_skipping_stay_at_the_same_place(kind: str, steps: list[tuple[bool, int]]) -> None:
    data = NOISE[:40_000]
    stream, position = Inflated(kind, io.BytesIO(COMPRESS[kind](data))), 0
    for is_read, count in steps:
        if is_read:
            assert stream.read(count) == data[position : position + count]
        else:
            assert stream.skip_to(position + count) is (position + count <= len(data))
        position = min(position + count, len(data))
        assert stream.offset == position


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_was_cut_short_is_damaged(kind: str) -> None:
    data = COMPRESS[kind](NOISE)
    for length in (len(data) - 5, len(data) // 2, 12):
        with pytest.raises(ItemError, match="damaged compressed stream") as error:
            inflated(kind, data[:length])
        assert error.value.reason == "read_error"


READ_CUT = """
import gc, io, resource, sys
from pathlib import Path
from bsbatch.errors import ItemError
from bsbatch.sources.containers.streams import Inflated

def read(number):
    for _ in range(number):
        try:
            Inflated(sys.argv[1], io.BytesIO(cut)).read(300_000)
        except ItemError:
            pass
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

gc.disable()  # a run searches for cycles of references rarely
cut = Path(sys.argv[2]).read_bytes()
before = read(50)
print(read(200) - before)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_streams_that_were_cut_short_keep_no_memory(kind: str, tmp_path: Path) -> None:
    """In a process of its own, whose memory nothing else uses."""
    (tmp_path / "cut").write_bytes(COMPRESS[kind](NOISE[:300_000])[:200_000])
    command = [sys.executable, "-c", READ_CUT, kind, str(tmp_path / "cut")]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(grown) < 200 * 200_000 // 4


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_are_damage_or_other_data(kind: str) -> None:
    data = bytearray(COMPRESS[kind](NOISE[:5000]))
    random_places = random.Random(2)
    for _ in range(50):
        changed = data.copy()
        changed[random_places.randrange(len(data))] ^= 1 << random_places.randrange(8)
        with suppress(ItemError):
            inflated(kind, bytes(changed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_before_it_is_inflated(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INFLATED_FREE", 1 << 20)
    data = COMPRESS[kind](bytes(20 << 20))
    stream = Inflated(kind, io.BytesIO(data))

    with pytest.raises(ItemError, match="far more") as error:
        stream.skip_to(20 << 20)

    assert error.value.reason == "container_not_opened"
    assert stream.offset <= max(1 << 20, limits.INFLATED_RATIO * len(data))


def test_an_xz_file_that_claims_a_dictionary_of_a_gigabyte_is_damaged() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 30}]
    try:
        data = lzma.compress(b"small", filters=filters)
    except MemoryError:
        pytest.skip("this machine cannot make it")
    with pytest.raises(ItemError):
        inflated("xz", data)


def test_errors_of_the_file_system_stay() -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for kind in KINDS:
        with pytest.raises(OSError, match="Input/output"):
            Inflated(kind, Broken()).read(1)


def test_the_first_bytes_of_a_part_are_those_that_it_gives() -> None:
    assert first_bytes("gz", gzip.compress(NOISE)[:8192], 512) == NOISE[:512]
    assert first_bytes("gz", b"\x1f\x8b\x08rubbish", 512) == b""
