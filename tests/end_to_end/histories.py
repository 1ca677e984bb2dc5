"""Archives that change at random between runs that end early. ``python -m tests.end_to_end.histories`` plays many."""

import argparse
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.archives import NM, Scan, ct_slice, dataset_of, pixels_of, write
from tests.end_to_end.tables import Row, objects, results
from tests.sources.storages import PACKERS, BucketStorage, PackedStorage, Storage, read_folder
from tests.stores import S3

from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen

_STEPS = 12
_ROWS, _COLUMNS = 128, 64
_OBJECT = "source", "sop_uid", "status", "reason", "message", "exam_id"
_RESULT = "exam_id", "status", "reason", "message", "p_metastasis", "qc_flags", "source_anterior", "source_posterior"


class History:
    """An archive with random changes, and the output folder of runs between them."""

    def __init__(self, folder: Path, seed: int, storage: Storage | None) -> None:
        self.archive, self.out, self.storage = folder / "archive", folder / "out", storage
        self.luck = random.Random(seed)
        self.studies, self.instances = 0, 10
        self.truncated: dict[Path, bytes] = {}
        self.partners: list[tuple[Path, Scan]] = []
        self.scans: list[Scan] = []
        self.replaced: set[Path] = set()
        self.add_pair()

    def step(self) -> None:
        changes = [self.add_pair, self.add_single, self.add_partner, self.add_copy, self.add_clutter]
        changes += [self.add_repeat, self.add_late, self.send_again, self.add_conflict, self.add_other_patient]
        changes += [self.truncate, self.restore, self.touch, self.replace, self.rename]
        for _ in range(self.luck.randint(0, 4)):
            self.luck.choice(changes)()
        self.luck.choice([self.run, self.run, self.run_a_little, self.run_and_lose_a_part])()

    def add_pair(self) -> None:
        self._write(Scan(self._new_study(), self.luck.choice(["AP", "PA"]), rows=_ROWS, columns=_COLUMNS), "pair")

    def add_single(self) -> None:
        study, views = self._new_study(), self.luck.choice(["AP", "PA"])
        first = Scan(study, views[0], 1, rows=_ROWS, columns=_COLUMNS, time=self.luck.choice(["101500", None]))
        self._write(first, "single")
        self.partners.append((self._new_path("partner"), replace(first, views=views[1], instance=2)))

    def add_partner(self) -> None:
        if self.partners:
            path, scan = self.partners.pop()
            write(dataset_of(scan), path)

    def add_repeat(self) -> None:
        """Repeat a view or a whole scan of a study in its series, a minute later or at a time that is not known."""
        scan = self.luck.choice(self.scans)
        time = "101600" if scan.time and self.luck.random() < 0.5 else scan.time
        again = replace(scan, views=self.luck.choice(["A", "P", scan.views]), instance=self._new_instance(), time=time)
        self._write(again, "repeat")

    def add_late(self) -> None:
        """Add a scan of the same day in a series of its own."""
        scan = self.luck.choice(self.scans)
        late = replace(scan, instance=self._new_instance(), series=scan.series + 1, time="160000")
        self._write(replace(late, views=self.luck.choice(["AP", "A", "P"])), "late")

    def send_again(self) -> None:
        """Send the pixels of an object under another UID, or those of one of its views alone."""
        scan = self.luck.choice(self.scans)
        pixels, view = pixels_of(scan), self.luck.randrange(len(scan.views))
        other = replace(scan, instance=self._new_instance())
        if self.luck.random() < 0.5:
            other, pixels = replace(other, views=scan.views[view]), pixels[view : view + 1]
        write(dataset_of(other, pixels), self._new_path("again"))

    def add_conflict(self) -> None:
        """Give the UIDs of an object to one of other pixels."""
        scan = self.luck.choice(self.scans)
        write(dataset_of(scan, pixels_of(scan) + np.uint16(1)), self._new_path("conflict"))

    def add_other_patient(self) -> None:
        """Put an object of another patient into a study."""
        scan = replace(self.luck.choice(self.scans), instance=self._new_instance())
        dataset = dataset_of(scan)
        dataset.PatientID = "SECRET-ID-0815"
        write(dataset, self._new_path("other"))

    def rename(self) -> None:
        """Rename a scan: the rows of its old path move to the new one."""
        path = self._choose_file()
        if path not in self.truncated and path not in self.replaced and NM.encode() in path.read_bytes()[:512]:
            target = self._new_path("renamed")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

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
        self.replaced.add(path)
        write(ct_slice(self._new_study()), path)

    def run(self, limit: int | None = None, out: Path | None = None) -> None:
        effort = Effort(threads=1, batch_size=2, unit_size=2)
        config = RunConfig(self._publish(), out or self.out, backend=BackendName.FAKE, effort=effort, limit=limit)
        screen(config, SilentReporter())

    def _publish(self) -> Path | str:
        """Copy the folder to the storage, if there is one; return the address of what is run over."""
        if self.storage is None:
            return self.archive
        self.storage.store(read_folder(self.archive))
        return self.storage.address

    def run_a_little(self) -> None:
        self.run(limit=self.luck.randint(1, 3))

    def run_and_lose_a_part(self) -> None:
        """Leave the state of a run killed between the two renames of a commit."""
        self.run(limit=self.luck.randint(1, 3))
        names = {part.name for part in (self.out / "results").glob("part-*")}
        last = max((part for part in (self.out / "objects").glob("part-*")), default=None)
        if last is not None and last.name in names:
            last.unlink()

    def _write(self, scan: Scan, kind: str) -> None:
        self.scans.append(scan)
        write(dataset_of(scan), self._new_path(kind))

    def _new_instance(self) -> int:
        self.instances += 1
        return self.instances

    def _new_study(self) -> int:
        self.studies += 1
        return self.studies

    def _new_path(self, kind: str) -> Path:
        return self.archive / self.luck.choice("abc") / f"{kind}-{self.luck.randrange(10**6):06d}"

    def _choose_file(self) -> Path:
        return self.luck.choice(sorted(path for path in self.archive.rglob("*") if path.is_file()))


