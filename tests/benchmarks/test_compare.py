"""The whole command in its smallest sizes: its output, never its speed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.clutter import write_clutter
from benchmarks.equality import DifferentResultsError
from benchmarks.peers.reading import modalities, read_all
from benchmarks.processes import FinishedRun, ProcessFailedError, run_peer
from benchmarks.results import Outcome, Row, Target
from benchmarks.setup import QUICK, Setup
from benchmarks.startup import ratio_in
from benchmarks.whole_run import PEERS
from tests.archives import Scan, pixels_of, uid, write_plain
from tests.pacs.orthanc import missing

from benchmarks import compare, whole_run
from bsbatch.imaging.preprocess import compose
from bsbatch.requirements import Requirement

ROOT = Path(__file__).parents[2]
INSTALLED = [name for name, part in PEERS.items() if part.missing is None]


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks.compare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model and its archives: the first scenario makes them, the next ones find them."""
    return tmp_path_factory.mktemp("kits")


@pytest.fixture
def run_here(kits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run scenarios in this process, which has loaded TensorFlow already; returns the folder of their results."""

    def run(*arguments: str) -> Path:
        options = ["--quick", "--kits", str(kits), "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["compare", *options, *arguments])
        compare.main()
        return tmp_path / "results"

    return run


def test_peers_read_what_bsbatch_reads(tmp_path: Path) -> None:
    write_plain(tmp_path, 3)

    scans = list(read_all(sorted(tmp_path.rglob("*.dcm")), 2))

    assert [scan.sop_uid for scan in scans] == [uid("sop", number, 1) for number in range(3)]
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.image, compose(*pixels_of(Scan(number)).astype(np.float32)))


def test_clutter_is_of_every_modality(tmp_path: Path) -> None:
    write_clutter(tmp_path, 14)

    assert set(modalities(sorted(tmp_path.rglob("*.dcm")), 2)) == {"CT", "MR", "PT", "CR", "SR"}


def test_intake_and_skim_run_in_one_command(tmp_path: Path) -> None:
    done = run("--quick", "--only", "intake", "skim", "containers", "help", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    written = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "results").iterdir()}
    assert set(written) == {"intake", "skim", "containers", "help"}
    assert [len(written[name]["rows"]) for name in ("intake", "skim", "containers", "help")] == [3, 1, 4, 1]
    assert all(value > 0 for content in written.values() for row in content["rows"] for value in row["values"])
    assert all(content["is_quick"] and content["environment"]["versions"]["numpy"] for content in written.values())
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert done.stdout.strip().splitlines()[-1] in report


def test_simulated_gpus_compute_and_wait_for_the_whole_of_a_run(run_here: Callable[..., Path]) -> None:
    outcome = Outcome.load(run_here("--only", "feeding") / "feeding.json")

    assert [row.target.unit for row in outcome.rows] == ["%", "%", "ms"]
    assert all(value > 0 for row in outcome.rows for value in row.values)
    for line in outcome.detail:
        shares = [float(str(share).removesuffix(" %")) for share in line.values() if str(share).endswith(" %")]
        assert sum(shares) == pytest.approx(100, abs=0.5)


def test_heat_maps_are_compared_before_their_cost_is_measured(run_here: Callable[..., Path]) -> None:
    outcome = Outcome.load(run_here("--only", "heat_maps") / "heat_maps.json")

    assert [row.target.unit for row in outcome.rows] == ["x"] * 4 + ["/s"]
    assert all(value > 0 for row in outcome.rows for value in row.values)


def test_whole_runs_agree_with_every_peer_that_is_installed(run_here: Callable[..., Path]) -> None:
    results = run_here("--only", "peers", "bare", "first_row", "--peers", *INSTALLED)

    content = json.loads((results / "peers.json").read_text(encoding="utf-8"))
    assert [line["against"] for line in content["detail"]] == INSTALLED
    assert all(float(line["difference"]) <= 1e-5 and line["ratio"] > 0 for line in content["detail"])
    assert {path.stem for path in results.iterdir()} == {"peers", "bare", "first_row"}


def test_a_peer_with_other_results_is_refused_before_the_long_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives: list[str] = []

    def ours(kit: Path, out: Path, *, backend: str) -> FinishedRun:
        archives.append(kit.name)
        return FinishedRun(1.0, 1.0, {"1.2": 0.1, "1.3": 0.7})

    def theirs(name: str, kit: Path, out: Path) -> FinishedRun:
        archives.append(kit.name)
        return FinishedRun(1.0, 1.0, {"1.2": 0.1, "1.3": 0.6})

    monkeypatch.setattr(whole_run, "run_bsbatch", ours)
    monkeypatch.setattr(whole_run, "run_peer", theirs)
    (tmp_path / "model").mkdir()
    setup = Setup(replace(QUICK, scans=3), tmp_path, tmp_path / "runs", peers=("paper",))

    with pytest.raises(DifferentResultsError, match="paper"):
        whole_run.peers(setup)
    assert archives == ["kit-2", "kit-2"]


def test_scenarios_of_earlier_calls_stay_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario(name: str, value: float) -> None:
        row = Row(f"figure of {name}", Target(1.0, "x", True), [value])
        monkeypatch.setitem(compare.SCENARIOS, name, lambda _: Outcome(name, [row]))
        monkeypatch.setattr(sys, "argv", ["compare", "--only", name, "--out", str(tmp_path)])
        compare.main()

    scenario("skim", 2.0)
    scenario("help", 3.0)
    scenario("skim", 4.0)

    lines = (tmp_path / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[3].strip() for line in lines if line.startswith("| figure of")] == ["4x", "3x"]


def test_a_peer_that_is_not_installed_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Requirement("no_such_package", 'pip install "bsbatch[peers]"')
    monkeypatch.setitem(PEERS, "paper", absent)
    monkeypatch.setattr(sys, "argv", ["compare", "--only", "peers", "--peers", "paper"])

    with pytest.raises(SystemExit, match=r"bsbatch\[peers\]"):
        compare.main()


def test_the_error_of_a_failed_side_holds_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError, match="onnx failed"):
        run_peer("onnx_threads", tmp_path / "nowhere", tmp_path / "out")


def test_the_ratio_is_read_from_the_output_of_the_memory_benchmark() -> None:
    assert ratio_in("500 studies: peak 150.0 MiB\nratio 1.042 (goal <= 1.10: met)\n") == 1.042
    with pytest.raises(ValueError, match="printed no line"):
        ratio_in("the run failed")


def test_the_model_is_made_once(tmp_path: Path) -> None:
    setup = Setup(QUICK, tmp_path, tmp_path / "runs", say=pytest.fail)
    (tmp_path / "model").mkdir()

    first, second = setup.kit(2), setup.kit(3)

    assert (first / "model").resolve() == (second / "model").resolve() == tmp_path / "model" / "model"
    assert [len(list((kit / "archive").rglob("*.dcm"))) for kit in (first, second)] == [2, 3]


def test_objects_of_a_pacs_are_all_there_before_the_rate_counts(run_here: Callable[..., Path]) -> None:
    if reason := missing() or (None if shutil.which("getscu") else "DCMTK is not installed: apt-get install dcmtk"):
        pytest.skip(reason)

    outcome = Outcome.load(run_here("--only", "dimse") / "dimse.json")

    assert [row.target.unit for row in outcome.rows] == ["x", "x"]
    assert all(value > 0 for row in outcome.rows for value in row.values)
