"""``bsbatch bench`` on the terminal and in its JSON file."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.archives import PATIENT_NAME, write_mixed
from tests.end_to_end.tables import bsbatch, bsbatch_process

from bsbatch.bench.bench import BenchReport, Measurement
from bsbatch.bench.ceiling import Ceiling
from bsbatch.bench.latency import Latency
from bsbatch.bench.measure import LATENCY, Timing
from bsbatch.bench.settings import BenchConfig, StageName
from bsbatch.cli.timings import show
from bsbatch.config import BackendName, Cluster
from bsbatch.run.report import ClusterFacts

NARROW = {**os.environ, "COLUMNS": "80"}
QUICK = ("--warmup", "0", "--duration", "0", "--iterations", "2", "--backend", "fake")
STEADY = Latency(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01)
SCATTERED = Latency(0.1, 30.0, 10.0, 9.0, 25.0, 28.0, 29.0, 0.5)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "archive"
    write_mixed(folder, 10)
    return folder


def report(latency: Latency, ceiling: Ceiling, **changes: Any) -> BenchReport:
    series = {LATENCY: latency, **changes}
    timing = Timing(10, 40, 4 / latency.mean, series, {"infer": 0.9, "header": 0.1})
    machine = {"processor": "Test CPU", "usable_cpus": 2, "load_average": [0.1, 0.2, 0.3]}
    config = BenchConfig(stage=StageName.INFER, backend=BackendName.FAKE)
    where = {"archive": "an archive", "unit": "scans", "model_name": "vgg16", "backend": "fake fake"}
    return BenchReport(
        config,
        **where,
        ceiling=ceiling,
        environment={"machine": machine, "gpus": []},
        measurements=(Measurement(4, timing),),
    )


def output_of(capsys: pytest.CaptureFixture[str], made: BenchReport) -> str:
    show(Console(width=80), made)
    return capsys.readouterr().out


@pytest.mark.parametrize("stage", list(StageName))
def test_every_stage_shows_throughput_and_latency_in_80_columns(archive: Path, stage: StageName) -> None:
    done = bsbatch("bench", archive, "--stage", stage, *QUICK, env=NARROW)

    assert done.returncode == 0, done.stderr
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("On ")) <= 80
    for words in ("throughput", "median", "p90", "p95", "p99", "CoV", "Research use only"):
        assert words in done.stdout
    assert PATIENT_NAME not in done.stdout + done.stderr


def test_a_sweep_measures_every_batch_size_and_writes_it_down(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"

    done = bsbatch("bench", archive, "--stage", "infer", "--batch", "1,2,4", "--json", file, *QUICK)

    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [(row["batch"], row["turns"], row["items"]) for row in content["measurements"]] == [
        (1, 2, 2),
        (2, 2, 4),
        (4, 2, 8),
    ]
    for row in content["measurements"]:
        latency = row["series"]["latency"]
        assert latency["minimum"] <= latency["median"] <= latency["p90"] <= latency["p99"] <= latency["maximum"]
        assert row["throughput"] == pytest.approx(row["batch"] / latency["mean"])
    assert content["backend"] == "fake fake"
    assert content["environment"]["machine"]["usable_cpus"] >= 1


def test_whole_runs_and_runs_without_a_sink_do_the_same_scans(archive: Path, tmp_path: Path) -> None:
    scans = []
    for name, options in (("sink", ()), ("null", ("--null-sink",))):
        file = tmp_path / f"{name}.json"
        done = bsbatch("bench", archive, "--json", file, *options, *QUICK)
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(file.read_text(encoding="utf-8"))["measurements"]
        scans.append(row["items"])
        assert ("commit" in row["shares"]) is (name == "sink")
        assert sum(row["shares"].values()) == pytest.approx(1)
    assert scans[0] == scans[1] > 0


def test_a_sweep_of_whole_runs_does_all_scans_with_every_batch_size(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = bsbatch("bench", archive, "--batch", "1,2", "--json", file, *QUICK)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(file.read_text(encoding="utf-8"))["measurements"]
    assert first["items"] == second["items"] > 0


def test_synthetic_examinations_need_no_archive() -> None:
    done = bsbatch_process("bench", "--synthetic", "2", "--stage", "skim", *QUICK)

    assert done.returncode == 0, done.stderr
    assert "2 synthetic examinations" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--stage", "infer"), "--model"),
        (("--synthetic", "3"), "not both"),
        (("--stage", "skim", "--null-sink"), "--null-sink"),
        (("--stage", "skim", "--batch", "1"), "--batch"),
        (("--backend", "fake", "--batch", "1,x"), "--batch"),
        (("--backend", "fake", "--batch", "0"), "--batch"),
        (("--backend", "fake", "--iterations", "0"), "--iterations"),
        (("--backend", "fake", "--warmup", "-1"), "--warmup"),
        (("--backend", "fake", "--threads", "0"), "--threads"),
        (("--backend", "fake", "--executor", "ray", "--stage", "infer"), "--stage all"),
        (("--executor", "ray", "--stage", "skim"), "measure skim on a machine of the cluster"),
        (("--backend", "fake", "--executor", "ray", "--null-sink"), "--null-sink"),
        (("--backend", "fake", "--workers", "2"), "add --executor ray"),
        (("--backend", "fake", "--executor", "ray", "--workers", "many"), "neither a number nor auto"),
        (("--model", "demo", "--executor", "ray", "--worker-gpus", "1"), "name the backend"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(archive: Path, options: tuple[str, ...], words: str) -> None:
    done = bsbatch("bench", archive, *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_file_that_cannot_be_written_is_named_in_the_error(archive: Path, tmp_path: Path) -> None:
    done = bsbatch("bench", archive, "--stage", "skim", "--json", tmp_path / "no" / "where.json", *QUICK)

    assert done.returncode == 4
    assert "where.json" in done.stderr


def test_turns_that_scatter_give_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Unstable: the turns scatter by 50.0% at batch 4" in output_of(
        capsys, report(SCATTERED, Ceiling(None, None))
    )
    assert "Unstable" not in output_of(capsys, report(STEADY, Ceiling(None, None)))


def test_the_arithmetic_is_shown_as_far_as_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown for this model" in output_of(capsys, report(STEADY, Ceiling(None, 1e13)))
    assert "6400 GFLOP/s" in output_of(capsys, report(STEADY, Ceiling(80e9, None)))
    assert "cannot be read" in output_of(capsys, report(STEADY, Ceiling(80e9, None)))
    assert "64% of the fp32 peak" in output_of(capsys, report(STEADY, Ceiling(80e9, 1e13)))


def test_parts_of_the_latency_have_rows_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, report(SCATTERED, Ceiling(None, None), H2D=STEADY, compute=SCATTERED, D2H=STEADY))

    assert [line.split()[0] for line in text.splitlines() if line.strip().startswith(("H2D", "compute", "D2H"))] == [
        "H2D",
        "compute",
        "D2H",
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_gpus_tell_how_long_they_computed_and_how_near_their_peak(capsys: pytest.CaptureFixture[str]) -> None:
    compute, waited = replace(STEADY, mean=0.15), replace(STEADY, mean=0.05)  # of two GPUs, 0.1 s each
    made = report(STEADY, Ceiling(80e9, 64e12, "fp16"), compute=compute, waited=waited)
    made = replace(made, environment=made.environment | {"gpus": ["NVIDIA L4", "NVIDIA L4"]})
    text = " ".join(output_of(capsys, made).split())
    assert "GPUs at batch 4: computed 75.0% of the time, at 13% of their fp16 peak; waited 50 ms a turn" in text
    assert text.count("NVIDIA L4") == 2
    (row,) = json.loads(json.dumps(made.as_dict()))["measurements"]
    assert row["computing"] == pytest.approx(0.75)
    assert row["share_of_peak_computing"] == pytest.approx(2 * 80e9 * 4 / 0.1 / 64e12 / 0.75)


def test_a_cluster_shows_its_workers_and_no_peak_of_the_driver(capsys: pytest.CaptureFixture[str]) -> None:
    made = report(STEADY, Ceiling(80e9, None))
    timing = replace(made.measurements[0].timing, cluster=ClusterFacts(8, 1, 0, 2, 0))
    config = BenchConfig(backend=BackendName.FAKE, cluster=Cluster(worker_cpus=4))
    made = replace(made, config=config, measurements=(Measurement(4, timing),))
    text = output_of(capsys, made)
    assert "Ray cluster, of each worker 4 CPUs and 0 GPUs\n" in text
    assert "Workers: 8, lost: 1, units done again: 2 at batch 4\n" in text
    assert "the peak of the cluster cannot be read" in " ".join(text.split())
    assert "Driver: Test CPU" in text
    content = made.as_dict()
    assert (content["executor"], content["worker_cpus"], content["threads"]) == ("ray", 4, 4)


def test_gpus_of_unknown_peak_have_no_share_of_a_peak(capsys: pytest.CaptureFixture[str]) -> None:
    made = report(STEADY, Ceiling(80e9, None, "fp16"), compute=STEADY, waited=STEADY)
    text = " ".join(output_of(capsys, made).split())
    assert "GPUs at batch 4: computed 50.0% of the time; waited 100 ms a turn" in text
    assert "the peak of this machine cannot be read" in text
