"""``bsbatch run`` over chosen studies: --since, --until, --manufacturer, --accessions, --exclude, --worklist."""

import json
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.archives import Scan, dataset_of, uid, write
from tests.cohort.hospital import STUDIES, accession, write_archive
from tests.end_to_end.tables import bsbatch, by_source, objects, results

import bsbatch as package
from bsbatch.config import BackendName, RunConfig, Selection, StudyChoice
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "archive")


def run(archive: Path, out: Path, *options: str | Path, code: int = 0) -> str:
    done = bsbatch("run", archive, "--backend", "fake", "--out", out, *options)
    assert done.returncode == code, done.stderr
    return " ".join(done.stderr.split())


def scored(out: Path) -> list[int]:
    """Numbers of the studies with a row of results; all other objects must be left out."""
    rows = by_source(out)
    assert all(
        (row["status"], row["reason"], row["study_uid"] is None) == ("skipped", "not_selected", False)
        for row in rows.values()
        if row["status"] != "used"
    )
    assert len(rows) == len(STUDIES)
    return sorted(int(row["source_anterior"].removesuffix(".dcm")) for row in results(out))


def list_of(path: Path, *values: str) -> Path:
    path.write_text("\n".join(values) + "\n")
    return path


@pytest.mark.parametrize(
    ("options", "studies"),
    [
        (("--since", "2019-03-12"), [1, 3, 4, 5]),
        (("--until", "2019-02-11"), [0, 2]),
        (("--since", "2019-02-11", "--until", "2019-04-13"), [2, 3, 4]),
        (("--manufacturer", "nOBo"), [0, 1, 2, 3, 4, 5]),
        (("--manufacturer", "Siemens"), []),
    ],
)
def test_days_are_included_and_a_manufacturer_is_a_text_in_any_case(
    archive: Path, tmp_path: Path, options: tuple[str, ...], studies: list[int]
) -> None:
    run(archive, tmp_path / "out", *options)

    assert scored(tmp_path / "out") == studies


@pytest.mark.parametrize("has_pseudonyms", [False, True])
def test_lists_name_studies_by_accession_and_uid(archive: Path, tmp_path: Path, has_pseudonyms: bool) -> None:
    key = ("--pseudonymise", list_of(tmp_path / "key", KEY)) if has_pseudonyms else ()
    wanted = list_of(tmp_path / "wanted.txt", *map(accession, STUDIES[:4]), "ACC-999")
    excluded = list_of(tmp_path / "excluded.txt", accession(STUDIES[0]), uid("study", 3))
    uids = list_of(tmp_path / "uids.txt", *(uid("study", number) for number in (1, 2, 5)))

    lists: Mapping[str, tuple[str | Path, ...]] = {
        "a": ("--accessions", wanted),
        "b": ("--accessions", wanted, "--exclude", excluded),
        "c": ("--accessions", wanted, "--exclude", excluded, "--worklist", uids, "--since", "2019-02-12"),
    }
    found = {}
    for name, options in lists.items():
        run(archive, tmp_path / name, *options, *key)
        kept = {row["reason"] for row in objects(tmp_path / name)}
        assert kept == {None, "not_selected"}
        found[name] = sorted(row["acquisition_date"] for row in results(tmp_path / name))

    assert found == {
        "a": sorted(study.day for study in STUDIES[:4]),
        "b": sorted(STUDIES[number].day for number in (1, 2)),
        "c": [STUDIES[1].day],
    }