def play(folder: Path, seed: int, storage: Storage | None = None) -> History:
    """Return a history after its steps; every file of it was changed, listed or processed at random times."""
    history = History(folder, seed, storage)
    for _ in range(_STEPS):
        history.step()
    return history


def differences(history: History, fresh: Path) -> list[str]:
    """Finish a history, run once over its last state, and name the rows that differ.

    Files that are gone, renamed and then replaced for example, keep their rows. Those are left out, with the rows of
    the other view of their examinations.
    """
    history.run()
    history.run(out=fresh)
    tables = {"objects": (objects, _OBJECT), "results": (results, _RESULT)}
    found: list[str] = []
    gone = {row["source"] for row in objects(history.out)} - {row["source"] for row in objects(fresh)}
    gone.update(*(_sources(row) for row in results(history.out) if _sources(row) & gone))
    for table, (rows, columns) in tables.items():
        grown, once = (
            {tuple(str(row[name]) for name in columns) for row in rows(out) if not _sources(row) & gone}
            for out in (history.out, fresh)
        )
        found += [f"{table} of the history only: {row}" for row in sorted(grown - once)]
        found += [f"{table} of the single run only: {row}" for row in sorted(once - grown)]
    return found


def _sources(row: Row) -> set[str]:
    return {row[name] for name in ("source", "source_anterior", "source_posterior") if row.get(name)}


@contextmanager
def _folders() -> Iterator[Callable[[str], Storage | None]]:
    yield lambda _: None


@contextmanager
def _buckets() -> Iterator[Callable[[str], Storage | None]]:
    with S3.run() as url:
        os.environ.update(S3.settings(url))
        yield lambda name: BucketStorage(S3, name)


@contextmanager
def _containers(name: str) -> Iterator[Callable[[str], Storage | None]]:
    with TemporaryDirectory() as folder:
        yield lambda history: PackedStorage(Path(folder) / history, name)


STORAGES: Mapping[str, Callable[[], AbstractContextManager[Callable[[str], Storage | None]]]] = {
    "folder": _folders,
    "s3": _buckets,
    **{name: partial(_containers, name) for name in PACKERS},
}
"""Each yields a function that makes a storage of a name."""


def main() -> None:
    """Play histories of consecutive seeds, and print those that end otherwise than a single run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the first history")
    parser.add_argument("--source", choices=STORAGES, default="folder")
    options = parser.parse_args()
    failed = 0
    with STORAGES[options.source]() as make:
        for seed in range(options.seed, options.seed + options.count):
            with TemporaryDirectory() as folder:
                found = differences(play(Path(folder), seed, make(str(seed))), Path(folder) / "fresh")
            failed += bool(found)
            for line in found:
                sys.stdout.write(f"seed {seed}: {line}\n")
    sys.stdout.write(f"{options.count} histories, {failed} end otherwise than one run over their last state\n")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
