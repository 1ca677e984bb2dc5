"""Whole runs: against the peers, against the bare backend, and until the first committed row."""

import json
import statistics
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.equality import assert_same_scores
from benchmarks.pairing import Pair, measure_pairs
from benchmarks.peers.job import ARCHIVE, GRAPH
from benchmarks.processes import FinishedRun, run_bsbatch, run_module, run_peer
from benchmarks.results import Line, Outcome, Row, Target, line_of, profile
from benchmarks.setup import Setup

from bsbatch.requirements import Requirement

_INSTALL = 'pip install "bsbatch[peers]"'
PEERS = {
    "paper": Requirement("keras", 'pip install "bsbatch[build]"'),
    "onnx_threads": Requirement("onnxruntime"),
    "openvino_async": Requirement("openvino", _INSTALL),
    "ray_data": Requirement("ray", _INSTALL),
    "torch_loader": Requirement("torch", _INSTALL),
}
"""Modules of `benchmarks.peers`, each with the package it needs."""
AGAINST_PEERS, AGAINST_BARE, FIRST_ROW = Target(2.5, "x", True), Target(0.97, "x", True), Target(5.0, "s", False)


def peers(setup: Setup) -> Outcome:
    """Files to committed Parquet against every peer, round after round: ours, peer, ours, next peer ..."""
    kit = setup.kit(setup.sizes.scans)
    if setup.sizes.scans > setup.sizes.few:
        _check(setup)
    trials = {name: _Trial(setup, name) for name in setup.peers}
    for _ in range(setup.sizes.pairs):
        for trial in trials.values():
            trial.run(kit)
    best = max(trials.values(), key=lambda trial: statistics.median(pair.theirs for pair in trial.pairs))
    ratios = [pair.ratio for pair in best.pairs]
    row = Row(f"whole run, files to committed Parquet, against the best peer ({best.name})", AGAINST_PEERS, ratios)
    note = f"{setup.sizes.scans} uncompressed two-frame objects; scans/s without imports and loading the model."
    return Outcome("peers", [row], [trial.line() for trial in trials.values()], [note, profile(best.busy)])


def bare(setup: Setup) -> Outcome:
    """Files to committed Parquet against the backend on arrays in memory."""
    kit = setup.kit(setup.sizes.bare_scans)
    folders = (setup.runs / f"bare-{number}" for number in count())
    pairs = measure_pairs(
        lambda: run_bsbatch(kit, next(folders), backend=setup.backend).rate,
        lambda: _bare_rate(setup, kit, next(folders)),
        setup.sizes.pairs,
    )
    what = f"whole run against the bare backend on arrays in memory, {setup.sizes.bare_scans} examinations"
    row = Row(what, AGAINST_BARE, [pair.ratio for pair in pairs])
    return Outcome("bare", [row], [line_of("bare backend", pairs)])


def first_row(setup: Setup) -> Outcome:
    """From the start of the process to the first committed row of a small archive."""
    kit = setup.kit(setup.sizes.few)
    seconds = [_seconds_to_first_row(setup, kit, setup.runs / f"first-{number}") for number in range(setup.sizes.pairs)]
    row = Row(f"from start to first committed row, {setup.sizes.few} examinations", FIRST_ROW, seconds)
    return Outcome("first_row", [row])


@dataclass(slots=True)
class _Trial:
    """All pairs of one peer, with start times and differences."""

    setup: Setup
    name: str
    pairs: list[Pair] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    """Seconds from the start of each process to the start of its clock."""
    differences: list[float] = field(default_factory=list)
    """Largest difference of a probability in each pair."""
    notes: dict[str, str] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    """Busy seconds by stage of our last run."""

    def run(self, kit: Path) -> None:
        """Run both sides once; the times count only if the results are equal."""
        folder = self.setup.runs / f"{self.name}-{len(self.pairs)}"
        ours = run_bsbatch(kit, folder / "ours", backend=self.setup.backend)
        theirs = run_peer(self.name, kit, folder / "theirs")
        self.differences.append(assert_same_scores(ours.scores, theirs.scores, self.name))
        self.pairs.append(Pair(ours.rate, theirs.rate))
        self.starts.append(theirs.wall - theirs.seconds)
        self.busy = ours.busy
        self.notes = {"ours": ours.notes["backend"], **theirs.notes}
        self.setup.say(f"  {self.name}: ours {ours.rate:.3g}, theirs {theirs.rate:.3g} scans/s")

    def line(self) -> Line:
        """Format the peer's line in the table of peers."""
        return {
            **line_of(self.name, self.pairs),
            "start and loading s": statistics.median(self.starts),
            "difference": f"{max(self.differences):.0e}",
            "form": ", ".join(f"{name} {note}" for name, note in self.notes.items()),
        }


def _check(setup: Setup) -> None:
    """Check for equal results on a few examinations, before the long measurements."""
    kit = setup.kit(setup.sizes.few)
    ours = run_bsbatch(kit, setup.runs / "check-ours", backend=setup.backend)
    for name in setup.peers:
        theirs: FinishedRun = run_peer(name, kit, setup.runs / f"check-{name}")
        difference = assert_same_scores(ours.scores, theirs.scores, name)
        setup.say(f"  {name} agrees on {len(ours.scores)} examinations, difference {difference:.0e}")


def _bare_rate(setup: Setup, kit: Path, folder: Path) -> float:
    """Measure `bsbatch bench --stage infer` over the scans of the whole run; return scans per second."""
    folder.mkdir(parents=True)
    file = folder / "bench.json"
    options = ["--stage", "infer", "--backend", setup.backend, "--json", str(file), "--warmup", "0"]
    options += ["--duration", f"{setup.sizes.bare_seconds:g}", "--iterations", "2"]
    run_module("bsbatch", "bench", kit / ARCHIVE, "--model", (kit / GRAPH).parent, *options)
    content = json.loads(file.read_text(encoding="utf-8"))
    return float(content["measurements"][0]["throughput"])


def _seconds_to_first_row(setup: Setup, kit: Path, out: Path) -> float:
    started = time.time()
    done = run_bsbatch(kit, out, backend=setup.backend)
    assert len(done.scores) == setup.sizes.few
    return min(part.stat().st_mtime for part in (out / "objects").glob("part-*")) - started
