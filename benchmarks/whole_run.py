"""Whole runs: against the peers, against the bare backend, and up to the first committed row."""

import json
import statistics
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.equality import assert_same_scores
from benchmarks.pairing import Pair, paired
from benchmarks.peers.job import ARCHIVE, GRAPH
from benchmarks.processes import Done, run_bsbatch, run_module, run_peer
from benchmarks.results import Outcome, Row, Target, compared
from benchmarks.setup import Setup

from bsbatch.registry import Part

_INSTALL = 'pip install "bsbatch[peers]"'
PEERS = {
    "paper": Part("benchmarks.peers.paper:main", "keras", 'pip install "bsbatch[build]"'),
    "onnx_threads": Part("benchmarks.peers.onnx_threads:main", "onnxruntime"),
    "openvino_async": Part("benchmarks.peers.openvino_async:main", "openvino", _INSTALL),
    "ray_data": Part("benchmarks.peers.ray_data:main", "ray", _INSTALL),
    "torch_loader": Part("benchmarks.peers.torch_loader:main", "torch", _INSTALL),
}
"""Modules of `benchmarks.peers`, with the package that each needs."""
AGAINST_PEERS, AGAINST_BARE, FIRST_ROW = Target(2.5, "x", True), Target(0.97, "x", True), Target(5.0, "s", False)


def peers(setup: Setup) -> Outcome:
    """Files to committed Parquet against every peer, round after round: ours, peer, ours, next peer ..."""
    kit = setup.kit(setup.sizes.scans)
    _check(setup)
    trials = {name: _Trial(setup, name) for name in setup.peers}
    for _ in range(setup.sizes.pairs):
        for trial in trials.values():
            trial.go(kit)
    best = max(trials.values(), key=lambda trial: statistics.median(pair.theirs for pair in trial.pairs))
    ratios = [pair.ratio for pair in best.pairs]
    row = Row(f"whole run, files to committed Parquet, against the best peer ({best.name})", AGAINST_PEERS, ratios)
    note = f"{setup.sizes.scans} uncompressed two-frame objects; scans/s without imports and loading the model."
    return Outcome("peers", [row], [trial.line() for trial in trials.values()], [note])


def bare(setup: Setup) -> Outcome:
    """Files to committed Parquet against the backend on arrays in memory."""
    kit = setup.kit(setup.sizes.scans)
    folders = (setup.work / f"bare-{number}" for number in count())
    pairs = paired(
        lambda: run_bsbatch(kit, next(folders), backend=setup.backend).rate,
        lambda: _bare_rate(setup, kit, next(folders)),
        setup.sizes.pairs,
    )
    row = Row("whole run against the bare backend on arrays in memory", AGAINST_BARE, [pair.ratio for pair in pairs])
    return Outcome("bare", [row], [compared("bare backend", pairs)])


def first_row(setup: Setup) -> Outcome:
    """From the start of the process to the first committed row of a small archive."""
    kit = setup.kit(setup.sizes.few)
    seconds = [_seconds_to_first_row(setup, kit, setup.work / f"first-{number}") for number in range(setup.sizes.pairs)]
    row = Row(f"from start to first committed row, {setup.sizes.few} examinations", FIRST_ROW, seconds)
    return Outcome("first_row", [row])


class _Trial:
    """One peer, its pairs and what was seen on the way."""

    def __init__(self, setup: Setup, name: str) -> None:
        self.name, self.pairs = name, list[Pair]()
        self._setup, self._folders = setup, (setup.work / f"{name}-{number}" for number in count())
        self._starts, self._difference, self._notes = list[float](), 0.0, dict[str, str]()

    def go(self, kit: Path) -> None:
        """Run both sides; the times count when the results are equal."""
        ours = run_bsbatch(kit, next(self._folders), backend=self._setup.backend)
        theirs = run_peer(self.name, kit, next(self._folders))
        self._difference = max(self._difference, assert_same_scores(ours.scores, theirs.scores, self.name))
        self.pairs.append(Pair(ours.rate, theirs.rate))
        self._starts.append(theirs.wall - theirs.seconds)
        self._notes = {**theirs.notes, "ours": ours.notes["backend"]}
        self._setup.say(f"  {self.name}: ours {ours.rate:.3g}, theirs {theirs.rate:.3g} scans/s")

    def line(self) -> dict[str, Any]:
        """Its line in the table of peers."""
        notes = ", ".join(f"{name} {note}" for name, note in self._notes.items())
        start = {"start and loading s": statistics.median(self._starts)}
        return compared(self.name, self.pairs) | start | {"difference": f"{self._difference:.0e}", "form": notes}


def _check(setup: Setup) -> None:
    """Equality on a few examinations, before anything long is timed."""
    kit = setup.kit(setup.sizes.few)
    ours = run_bsbatch(kit, setup.work / "check-ours", backend=setup.backend)
    for name in setup.peers:
        theirs: Done = run_peer(name, kit, setup.work / f"check-{name}")
        difference = assert_same_scores(ours.scores, theirs.scores, name)
        setup.say(f"  {name} agrees on {len(ours.scores)} examinations, difference {difference:.0e}")


def _bare_rate(setup: Setup, kit: Path, folder: Path) -> float:
    """`bsbatch bench --stage infer` over as many scans as the whole run had."""
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
