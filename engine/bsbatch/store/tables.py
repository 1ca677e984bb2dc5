"""The tables ``results`` and ``objects``: columns, schemas, and rows made from records.

A part of ``results`` is renamed into place before the part of ``objects`` with the same number, so a reader of an
unfinished run finds the result of each object that a unit used. Resuming does not need this order: a row without its
counterpart is removed from either table, and its objects are processed again.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypedDict, Unpack

import pyarrow as pa

from bsbatch.notice import NOTICE
from bsbatch.pseudonyms import patient_key
from bsbatch.reasons import Status
from bsbatch.records import (
    Examination,
    ExamView,
    Explanation,
    Failure,
    Header,
    ObjectRef,
    Peak,
    Prediction,
    SettledObject,
    UnitOutcome,
)
from bsbatch.store.column import Column, text
from bsbatch.store.patients import DEMOGRAPHIC_COLUMNS, IDENTITY_COLUMNS, demographic_values

SCHEMA_VERSION = 6
RESULTS, OBJECTS = "results", "objects"
OK = "ok"
_USED, _FAILED = str(Status.USED), str(Status.FAILED)
_OF_VIEWS = tuple((f"sop_uid_{view}", f"frame_{view}", f"source_{view}") for view in ("anterior", "posterior"))
"""Texts that every row needs: a member of an enumeration takes long to become one."""
UNLIKE_TRAINING = "unlike_training"
"""`bsbatch.imaging.quality.Flag.UNLIKE_TRAINING`, which runs count and overlays show."""

Row = dict[str, Any]


_VERDICT = (
    text("stage", "Where the decision fell: list, header, views, pairing, pixels, preprocess or infer"),
    text("reason", "Stable reason code, null where all went well (docs/tables.md)"),
    text("message", "The reason in words, without patient data"),
)
_PATIENT = text("patient_key", "Keyed hash of (0010,0020) Patient ID and its issuer, 32 hexadecimal digits")
_CAMERA = (
    text("manufacturer", "(0008,0070) Manufacturer"),
    text("model_name", "(0008,1090) Manufacturer's Model Name"),
    text("image_type", "(0008,0008) Image Type, values separated by backslashes"),
    text("acquisition_date", "(0008,0022) Acquisition Date, YYYYMMDD"),
    text("acquisition_time", "(0008,0032) Acquisition Time, HHMMSS.ffffff"),
)

_SCORE = Column("p_metastasis", pa.float32(), "Score for metastatic bone disease, in [0, 1]; it is no probability")
_PROBABILITY = replace(_SCORE, description="Probability of metastatic bone disease, in [0, 1]; the model is calibrated")
RESULT_COLUMNS = (
    text("exam_id", "Hash of study, SOP Instance UIDs and frames, 32 hexadecimal digits; unique", is_nullable=False),
    text("status", "ok or failed", is_nullable=False),
    *_VERDICT,
    _PATIENT,
    text("study_uid", "(0020,000D) Study Instance UID"),
    text("series_uid", "(0020,000E) Series Instance UID, of the anterior view where they differ"),
    text("sop_uid_anterior", "(0008,0018) SOP Instance UID of the anterior view"),
    text("sop_uid_posterior", "(0008,0018) SOP Instance UID of the posterior view"),
    Column("frame_anterior", pa.int32(), "Frame of the anterior view, from 1"),
    Column("frame_posterior", pa.int32(), "Frame of the posterior view, from 1"),
    text("source_anterior", "Object of the anterior view, relative to the archive"),
    text("source_posterior", "Object of the posterior view, relative to the archive"),
    text("view_evidence", "What named the views; anterior|posterior where they differ"),
    *_CAMERA,
    text("radionuclide", "Normalised radionuclide of the header, for example Tc-99m; null if it names none"),
    text("radiopharmaceutical", "Normalised radiopharmaceutical: MDP, HDP, DPD ..., or other; null if none is named"),
    Column("minutes_from_injection", pa.float32(), "Minutes from the injection to the acquisition, null if unknown"),
    _SCORE,
    Column("logit", pa.float32(), "ln(p / (1 - p)) of p_metastasis, not rounded where that is 0 or 1; at most 87.3"),
    Column(
        "distance",
        pa.float32(),
        "Squared Mahalanobis distance of the model's features from its training data; null if it has no statistics",
    ),
    Column("predicted", pa.int8(), "1 where p_metastasis >= threshold, else 0"),
    Column("threshold", pa.float32(), "Operating point of this run, in [0, 1]"),
    Column("qc_counts_anterior", pa.float64(), "Sum of the anterior view's pixels"),
    Column("qc_counts_posterior", pa.float64(), "Sum of the posterior view's pixels"),
    Column("qc_hotspot_ratio_anterior", pa.float32(), "Maximum over 99th percentile of non-zero pixels, anterior"),
    Column("qc_hotspot_ratio_posterior", pa.float32(), "Maximum over 99th percentile of non-zero pixels, posterior"),
    Column(
        "qc_laterality",
        pa.float32(),
        "corr(ANT, mirrored POST) - corr(ANT, POST), of the roots of 2 x 2 pixels' means; negative is suspect",
    ),
    Column("qc_saturated_pixels", pa.int32(), "Pixels at the largest value that can be stored"),
    Column("qc_flags", pa.list_(pa.string()), "Warnings (docs/tables.md)"),
    text("pixel_xxh3", "XXH3, 128 bits, of both views' stored pixels: equal for copies under other UIDs"),
    *DEMOGRAPHIC_COLUMNS,
    text("model_id", "First 16 digits of the SHA-256 of the model's graph"),
    text("config_hash", "Hash of model, preprocessing, threshold, precision and selection", is_nullable=False),
)
"""One row for each examination."""


def _peak(view: str) -> tuple[Column, ...]:
    return (
        Column(
            f"cam_peak_row_{view}", pa.float32(), f"Row of the map's peak in the {view} view, its own pixels, from 0"
        ),
        Column(f"cam_peak_column_{view}", pa.float32(), f"Column of the map's peak in the {view} view, from 0"),
        Column(f"cam_peak_value_{view}", pa.float32(), f"The map's peak in the {view} view, in [0, 1]"),
    )


CAM_COLUMNS = (
    Column(
        "cam_map",
        pa.list_(pa.float32()),
        "Grad-CAM for the predicted class, 32 x 32 values in [0, 1] row by row, anterior left; null without a map",
    ),
    Column("cam_strength", pa.float32(), "The map's largest value before it was scaled, in the unit of this model"),
    *_peak("anterior"),
    *_peak("posterior"),
    Column("cam_share_body", pa.float32(), "Share of the map's sum inside the body, in [0, 1]"),
    Column(
        "cam_share_pelvis", pa.float32(), "Share from 36 to 52 % of the body's length from the top: pelvis, bladder"
    ),
    Column("cam_share_periphery", pa.float32(), "Share beyond 3/4 of the body's half width: forearms and hands"),
    Column("cam_share_left", pa.float32(), "Share on the patient's left of the midline; the rest is on the right"),
    Column("cam_share_anterior", pa.float32(), "Share in the anterior view; the rest is in the posterior one"),
    Column("cam_warning", pa.list_(pa.string()), "Why the map deserves a second look (docs/tables.md)"),
)
"""Additional columns of ``results`` in runs with heat maps."""

OBJECT_COLUMNS = (
    text("source", "Path of the object, relative to the archive; unique", is_nullable=False),
    Column("size", pa.int64(), "Bytes, null if only the whole object would show it"),
    text("version", "Differs once the content does: a time of last change, a checksum, an ETag", is_nullable=False),
    text("sop_uid", "(0008,0018) SOP Instance UID"),
    text("sop_class", "(0008,0016) SOP Class UID"),
    text("modality", "(0008,0060) Modality"),
    _PATIENT,
    text("study_uid", "(0020,000D) Study Instance UID"),
    text("series_uid", "(0020,000E) Series Instance UID"),
    text("frame_of_reference_uid", "(0020,0052) Frame of Reference UID"),
    Column("rows", pa.int32(), "(0028,0010) Rows"),
    Column("columns", pa.int32(), "(0028,0011) Columns"),
    Column("frames", pa.int32(), "(0028,0008) Number of Frames"),
    *_CAMERA,
    text("status", "used, failed or skipped", is_nullable=False),
    *_VERDICT,
    text("exam_id", "The examination that the object went into"),
    Column(
        "unfit_values",
        pa.list_(pa.string()),
        "Attributes whose values do not fit them and were dropped (docs/tables.md); null if none",
    ),
)
"""One row for each listed object."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Values that are the same in all rows of a run."""

    config_hash: str
    model_id: str | None
    threshold: float
    has_maps: bool = False
    """True if ``results`` has the columns of heat maps."""
    is_calibrated: bool = False
    """True if the scores are probabilities."""
    is_identified: bool = False
    """True if ``results`` has the columns that name the patient."""

    @property
    def extent(self) -> "Extent":
        """Arguments of `to_table`."""
        return Extent(has_maps=self.has_maps, is_calibrated=self.is_calibrated, is_identified=self.is_identified)


