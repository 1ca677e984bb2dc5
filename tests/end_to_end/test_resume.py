"""A resumed run processes new, changed and failed objects, and no others."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID
from tests.archives import Scan, dataset_of, write, write_mixed, write_plain
from tests.end_to_end.tables import bsbatch, by_source, objects, results


def run(archive: Path, out: Path, *options: str) -> None:
    done = bsbatch(
        "run", archive, "--backend", "fake", "--out", out, "--unit-size", "3", "--max-error-rate", "1", *options
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_plain(tmp_path / "archive", 9)
    return tmp_path / "archive"


def test_new_files_are_added_to_earlier_results(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    first = results(tmp_path / "out")
    write(dataset_of(Scan(99)), archive / "new.dcm")
    run(archive, tmp_path / "out")
    assert len(results(tmp_path / "out")) == len(first) + 1
    assert [row for row in results(tmp_path / "out") if row in first] == first


def test_unchanged_files_are_not_opened_again(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    for path in archive.rglob("*.dcm"):
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/part-*")}
    run(archive, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/part-*")} == parts
    assert {row["status"] for row in objects(tmp_path / "out")} == {"used"}


def test_a_truncated_file_that_is_copied_again_replaces_its_failed_row(archive: Path, tmp_path: Path) -> None:
    victim = archive / "000/000004.dcm"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-500])
    run(archive, tmp_path / "out")
    assert [row["reason"] for row in results(tmp_path / "out") if row["status"] == "failed"] == ["truncated_pixel_data"]
    victim.write_bytes(whole)
    run(archive, tmp_path / "out")
    assert {row["status"] for row in results(tmp_path / "out")} == {"ok"}
    assert len(results(tmp_path / "out")) == len(objects(tmp_path / "out")) == 9


def test_a_partner_that_arrives_later_completes_the_examination(tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write(dataset_of(Scan(1, "A", 1)), archive / "anterior")
    run(archive, out)
    assert [row["reason"] for row in results(out)] == ["single_view_only"]
    write(dataset_of(Scan(1, "P", 2)), archive / "posterior")
    run(archive, out)
    assert [(row["status"], row["source_anterior"], row["source_posterior"]) for row in results(out)] == [
        ("ok", "anterior", "posterior")
    ]
    assert {row["status"] for row in objects(out)} == {"used"}


def test_a_changed_view_is_processed_with_its_unchanged_partner(tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write(dataset_of(Scan(1, "A", 1)), archive / "anterior")
    write(dataset_of(Scan(1, "P", 2)), archive / "posterior")
    write(dataset_of(Scan(2)), archive / "other")
    run(archive, out)
    before = results(out)
    write(dataset_of(Scan(1, "P", 2, rows=520)), archive / "posterior")
    run(archive, out)
    assert by_source(out)["anterior"]["reason"] == by_source(out)["posterior"]["reason"] == "matrix_mismatch"
    assert len(results(out)) == len(before) == 2
    assert len(objects(out)) == 3


def test_a_deleted_file_keeps_its_rows(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    (archive / "000/000003.dcm").unlink()
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "1 files of earlier runs are gone" in done.stdout
    assert len(results(tmp_path / "out")) == 9


@pytest.mark.parametrize("lost", ["objects", "results"])
def test_either_half_of_a_unit_is_done_again_as_a_whole(lost: str, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write_mixed(archive, 6)
    run(archive, out)
    before = objects(out), results(out)
    sorted(out.glob(f"{lost}/part-*"))[1].unlink()  # as if killed between the two renames, in either order
    run(archive, out)
    assert (objects(out), results(out)) == before


def test_another_threshold_is_another_configuration(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    mixed = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out", "--threshold", "0.7")
    assert mixed.returncode == 2
    assert "another configuration (--threshold was 0.5 and is 0.7)" in mixed.stderr
    assert "--fresh" in mixed.stderr
    run(archive, tmp_path / "out", "--threshold", "0.7", "--fresh")
    assert {round(row["threshold"], 6) for row in results(tmp_path / "out")} == {0.7}


def test_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    write_plain(tmp_path / "second", 2)
    mixed = bsbatch("run", tmp_path / "second", "--backend", "fake", "--out", tmp_path / "out")
    assert mixed.returncode == 2
    assert "results of the archive" in mixed.stderr


def test_a_limited_run_stops_early_and_resumes_to_the_same_rows(tmp_path: Path) -> None:
    write_mixed(tmp_path / "archive", 40)
    run(tmp_path / "archive", tmp_path / "calm")
    run(tmp_path / "archive", tmp_path / "out", "--limit", "7")
    assert len(results(tmp_path / "out")) == 7
    run(tmp_path / "archive", tmp_path / "out", "--limit", "7")
    assert len(results(tmp_path / "out")) == 14
    run(tmp_path / "archive", tmp_path / "out")
    assert objects(tmp_path / "out") == objects(tmp_path / "calm")
    assert results(tmp_path / "out") == results(tmp_path / "calm")


def test_a_dry_run_writes_nothing_and_counts_the_same(tmp_path: Path) -> None:
    write_mixed(tmp_path / "archive", 20)
    plan = bsbatch("run", tmp_path / "archive", "--dry-run", "--max-error-rate", "1")
    done = bsbatch("run", tmp_path / "archive", "--backend", "fake", "--out", tmp_path / "out", "--max-error-rate", "1")
    assert plan.returncode == done.returncode == 0
    assert sorted(tmp_path.iterdir()) == [tmp_path / "archive", tmp_path / "out"]

    def count(text: str, name: str) -> list[str]:
        return [line.split()[-1] for line in text.splitlines() if line.strip().startswith(name)]

    for name in ("files seen", "used", "failed", "skipped", "examinations"):
        assert count(plan.stdout, name) == count(done.stdout, name)


def test_an_assumed_frame_order_needs_its_option_and_is_flagged(tmp_path: Path) -> None:
    write(dataset_of(Scan(1, "??")), tmp_path / "archive/unlabelled")
    run(tmp_path / "archive", tmp_path / "out")
    assert [row["reason"] for row in results(tmp_path / "out")] == ["view_unresolved"]
    run(tmp_path / "archive", tmp_path / "assumed", "--assume-frame-order")
    (row,) = results(tmp_path / "assumed")
    assert (row["status"], row["view_evidence"], row["frame_anterior"]) == ("ok", "assumed_order", 1)
    assert "view_assumed" in row["qc_flags"]


def test_pseudonyms_replace_uids_and_paths_and_still_resume(archive: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef", encoding="utf-8")
    run(archive, tmp_path / "open")
    run(archive, tmp_path / "out", "--pseudonymise", str(key), "--limit", "4")
    run(archive, tmp_path / "out", "--pseudonymise", str(key))
    plain, hidden = results(tmp_path / "open"), results(tmp_path / "out")
    assert sorted(row["p_metastasis"] for row in hidden) == sorted(row["p_metastasis"] for row in plain)
    secrets = {row["study_uid"] for row in plain} | {row["source"] for row in objects(tmp_path / "open")}
    written = repr(hidden) + repr(objects(tmp_path / "out"))
    assert not [secret for secret in secrets if secret in written]
    assert all(row["study_uid"].startswith("2.25.") for row in hidden)
    assert len({row["study_uid"] for row in hidden}) == 9


def test_with_pseudonyms_no_file_holds_the_path_of_the_archive_but_another_one_is_refused(
    archive: Path, tmp_path: Path
) -> None:
    key, out = tmp_path / "key", tmp_path / "out"
    key.write_text("0123456789abcdef0123456789abcdef", encoding="utf-8")
    run(archive, out, "--pseudonymise", str(key))
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert str(archive).encode() not in written

    write_plain(tmp_path / "other", 1)
    done = bsbatch(
        "run", tmp_path / "other", "--backend", "fake", "--out", out, "--pseudonymise", key, "--max-error-rate", "1"
    )
    assert done.returncode == 2
    assert "another archive" in done.stderr
    run(archive, out, "--pseudonymise", str(key))

    earlier = json.loads((out / "run.json").read_text(encoding="utf-8")) | {"archive": str(archive)}
    (out / "run.json").write_text(json.dumps(earlier), encoding="utf-8")  # as before this was so
    run(archive, out, "--pseudonymise", str(key))


def test_a_limited_run_gets_past_failed_examinations(tmp_path: Path) -> None:
    for study in range(3):
        empty = np.zeros((2, 512, 256), np.uint16)
        write(dataset_of(Scan(study), empty), tmp_path / f"archive/a{study}")
    for study in range(3, 6):
        write(dataset_of(Scan(study)), tmp_path / f"archive/b{study}")
    for _ in range(2):
        run(tmp_path / "archive", tmp_path / "out", "--limit", "3")
    assert sorted(row["status"] for row in results(tmp_path / "out")) == ["failed"] * 3 + ["ok"] * 3


def test_one_uid_in_two_studies_is_two_examinations(tmp_path: Path) -> None:
    for study in range(2):
        dataset = dataset_of(Scan(study))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
        write(dataset, tmp_path / f"archive/{study}")
    run(tmp_path / "archive", tmp_path / "out")
    run(tmp_path / "archive", tmp_path / "out")
    assert [row["status"] for row in results(tmp_path / "out")] == ["ok", "ok"]


@pytest.mark.parametrize("name", ["~/y=1", "s3:/y=1", "with [brackets] :bomb:", "a\nb"])
def test_any_name_of_the_output_folder_can_be_resumed(archive: Path, tmp_path: Path, name: str) -> None:
    for _ in range(2):
        done = bsbatch("run", archive, "--backend", "fake", "--out", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / name)) == 9


def test_a_strange_parquet_file_among_the_parts_is_refused(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    stranger = tmp_path / "out/results/part-000000 (copy).parquet"
    stranger.write_bytes((tmp_path / "out/results/part-000000.parquet").read_bytes())
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "move it away" in done.stderr


def test_an_archive_that_has_moved_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    write_mixed(first, 6)
    run(first, out)
    before = objects(out), results(out)
    first.rename(second)

    refused = bsbatch("run", second, "--backend", "fake", "--out", out)
    run(second, out, "--archive-moved")

    assert refused.returncode == 2
    assert "--archive-moved" in refused.stderr
    assert (objects(out), results(out)) == before
