"""Run bsbatch and its peers as processes; collect their times and scores."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from benchmarks.peers.job import ARCHIVE, GRAPH, SCORES, TIMING

from bsbatch.host.machine import usable_cpus

ROOT = Path(__file__).parents[1]


class ProcessFailedError(Exception):
    """One side failed; the message holds the end of its output."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished run."""

    seconds: float
    """Seconds measured by the program itself, from the listing of the archive to the written Parquet."""
    wall: float
    """Seconds from the start of the process to its end."""
    scores: dict[str, float]
    """``p_metastasis`` by SOP Instance UID."""
    notes: dict[str, str] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    """Busy seconds by stage; only of bsbatch."""

    @property
    def rate(self) -> float:
        """Scans per second of ``seconds``."""
        return len(self.scores) / self.seconds


def run_bsbatch(kit: Path, out: Path, *, backend: str) -> FinishedRun:
    """Run ``bsbatch run`` over the kit's archive."""
    model = (kit / GRAPH).parent
    options: list[str | Path] = ["--model", model, "--backend", backend, "--out", out, "--quiet"]
    wall = run_module("bsbatch", "run", kit / ARCHIVE, *options)
    content = json.loads((out / "run.json").read_text(encoding="utf-8"))
    rows = pq.read_table(out / "results", columns=["sop_uid_anterior", "p_metastasis"]).to_pylist()
    scores = {row["sop_uid_anterior"]: math.nan if row["p_metastasis"] is None else row["p_metastasis"] for row in rows}
    busy = {stage: figures["seconds"] for stage, figures in content["stages"].items()}
    return FinishedRun(content["seconds"], wall, scores, {"backend": content["config"]["backend"]}, busy)


def run_peer(name: str, kit: Path, out: Path) -> FinishedRun:
    """Run a module of `benchmarks.peers` over the kit's archive."""
    out.mkdir(parents=True)
    wall = run_module(f"benchmarks.peers.{name}", kit, out, str(usable_cpus()))
    timing = json.loads((out / TIMING).read_text(encoding="utf-8"))
    rows = pq.read_table(out / SCORES, columns=["sop_uid", "p_metastasis"]).to_pylist()
    return FinishedRun(timing["seconds"], wall, {row["sop_uid"]: row["p_metastasis"] for row in rows}, timing["notes"])


def run_module(module: str, *arguments: str | Path) -> float:
    """Run ``python -m module``; return its wall seconds.

    Raises
    ------
    ProcessFailedError
        The exit code is not 0.
    """
    started = time.perf_counter()
    call_module(module, *arguments)
    return time.perf_counter() - started


def call_module(module: str, *arguments: str | Path) -> str:
    """Run ``python -m module``; return its standard output.

    Raises
    ------
    ProcessFailedError
        The exit code is not 0.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailedError(f"{module} ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Return the environment with this repository on PYTHONPATH, for a peer and the processes that it starts."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
