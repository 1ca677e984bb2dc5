import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.pairing import Pair
from benchmarks.results import Outcome, Row, Target, line_of, number, profile, report, table

AT_LEAST, AT_MOST = Target(2.5, "x", True), Target(0.3, "s", False)
ENVIRONMENT = {
    "date": "2026-01-02T03:04:05+00:00",
    "bsbatch": "0.1.0",
    "commit": "abc",
    "machine": {
        "processor": "Test CPU",
        "instructions": ["avx2"],
        "usable_cpus": 2,
        "system": "Linux",
        "load_average": [0.5, 0.25, 0.0],
    },
    "versions": {"numpy": "2.0"},
}
PEERS = Outcome(
    "peers",
    [Row("whole run", AT_LEAST, [2.4, 2.7, 2.6])],
    [line_of("paper", [Pair(2.0, 0.5), Pair(2.2, 0.5)]) | {"form": "Keras"}],
    ["24 examinations."],
    ENVIRONMENT,
)
HELP = Outcome("help", [Row("help", AT_MOST, [0.5, 0.4])], environment=ENVIRONMENT)


@pytest.mark.parametrize(
    ("target", "value", "is_met"),
    [(AT_LEAST, 2.5, True), (AT_LEAST, 2.49, False), (AT_MOST, 0.3, True), (AT_MOST, 0.31, False)],
)
def test_a_target_is_a_floor_or_a_ceiling(target: Target, value: float, is_met: bool) -> None:
    assert target.is_met_by(value) is is_met


def test_the_table_shows_target_median_range_and_verdict() -> None:
    lines = table([PEERS, HELP]).splitlines()

    assert lines[0] == "| what | target | measured | range | |"
    assert lines[2:] == [
        "| whole run | ≥ 2.5x | 2.6x | 2.4 to 2.7 (n = 3) | met |",
        "| help | ≤ 0.3 s | 0.45 s | 0.4 to 0.5 (n = 2) | missed |",
    ]


def test_every_line_of_a_table_has_as_many_cells_as_its_head() -> None:
    blocks = [block for block in report([PEERS, HELP]).split("\n\n") if block.startswith(("|", "<!-- table"))]

    assert len(blocks) == 3
    for block in blocks:
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1


def test_the_report_names_machine_versions_and_notes_of_each_scenario() -> None:
    text = report([PEERS, HELP])

    for words in ("Test CPU (avx2), 2 CPUs", "commit abc", "numpy 2.0", "0.5, 0.25, 0", "## peers", "24 examinations."):
        assert words in text
    assert text.count("Test CPU") == 1
    assert "| paper | 2.1 | 0.5 | 4.2 | 4 to 4.4 | Keras |" in text
    assert "mean nothing" not in text


def test_scenarios_of_other_commits_get_a_paragraph_of_their_own() -> None:
    elsewhere = replace(HELP, environment=ENVIRONMENT | {"commit": "def"})

    assert report([PEERS, elsewhere]).count("Test CPU") == 2


def test_the_report_of_a_quick_try_contains_a_warning() -> None:
    assert "mean nothing" in report([replace(PEERS, is_quick=True)])


def test_the_profile_names_the_stages_by_their_shares() -> None:
    assert profile({"header": 1.0, "infer": 3.0}).endswith("infer 75.0%, header 25.0%.")


def test_a_saved_outcome_is_loaded_unchanged(tmp_path: Path) -> None:
    PEERS.save(tmp_path)

    assert Outcome.load(tmp_path / "peers.json") == PEERS
    assert json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))["notice"].startswith("research use only")


def test_an_outcome_of_another_version_is_refused(tmp_path: Path) -> None:
    PEERS.save(tmp_path)
    path = tmp_path / "peers.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"version": 1', '"version": 9'), encoding="utf-8")

    with pytest.raises(ValueError, match="another version"):
        Outcome.load(path)


@pytest.mark.parametrize(("value", "words"), [(1234.5, "1234"), (25.04, "25"), (0.97345, "0.973"), (2.0, "2")])
def test_figures_have_three_significant_digits(value: float, words: str) -> None:
    assert number(value) == words
