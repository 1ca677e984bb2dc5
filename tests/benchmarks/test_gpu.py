"""`make gpu` where it could fail silently: results after each step, steps that fail or hang, and time limits."""

import json
import sys
import time
from pathlib import Path

import pytest
from benchmarks.gpu import run
from benchmarks.gpu.results import Results, StepResult, Verdict
from benchmarks.gpu.run import Step, run_in_time
from benchmarks.gpu.step import NOT_HERE
from benchmarks.results import Line

ENVIRONMENT = {"machine": {"processor": "Test CPU", "usable_cpus": 2}, "commit": "abc", "date": "2026-01-02"}
PROGRAMS = {
    "ends": 'file.write(\'{"rate": 2.5, "label": "sm_90-Test"}\\n\')',
    "fails": "file.write('{\"rate\": 1.0}\\n'); file.flush(); raise ValueError('of the test')",
    "hangs": 'file.write(\'{"rate": 3.0}\\n{"rate\'); file.flush(); time.sleep(60)',
    "names a file": "sys.exit('/home/someone/program: /opt/x/driver.so: undefined symbol')",
    "crashes": "import os; os.abort()",
    "lacks": f"print('there is no GPU'); sys.exit({NOT_HERE})",
    "leaves a child": (
        "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid); file.close(); time.sleep(60)"
    ),
}


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs in the place of the modules that measure."""
    for name, text in PROGRAMS.items():
        source = f"import sys, time\nfile = open(sys.argv[1], 'a')\n{text}\n"
        (tmp_path / f"program_{name.replace(' ', '_')}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def is_alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def step(name: str, seconds: float = 20) -> Step:
    return Step(name, f"program_{name.replace(' ', '_')}", seconds)


def test_a_step_that_hangs_is_killed_with_its_stacks_and_its_lines_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run_in_time(step("hangs", 0.3), tmp_path, [], 60)

    assert (result.verdict, result.message) == (Verdict.FAILED, "killed after 0 s")
    assert result.lines == [{"rate": 3.0}]
    assert "program_hangs.py" in capfd.readouterr().err


def test_a_step_has_no_more_time_than_is_left(tmp_path: Path) -> None:
    started = time.monotonic()

    assert run_in_time(step("hangs"), tmp_path, [], 0.3).verdict is Verdict.FAILED
    assert run_in_time(step("ends"), tmp_path, [], 0).message == "no time was left"
    assert time.monotonic() - started < 10


def test_the_processes_of_a_step_end_with_it(tmp_path: Path) -> None:
    run_in_time(step("leaves a child", 0.5), tmp_path, [], 60)

    child = (tmp_path / "leaves a child.log").read_text().split()[0]
    end = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < end


@pytest.mark.parametrize(
    ("name", "verdict", "message"),
    [
        ("fails", Verdict.FAILED, "exit code 1: ValueError: of the test"),
        ("names a file", Verdict.FAILED, "exit code 1: program: driver.so: undefined symbol"),
        ("lacks", Verdict.NOT_HERE, "there is no GPU"),
        ("ends", Verdict.PASSED, ""),
    ],
)
def test_a_step_has_the_verdict_and_the_words_of_its_end(
    tmp_path: Path, name: str, verdict: Verdict, message: str
) -> None:
    result = run_in_time(step(name), tmp_path, [], 60)

    assert (result.verdict, result.message) == (verdict, message)


def test_no_step_ends_the_others_and_results_are_written_after_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, save = list[int](), Results.save

    def save_and_count(results: Results, folder: Path) -> Path:
        page = save(results, folder)
        written.append(len(json.loads((folder / "gpu-sm_90-Test.json").read_text())["steps"]))
        return page

    steps = [step("ends"), step("fails"), step("crashes"), step("lacks")]
    monkeypatch.setattr(run, "STEPS", steps)
    monkeypatch.setattr(run, "environment", lambda *_: ENVIRONMENT)
    monkeypatch.setattr(Results, "save", save_and_count)
    monkeypatch.setattr(sys, "argv", ["run", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run.main()

    assert ended.value.code == 1
    assert written == [1, 2, 3, 4]
    content = json.loads((tmp_path / "gpu-sm_90-Test.json").read_text())
    assert [each["verdict"] for each in content["steps"]] == ["passed", "failed", "failed", "not here"]
    assert content["steps"][1]["lines"] == [{"rate": 1.0}]


def test_the_page_shows_every_step_and_every_column_of_its_lines(tmp_path: Path) -> None:
    lines: list[Line] = [{"threads": "1", "scans/s": 1234.5}, {"threads": "2", "words": "a | b"}]
    steps = [
        StepResult("feeding", Verdict.FAILED, 12.0, lines, "killed after 12 s"),
        StepResult("sanitizer", Verdict.NOT_HERE, 1.0, [], "compute-sanitizer is not installed"),
    ]

    page = Results(ENVIRONMENT, False, steps).save(tmp_path).read_text()

    assert "| feeding | failed | 12 | killed after 12 s |" in page
    assert "| sanitizer | not here | 1 | compute-sanitizer is not installed |" in page
    assert "| threads | scans/s | words |\n| --- | --- | --- |\n| 1 | 1234 |  |\n| 2 |  | a \\| b |" in page
    assert "A try" not in page


@pytest.mark.parametrize(("label", "is_quick"), [("sm_90-a-stand-in", False), ("sm_90-NVIDIA-H200", True)])
def test_a_page_of_a_try_says_that_its_figures_mean_nothing(tmp_path: Path, label: str, is_quick: bool) -> None:
    steps = [StepResult("environment", Verdict.PASSED, 1.0, [{"label": label}])]

    assert "the figures mean nothing" in Results(ENVIRONMENT, is_quick, steps).save(tmp_path).read_text()
