"""bsbatch against its peers, in one run: ``python -m benchmarks.compare``, or ``make bench``.

Writes one JSON file for each scenario and RESULTS.md over all that are there. Every side's results are compared before
its times count. Figures mean something on a machine that does nothing else.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.results import Outcome, report, table
from benchmarks.setup import QUICK, Setup, Sizes
from benchmarks.whole_run import PEERS

from benchmarks import heat_maps, intake, startup, whole_run
from bsbatch.bench.environment import Processor, commit, environment

SCENARIOS = {
    "peers": whole_run.peers,
    "bare": whole_run.bare,
    "intake": intake.intake,
    "skim": intake.skim,
    "memory": startup.memory,
    "help": startup.help_time,
    "first_row": whole_run.first_row,
    "heat_maps": heat_maps.heat_maps,
}
"""In the order of the table."""
HERE = Path(__file__).parent
_VERSIONS = (
    *("numpy", "opencv-python-headless", "pydicom", "pyarrow", "onnxruntime", "MNN"),
    *("tensorflow-cpu", "tensorflow", "keras", "openvino", "ray", "torch"),
)


def main() -> None:
    """Run the scenarios that were asked for."""
    told = _parser().parse_args()
    _check_packages(told)
    checked_out = commit()  # before the first scenario writes into the checkout
    out = told.out or (HERE / "quick" if told.quick else HERE)
    with tempfile.TemporaryDirectory(prefix="bsbatch-compare-") as runs:
        kits = (told.kits or Path(runs) / "kits").resolve()
        setup = Setup(_sizes(told), kits, Path(runs), told.backend, tuple(told.peers), say=_say)
        for name in told.only:
            _say(f"{name} ...")
            facts = environment(Processor.here(), _VERSIONS) | {"commit": checked_out}
            replace(SCENARIOS[name](setup), environment=facts, is_quick=told.quick).save(out / "results")
    outcomes = saved(out / "results")
    (out / "RESULTS.md").write_text(report(outcomes), encoding="utf-8")
    print(table(outcomes))


def saved(folder: Path) -> list[Outcome]:
    """What earlier calls measured too, in the order of the table."""
    return [Outcome.load(folder / f"{name}.json") for name in SCENARIOS if (folder / f"{name}.json").exists()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=main.__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works; into benchmarks/quick")
    parser.add_argument("--scans", type=int, help="examinations of a whole run")
    parser.add_argument("--pairs", type=int, help="pairs of whole runs")
    parser.add_argument("--backend", default="auto", help="of bsbatch")
    parser.add_argument("--kits", type=Path, help="folder that keeps model and archives for a call of the same width")
    parser.add_argument("--out", type=Path, help="folder for RESULTS.md and results")
    return parser


def _sizes(told: argparse.Namespace) -> Sizes:
    asked: dict[str, Any] = {"scans": told.scans, "pairs": told.pairs}
    return replace(QUICK if told.quick else Sizes(), **{name: size for name, size in asked.items() if size is not None})


def _check_packages(told: argparse.Namespace) -> None:
    lines = {PEERS[name].install for name in told.peers if "peers" in told.only and PEERS[name].missing}
    if lines:
        raise SystemExit(f"packages of peers are missing: {'; '.join(sorted(lines))}, or name others with --peers")


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