class Extent(TypedDict, total=False):
    """Properties of a run that decide the columns of ``results``; False by default."""

    has_maps: bool
    is_calibrated: bool
    is_identified: bool


def columns_of(table: str, **extent: Unpack[Extent]) -> tuple[Column, ...]:
    """Return the columns of a table, those of heat maps last."""
    if table == OBJECTS:
        return OBJECT_COLUMNS
    columns: tuple[Column, ...] = RESULT_COLUMNS
    columns += IDENTITY_COLUMNS if extent.get("is_identified") else ()
    columns += CAM_COLUMNS if extent.get("has_maps") else ()
    return tuple(_PROBABILITY if extent.get("is_calibrated") and column is _SCORE else column for column in columns)


@lru_cache
def schema_of(table: str, config_hash: str, **extent: Unpack[Extent]) -> pa.Schema:
    """Return the Arrow schema of a table of a run."""
    return make_schema(table, columns_of(table, **extent), config_hash)


def make_schema(table: str, columns: tuple[Column, ...], config_hash: str) -> pa.Schema:
    """Return an Arrow schema; its metadata hold table name, column descriptions and versions."""
    fields = [
        pa.field(column.name, column.kind, column.is_nullable, {"description": column.description})
        for column in columns
    ]
    descriptions = {column.name: column.description for column in columns}
    return pa.schema(
        fields,
        {
            "bsbatch.table": table,
            "bsbatch.schema_version": str(SCHEMA_VERSION),
            "bsbatch.config_hash": config_hash,
            "bsbatch.columns": json.dumps(descriptions),
            "bsbatch.notice": NOTICE,
        },
    )


