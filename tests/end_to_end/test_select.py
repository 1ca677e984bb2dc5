"""``bsbatch select``, and the same from Python."""

from pathlib import Path

import pandas as pd
from tests.cohort.hospital import run, write_archive
from tests.end_to_end.tables import bsbatch, results

from bsbatch.api.runs import open_results

NAMES = ("P1", "ACC-", "1948")


def test_a_cohort_holds_one_scan_of_each_patient_and_no_identity_unless_it_was_asked_for(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive")
    for out, is_identified in (("plain", False), ("named", True)):
        run(archive, tmp_path / out, is_identified=is_identified)
        to = tmp_path / f"{out}.csv"

        done = bsbatch("select", tmp_path / out, "--to", to, "--where", "study_year = 2019", "--latest-per-patient")

        assert done.returncode == 0, done.stderr
        assert "the latest one of each patient" in " ".join(done.stdout.split())
        frame = pd.read_csv(to)
        assert len(frame) == frame["patient_key"].nunique() == 5
        assert "20190902" in set(frame["acquisition_date"].astype(str))
        assert "20190110" not in set(frame["acquisition_date"].astype(str))
        found = [name in to.read_text() for name in NAMES]
        assert found == ([True, True, False] if is_identified else [False] * 3)
        cohort = open_results(tmp_path / out).select("study_year = 2019", per_patient="latest")
        assert cohort.column("exam_id").to_pylist() == frame["exam_id"].tolist()


def test_errors_are_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    run(write_archive(tmp_path / "archive"), tmp_path / "out")

    for options, message in (
        (("--where", "nothing = 1"), "--where cannot be used"),
        (("--latest-per-patient", "--first-per-patient"), "exclude each other"),
        (("--sample", "99"), "more than the 6 examinations"),
    ):
        done = bsbatch("select", tmp_path / "out", "--to", tmp_path / "c.csv", *options)

        assert done.returncode == 2
        assert message in " ".join(done.stderr.split())
        assert not (tmp_path / "c.csv").exists()
    assert len(results(tmp_path / "out")) == 6
    assert bsbatch("select", tmp_path / "archive", "--to", tmp_path / "c.csv").returncode == 2
