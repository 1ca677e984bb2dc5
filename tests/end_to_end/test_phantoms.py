"""A run over phantoms of every dialect plus clutter reconciles, each file with the expected reason."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.end_to_end.tables import Row, bsbatch, by_source, expected, objects, read_csv, results


@pytest.fixture(scope="module")
def out(phantoms: Path, twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    done = bsbatch("run", phantoms / "archive", "--model", twin, "--out", folder, "--max-error-rate", "1")
    assert done.returncode == 0, done.stderr
    return folder


def test_every_file_has_one_row_with_the_expected_status_and_reason(phantoms: Path, out: Path) -> None:
    found = {source: (row["status"], row["reason"] or "") for source, row in by_source(out).items()}
    assert found == {source: (row["status"], row["reason"]) for source, row in expected(phantoms).items()}
    assert len(objects(out)) == len(found)


def test_the_set_holds_every_dialect_and_most_reasons(phantoms: Path) -> None:
    kinds = {row["kind"] for row in expected(phantoms).values()}
    dialects = {"ge_two_frame", "siemens_two_frame", "ge_old_single", "separate_series", "standard_codes", "emptied"}
    assert dialects <= kinds
    assert len({row["reason"] for row in expected(phantoms).values()}) >= 12


def test_every_labelled_study_is_scored_once(phantoms: Path, out: Path) -> None:
    labelled = [row["study_uid"] for row in read_csv(phantoms / "labels.csv")]
    scored = [row["study_uid"] for row in results(out) if row["status"] == "ok"]
    assert sorted(labelled) == sorted(scored)


def test_the_run_file_adds_up(phantoms: Path, out: Path) -> None:
    report = json.loads((out / "run.json").read_text(encoding="utf-8"))
    counts = report["counts"]
    assert report["status"] == "complete"
    assert counts["seen"] == sum(counts["objects"].values()) == len(expected(phantoms))
    assert sum(counts["examinations"].values()) == len(results(out))
    assert sum(counts["examination_reasons"].values()) == counts["examinations"]["failed"]
    assert {"header", "pixels", "preprocess", "infer", "commit"} <= set(report["stages"])


def test_used_objects_and_scored_examinations_belong_together(out: Path) -> None:
    used = {row["exam_id"] for row in objects(out) if row["status"] == "used"}
    assert used == {row["exam_id"] for row in results(out) if row["status"] == "ok"}


def test_scores_are_probabilities_and_predictions_follow_the_threshold(out: Path) -> None:
    for row in results(out):
        if row["status"] == "ok":
            assert 0.0 <= row["p_metastasis"] <= 1.0
            assert row["predicted"] == int(row["p_metastasis"] >= row["threshold"])
        else:
            assert row["p_metastasis"] is row["predicted"] is None
            assert row["reason"]
            assert row["message"]


def test_each_dialect_is_resolved_by_the_evidence_it_carries(phantoms: Path, out: Path) -> None:
    kinds = {source: row["kind"] for source, row in expected(phantoms).items()}
    evidence: dict[str, set[str]] = {}
    for row in results(out):
        if row["status"] == "ok":
            evidence.setdefault(kinds[row["source_anterior"]], set()).add(row["view_evidence"])
    assert evidence["standard_codes"] == {"code"}
    assert evidence["ge_two_frame"] == {"private"}
    assert evidence["ge_old_single"] == {"private"}
    assert not any("assumed" in kind for kinds_seen in evidence.values() for kind in kinds_seen)


def test_frame_order_is_followed_not_assumed(out: Path) -> None:
    orders = {(row["frame_anterior"], row["frame_posterior"]) for row in results(out) if row["status"] == "ok"}
    assert {(1, 2), (2, 1)} <= orders


def test_raw_counts_agree_with_the_header(out: Path) -> None:
    flagged = [row for row in results(out) if row["status"] == "ok" and "counts_mismatch" in row["qc_flags"]]
    assert flagged == []


def test_pandas_style_readers_see_one_schema_with_descriptions(out: Path) -> None:
    for table in ("results", "objects"):
        schema = pq.read_table(out / table).schema
        assert schema.metadata[b"bsbatch.schema_version"] == b"6"
        assert all((field.metadata or {}).get(b"description") for field in schema)


def test_a_second_run_ends_with_the_same_rows(phantoms: Path, twin: Path, out: Path) -> None:
    before: tuple[list[Row], list[Row]] = objects(out), results(out)
    done = bsbatch("run", phantoms / "archive", "--model", twin, "--out", out, "--max-error-rate", "1")
    assert done.returncode == 0
    assert (objects(out), results(out)) == before


def test_no_patient_data_leaves_the_decoder(phantoms: Path, twin: Path, tmp_path: Path) -> None:
    done = bsbatch("run", phantoms / "archive", "--model", twin, "--out", tmp_path / "out")
    assert done.returncode == 3
    written = repr(objects(tmp_path / "out")) + repr(results(tmp_path / "out"))
    written += (tmp_path / "out/run.json").read_text(encoding="utf-8") + done.stdout + done.stderr
    assert "Phantom^" not in written
