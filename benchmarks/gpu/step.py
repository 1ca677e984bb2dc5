"""A step of `make gpu` as a program: each line goes to a file as soon as it is measured, so that a stop loses none."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Line

from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DEMO, Model

NOT_HERE = 77
"""Exit code of a step that needs a part that is missing."""


def last_words(output: str) -> str:
    """Return the last line of an output, without the folders of this machine: results are committed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return re.sub(r"/[^\s:'\"]*/", "", lines[-1]) if lines else ""


class NotHereError(Exception):
    """The machine lacks a part that the step needs."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of all steps; the defaults are for one large GPU and ten minutes."""

    scans: int = 4096
    """Examinations of a run that is fed; they take 1 MiB each. Full batches alone: another size is tuned anew."""
    failing_scans: int = 1024
    threads: tuple[int, ...] = (1, 2, 4, 8, 16)
    slots: tuple[int, ...] = (16, 32, 63, 64)
    """Images in a batch."""
    examinations: int = 16
    copies: int = 50
    """Times that a batch is copied."""
    left: int = 3 << 30
    """Bytes of device memory for a run of the torch network that has little: too few for a batch of 64."""

    @property
    def batch(self) -> int:
        """The largest batch."""
        return self.slots[-1]


QUICK = Sizes(16, 24, (1, 2), (1, 2), 4, 2, 3 << 20)
"""Sizes to check that everything works, without a GPU, too."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Input of every step."""

    folder: Path
    """Folder for the archives, the model of a quick try, and the output of runs."""
    is_quick: bool

    @property
    def sizes(self) -> Sizes:
        """Sizes of the steps."""
        return QUICK if self.is_quick else Sizes()

    @property
    def archive(self) -> Path:
        """Archive of `Sizes.scans`."""
        return self.folder / "archive"

    @property
    def failing_archive(self) -> Path:
        """Archive of `Sizes.failing_scans`."""
        return self.folder / "failing"

    @property
    def model_folder(self) -> Path:
        """The demo model, or a thin one for a quick try."""
        return self.folder / "model" if self.is_quick else Path(DEMO)

    @property
    def model(self) -> Model:
        """The model, checked."""
        return Model.load(self.model_folder, VERSION)


def run_step(measure: Callable[[Setup], Iterator[Line]]) -> None:
    """Write the lines of a step to the file that the command line names."""
    sys.setdlopenflags(os.RTLD_LAZY)  # the driver of `make pycuda` lacks functions
    parser = argparse.ArgumentParser()
    parser.add_argument("lines", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    with given.lines.open("a", encoding="utf-8") as file:
        try:
            for line in measure(Setup(given.folder, given.quick)):
                file.write(json.dumps(line) + "\n")
                file.flush()
        except NotHereError as error:
            print(error, file=sys.stderr)
            sys.exit(NOT_HERE)
