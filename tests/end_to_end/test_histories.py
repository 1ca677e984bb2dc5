"""After changes of the archive and runs that end early, the tables equal those of one run over the last state."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.archives import Scan, ct_slice, dataset_of, write
from tests.end_to_end.tables import Row, objects, results

from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen

_STEPS = 12


class History:
    """An archive with random changes, and the output folder of runs between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.archive, self.out = folder / "archive", folder / "out"
        self.luck = random.Random(seed)
        self.studies = 0
        self.truncated: dict[Path, bytes] = {}
        self.partners: list[tuple[Path, Scan]] = []
        self.add_pair()

    def step(self) -> None:
        changes = [self.add_pair, self.add_single, self.add_partner, self.add_copy, self.add_clutter]
        changes += [self.truncate, self.restore, self.touch, self.replace]
        for _ in range(self.luck.randint(0, 4)):
            self.luck.choice(changes)()
        self.luck.choice([self.run, self.run, self.run_a_little, self.run_and_lose_a_part])()

    def add_pair(self) -> None:
        write(dataset_of(Scan(self._new_study(), self.luck.choice(["AP", "PA"]))), self._new_path("pair"))

    def add_single(self) -> None:
        study, views = self._new_study(), self.luck.choice(["AP", "PA"])
        write(dataset_of(Scan(study, views[0], 1)), self._new_path("single"))
        self.partners.append((self._new_path("partner"), Scan(study, views[1], 2)))

    def add_partner(self) -> None:
        if self.partners:
            path, scan = self.partners.pop()
            write(dataset_of(scan), path)

    def add_copy(self) -> None:
        original = self._choose_file()
        if original not in self.truncated:
            path = self._new_path("copy")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(original.read_bytes())

    def add_clutter(self) -> None:
        write(ct_slice(self._new_study()), self._new_path("ct"))

    def truncate(self) -> None:
        path = self._choose_file()
        if path not in self.truncated:
            self.truncated[path] = path.read_bytes()
            path.write_bytes(self.truncated[path][:-300])

    def restore(self) -> None:
        if self.truncated:
            path, data = self.truncated.popitem()
            path.write_bytes(data)

    def touch(self) -> None:
        path = self._choose_file()
        path.write_bytes(path.read_bytes())

    def replace(self) -> None:
        path = self._choose_file()
        self.truncated.pop(path, None)
        write(ct_slice(self._new_study()), path)

    def run(self, limit: int | None = None, out: Path | None = None) -> None:
        effort = Effort(threads=1, batch_size=2, unit_size=2)
        config = RunConfig(self.archive, out or self.out, backend=BackendName.FAKE, effort=effort, limit=limit)
        screen(config, SilentReporter())

    def run_a_little(self) -> None:
        self.run(limit=self.luck.randint(1, 3))

    def run_and_lose_a_part(self) -> None:
        """Leave the state of a run killed between the two renames of a commit."""
        self.run(limit=self.luck.randint(1, 3))
        names = {part.name for part in (self.out / "results").glob("part-*")}
        last = max((part for part in (self.out / "objects").glob("part-*")), default=None)
        if last is not None and last.name in names:
            last.unlink()

    def _new_study(self) -> int:
        self.studies += 1
        return self.studies

    def _new_path(self, kind: str) -> Path:
        return self.archive / self.luck.choice("abc") / f"{kind}-{self.luck.randrange(10**6):06d}"

    def _choose_file(self) -> Path:
        return self.luck.choice(sorted(path for path in self.archive.rglob("*") if path.is_file()))


def statuses(rows: list[Row]) -> list[tuple[str, ...]]:
    """Status of each object by UID; of several copies, the first one listed is used."""
    return sorted((row["sop_uid"], row["status"], row["reason"] or "", row["exam_id"] or "") for row in rows)


def outcomes(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row["exam_id"], row["status"], row["reason"], row["p_metastasis"], row["qc_flags"]) for row in rows]


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_as_one_run_over_the_last_state(seed: int, tmp_path: Path) -> None:
    history = History(tmp_path, seed)
    for _ in range(_STEPS):
        history.step()

    history.run()
    history.run(out=tmp_path / "fresh")

    assert statuses(objects(history.out)) == statuses(objects(tmp_path / "fresh"))
    assert outcomes(results(history.out)) == outcomes(results(tmp_path / "fresh"))
    assert {row["source"] for row in objects(history.out)} == {row["source"] for row in objects(tmp_path / "fresh")}
