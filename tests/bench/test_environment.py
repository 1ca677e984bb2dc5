import json
import re
import subprocess
from pathlib import Path

from bsbatch.bench.environment import Processor, commit, environment

CPUINFO = """processor\t: {number}
model name\t: Test CPU @ 3.00GHz
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu fma avx2

"""
ROOT = Path(__file__).parents[2]


def test_cores_are_counted_once_for_all_their_threads(tmp_path: Path) -> None:
    cpuinfo, frequency = tmp_path / "cpuinfo", tmp_path / "cpuinfo_max_freq"
    cpuinfo.write_text("".join(CPUINFO.format(number=n, core=n % 2) for n in range(4)), encoding="utf-8")
    frequency.write_text("3500000\n", encoding="utf-8")

    found = Processor.here(cpuinfo, frequency)

    assert found == Processor("Test CPU @ 3.00GHz", frozenset({"fpu", "fma", "avx2"}), 2, 3.5e9)


def test_what_the_system_does_not_tell_is_unknown(tmp_path: Path) -> None:
    found = Processor.here(tmp_path / "cpuinfo", tmp_path / "cpuinfo_max_freq")

    assert (found.flags, found.cores, found.max_hertz) == (frozenset(), None, None)
    assert found.name


def test_the_environment_goes_into_a_json_file() -> None:
    found = json.loads(json.dumps(environment(Processor.here())))

    assert set(found) == {"date", "bsbatch", "commit", "machine", "versions"}
    assert found["machine"]["usable_cpus"] >= 1
    assert len(found["machine"]["load_average"]) == 3
    assert found["versions"]["numpy"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["date"])


def test_the_commit_is_gits() -> None:
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)

    found = commit()

    if done.returncode:  # a copy without its history
        assert found is None
    else:
        assert found is not None
        assert found.rstrip("+") == done.stdout[:12]
