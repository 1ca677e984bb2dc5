"""Compare bsbatch with its peers: ``python -m benchmarks.compare``, or ``make bench``.

Writes one JSON file for each scenario, and RESULTS.md with all scenarios that have a JSON file. The results of both
sides are compared before their times count. Run it on an otherwise idle machine.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.results import Outcome, report, table
from benchmarks.setup import QUICK, Setup, Sizes
from benchmarks.whole_run import PEERS

from benchmarks import containers, dicomweb, feeding, heat_maps, intake, object_store, pacs, startup, whole_run
from bsbatch.bench.environment import Processor, commit, environment

SCENARIOS = {
    "peers": whole_run.peers,
    "bare": whole_run.bare,
    "intake": intake.intake,
    "skim": intake.skim,
    "containers": containers.containers,
    "feeding": feeding.feeding,
    "object_store": object_store.object_store,
    "dimse": pacs.dimse,
    "memory": startup.memory,
    "help": startup.help_time,
    "first_row": whole_run.first_row,
    "dicomweb": dicomweb.dicomweb,
    "heat_maps": heat_maps.heat_maps,
}
"""Scenarios in the order of the table."""
HERE = Path(__file__).parent
_VERSIONS = (
    *("numpy", "opencv-python-headless", "pydicom", "pyarrow", "onnxruntime", "MNN"),
    *("tensorflow-cpu", "tensorflow", "keras", "openvino", "ray", "torch", "obstore", "pynetdicom", "dicomweb-client"),
)


def main() -> None:
    """Run the selected scenarios."""
    arguments = _parser().parse_args()
    _check_packages(arguments)
    checked_out = commit()  # now, because the first scenario writes into the checkout
    out = arguments.out or (HERE / "quick" if arguments.quick else HERE)
    with tempfile.TemporaryDirectory(prefix="bsbatch-compare-") as runs:
        kits = (arguments.kits or Path(runs) / "kits").resolve()
        setup = Setup(_sizes(arguments), kits, Path(runs), arguments.backend, tuple(arguments.peers), say=_print)
        for name in arguments.only:
            _print(f"{name} ...")
            facts = environment(Processor.here(), _VERSIONS) | {"commit": checked_out}
            replace(SCENARIOS[name](setup), environment=facts, is_quick=arguments.quick).save(out / "results")
    outcomes = load_outcomes(out / "results")
    (out / "RESULTS.md").write_text(report(outcomes), encoding="utf-8")
    print(table(outcomes))


def load_outcomes(folder: Path) -> list[Outcome]:
    """Load the outcomes of this and earlier calls, in the order of the table."""
    return [Outcome.load(folder / f"{name}.json") for name in SCENARIOS if (folder / f"{name}.json").exists()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=main.__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to check that everything works; writes to benchmarks/quick"
    )
    parser.add_argument("--scans", type=int, help="examinations of a whole run")
    parser.add_argument("--pairs", type=int, help="pairs of whole runs")
    parser.add_argument("--backend", default="auto", help="backend of bsbatch")
    parser.add_argument(
        "--kits", type=Path, help="folder where model and archives are kept, for later calls with the same width"
    )
    parser.add_argument("--out", type=Path, help="folder for RESULTS.md and results")
    return parser


def _sizes(arguments: argparse.Namespace) -> Sizes:
    sizes = QUICK if arguments.quick else Sizes()
    scans = sizes.scans if arguments.scans is None else arguments.scans
    return replace(sizes, scans=scans, pairs=sizes.pairs if arguments.pairs is None else arguments.pairs)


def _check_packages(arguments: argparse.Namespace) -> None:
    lines = {PEERS[name].install for name in arguments.peers if "peers" in arguments.only and PEERS[name].missing}
    if lines:
        raise SystemExit(f"packages of peers are missing: {'; '.join(sorted(lines))}, or name others with --peers")


def _print(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
