from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.made import write_labels
from tests.evaluation.test_agreement import FIRST, LABELS, SECOND, labels_in, run
from tests.html_report.reading import data_of, outline_of
from vl_convert import vegalite_to_vega

from bsbatch.errors import UsageError
from bsbatch.evaluation.agreement import compare_runs
from bsbatch.html_report.comparison import bland_altman_chart, score_chart, write_comparison


@pytest.fixture
def page(tmp_path: Path) -> Path:
    agreement = compare_runs(run(tmp_path / "one", FIRST), run(tmp_path / "other", SECOND), labels_in(tmp_path))
    return write_comparison(agreement, tmp_path / "comparison.html")


def points(chart: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for item in chart["layer"] if item["mark"]["type"] == "point" for row in item["data"]["values"]]


def test_the_page_has_summary_charts_and_flips_and_loads_nothing(page: Path) -> None:
    outline, text = outline_of(page), page.read_text(encoding="utf-8")

    assert "10 examinations that both have scored" in outline.words
    assert "2 examinations are positive in one run alone" in outline.words
    assert f"{2:032x} 0.300 0.520 +0.220 no metastasis" in outline.words
    assert "(DeLong)" in outline.words
    assert "Research use only, not for clinical use" in outline.words
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "default-src 'none'" in text
    assert "1.2.3" not in text.partition('<script type="module">')[0]
    assert not [secret for secret in (str(page.parent), "study_uid") if secret in text]
    assert data_of(page, "charts").keys() == {"bland_altman", "scores"}


def test_every_pair_is_a_point_at_its_scores_and_at_its_difference(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.csv", [{"study_uid": f"1.2.{at}", "label": LABELS[at]} for at in range(9)])
    agreement = compare_runs(run(tmp_path / "one", FIRST), run(tmp_path / "other", SECOND), labels)

    scores, differences = points(score_chart(agreement)), points(bland_altman_chart(agreement))
    assert [row["other"] for row in sorted(scores, key=lambda row: row["this"])] == pytest.approx(SECOND)
    assert sorted(row["this"] for row in scores) == pytest.approx(FIRST)
    means = sorted((one + other) / 2 for one, other in zip(FIRST, SECOND, strict=True))
    assert sorted(row["mean"] for row in differences) == pytest.approx(means)
    assert all(row["difference"] == pytest.approx(row["other"] - row["this"]) for row in differences)
    for chart in (score_chart(agreement), bland_altman_chart(agreement)):
        vegalite_to_vega(chart | {"width": 300})
        names = chart["layer"][-1]["encoding"]["shape"]["scale"]["domain"]
        assert names == ["No label (n = 1)", "No metastasis (n = 5)", "Metastasis (n = 4)"]


def test_a_page_in_no_folder_is_refused(tmp_path: Path) -> None:
    out = run(tmp_path / "one", FIRST)

    with pytest.raises(UsageError, match="name one in a folder that exists with --out"):
        write_comparison(compare_runs(out, out), tmp_path / "nowhere" / "page.html")
