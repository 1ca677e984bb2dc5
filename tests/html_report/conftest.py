"""A run to report on: made by the command line, with every outcome, with heat maps of all examinations."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import vl_convert
from tests.archives import uid, write_mixed
from tests.end_to_end.tables import bsbatch, results
from tests.evaluation.made import write_labels

STUDIES = 40


@pytest.fixture(scope="session", autouse=True)
def one_bundle() -> Iterator[None]:
    """Bundle Vega-Lite once for all pages; it is the same script each time, and takes longer than the page."""
    with pytest.MonkeyPatch.context() as patch:
        bundle = functools.cache(vl_convert.javascript_bundle)
        patch.setattr("bsbatch.html_report.page.javascript_bundle", bundle)
        patch.setattr("bsbatch.html_report.comparison.javascript_bundle", bundle)
        yield


@pytest.fixture(scope="session")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a complete run."""
    folder = tmp_path_factory.mktemp("report")
    write_mixed(folder / "archive", STUDIES)
    options = ("--backend", "fake", "--cam", "all", "--max-error-rate", "1")
    done = bsbatch("run", folder / "archive", "--out", folder / "out", *options)
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="session")
def labels(screened: Path) -> Path:
    """Positive where the score is above the median, wrong for every seventh; a patient's number for each."""
    scored = {row["study_uid"]: row["p_metastasis"] for row in results(screened) if row["p_metastasis"] is not None}
    middle = sorted(scored.values())[len(scored) // 2]
    rows = [
        {
            "study_uid": uid("study", number),
            "label": int((scored.get(uid("study", number), 0.0) >= middle) != (number % 7 == 0)),
            "patient_id": f"SECRET-{number // 2}",
            "centre": "AB"[number % 2],
        }
        for number in range(STUDIES)
    ]
    return write_labels(screened.parent / "labels.csv", rows)
