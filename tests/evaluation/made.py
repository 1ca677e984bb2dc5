"""Results and labels as files, from arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bsbatch.evaluation.sample import Sample
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, Row, to_table

CONFIG = "c0ffee"


@dataclass(frozen=True, slots=True)
class Exam:
    """One row of results; a score of None is a failed examination."""

    study: str | None
    score: float | None
    manufacturer: str | None = "Nobody"
    patient: str | None = None
    is_unlike: bool | None = None
    """Whether it is unlike the training data; None for a model without statistics of that."""


def write_results(out: Path, exams: Iterable[Exam], **changes: object) -> Path:
    """Write a table of results as a run would."""
    rows = [_row(number, exam) | changes for number, exam in enumerate(exams)]
    (out / RESULTS).mkdir(parents=True, exist_ok=True)
    write_part(out / RESULTS, 0, to_table(RESULTS, rows, CONFIG))
    return out


def write_labels(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a label file with the columns of its first row."""
    lines = [",".join(rows[0])] + [",".join(map(str, row.values())) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sample_of(scores: Sequence[float], labels: Sequence[object], patients: Sequence[int] | None = None) -> Sample:
    """A sample; without patients, each examination is of its own."""
    return Sample(
        np.array(scores, np.float32),
        np.array(labels, bool),
        np.array(range(len(scores)) if patients is None else patients, np.intp),
    )


def like_the_paper(seed: int = 3) -> Sample:
    """998 examinations of 800 patients, 411 positive, ROC AUC about 0.9, scores with ties."""
    generator = np.random.default_rng(seed)
    labels = np.arange(998) < 411
    latent = generator.normal(size=998) + 1.8 * labels
    scores = np.round(1 / (1 + np.exp(-1.6 * (latent - 0.8))), 3)
    patients = np.concatenate([np.arange(800), generator.integers(0, 800, 198)])
    return sample_of(list(scores), list(labels), list(patients))


def files_of(folder: Path, sample: Sample) -> tuple[Path, Path]:
    """A sample as results and labels with every column, of three centres and two manufacturers."""
    exams, rows = [], []
    for place in range(sample.size):
        positive = bool(sample.labels[place])
        exams.append(Exam(f"1.2.{place}", float(sample.scores[place]), ("Alpha", "Beta")[place % 2]))
        rows.append(
            {
                "study_uid": f"1.2.{place}",
                "label": int(positive),
                "centre": "ABC"[place % 3],
                "split": "train" if place % 3 else "test",
                "lesions": place % 30 + 1 if positive else 0,
                "patient_id": f"P{sample.patients[place]}",
            }
        )
    return write_results(folder / "out", exams), write_labels(folder / "labels.csv", rows)


def _row(number: int, exam: Exam) -> Row:
    row: Row = {
        "exam_id": f"{number:032x}",
        "study_uid": exam.study,
        "manufacturer": exam.manufacturer,
        "patient_key": exam.patient,
    }
    if exam.score is None:
        row |= {"status": "failed", "stage": "pairing", "reason": "single_view_only", "message": "one view"}
    else:
        row |= {"status": "ok", "p_metastasis": exam.score, "predicted": int(exam.score >= 0.5)}
    if exam.is_unlike is not None:
        row |= {"distance": 1.0 + exam.is_unlike, "qc_flags": ["unlike_training"] * exam.is_unlike}
    return row | {"threshold": 0.5, "model_id": "feed", "config_hash": CONFIG}