def test_accession_numbers_of_lists_reach_no_file(archive: Path, tmp_path: Path) -> None:
    wanted = list_of(tmp_path / "wanted.txt", *map(accession, STUDIES[:2]))

    run(
        archive,
        tmp_path / "out",
        "--accessions",
        wanted,
        "--exclude",
        list_of(tmp_path / "no.txt", accession(STUDIES[2])),
    )

    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"ACC-" in path.read_bytes() for path in files)
    assert "ACC-" not in str(objects(tmp_path / "out")) + str(results(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["studies"]["since"] is None


def test_cohorts_and_worklists_are_screened_again(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "all", "--identify")
    for name in ("c.csv", "c.xlsx", "c.parquet"):
        where = ("--where", "acquisition_date > '2019-04-01'")
        assert bsbatch("select", tmp_path / "all", "--to", tmp_path / name, *where).returncode == 0
        run(archive, tmp_path / f"of-{name}", "--worklist", tmp_path / name)
        assert scored(tmp_path / f"of-{name}") == [1, 4, 5]
    for name in ("w.csv", "w.xlsx"):
        listing = ("--rank", "uncertainty", "--limit", "2")
        assert bsbatch("worklist", tmp_path / "all", "--to", tmp_path / name, *listing).returncode == 0
        run(archive, tmp_path / f"of-{name}", "--worklist", tmp_path / name)
        assert len(scored(tmp_path / f"of-{name}")) == 2


def test_a_cohort_with_pseudonyms_fits_a_run_with_the_same_key(archive: Path, tmp_path: Path) -> None:
    key = ("--pseudonymise", list_of(tmp_path / "key", KEY))
    run(archive, tmp_path / "all", *key)
    bsbatch("select", tmp_path / "all", "--to", tmp_path / "c.csv", "--where", "acquisition_date > '2019-04-01'")

    run(archive, tmp_path / "out", *key, "--worklist", tmp_path / "c.csv")

    assert sorted(row["acquisition_date"] for row in results(tmp_path / "out")) == ["20190413", "20190514", "20190902"]
    done = bsbatch("run", archive, "--dry-run", *key, "--worklist", tmp_path / "c.csv")
    assert done.returncode == 0
    assert "not_selected" in done.stdout


def test_runs_of_two_choices_do_not_mix_and_the_same_one_goes_on(archive: Path, tmp_path: Path) -> None:
    wanted = list_of(tmp_path / "wanted.txt", *map(accession, STUDIES[:4]))
    options = ("--accessions", wanted, "--since", "2019-02-01")
    run(archive, tmp_path / "out", *options, "--limit", "1")

    again = list_of(tmp_path / "again.txt", *map(accession, reversed(STUDIES[:4])))
    run(archive, tmp_path / "out", "--accessions", again, "--since", "2019-02-01")

    assert scored(tmp_path / "out") == [1, 2, 3]
    assert "--since was 2019-02-01 and is None" in run(archive, tmp_path / "out", "--accessions", wanted, code=2)
    fewer = list_of(tmp_path / "fewer.txt", *map(accession, STUDIES[:3]))
    assert "--accessions was" in run(archive, tmp_path / "out", *options[2:], "--accessions", fewer, code=2)
    run(archive, tmp_path / "out", "--fresh")
    assert scored(tmp_path / "out") == [0, 1, 2, 3, 4, 5]


def test_a_new_object_brings_its_study_in_and_another_one_out(archive: Path, tmp_path: Path) -> None:
    """Rows are those of one run over all objects."""
    excluded = list_of(tmp_path / "no.txt", "NO")
    options = ("--since", "2019-04-01", "--exclude", excluded)
    run(archive, tmp_path / "out", *options)
    assert scored(tmp_path / "out") == [1, 4, 5]
    for number, day, name in ((0, "20190501", "ACC-000"), (4, "20190413", "NO")):
        dataset = dataset_of(Scan(number, instance=7, series=7, time="150000", rows=64, columns=32))
        dataset.PatientID, dataset.AccessionNumber = STUDIES[number].patient, name
        dataset.StudyDate = dataset.AcquisitionDate = day
        write(dataset, archive / f"later-{number}.dcm")

    run(archive, tmp_path / "out", *options)
    run(archive, tmp_path / "once", *options)

    rows = by_source(tmp_path / "out")
    assert {name for name, row in rows.items() if row["status"] == "used"} == {
        "0.dcm",
        "1.dcm",
        "5.dcm",
        "later-0.dcm",
    }
    assert [(row["source"], row["reason"], row["exam_id"]) for row in objects(tmp_path / "out")] == [
        (row["source"], row["reason"], row["exam_id"]) for row in objects(tmp_path / "once")
    ]
    assert len(results(tmp_path / "out")) == 4


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_rows_do_not_depend_on_the_run_that_saw_an_object_first(data: st.DataObject) -> None:
    """Objects in and out of a range of dates and excluded ones, in any study and order, over two runs and at once."""
    kinds = st.tuples(
        st.integers(0, 2), st.sampled_from(["A", "P", "AP"]), st.sampled_from(["2018", "2020"]), st.booleans()
    )
    drawn = data.draw(st.lists(kinds, min_size=2, max_size=7))
    with TemporaryDirectory() as name:
        folder = Path(name)
        excluded = list_of(folder / "no.txt", "NO")
        studies = StudyChoice(since=date(2020, 1, 1), exclude=excluded)
        for out, ends in (("twice", (len(drawn) // 2, len(drawn))), ("once", (len(drawn),))):
            for start, end in pairwise((0, *ends)):
                for number in range(start, end):
                    study, views, year, is_wanted = drawn[number]
                    dataset = dataset_of(Scan(study, views, number, rows=64, columns=32))
                    dataset.StudyDate, dataset.AccessionNumber = f"{year}0102", "YES" if is_wanted else "NO"
                    write(dataset, folder / out / f"{number}.dcm")
                config = RunConfig(folder / out, folder / f"{out}-rows", backend=BackendName.FAKE, studies=studies)
                screen(config, SilentReporter())
        names = ("source", "status", "reason", "exam_id")
        rows = [[[row[name] for name in names] for row in objects(folder / out)] for out in ("twice-rows", "once-rows")]
        assert rows[0] == rows[1]
        for study in range(3):
            own = [kind for kind in drawn if kind[0] == study]
            is_out = not all(kind[3] for kind in own) or not any(kind[2] == "2020" for kind in own)
            reasons = {row[2] == "not_selected" for row, kind in zip(rows[0], drawn, strict=True) if kind[0] == study}
            assert reasons <= {is_out}


def test_python_takes_the_same_choice(archive: Path, tmp_path: Path) -> None:
    wanted = list_of(tmp_path / "wanted.txt", accession(STUDIES[1]))
    choice = StudyChoice(accessions=wanted)

    out = tmp_path / "out"
    done = package.screen(archive, model="demo", out=out, selection=Selection(), studies=choice, identify=True)

    assert done.results.column("accession_number").to_pylist() == [accession(STUDIES[1])]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--since", "2020-01-02", "--until", "2020-01-01"), "--since is later than --until"),
        (("--since", "gestern"), "is no date"),
        (("--manufacturer", " "), "--manufacturer needs a text"),
        (("--worklist", "page.html"), "is a page"),
        (("--worklist", "absent.parquet"), "is no Parquet file"),
        (("--worklist", "other.csv"), "has no column study_uid"),
        (("--worklist", "empty.csv"), "names no study"),
        (("--accessions", "absent.txt"), "cannot read"),
    ],
)
def test_a_choice_that_cannot_be_read_starts_nothing(
    archive: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    list_of(tmp_path / "other.csv", "a,b", "1,2")
    list_of(tmp_path / "empty.csv", "study_uid,b", ",2")
    arguments = [tmp_path / each if "." in each else each for each in options]

    assert message in run(archive, tmp_path / "out", *arguments, code=2)
    assert not list((tmp_path / "out").glob("*/part-*"))