def result_rows(outcome: UnitOutcome, provenance: Provenance) -> list[Row]:
    """Return the rows of ``results`` for a unit."""
    return [_result_row(item, provenance) for item in outcome.outcomes]


def object_rows(outcome: UnitOutcome) -> list[Row]:
    """Return the rows of ``objects`` for a unit: objects of its examinations, then objects without an examination."""
    rows = [row for item in outcome.outcomes for row in _rows_of_exam(item)]
    rows.extend(_object_row(item) for item in outcome.settled)
    return rows


def to_table(table: str, rows: Iterable[Row], config_hash: str, **extent: Unpack[Extent]) -> pa.Table:
    """Return rows as an Arrow table with the schema of the table, in one call that lets go of the interpreter lock."""
    schema = schema_of(table, config_hash, **extent)
    records = pa.array(list(rows), pa.struct(list(schema)))
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(records)]).replace_schema_metadata(schema.metadata)


def _result_row(item: Prediction | Failure, provenance: Provenance) -> Row:
    return {
        **_exam_columns(item.exam),
        **_outcome_columns(item, provenance),
        **_quality_columns(item),
        **(_cam_columns(item.explanation) if isinstance(item, Prediction) and item.explanation is not None else {}),
        "threshold": provenance.threshold,
        "model_id": provenance.model_id,
        "config_hash": provenance.config_hash,
    }


def _exam_columns(exam: Examination) -> Row:
    views = [view for view in (exam.anterior, exam.posterior) if view is not None]
    scan = views[0].scan if views else exam.scans[0]
    header = scan.header
    row: Row = {
        "exam_id": exam.exam_id,
        "patient_key": patient_key(header),
        "study_uid": header.study_uid,
        "series_uid": header.series_uid,
        "view_evidence": "|".join(dict.fromkeys([view.frame.evidence for view in views])) or None,
        **_camera_columns(header),
        **_tracer_columns(exam, views),
        **demographic_values(scan.demographics),
    }
    for (sop_uid, frame, source), view in zip(_OF_VIEWS, (exam.anterior, exam.posterior), strict=True):
        if view is not None:
            row[sop_uid], row[frame], row[source] = view.scan.header.sop_uid, view.frame.frame, view.scan.ref.source
    return row


