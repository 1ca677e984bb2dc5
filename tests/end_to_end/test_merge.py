"""``bsbatch merge``: runs over parts of an archive, merged, have the rows of one run over all of it, or are refused."""

import json
import os
import random
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.archives import Scan, dataset_of, write
from tests.end_to_end.tables import Row, bsbatch, objects, patient_keys, results

from bsbatch.api.runs import open_results
from bsbatch.config import BackendName, RunConfig, StudyChoice
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen
from bsbatch.store.folder import lock_output

KEY = "0123456789abcdef" * 2


def run(archive: Path, out: Path, **options: Any) -> Path:
    """Screen without a model; all folders have one patient key."""
    out.mkdir(exist_ok=True)
    if not options.get("keyfile"):
        (out / "patient.key").write_text(KEY)
    screen(RunConfig(archive, out=out, backend=BackendName.FAKE, **options), SilentReporter())
    return out


def split(archive: Path, to: Path, parts: int, luck: random.Random, studies: dict[str, str]) -> list[Path]:
    """Link the files of an archive into ``parts`` folders, those of a study into one."""
    chosen: dict[str, str] = {}
    for source in sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()):
        name = chosen.setdefault(studies.get(source, source), f"part{luck.randrange(parts)}")
        (to / name / source).parent.mkdir(parents=True, exist_ok=True)
        os.link(archive / source, to / name / source)
    return sorted(to.iterdir())


def comparable(rows: list[Row]) -> list[Row]:
    """Rows without messages, which name files from the run's own archive on."""
    return sorted([{name: row[name] for name in row if name != "message"} for row in rows], key=str)


def merge(*arguments: str | Path) -> str:
    done = bsbatch("merge", *arguments)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def refused(*arguments: str | Path) -> str:
    done = bsbatch("merge", *arguments)
    assert done.returncode == 2, done.stdout
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("seed", range(4))
def test_a_random_split_by_studies_merged_has_the_rows_of_one_run_over_all(
    seed: int, phantoms: Path, tmp_path: Path
) -> None:
    luck, archive = random.Random(seed), phantoms / "archive"
    whole = run(archive, tmp_path / "whole")
    studies = {row["source"]: row["study_uid"] for row in objects(whole) if row["study_uid"]}
    parts = split(archive, tmp_path / "parts", 2 + seed % 3, luck, studies)
    outs = [run(part, tmp_path / f"out-{part.name}") for part in parts]

    shown = merge(*outs, "--out", tmp_path / "merged")

    once = run(tmp_path / "parts", tmp_path / "once")
    assert comparable(objects(tmp_path / "merged")) == comparable(objects(once))
    assert comparable(results(tmp_path / "merged")) == comparable(results(once))
    assert patient_keys(tmp_path / "merged") == patient_keys(once)
    assert f"{len(parts)} runs merged: every row is accounted for." in shown
    one, other = open_results(once).info, open_results(tmp_path / "merged").info
    assert other["counts"] == one["counts"]
    assert (other["archive"], other["status"]) == (str(tmp_path / "parts"), "complete")
    assert [item["archive"] for item in other["merged"]] == [str(part) for part in parts]
    assert sum(item["counts"]["seen"] for item in other["merged"]) == other["counts"]["seen"]


