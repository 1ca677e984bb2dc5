"""Answers and lists with any content: the parts of a body, DICOM JSON, dates."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.cli.options import parse_day
from bsbatch.cohort.lists import read_list
from bsbatch.errors import ItemError, UsageError
from bsbatch.pacs import qido
from bsbatch.pacs.http import parse_list
from bsbatch.pacs.multipart import boundary_of, parts
from bsbatch.pacs.protocol import StudyFilter, Trouble
from bsbatch.pacs.search import searches
from bsbatch.pacs.settings import Access, FetchConfig, Wanted

BOUNDARY = "a-boundary=42"
DAYS = st.dates(date(1985, 1, 1), date(2100, 1, 1))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
TAGS = st.sampled_from([value for name, value in vars(qido).items() if name.isupper() and len(str(value)) == 8])


def reader(body: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """Return the body in pieces of these sizes, then as is asked."""
    view, left = memoryview(body), list(sizes)

    def read(most: int) -> bytes:
        nonlocal view
        size = min(left.pop(0) if left else most, most)
        piece, view = bytes(view[:size]), view[size:]
        return piece

    return read


def encode(bodies: list[bytes], headers: list[bytes], preamble: bytes = b"") -> bytes:
    parts_ = [
        b"--" + BOUNDARY.encode() + b"\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n" + body + b"\r\n"
        for body in bodies
    ]
    return preamble + b"".join(parts_) + b"--" + BOUNDARY.encode() + b"--\r\nepilogue"


@given(
    st.lists(st.binary(max_size=300), max_size=4),
    st.lists(st.sampled_from([b"Content-Type: application/dicom", b"Content-Length: 5"]), max_size=2),
    st.sampled_from([b"", b"\r\n", b"preamble\r\n"]),
    st.lists(st.integers(1, 40), max_size=50),
)
def test_parts_are_those_that_were_sent(bodies: list[bytes], headers: list[bytes], before: bytes, s: list[int]) -> None:
    assert list(parts(reader(encode(bodies, headers, before), s), BOUNDARY)) == bodies


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3), st.data())
def test_a_body_that_ends_too_early_is_never_taken_for_whole(bodies: list[bytes], data: st.DataObject) -> None:
    whole = encode(bodies, [b"Content-Type: application/dicom"])
    cut = data.draw(st.integers(0, whole.rindex(b"--\r\nepilogue") + 1))
    came = list[bytes]()

    with pytest.raises(ItemError) as failed:
        came.extend(parts(reader(whole[:cut], []), BOUNDARY))

    assert failed.value.reason == Trouble.INCOMPLETE
    assert came == bodies[: len(came)]


@given(st.binary(max_size=400))
def test_any_bytes_are_parts_or_an_error(body: bytes) -> None:
    with suppress(ItemError):
        list(parts(reader(body, []), "x"))


def test_a_part_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    read = 0

    def endless(most: int) -> bytes:
        nonlocal read
        head, read = (b"" if read else b"--x\r\n\r\n"), read + most
        return head + b"0" * most

    with pytest.raises(ItemError) as failed:
        list(parts(endless, "x", largest=1 << 20))

    assert failed.value.reason == Trouble.TOO_LARGE
    assert read < 1 << 22


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=a-b', "a-b"),
        ('Multipart/Related;boundary="a b";type="application/dicom"', "a b"),
        ("application/dicom", None),
        ("multipart/related", None),
        ("text/html; boundary=x", None),
        ("", None),
    ],
)
def test_the_boundary_is_that_of_the_content_type(kind: str, boundary: str | None) -> None:
    assert boundary_of(kind) == boundary


@given(st.text())
def test_any_content_type_has_a_boundary_or_none(kind: str) -> None:
    boundary_of(kind)


@given(st.dictionaries(TAGS, JSON | st.fixed_dictionaries({"Value": JSON | st.lists(JSON)})) | JSON)
def test_any_json_is_a_record_or_none(item: object) -> None:
    series = qido.Series("1.2", None, None)
    for record in (qido.study_of(item, StudyFilter("20260101-", "A", "P")), qido.series_of(item)):
        assert record is None or 0 < len(record.uid) <= 64
    found = qido.object_of(item, series)
    assert found is None or all(
        value is None or value >= 0 for value in (found.rows, found.columns, found.frames, found.bits_allocated)
    )


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_list_or_an_error(body: bytes) -> None:
    with suppress(ItemError):
        assert isinstance(parse_list(body), list)


def test_numbers_may_be_texts() -> None:
    item = {qido.SOP_UID: {"Value": ["1"]}, qido.ROWS: {"Value": ["1024 "]}, qido.FRAMES: {"Value": [2.0]}}
    found = qido.object_of(item, qido.Series("1.2", "NM", None))
    assert found is not None
    assert (found.rows, found.frames, found.columns) == (1024, 2, None)


@given(DAYS, st.integers(0, 900), st.booleans())
def test_searches_cover_each_day_once(since: date, days: int, has_end: bool) -> None:
    last = since + timedelta(days)
    found = [wanted.dates or "" for wanted in searches(Wanted(since, last if has_end else None), today=last)]

    ranges = [text.split("-") for text in found]
    assert ranges[0][0] == f"{since:%Y%m%d}"
    assert ranges[-1][1] == (f"{last:%Y%m%d}" if has_end else "")
    for (_, end), (begin, _) in pairwise(ranges):
        assert date.fromisoformat(end) + timedelta(1) == date.fromisoformat(begin)
    assert all(begin <= (end or "99999999") for begin, end in ranges)
    assert all((date.fromisoformat(end) - date.fromisoformat(begin)).days < 31 for begin, end in ranges[:-1])


def test_without_a_first_day_there_is_one_search_and_for_lists_one_a_value() -> None:
    today = date(2026, 1, 31)
    assert list(searches(Wanted(), today)) == [StudyFilter()]
    assert list(searches(Wanted(until=today), today)) == [StudyFilter("-20260131")]
    assert list(searches(Wanted(today, None, ("A", "B")), today)) == [
        StudyFilter("20260131-", accession="A"),
        StudyFilter("20260131-", accession="B"),
    ]


@given(st.text(max_size=12))
def test_any_text_is_a_day_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert isinstance(parse_day(text), date)


def test_days_have_both_forms_of_iso_8601() -> None:
    assert parse_day("2026-01-31") == parse_day("20260131") == date(2026, 1, 31)


def test_a_list_has_one_value_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("\ufeffA1\r\n\r\n B 2 \nA1\n".encode())
    assert read_list(tmp_path / "list") == ("A1", "B 2")


@pytest.mark.parametrize("text", ["", "\n", "A*", "A?1", "a\\b", "x" * 65, "a\x00b"])
def test_a_list_with_another_value_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_list(tmp_path / "list")
    assert not text.strip() or text not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "source", ["https://pacs.example", "dicomweb:", "dicomweb:https://u:p@pacs.example/", "dicomweb:https://a/?token=1"]
)
def test_a_source_has_a_kind_and_no_secret(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        FetchConfig(source, tmp_path, access=Access())


def test_settings_that_find_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="later"):
        Wanted(date(2026, 2, 1), date(2026, 1, 1))
    with pytest.raises(UsageError, match="two lists"):
        Wanted(accessions=("A",), patients=("B",))
