"""The files of a report: ``metrics.json``, ``scores.parquet``, ``unmatched.csv`` and ``figures/``.

Each is written aside and renamed. ``metrics.json`` is deleted first and written last: if it exists, the report is
complete.
"""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bsbatch.errors import OutputError, UsageError
from bsbatch.evaluation.cohort import Cohort
from bsbatch.evaluation.metrics_json import VERSION, content_of
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.plot_files import draw_plots
from bsbatch.host.files import replace_file
from bsbatch.host.spreadsheet import write_csv
from bsbatch.notice import NOTICE
from bsbatch.store.column import Column

METRICS, SCORES, UNMATCHED, FIGURES = "metrics.json", "scores.parquet", "unmatched.csv", "figures"

SCORE_COLUMNS = (
    Column("exam_id", pa.string(), "The examination, as in results", is_nullable=False),
    Column("study_uid", pa.string(), "(0020,000D) Study Instance UID", is_nullable=False),
    Column("patient", pa.int32(), "Number of the patient in this report, from 0", is_nullable=False),
    Column("label", pa.int8(), "1 where metastasis is known, else 0", is_nullable=False),
    Column("p_metastasis", pa.float32(), "Probability of metastatic bone disease, in [0, 1]", is_nullable=False),
    Column("predicted", pa.int8(), "1 where p_metastasis >= the first operating point, else 0", is_nullable=False),
    Column("centre", pa.string(), "Centre, from the label file"),
    Column("split", pa.string(), "Split, from the label file"),
    Column("lesions", pa.int64(), "Number of lesions, from the label file"),
    Column("manufacturer", pa.string(), "(0008,0070) Manufacturer"),
)
"""Columns of ``scores.parquet``, one row for each evaluated examination. No patient_id: a number is enough."""


def write_report(evaluation: Evaluation) -> None:
    """Write the report into the folder in the evaluation's configuration, over an earlier one.

    Raises
    ------
    UsageError
        The folder cannot be created.
    OutputError
        The folder cannot be written to.
    """
    out = evaluation.config.out
    try:
        (out / FIGURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}. Choose another --out or grant access") from error
    try:
        (out / METRICS).unlink(missing_ok=True)
        for name, content in draw_plots(evaluation).items():
            _replace(out / FIGURES / name, content)
        _replace(out / SCORES, _scores_parquet(evaluation))
        _replace(out / UNMATCHED, _csv_of(evaluation.cohort))
        _replace(out / METRICS, _metrics_json(evaluation))
    except OSError as error:
        raise OutputError.of(out, error) from error


def _replace(path: Path, content: bytes) -> None:
    with replace_file(path) as aside:
        aside.write_bytes(content)


def _metrics_json(evaluation: Evaluation) -> bytes:
    text = json.dumps(content_of(evaluation), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _scores_parquet(evaluation: Evaluation) -> bytes:
    sample = evaluation.cohort.sample
    decisions = sample.scores >= evaluation.whole.points[0].point.threshold
    rows = [
        {
            "exam_id": case.examination.exam_id,
            "study_uid": case.label.study_uid,
            "patient": int(sample.patients[index]),
            "label": int(case.label.is_positive),
            "p_metastasis": case.examination.score,
            "predicted": int(decisions[index]),
            "centre": case.label.centre,
            "split": case.label.split,
            "lesions": case.label.lesions,
            "manufacturer": case.examination.manufacturer,
        }
        for index, case in enumerate(evaluation.cohort.cases)
    ]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema(evaluation)), stream, compression="zstd")
    return stream.getvalue()


def _schema(evaluation: Evaluation) -> pa.Schema:
    fields = [
        pa.field(column.name, column.kind, column.is_nullable, {"description": column.description})
        for column in SCORE_COLUMNS
    ]
    facts = {"table": "scores", "version": str(VERSION), "config_hash": evaluation.run.config_hash, "notice": NOTICE}
    return pa.schema(fields, {f"bsbatch.{name}": value for name, value in facts.items()})


def _csv_of(cohort: Cohort) -> bytes:
    stream = io.StringIO()
    rows = [(str(item.exclusion), item.study_uid, item.exam_id, item.reason) for item in cohort.unmatched]
    write_csv(stream, [("kind", "study_uid", "exam_id", "reason"), *rows])
    return stream.getvalue().encode()
