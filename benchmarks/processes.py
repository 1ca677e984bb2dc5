"""bsbatch and its peers as processes: what each took and what it scored."""

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
    """One side did not come to its end; the message holds what it wrote last."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run."""

    seconds: float
    """Counted by the program itself: from the listing of the archive to the written Parquet."""
    wall: float
    """From the start of the process to its end, seconds."""
    scores: dict[str, float]
    """``p_metastasis`` by SOP Instance UID."""
    notes: dict[str, str] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    """Busy seconds by stage, of bsbatch only."""

    @property
    def rate(self) -> float:
        """Scans in a counted second."""
        return len(self.scores) / self.seconds


def run_bsbatch(kit: Path, out: Path, *, backend: str) -> Done:
    """``bsbatch run`` over the kit's archive."""
    model = (kit / GRAPH).parent
    options: list[str | Path] = ["--model", model, "--backend", backend, "--out", out, "--quiet"]
    wall = run_module("bsbatch", "run", kit / ARCHIVE, *options)
    content = json.loads((out / "run.json").read_text(encoding="utf-8"))
    rows = pq.read_table(out / "results", columns=["sop_uid_anterior", "p_metastasis"]).to_pylist()
    scores = {row["sop_uid_anterior"]: math.nan if row["p_metastasis"] is None else row["p_metastasis"] for row in rows}
    busy = {stage: figures["seconds"] for stage, figures in content["stages"].items()}
    return Done(content["seconds"], wall, scores, {"backend": content["config"]["backend"]}, busy)


def run_peer(name: str, kit: Path, out: Path) -> Done:
    """A module of `benchmarks.peers` over the kit's archive."""
    out.mkdir(parents=True)
    wall = run_module(f"benchmarks.peers.{name}", kit, out, str(usable_cpus()))
    timing = json.loads((out / TIMING).read_text(encoding="utf-8"))
    rows = pq.read_table(out / SCORES, columns=["sop_uid", "p_metastasis"]).to_pylist()
    return Done(timing["seconds"], wall, {row["sop_uid"]: row["p_metastasis"] for row in rows}, timing["notes"])


def run_module(module: str, *arguments: str | Path) -> float:
    """Run ``python -m module``; gives its wall seconds.

    Raises
    ------
    ProcessFailedError
        It ended with another code than 0.
    """
    started = time.perf_counter()
    call_module(module, *arguments)
    return time.perf_counter() - started


def call_module(module: str, *arguments: str | Path) -> str:
    """Run ``python -m module``; gives what it printed.

    Raises
    ------
    ProcessFailedError
        It ended with another code than 0.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailedError(f"{module} ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def _environment() -> dict[str, str]:
    """The folder of this repository on the path of every process, also of those that a peer starts."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
