"""``bsbatch compare`` on the terminal and as a page."""

from pathlib import Path

from tests.end_to_end.tables import bsbatch
from tests.evaluation.made import Exam, write_results
from tests.evaluation.test_agreement import FIRST, SECOND, labels_in, run


def test_two_runs_are_compared_on_a_terminal_of_80_columns_and_in_a_page(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one", FIRST), run(tmp_path / "other", SECOND)

    done = bsbatch("compare", one, other, "--labels", labels_in(tmp_path))

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["10", "examinations", "compared", "this", "other"]
    assert ["positive", "6", "6"] in [line.split() for line in lines]
    assert any(line.startswith(f"{2:032x}") and line.split()[1:] == ["0.300", "0.520"] for line in lines)
    assert "(DeLong)" in done.stdout
    assert all(len(line) <= 80 for line in lines if not line.startswith("Page: "))
    assert (other / "comparison.html").is_file()


def test_runs_that_share_no_examination_are_a_usage_error(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one", FIRST), write_results(tmp_path / "other", [Exam("9.9", None)])

    done = bsbatch("compare", one, other)

    assert done.returncode == 2
    assert "share 0 scored examinations" in done.stderr
    assert not (other / "comparison.html").exists()
