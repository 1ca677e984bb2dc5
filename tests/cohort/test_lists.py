from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.cohort.lists import read_list, read_studies
from bsbatch.errors import UsageError

UIDS = st.lists(st.from_regex(r"[1-9]\d{0,9}(\.[1-9]\d{0,9}){1,4}", fullmatch=True), min_size=1, max_size=9)


def write(path: Path, uids: list[str | None]) -> Path:
    rows = [(uid, number) for number, uid in enumerate(uids)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"n": range(len(uids)), "study_uid": pa.array(uids, pa.string())}), path)
    elif path.suffix == ".csv":
        path.write_text("\n".join(["Study UID;n", *(f"{uid or ''};{number}" for uid, number in rows)]))
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in (("StudyInstanceUID", "n"), *rows):
            book.active.append(row)
        book.save(path)
    else:
        path.write_text("\r\n".join(uid or "" for uid in uids), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".xlsx", ".txt", ""])
@settings(deadline=None)
@given(uids=UIDS)
def test_every_form_gives_each_uid_once_and_in_its_order(suffix: str, uids: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder, f"list{suffix}"), [*uids, None, *uids])

        assert read_studies(path) == tuple(dict.fromkeys(uids))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.xlsx", "a.txt", "a.html"])
@settings(deadline=None)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_values_or_an_error_of_bsbatch(name: str, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        for read in (read_studies, read_list):
            with suppress(UsageError):
                assert all(read(path))


def test_a_file_without_the_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"study": ["1.2"]}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("study_uid,Study UID\n1.2,1.3\n")

    for name in ("a.parquet", "a.csv"):
        with pytest.raises(UsageError, match="study_uid"):
            read_studies(tmp_path / name)
