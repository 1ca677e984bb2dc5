"""A phantom set shared by the tests."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan, SetSummary

STUDIES = 60


@dataclass(frozen=True, slots=True)
class WrittenSet:
    """A set on disk."""

    folder: Path
    summary: SetSummary

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of one of its CSV files."""
        with (self.folder / name).open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def files(self, *statuses: str) -> list[tuple[Path, dict[str, str]]]:
        """Paths and rows of the files whose expected status is one of ``statuses``."""
        chosen = [row for row in self.rows("expected.csv") if row["status"] in statuses]
        return [(self.folder / "archive" / row["source"], row) for row in chosen]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenSet:
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    return WrittenSet(folder, write_set(folder, SetPlan(studies=STUDIES, seed=7)))
