import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dicom.objects import header, ref, scan

from bsbatch.dicom.pairing import examine
from bsbatch.imaging.quality import Flag
from bsbatch.patients.record import Demographics, Identity
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import (
    Examination,
    Explanation,
    Failure,
    HeatMap,
    MapLocation,
    ObjectRef,
    Outcome,
    Peak,
    Prediction,
    Quality,
    SettledObject,
    UnitOutcome,
)
from bsbatch.store.column import Column
from bsbatch.store.patients import IDENTITY_COLUMNS
from bsbatch.store.tables import (
    CAM_COLUMNS,
    OBJECT_COLUMNS,
    OBJECTS,
    RESULT_COLUMNS,
    RESULTS,
    SCHEMA_VERSION,
    UNLIKE_TRAINING,
    Provenance,
    Row,
    object_rows,
    result_rows,
    schema_of,
    to_table,
)
from bsbatch.tracers.record import Tracer

PROVENANCE = Provenance(config_hash="abc", model_id="0123456789abcdef", threshold=0.5)
QUALITY = Quality(1e6, 2e6, 2.0, 3.0, 0.1, 0, ("lossy", "saturated"), "f" * 32)
BOTH = examine((scan("AP", "both"),))
PAIR = examine((scan("P", "p", series_uid="9"), scan("A", "a", series_uid="8")))
LONE = examine((scan("A", "lone"),), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
CT = SettledObject(ref("ct.dcm"), header(modality="CT"), Verdict.of(Stage.HEADER, Reason.MODALITY_NOT_NM))
NOTE = SettledObject(ref("note.txt"), None, Verdict.of(Stage.HEADER, Reason.NOT_DICOM))

CAMERA = {
    "manufacturer": "Nobody",
    "model_name": "Test camera",
    "image_type": "ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION",
    "acquisition_date": "20200102",
    "acquisition_time": "101500",
}

IDENTITY = Identity("4711", "House", "A 12", "20200304", "1015", "Bone scan", 71, "Clinic", "Urology")


def failure(exam: Examination, reason: Reason = Reason.SINGLE_VIEW_ONLY, quality: Quality | None = None) -> Failure:
    return Failure(exam, Verdict.of(Stage.PAIRING, reason), quality)


def unit(*outcomes: Outcome, settled: tuple[SettledObject, ...] = ()) -> UnitOutcome:
    return UnitOutcome(outcomes, settled)


def result_of(outcome: Outcome) -> Row:
    """Return the one row as read back from the table."""
    (row,) = to_table(RESULTS, result_rows(unit(outcome), PROVENANCE), "abc").to_pylist()
    return dict(row)


def objects_of(outcome: UnitOutcome) -> list[Row]:
    return list(to_table(OBJECTS, object_rows(outcome), "abc").to_pylist())


@pytest.mark.parametrize(("table", "columns"), [(RESULTS, RESULT_COLUMNS), (OBJECTS, OBJECT_COLUMNS)])
def test_every_column_is_described_once(table: str, columns: tuple[Column, ...]) -> None:
    schema = schema_of(table, "abc")

    assert schema.names == [column.name for column in columns]
    assert len(set(schema.names)) == len(columns)
    assert all(column.description for column in columns)
    assert json.loads(schema.metadata[b"bsbatch.columns"]) == {column.name: column.description for column in columns}


@pytest.mark.parametrize("table", [RESULTS, OBJECTS])
def test_the_metadata_of_a_part_name_its_table_and_versions(table: str, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(to_table(table, [], "abc"), path)

    metadata = pq.read_schema(path).metadata

    assert metadata[b"bsbatch.table"] == table.encode()
    assert metadata[b"bsbatch.config_hash"] == b"abc"
    assert metadata[b"bsbatch.schema_version"] == str(SCHEMA_VERSION).encode()
    assert b"research use only" in metadata[b"bsbatch.notice"]


def test_scores_of_a_calibrated_model_are_described_as_probabilities() -> None:
    described = {
        is_calibrated: schema_of(RESULTS, "abc", is_calibrated=is_calibrated) for is_calibrated in (False, True)
    }

    texts = {key: schema.field("p_metastasis").metadata[b"description"] for key, schema in described.items()}
    assert texts[False].startswith(b"Score for")
    assert texts[True].startswith(b"Probability of")
    assert described[True].names == described[False].names


def test_runs_count_the_flag_that_screening_raises() -> None:
    assert UNLIKE_TRAINING == Flag.UNLIKE_TRAINING


@pytest.mark.parametrize(("p", "predicted"), [(0.49, 0), (0.5, 1), (0.51, 1), (0.0, 0), (1.0, 1)])
def test_a_prediction_is_positive_from_the_threshold_on(p: float, predicted: int) -> None:
    row = result_of(Prediction(BOTH, QUALITY, p))

    assert (row["status"], row["predicted"], row["reason"]) == ("ok", predicted, None)
    assert row["p_metastasis"] == pytest.approx(p)


def test_the_row_of_a_prediction_names_its_objects_and_its_model() -> None:
    row = result_of(Prediction(BOTH, QUALITY, 0.7))

    assert row["exam_id"] == BOTH.exam_id
    assert (row["study_uid"], row["series_uid"]) == ("1.2.3", "1.2.3.4")
    assert row["sop_uid_anterior"] == row["sop_uid_posterior"] == "1.2.3.4.both"
    assert (row["frame_anterior"], row["frame_posterior"]) == (1, 2)
    assert row["source_anterior"] == row["source_posterior"] == "both"
    assert row["image_type"] == "ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION"
    assert row["view_evidence"] == "start_angle"
    assert (row["threshold"], row["model_id"], row["config_hash"]) == (0.5, "0123456789abcdef", "abc")


def test_quality_metrics_are_written() -> None:
    row = result_of(Prediction(BOTH, QUALITY, 0.7))

    assert (row["qc_counts_anterior"], row["qc_counts_posterior"]) == (1e6, 2e6)
    assert row["qc_flags"] == ["lossy", "saturated"]
    assert row["pixel_xxh3"] == "f" * 32


def test_a_pair_takes_its_series_from_the_anterior_object() -> None:
    row = result_of(Prediction(PAIR, QUALITY, 0.7))

    assert row["series_uid"] == "8"
    assert (row["source_anterior"], row["source_posterior"]) == ("a", "p")


def test_the_tracer_is_written_and_the_posterior_object_completes_it() -> None:
    front = scan("A", "a")._replace(tracer=Tracer("Tc-99m", None, None))
    back = scan("P", "p")._replace(tracer=Tracer("Tc-99m", "HDP", 185.5))

    row = result_of(failure(examine((front, back))))

    assert (row["radionuclide"], row["radiopharmaceutical"]) == ("Tc-99m", "HDP")
    assert row["minutes_from_injection"] == 185.5
    other = result_of(failure(examine((front._replace(tracer=Tracer(None, "MDP", 0.0)), back))))
    assert (other["radionuclide"], other["radiopharmaceutical"]) == ("Tc-99m", "MDP")
    assert other["minutes_from_injection"] == 0.0
    assert result_of(failure(BOTH))["radionuclide"] is None


def test_every_column_of_a_result_has_its_own_value() -> None:
    person = Demographics("hash", 2020, "F", "65 to 74", IDENTITY)
    front = scan("A", "a", patient_id="key")._replace(tracer=Tracer("Tc-99m", "HDP", 185.5), demographics=person)
    back = scan("P", "p")
    exam = examine((front, back._replace(frames=(back.frames[0]._replace(frame=2),))))
    quality = Quality(1.0, 2.0, 3.0, 4.0, 5.0, 6, ("lossy",), "f" * 32)

    assert result_of(Prediction(exam, quality, 0.75, logit=1.5, distance=12.0)) == {
        "exam_id": exam.exam_id,
        "patient_key": "key",
        "study_uid": "1.2.3",
        "series_uid": "1.2.3.4",
        "sop_uid_anterior": "1.2.3.4.a",
        "sop_uid_posterior": "1.2.3.4.p",
        "frame_anterior": 1,
        "frame_posterior": 2,
        "source_anterior": "a",
        "source_posterior": "p",
        **CAMERA,
        "radionuclide": "Tc-99m",
        "radiopharmaceutical": "HDP",
        "minutes_from_injection": 185.5,
        "view_evidence": "start_angle",
        "status": "ok",
        "stage": None,
        "reason": None,
        "message": None,
        "p_metastasis": 0.75,
        "logit": 1.5,
        "distance": 12.0,
        "predicted": 1,
        "qc_counts_anterior": 1.0,
        "qc_counts_posterior": 2.0,
        "qc_hotspot_ratio_anterior": 3.0,
        "qc_hotspot_ratio_posterior": 4.0,
        "qc_laterality": 5.0,
        "qc_saturated_pixels": 6,
        "qc_flags": ["lossy"],
        "pixel_xxh3": "f" * 32,
        "accession_key": "hash",
        "study_year": 2020,
        "patient_sex": "F",
        "age_band": "65 to 74",
        "threshold": 0.5,
        "model_id": "0123456789abcdef",
        "config_hash": "abc",
    }


def test_identity_is_in_the_rows_of_runs_that_ask_for_it_alone() -> None:
    person = Demographics(identity=IDENTITY)
    outcome = unit(failure(examine((scan("AP", "a")._replace(demographics=person),))))
    rows = result_rows(outcome, PROVENANCE)

    (plain,) = to_table(RESULTS, rows, "abc").to_pylist()
    (named,) = to_table(RESULTS, rows, "abc", is_identified=True, has_maps=True).to_pylist()

    assert {column.name for column in IDENTITY_COLUMNS} == named.keys() - plain.keys() - {c.name for c in CAM_COLUMNS}
    assert {name: named[name] for name in IDENTITY._fields} == IDENTITY._asdict()


def test_every_column_of_an_object_has_its_own_value() -> None:
    whole = header(frame_of_reference_uid="1.2.9", patient_id="key", rows=12, columns=34, unfit=("PatientSex",))
    item = SettledObject(ObjectRef("ct.dcm", "/ct.dcm", 5, "6"), whole, CT.verdict)
    empty = item._replace(header=whole._replace(modality="", rows=0, columns=0, image_type=(), unfit=()))

    first, second = objects_of(unit(settled=(item, empty)))

    assert first == {
        "source": "ct.dcm",
        "size": 5,
        "version": "6",
        "sop_uid": "1.2.3.4.5",
        "sop_class": "1.2.840.10008.5.1.4.1.1.20",
        "modality": "NM",
        "patient_key": "key",
        "study_uid": "1.2.3",
        "series_uid": "1.2.3.4",
        "frame_of_reference_uid": "1.2.9",
        "rows": 12,
        "columns": 34,
        "frames": 2,
        "unfit_values": ["PatientSex"],
        **CAMERA,
        "status": "skipped",
        "stage": "header",
        "reason": "modality_not_nm",
        "message": CT.verdict.message,
        "exam_id": None,
    }
    assert second == {**first, **dict.fromkeys(("modality", "rows", "columns", "image_type", "unfit_values"))}


def test_a_heat_map_its_peaks_and_shares_are_written() -> None:
    heat = HeatMap(np.eye(32, dtype=np.float32), 4.5)
    where = MapLocation(Peak(15.5, 7.5, 1.0), None, 0.9, 0.25, 0.125, 0.5, 1.0, ("bladder",))
    prediction = Prediction(BOTH, QUALITY, 0.7, Explanation(heat, where))

    (row,) = to_table(RESULTS, result_rows(unit(prediction), PROVENANCE), "abc", has_maps=True).to_pylist()

    assert np.array_equal(np.reshape(row["cam_map"], (32, 32)), heat.cells)
    assert row["cam_strength"] == 4.5
    found = {name: row[f"cam_peak_{name}"] for name in ("row_anterior", "column_anterior", "value_anterior")}
    assert found == {"row_anterior": 15.5, "column_anterior": 7.5, "value_anterior": 1.0}
    assert row["cam_peak_row_posterior"] is row["cam_peak_value_posterior"] is None
    shares = [row[f"cam_share_{name}"] for name in ("pelvis", "periphery", "left", "anterior")]
    assert shares == [0.25, 0.125, 0.5, 1.0]
    assert row["cam_share_body"] == pytest.approx(0.9)
    assert row["cam_warning"] == ["bladder"]


def test_columns_of_heat_maps_are_null_without_a_map() -> None:
    rows = result_rows(unit(Prediction(BOTH, QUALITY, 0.7), failure(LONE)), PROVENANCE)

    for row in to_table(RESULTS, rows, "abc", has_maps=True).to_pylist():
        assert {row[column.name] for column in CAM_COLUMNS} == {None}


def test_a_run_without_heat_maps_has_no_columns_for_them() -> None:
    assert not {column.name for column in CAM_COLUMNS} & set(schema_of(RESULTS, "abc").names)
    assert schema_of(OBJECTS, "abc", has_maps=True) == schema_of(OBJECTS, "abc")


def test_a_failure_has_a_reason_and_no_score() -> None:
    row = result_of(failure(LONE))

    assert (row["status"], row["stage"], row["reason"]) == ("failed", "pairing", "single_view_only")
    assert row["message"]
    assert (row["p_metastasis"], row["predicted"], row["qc_flags"]) == (None, None, None)
    assert (row["source_anterior"], row["source_posterior"]) == ("lone", None)


def test_a_failure_after_its_pixels_were_read_keeps_their_quality() -> None:
    assert result_of(failure(BOTH, Reason.ALL_ZERO, QUALITY))["pixel_xxh3"] == "f" * 32


def test_an_examination_without_a_view_has_a_row_of_its_own() -> None:
    blind = examine((scan("", "x", Verdict.of(Stage.VIEWS, Reason.VIEW_UNRESOLVED)),))

    row = result_of(failure(blind, Reason.VIEW_UNRESOLVED))

    assert (row["study_uid"], row["view_evidence"]) == ("1.2.3", None)


def test_every_object_has_one_row() -> None:
    outcome = unit(Prediction(PAIR, QUALITY, 0.7), failure(LONE), settled=(CT, NOTE))

    rows = {row["source"]: (row["status"], row["reason"], row["exam_id"]) for row in objects_of(outcome)}

    assert len(objects_of(outcome)) == 5
    assert rows == {
        "a": ("used", None, PAIR.exam_id),
        "p": ("used", None, PAIR.exam_id),
        "lone": ("failed", "single_view_only", LONE.exam_id),
        "ct.dcm": ("skipped", "modality_not_nm", None),
        "note.txt": ("skipped", "not_dicom", None),
    }


def test_an_object_without_a_header_has_null_columns() -> None:
    (row,) = objects_of(unit(settled=(NOTE,)))

    assert (row["size"], row["version"]) == (1, "1")
    assert {row[name] for name in ("sop_uid", "modality", "rows", "frames", "image_type")} == {None}


def test_no_text_of_the_header_reaches_a_row() -> None:
    secret = header(descriptions=("Secret^Patience",), view_position=("Secret",), private_labels=(("Secret",),))
    settled = CT._replace(header=secret)

    assert "Secret" not in str(object_rows(unit(settled=(settled,))))


@pytest.mark.parametrize("missing", ["exam_id", "status", "config_hash"])
def test_a_row_without_a_required_value_is_refused(missing: str) -> None:
    (row,) = result_rows(unit(Prediction(BOTH, QUALITY, 0.7)), PROVENANCE)
    broken: dict[str, Any] = {**row, missing: None}

    table = to_table(RESULTS, [broken], "abc")

    with pytest.raises(pa.ArrowInvalid):
        pq.write_table(table, pa.BufferOutputStream())