def test_pseudonyms_of_equal_names_in_two_archives_stay_apart(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    for study in (1, 2):
        write(dataset_of(Scan(study)), tmp_path / f"{study}" / "scan.dcm")
    outs = [run(tmp_path / f"{study}", tmp_path / f"out{study}", keyfile=key) for study in (1, 2)]
    assert objects(outs[0])[0]["source"] == objects(outs[1])[0]["source"]

    merge(*outs, "--out", tmp_path / "merged")

    names = [open_results(out).info["archive"] for out in outs]
    found = [row["source"] for row in objects(tmp_path / "merged")]
    assert found == sorted(f"{name}/{objects(outs[0])[0]['source']}" for name in names)
    assert str(tmp_path) not in (tmp_path / "merged/run.json").read_text()
    assert not (tmp_path / "merged/patient.key").exists()


def test_studies_across_the_border_fail_and_can_be_screened_by_themselves(tmp_path: Path) -> None:
    for name, scan in (
        ("1/ant", Scan(1, "A", 1)),
        ("2/post", Scan(1, "P", 2)),
        ("1/both", Scan(2)),
        ("2/copy", Scan(2)),
    ):
        write(dataset_of(scan), tmp_path / "archive" / name)
    for study in (3, 4):
        write(dataset_of(Scan(study)), tmp_path / "archive" / f"{study - 2}" / "own")
    outs = [run(tmp_path / "archive" / name, tmp_path / f"out{name}") for name in "12"]

    shown = merge(*outs, "--out", tmp_path / "merged")

    assert "2 studies have objects in several of the runs" in shown
    rows = {row["source_anterior"] or row["source_posterior"]: row["reason"] for row in results(tmp_path / "merged")}
    failed = dict.fromkeys(("1/ant", "2/post", "1/both"), "split_study")
    assert rows == failed | {"1/own": None, "2/own": None}
    cohort = tmp_path / "split.csv"
    assert bsbatch("select", tmp_path / "merged", "--to", cohort, "--where", "reason = 'split_study'").returncode == 0
    alone = run(tmp_path / "archive", tmp_path / "alone", studies=StudyChoice(worklist=cohort))
    assert sorted((row["status"], row["source_anterior"]) for row in results(alone)) == [
        ("ok", "1/ant"),
        ("ok", "1/both"),
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, ``one`` and ``two``, over the folders of an archive."""
    folder = tmp_path_factory.mktemp("pair")
    for study, name in enumerate(("one", "one", "two")):
        write(dataset_of(Scan(study, rows=64, columns=32)), folder / "archive" / name / f"{study}")
    for name in ("one", "two"):
        run(folder / "archive" / name, folder / name)
    return folder


def test_every_command_reads_a_merged_folder(pair: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge(pair / "one", pair / "two", "--out", out)
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "study_uid,label\n" + "".join(f"{row['study_uid']},{n % 2}\n" for n, row in enumerate(results(out)))
    )

    for arguments in (
        ("report", out, "--labels", labels),
        ("evaluate", out, "--labels", labels, "--out", tmp_path / "report", "--resamples", "20"),
        ("select", out, "--to", tmp_path / "cohort.csv", "--latest-per-patient"),
        ("worklist", out, "--to", tmp_path / "list.csv"),
        ("compare", out, pair / "one", "--out", tmp_path / "page.html"),
    ):
        done = bsbatch(*arguments)
        assert done.returncode == 0, done.stderr
    assert open_results(out).results.num_rows == open_results(out).flow.examinations["ok"] == 3


def test_a_run_does_not_go_on_in_a_merged_folder(pair: Path, tmp_path: Path) -> None:
    merge(pair / "one", pair / "two", "--out", tmp_path / "merged")
    before = objects(tmp_path / "merged")

    done = bsbatch("run", pair / "archive", "--backend", "fake", "--out", tmp_path / "merged")

    assert done.returncode == 2
    assert "holds merged runs: go on in their own folders" in " ".join(done.stderr.split())
    assert objects(tmp_path / "merged") == before


def test_merged_folders_can_be_merged(pair: Path, tmp_path: Path) -> None:
    write(dataset_of(Scan(9)), tmp_path / "third" / "9")
    merge(pair / "one", pair / "two", "--out", tmp_path / "merged")

    merge(tmp_path / "merged", run(tmp_path / "third", tmp_path / "three"), "--out", tmp_path / "all")

    assert len(objects(tmp_path / "all")) == 4
    assert len(open_results(tmp_path / "all").info["merged"][0]["merged"]) == 2


def _change(run_file: Path, **fields: object) -> None:
    run_file.write_text(json.dumps(json.loads(run_file.read_text()) | fields))


def test_what_cannot_be_merged_is_refused_with_what_to_do_and_nothing_is_written(pair: Path, tmp_path: Path) -> None:
    archive, one, out = pair / "archive", pair / "one", tmp_path / "merged"
    limited = run(archive / "one", tmp_path / "limited", limit=1)
    other = run(archive / "two", tmp_path / "other", threshold=0.25)
    keyed = tmp_path / "keyed"
    assert bsbatch("run", archive / "two", "--backend", "fake", "--out", keyed).returncode == 0
    inner = run(archive, tmp_path / "inner")
    old = run(archive / "two", tmp_path / "old")
    _change(old / "run.json", schema_version=1)
    full = tmp_path / "full"
    (full / "x").mkdir(parents=True)

    for folders, to, message in (
        ((one,), out, "name at least 2 folders"),
        ((one, archive), out, "holds no run"),
        ((one, pair / "two" / ".." / "one"), out, "is given twice"),
        ((one, limited), out, "is not finished (limited): give its command again"),
        ((one, other), out, "different configurations (--threshold 0.5 and 0.25)"),
        ((one, keyed), out, "have different patient.key"),
        ((one, inner), out, "2 objects have rows in several of the folders"),
        ((one, old), out, "another version of bsbatch"),
        ((one, pair / "two"), full, "is not empty"),
        ((one, pair / "two"), one / "results", "choose another --out"),
    ):
        assert message in refused(*folders, "--out", to)
        assert not out.exists()
        assert not (tmp_path / ".merged.partial").exists()


def test_a_folder_that_a_run_is_writing_to_is_refused(pair: Path, tmp_path: Path) -> None:
    with lock_output(pair / "two"):
        assert "another run is writing to" in refused(pair / "one", pair / "two", "--out", tmp_path / "merged")


def test_tables_that_lost_a_part_are_refused(pair: Path, tmp_path: Path) -> None:
    lost = run(pair / "archive" / "two", tmp_path / "lost")
    _change(lost / "run.json", counts=json.loads((lost / "run.json").read_text())["counts"] | {"objects": {"used": 2}})

    done = bsbatch("merge", pair / "one", lost, "--out", tmp_path / "merged")

    assert done.returncode == 4
    assert "other counts than its run.json" in " ".join(done.stderr.split())


_KILLED = """
import os, pathlib, signal, sys
left, rename = int(sys.argv.pop(1)), pathlib.Path.replace
def replace(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.replace = replace
from bsbatch.cli import main
main()
"""
"""A command that is killed before one of its renames."""


def test_a_merge_killed_at_any_rename_leaves_no_folder_and_the_same_command_finishes(
    pair: Path, tmp_path: Path
) -> None:
    merge(pair / "one", pair / "two", "--out", tmp_path / "calm")
    out = tmp_path / "merged"
    arguments = ["merge", str(pair / "one"), str(pair / "two"), "--out", str(out)]

    for step in count(1):
        done = subprocess.run([sys.executable, "-c", _KILLED, str(step), *arguments], capture_output=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not out.exists()

    assert step > len(list((tmp_path / "calm").rglob("part-*")))
    assert comparable(objects(out)) == comparable(objects(tmp_path / "calm"))
    assert comparable(results(out)) == comparable(results(tmp_path / "calm"))
    assert {path.name for path in out.rglob("*")} == {path.name for path in (tmp_path / "calm").rglob("*")}
