"""``kill -9`` at random moments: no row is lost or written twice."""

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.archives import write_mixed
from tests.end_to_end.tables import bsbatch, objects, results

_STUDIES = 300
_KILLS = 20
_UNIT = "2"


def test_twenty_kills_and_resumes_give_the_rows_of_an_undisturbed_run(tmp_path: Path) -> None:
    archive, calm, rough = tmp_path / "archive", tmp_path / "calm", tmp_path / "rough"
    write_mixed(archive, _STUDIES)
    assert bsbatch("run", archive, *_options(calm)).returncode == 0
    luck = random.Random(20)

    kills = sum(_kill_in_mid_run(archive, rough, luck) for _ in range(_KILLS))
    assert kills == _KILLS
    assert bsbatch("run", archive, *_options(rough)).returncode == 0

    assert objects(rough) == objects(calm)
    assert results(rough) == results(calm)
    assert len({row["exam_id"] for row in results(rough)}) == len(results(rough)) >= _STUDIES
    assert not list(rough.glob("*/.part-*"))


def _kill_in_mid_run(archive: Path, out: Path, luck: random.Random) -> bool:
    """Kill a run a moment after it has committed a random number of parts; True if it was still running."""
    goal = _parts(out) + luck.randint(0, 3)
    process = subprocess.Popen([sys.executable, "-m", "bsbatch", "run", str(archive), *_options(out)])
    try:
        while _parts(out) < goal and process.poll() is None:
            time.sleep(0.01)
        time.sleep(luck.uniform(0.0, 0.04) if goal else luck.uniform(0.0, 0.5))
        return process.poll() is None
    finally:
        process.kill()
        process.wait()


def _parts(out: Path) -> int:
    return len(list(out.glob("objects/part-*")))


def _options(out: Path) -> list[str]:
    return ["--backend", "fake", "--unit-size", _UNIT, "--out", str(out), "--quiet"]
