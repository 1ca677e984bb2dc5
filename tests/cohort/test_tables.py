"""Tables as people keep them are read whole, or refused with what is wrong."""

import csv
import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.cohort.tables import SEPARATORS, Table, read_table
from bsbatch.cohort.workbook import read_workbook
from bsbatch.errors import UsageError

ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be")
LETTERS = st.text("abÄöüß 0123456789.,;|-/", min_size=1, max_size=8).map(str.strip).filter(bool)


def read(folder: Path, content: bytes | str, name: str = "t.csv") -> Table:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(folder / name)


def cells(table: Table) -> list[tuple[str, ...]]:
    return [table.columns, *(row.cells for row in table.rows)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(LETTERS, LETTERS, LETTERS), min_size=1, max_size=6),
    st.sampled_from(list(SEPARATORS)),
    st.sampled_from(ENCODINGS),
    st.tuples(st.sampled_from(["\n", "\r\n"]), st.booleans()),
)
def test_any_separator_and_encoding_gives_the_table_of_pandas(
    folder: Path, rows: Sequence[Sequence[str]], separator: str, encoding: str, form: tuple[str, bool]
) -> None:
    text, (end, is_named) = io.StringIO(), form
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("Größe", "label", "psa"), *rows])
    lead = f"sep={separator}{end}" if is_named else ""
    content = (lead + text.getvalue()).encode(encoding)

    found = read(folder, content)

    frame = pd.read_csv(io.BytesIO(text.getvalue().encode()), sep=separator, dtype=str, keep_default_na=False)
    assert list(found.columns) == list(frame.columns)
    assert [row.cells for row in found.rows] == [tuple(row) for row in frame.itertuples(index=False)]


def test_a_german_export_is_read_with_its_decimal_commas(tmp_path: Path) -> None:
    found = read(tmp_path, "Fall;Befund;PSA\n4711;ja;12,5\n4712;nein;0,3\n".encode("cp1252"))

    assert cells(found) == [("Fall", "Befund", "PSA"), ("4711", "ja", "12,5"), ("4712", "nein", "0,3")]
    assert found.form == "UTF-8, separated by semicolon"


def test_a_row_knows_its_line_and_empty_rows_do_not_count(tmp_path: Path) -> None:
    found = read(tmp_path, 'a,b\n\n"x\ny",1\n,\n2,3\n')

    assert [row.line for row in found.rows] == [3, 6]
    assert [row.line for row in read(tmp_path, "sep=;\na;b\n1;2\n").rows] == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no comma, semicolon, tabulator or bar divides its header"),
        (b"study\n1\n", "no comma, semicolon, tabulator or bar divides its header"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields and the header has 2"),
        (b"a,b;c\n1,2;3\n", "comma and semicolon"),
        (b"a,b\n1,\x81\n", "no text in UTF-8, UTF-16 or Windows-1252"),
        (b"sep=;\n", "is empty"),
        (b'a,b\n1,"2\n', "is no table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, content)


def test_a_formula_of_our_own_files_is_read_as_the_text_it_was(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n'-12,'=x\n").rows[0].cells == ("-12", "=x")


def test_a_column_is_found_by_its_heading_whatever_its_case(tmp_path: Path) -> None:
    found = read(tmp_path, "Study  UID,label,Label\n1,2,3\n")

    assert found.index_of("study uid") == 0
    with pytest.raises(UsageError, match="has 2 columns 'label'"):
        found.index_of("label")
    with pytest.raises(UsageError, match="has no column 'PSA'; its header is 'Study  UID', 'label', 'Label'"):
        found.index_of("PSA")


def workbook(path: Path, **sheets: Sequence[Sequence[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def test_a_workbook_gives_numbers_dates_and_truth_as_texts(tmp_path: Path) -> None:
    rows = [
        ("Fall", "Datum", "PSA", "Meta", "Zeit"),
        (4711.0, date(2019, 1, 31), 12.5, True, datetime(2019, 1, 31, 10, 15)),
        ("0815", None, None, False, None),
    ]

    found = read_table(workbook(tmp_path / "t.xlsx", Daten=rows))

    assert cells(found)[1:] == [
        ("4711", "2019-01-31", "12.5", "True", "2019-01-31 10:15:00"),
        ("0815", "", "", "False", ""),
    ]
    assert found.form == "sheet 'Daten'"
    assert [row.line for row in found.rows] == [2, 3]


def test_one_of_several_filled_sheets_must_be_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", One=[("a", "b"), (1, 2)], Two=[("c", "d"), (3, 4)], Empty=[])

    assert read_table(path, "Two").columns == ("c", "d")
    for sheet in (None, "Three"):
        with pytest.raises(UsageError, match="name one with --sheet"):
            read_table(path, sheet)
    with pytest.raises(UsageError, match="--sheet needs a workbook"):
        read_table(tmp_path / "t.csv", "Two")


def test_a_formula_in_a_workbook_is_its_last_value_or_nothing(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", One=[("a", "b"), ("=1+1", "x")])

    assert read_table(path).rows[0].cells == ("", "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"a,b\n1,2\n"])
def test_a_damaged_workbook_or_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    for name, message in (("t.xlsx", "not a workbook"), ("t.parquet", "not a Parquet file")):
        with pytest.raises(UsageError, match=message):
            read(tmp_path, content, name)


def test_a_workbook_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", bytes(1 << 29))

    with pytest.raises(UsageError, match="inflates to more than"):
        read_workbook(tmp_path / "t.xlsx", bomb.getvalue(), None)


def test_parquet_is_read_as_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"study": ["1.2", "1.3"], "psa": [0.5, None], "day": [date(2020, 1, 2)] * 2})
    frame.to_parquet(tmp_path / "t.parquet")

    found = read_table(tmp_path / "t.parquet")

    assert cells(found) == [("study", "psa", "day"), ("1.2", "0.5", "2020-01-02"), ("1.3", "", "2020-01-02")]


def test_a_missing_file_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_table(tmp_path / "t.csv")
