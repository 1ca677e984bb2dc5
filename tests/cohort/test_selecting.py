"""Cohorts: filters that can do nothing but filter, repeats, one examination of each patient, samples."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.cohort.export import check_target, write_cohort
from bsbatch.cohort.filtering import matching
from bsbatch.cohort.selecting import REASON, Pick, Selecting, select
from bsbatch.errors import UsageError
from bsbatch.store.tables import RESULTS, to_table

Row = dict[str, Any]


def row(number: int, **changes: object) -> Row:
    return {
        "exam_id": f"{number:032x}",
        "status": "ok",
        "config_hash": "c",
        "study_uid": f"1.{number}",
        "patient_key": f"p{number}",
        "acquisition_date": f"202001{number + 1:02}",
        "acquisition_time": "101500",
        "p_metastasis": number / 10,
        "qc_flags": [],
        "qc_counts_anterior": 5.0,
        "qc_counts_posterior": 5.0,
        "patient_sex": "MF"[number % 2],
        **changes,
    }


def table(*rows: Row) -> pa.Table:
    return to_table(RESULTS, rows, "c")


def numbers(found: pa.Table) -> list[int]:
    return [int(exam, 16) for exam in found.column("exam_id").to_pylist()]


TEN = table(*(row(number) for number in range(10)))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("p_metastasis > 0.65", [7, 8, 9]),
        ("acquisition_date >= '2020-01-09'", [8, 9]),
        ("acquisition_date between '2020-01-02' and '2020-01-03' or study_uid = '1.5'", [1, 2, 5]),
        ("list_contains(qc_flags, 'lossy')", []),
        ("patient_sex = 'M' and p_metastasis < 0.3 -- men", [0, 2]),
    ],
)
def test_an_expression_over_the_columns_filters(expression: str, expected: list[int]) -> None:
    assert numbers(matching(TEN, expression)) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "1=1; drop table results",
        "1=1) union all select 3 --",
        "exists(select 1 from read_csv('{file}'))",
        "exists(select 1 from '{file}')",
        "(select count(*) from read_text('{file}')) > 0",
        "exists(select 1 from glob('/etc/*'))",
        "exists(select 1 from TEN)",
        "exists(copy (select 1) to '{file}')",
        "attach '{file}'",
        "set enable_external_access = true",
        "load_extension('httpfs')",
        "p_metastasis >",
        "",
        "nothing = 1",
        "p_metastasis > 0.1, p_metastasis < 0.5",
        "study_uid > 5",
    ],
)
def test_an_expression_that_is_no_filter_reads_and_writes_nothing(tmp_path: Path, expression: str) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a,b\n1,SECRET\n")

    with pytest.raises(UsageError, match="--where cannot be used") as refused:
        matching(TEN, expression.format(file=file))

    assert "SECRET" not in str(refused.value)
    assert "1.5" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "a,b\n1,SECRET\n"


def test_of_repeats_the_one_with_the_fewest_flags_and_then_the_most_counts_stays_and_says_why() -> None:
    same = {"study_uid": "1.2.3"}
    repeats = [
        row(0, **same, qc_flags=["lossy"], qc_counts_anterior=99.0),
        row(1, **same, qc_counts_anterior=1.0),
        row(2, **same, qc_counts_anterior=2.0),
        row(3, **same, status="failed"),
        row(4),
    ]

    found = select(table(*repeats), Selecting(one_per_study=True))

    assert numbers(found.table) == [2, 4]
    assert found.table.column(REASON).to_pylist() == ["best of 3 of its study: more counts", None]
    assert [step.left for step in found.steps] == [5, 4, 2]
    flagged = select(table(*repeats[:2]), Selecting(one_per_study=True)).table
    assert flagged.column(REASON).to_pylist() == ["best of 2 of its study: fewer flags"]


PATIENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b"]), st.sampled_from(["", "20200101", "20200102", "2020.01.03"]), st.booleans()
    ),
    max_size=8,
)


@settings(deadline=None)
@given(PATIENTS, st.sampled_from(Pick))
def test_one_examination_of_each_patient_is_that_of_pandas(drawn: Sequence[tuple[str, str, bool]], pick: Pick) -> None:
    rows = [
        row(
            at,
            patient_key=patient or None,
            acquisition_date=day or None,
            acquisition_time=f"{at:06}",
            status="ok" if is_ok else "failed",
        )
        for at, (patient, day, is_ok) in enumerate(drawn)
    ]

    found = numbers(select(table(*rows), Selecting(per_patient=pick)).table)

    frame = pd.DataFrame(rows, columns=list(row(0)))
    frame["day"] = frame.acquisition_date.str.replace(".", "")
    usable = frame[frame.status == "ok"].dropna(subset=["patient_key", "day"]).sort_values(["day", "acquisition_time"])
    groups = usable.groupby("patient_key").exam_id
    expected = groups.last() if pick is Pick.LATEST else groups.first()
    assert found == sorted(int(exam, 16) for exam in expected)


@settings(deadline=None)
@given(st.integers(1, 10), st.integers(0, 5), st.booleans())
def test_a_sample_keeps_the_shares_of_strata_and_is_the_same_for_a_seed(size: int, seed: int, is_turned: bool) -> None:
    chosen = Selecting(sample=size, seed=seed, stratify="patient_sex")
    turned = TEN.take(list(reversed(range(10)))) if is_turned else TEN

    found = select(turned, chosen).table

    assert numbers(found) == numbers(select(TEN, chosen).table)
    assert len(set(numbers(found))) == size
    shares = Counter(found.column("patient_sex").to_pylist())
    assert abs(shares["M"] - shares["F"]) <= 1


def test_other_seeds_draw_others() -> None:
    samples = {tuple(numbers(select(TEN, Selecting(sample=5, seed=seed)).table)) for seed in range(8)}

    assert len(samples) > 4


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"sample": 11}, "more than the 10 examinations"),
        ({"sample": 2, "stratify": "nothing"}, "no such column"),
        ({"stratify": "patient_sex"}, "needs --sample"),
        ({"sample": 0}, "at least 1"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_selections_that_cannot_be_made_are_refused(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(TEN, Selecting(**chosen))


def test_steps_are_taken_in_their_order() -> None:
    rows = [row(n, patient_key="a", study_uid=f"1.{n % 2}", qc_counts_anterior=float(n)) for n in range(6)]

    found = select(table(*rows), Selecting("p_metastasis < 0.45", one_per_study=True, per_patient=Pick.LATEST))

    assert numbers(found.table) == [4]
    assert [step.left for step in found.steps] == [6, 5, 2, 1]


DANGEROUS = table(row(1, manufacturer="=cmd|' /C calc'!A0", message="+1", qc_flags=["lossy", "saturated"]))


@pytest.mark.parametrize("name", ["c.csv", "c.xlsx"])
def test_no_cell_is_a_formula(tmp_path: Path, name: str) -> None:
    write_cohort(select(DANGEROUS, Selecting()).table, tmp_path / name)

    if name == "c.csv":
        assert "'=cmd" in (tmp_path / name).read_text()
    else:
        sheet = openpyxl.load_workbook(tmp_path / name)["cohort"]
        cells = {cell.value: cell.data_type for line in sheet.iter_rows() for cell in line}
        assert cells["=cmd|' /C calc'!A0"] == "s"
        assert "f" not in cells.values()
        assert sheet.freeze_panes == "A2"


@pytest.mark.parametrize("name", ["c.parquet", "c.csv", "c.xlsx"])
def test_a_cohort_is_read_again_as_it_was(tmp_path: Path, name: str) -> None:
    found = select(TEN, Selecting("p_metastasis > 0.65")).table

    write_cohort(found, tmp_path / name)

    readers = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".xlsx": pd.read_excel}
    read = readers[Path(name).suffix](tmp_path / name)
    assert read["exam_id"].astype(str).str.zfill(32).tolist() == found.column("exam_id").to_pylist()
    assert read["p_metastasis"].tolist() == pytest.approx(found.column("p_metastasis").to_pylist())
    if name == "c.parquet":
        assert pq.read_schema(tmp_path / name).metadata[b"bsbatch.config_hash"] == b"c"


def test_a_cohort_is_not_written_among_the_tables_or_under_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / RESULTS).mkdir()
    for name, message in ((f"{RESULTS}/part-000009.parquet", "lies in a table"), ("c.txt", "must end with")):
        with pytest.raises(UsageError, match=message):
            check_target(tmp_path / name, tmp_path)
