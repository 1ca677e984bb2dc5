from pathlib import Path

from tests.evaluation.made import Exam, write_results

from bsbatch.html_report.examinations import count_names, read_examinations
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table


def test_the_most_probable_come_first_and_the_failed_last(tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", None), Exam("2", 0.25), Exam("3", 0.75)])

    shown = read_examinations(tmp_path)

    assert [item.score for item in shown] == [0.75, 0.25, None]
    assert [item.is_positive for item in shown] == [True, False, False]
    assert [item.reason for item in shown] == [None, None, "single_view_only"]


def test_camera_flags_and_counts_are_those_of_the_row(tmp_path: Path) -> None:
    changes = {
        "model_name": "Camera",
        "qc_flags": ["lossy"],
        "qc_counts_anterior": 1_234_567.0,
        "view_evidence": "code",
    }
    (item,) = read_examinations(write_results(tmp_path, [Exam("1", 0.5)], **changes))

    assert (item.camera, item.evidence, item.flags) == ("Nobody Camera", "code", ("lossy",))
    assert item.kilocounts == (1234.6, None)
    assert item.map_warnings == ()


def test_warnings_of_maps_are_read_where_there_are_any(tmp_path: Path) -> None:
    row = {"exam_id": "0" * 32, "status": "ok", "p_metastasis": 0.5, "config_hash": "c", "cam_warning": ["bladder"]}
    (tmp_path / RESULTS).mkdir()
    write_part(tmp_path / RESULTS, 0, to_table(RESULTS, [row], "c", has_maps=True))

    (item,) = read_examinations(tmp_path)

    assert item.map_warnings == ("bladder",)


def test_names_are_count_names_the_most_frequent_first() -> None:
    assert count_names([("b", "a"), ("b",), ("c", "a"), ("b",)]) == (("b", 3), ("a", 2), ("c", 1))