def _tracer_columns(exam: Examination, views: list[ExamView]) -> Row:
    """Return the tracer of the anterior view, and what only the posterior view names."""
    tracers = [scan.tracer for scan in exam.scans]
    if len(tracers) > 1:
        tracers = [view.scan.tracer for view in views] + tracers
    return {
        "radionuclide": next((tracer.radionuclide for tracer in tracers if tracer.radionuclide), None),
        "radiopharmaceutical": next(
            (tracer.radiopharmaceutical for tracer in tracers if tracer.radiopharmaceutical), None
        ),
        "minutes_from_injection": next((tracer.minutes for tracer in tracers if tracer.minutes is not None), None),
    }


def _outcome_columns(item: Prediction | Failure, provenance: Provenance) -> Row:
    if isinstance(item, Prediction):
        predicted = int(item.p_metastasis >= provenance.threshold)
        return {
            "status": OK,
            "p_metastasis": item.p_metastasis,
            "logit": item.logit,
            "distance": item.distance,
            "predicted": predicted,
        }
    return {"status": _FAILED, **_verdict_columns(item)}


def _quality_columns(item: Prediction | Failure) -> Row:
    quality = item.quality
    if quality is None:
        return {}
    return {
        "qc_counts_anterior": quality.counts_anterior,
        "qc_counts_posterior": quality.counts_posterior,
        "qc_hotspot_ratio_anterior": quality.hotspot_ratio_anterior,
        "qc_hotspot_ratio_posterior": quality.hotspot_ratio_posterior,
        "qc_laterality": quality.laterality_correlation,
        "qc_saturated_pixels": quality.saturated_pixels,
        "qc_flags": list(quality.flags),
        "pixel_xxh3": quality.pixel_xxh3,
    }


def _cam_columns(explanation: Explanation) -> Row:
    heat, location = explanation.heat, explanation.location
    return {
        "cam_map": heat.cells.ravel(),
        "cam_strength": heat.strength,
        **_peak_columns("anterior", location.peak_anterior),
        **_peak_columns("posterior", location.peak_posterior),
        "cam_share_body": location.body,
        "cam_share_pelvis": location.pelvis,
        "cam_share_periphery": location.periphery,
        "cam_share_left": location.left,
        "cam_share_anterior": location.anterior,
        "cam_warning": list(location.warnings),
    }


def _peak_columns(view: str, peak: Peak | None) -> Row:
    if peak is None:
        return {}
    return {
        f"cam_peak_row_{view}": peak.row,
        f"cam_peak_column_{view}": peak.column,
        f"cam_peak_value_{view}": peak.value,
    }


def _rows_of_exam(item: Prediction | Failure) -> list[Row]:
    if isinstance(item, Failure):
        fate: Row = {"status": _FAILED, **_verdict_columns(item)}
    else:
        fate = {"status": _USED}
    fate["exam_id"] = item.exam.exam_id
    return [{**_ref_columns(scan.ref), **_header_columns(scan.header), **fate} for scan in item.exam.scans]


def _object_row(item: SettledObject) -> Row:
    return {
        **_ref_columns(item.ref),
        **(_header_columns(item.header) if item.header is not None else {}),
        "status": str(item.verdict.status),
        **_verdict_columns(item),
    }


def _verdict_columns(item: Failure | SettledObject) -> Row:
    verdict = item.verdict
    return {"stage": str(verdict.stage), "reason": str(verdict.reason), "message": verdict.message}


def _ref_columns(ref: ObjectRef) -> Row:
    return {"source": ref.source, "size": ref.size, "version": ref.version}


def _header_columns(header: Header) -> Row:
    return {
        "sop_uid": header.sop_uid,
        "sop_class": header.sop_class,
        "modality": header.modality or None,
        "patient_key": patient_key(header),
        "study_uid": header.study_uid,
        "series_uid": header.series_uid,
        "frame_of_reference_uid": header.frame_of_reference_uid,
        "rows": header.rows or None,
        "columns": header.columns or None,
        "frames": header.frames,
        "unfit_values": list(header.unfit) or None,
        **_camera_columns(header),
    }


def _camera_columns(header: Header) -> Row:
    return {
        "manufacturer": header.manufacturer,
        "model_name": header.model_name,
        "image_type": "\\".join(header.image_type) or None,
        "acquisition_date": header.acquisition_date,
        "acquisition_time": header.acquisition_time,
    }
