"""Settings of a comparison: sizes, folders, and the kit of archive and model that is made once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kit import write_archive
from benchmarks.peers.job import ARCHIVE, GRAPH, KERAS, WEIGHTS
from benchmarks.processes import run_module


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of all scenarios; the defaults take about 25 minutes on two cores."""

    scans: int = 24
    """Examinations of a whole run."""
    pairs: int = 3
    """Pairs of whole runs."""
    bare_scans: int = 96
    """Examinations of a whole run against the bare backend; the start of 0.9 s would be 11 % of 24 examinations."""
    few: int = 4
    """Examinations of a small archive: the check before the timing, and the first committed row."""
    intake_scans: int = 200
    skim_files: int = 2000
    rounds: int = 5
    """Pairs of passes over the archives of ``intake_scans`` and ``skim_files``."""
    bare_seconds: float = 10.0
    """Duration of the measurement of the bare backend."""
    memory: tuple[int, int] = (500, 50_000)
    """Studies of the two archives."""
    maps: int = 64
    """Scans in the measurement of heat maps."""
    map_pairs: int = 12
    """Pairs of batches with and without maps."""
    starts: int = 11
    """Calls of ``bsbatch --help``."""
    feeding_scans: int = 6000
    """Examinations for simulated GPUs; they take 1 MiB each."""
    machines: tuple[tuple[int, float], ...] = tuple(
        (gpus, rate) for gpus in (1, 4) for rate in (1000.0, 1500.0, 2500.0)
    )
    """Numbers of simulated GPUs, and scans in a second of each."""
    bucket_objects: int = 4000
    bucket_memory: tuple[int, int] = (2000, 100_000)
    """Objects of the two buckets; every second one is an examination."""
    pacs_studies: int = 24
    """Studies of a PACS, of four objects each."""
    width: float = 1.0
    """Width of the network; 1 is the paper's VGG16."""


QUICK = Sizes(2, 1, 4, 2, 16, 70, 1, 0.0, (100, 200), 4, 1, 3, 16, ((2, 1500.0),), 140, (100, 200), 2, 0.0625)
"""Sizes to check that everything works."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Input of every scenario."""

    sizes: Sizes
    kits: Path
    """Folder for the model and its archives; those of an earlier call are reused."""
    runs: Path
    """Empty folder for the output of runs."""
    backend: str = "auto"
    """Backend of bsbatch."""
    peers: tuple[str, ...] = ()
    """Names of `benchmarks.whole_run.PEERS`."""
    say: Callable[[str], object] = field(default=print)

    def kit(self, scans: int) -> Path:
        """Return a folder with an archive of ``scans`` examinations and the model; made at the first call."""
        folder, model = self.kits / f"kit-{scans}", self.kits / "model"
        if not model.exists():
            self.say("making the model ...")
            run_module("benchmarks.kit", model, f"{self.sizes.width:g}")
        if not folder.exists():
            write_archive(folder / ARCHIVE, scans)
            for name in (Path(GRAPH).parent, KERAS, WEIGHTS):
                (folder / name).symlink_to(model / name)
        return folder
