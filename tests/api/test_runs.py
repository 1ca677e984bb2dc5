"""Runs from Python, as README and docs show them."""

from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from tests.archives import Scan, dataset_of, pixels_of, write, write_plain

import bsbatch
from bsbatch_build.phantom.archive import study_of
from bsbatch_build.phantom.plan import SetPlan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, twin: Path) -> bsbatch.Run:
    """Three examinations and a file that is none."""
    folder = tmp_path_factory.mktemp("api")
    write_plain(folder / "archive", 3)
    (folder / "archive" / "note.txt").write_text("no DICOM", encoding="utf-8")
    return bsbatch.screen(str(folder / "archive"), model=str(twin), out=str(folder / "out"), backend="onnxruntime")


def test_a_run_has_its_tables_and_counts(run: bsbatch.Run) -> None:
    assert run.results.num_rows == 3
    assert sorted(run.objects["status"].to_pylist()) == ["skipped", "used", "used", "used"]
    assert run.flow.objects == {"used": 3, "skipped": 1}
    assert run.info["config"]["backend"] == "onnxruntime"


def test_a_run_is_a_data_frame(run: bsbatch.Run) -> None:
    frame = run.to_pandas()

    assert list(frame["p_metastasis"]) == run.results["p_metastasis"].to_pylist()


def test_two_runs_are_compared(run: bsbatch.Run, twin: Path, tmp_path: Path) -> None:
    archive = run.out.parent / "archive"
    other = bsbatch.screen(archive, model=twin, out=tmp_path, backend="onnxruntime", threshold=0.0)

    for second in (other, tmp_path):
        found = run.compare(second)
        assert {pair.exam_id for pair in found.pairs} == {row["exam_id"] for row in run.results.to_pylist()}
        assert [pair.difference for pair in found.pairs] == [0.0] * 3
        assert len(found.flips) == sum(row["predicted"] == 0 for row in run.results.to_pylist())


def test_two_views_get_the_score_that_the_run_gives_them(run: bsbatch.Run, twin: Path) -> None:
    anterior, posterior = pixels_of(Scan(1))
    row = next(row for row in run.results.to_pylist() if row["source_anterior"] == "000/000001.dcm")

    score = bsbatch.score(anterior, posterior, model=twin)

    assert score.p_metastasis == pytest.approx(row["p_metastasis"], abs=1e-6)
    assert score.threshold == bsbatch.open_model(twin).manifest.threshold
    assert score.is_positive == bool(row["predicted"])


def test_a_real_scan_is_unlike_the_training_of_the_demo_model_and_a_phantom_is_not() -> None:
    """NM1, the one real whole-body view in reach, stands beside its own mirror image."""
    (path,) = Path(data_store.__file__).parent.rglob("JPEG2000_UNC.dcm")
    view = pydicom.dcmread(path).pixel_array
    phantom = study_of(SetPlan(1, 4, ("A",), clutter=False), 0)

    real = bsbatch.score(view, view[:, ::-1], model="demo")
    like = bsbatch.score(*phantom.views, model="demo")

    assert (real.is_unlike_training, like.is_unlike_training) == (True, False)
    assert real.distance is not None
    assert like.distance is not None
    assert real.distance > 5 * like.distance
    assert real.logit == pytest.approx(np.log(real.p_metastasis / (1 - real.p_metastasis)), rel=0.01)


def test_a_finished_run_is_opened_again(run: bsbatch.Run) -> None:
    assert bsbatch.open_results(str(run.out)).results == run.results


def test_the_same_call_goes_on_and_the_reporter_hears_of_it(run: bsbatch.Run, twin: Path) -> None:
    class Counter(bsbatch.SilentReporter):
        scored = 0

        def advance(self, objects: int, ok: int, failed: int) -> None:
            super().advance(objects, ok, failed)
            self.scored += ok

    reporter = Counter()
    archive = run.out.parent / "archive"
    write(dataset_of(Scan(7)), archive / "more" / "7.dcm")

    again = bsbatch.screen(
        archive, model=bsbatch.open_model(twin), out=run.out, backend="onnxruntime", reporter=reporter
    )

    assert reporter.scored == 1
    assert again.results.num_rows == 4


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bsbatch.UsageError, match="holds no run: name the folder that was given to --out"):
        bsbatch.open_results(tmp_path)


def test_a_run_without_rows_has_empty_tables(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")

    run = bsbatch.open_results(tmp_path)

    assert (run.results.num_rows, run.objects.num_rows) == (0, 0)


def test_a_name_that_is_no_choice_is_refused_with_the_choices(tmp_path: Path, twin: Path) -> None:
    with pytest.raises(bsbatch.UsageError, match='backend="cuda" is none of "auto", "tensorrt"'):
        bsbatch.screen(tmp_path, model=twin, out=tmp_path / "out", backend="cuda")


def test_a_view_without_counts_has_no_score(twin: Path) -> None:
    with pytest.raises(bsbatch.ItemError, match="a view without a single count"):
        bsbatch.score(np.zeros((1024, 256)), np.ones((1024, 256)), model=twin)
