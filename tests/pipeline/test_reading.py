"""Pixels of an object for its score or its digests, and the memory that large ones share."""

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.archives import Scan, dataset_of, pixels_of, write
from tests.dicom.objects import scan
from tests.host.waiting import PATIENCE

from bsbatch.config import Selection
from bsbatch.host import limits
from bsbatch.host.threads import Budget
from bsbatch.host.workers import Isolation
from bsbatch.pipeline import reading
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.reading import _digest, await_turn, read_digests
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import ScanObject, View
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry
from bsbatch.view_pixels import ViewPixels


def object_in(folder: Path) -> ScanObject:
    source = DirectorySource(folder)
    (unit,) = Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1).units(8, None)
    return unit.exams[0].scans[0]


def test_digests_of_an_object_are_by_view_and_depend_on_the_counts_alone(tmp_path: Path) -> None:
    write(dataset_of(Scan(1)), tmp_path / "a/file")
    write(dataset_of(Scan(1, "PA"), pixels_of(Scan(1))[::-1]), tmp_path / "b/file")

    found = [
        read_digests(DirectorySource(tmp_path / name), Isolation(), object_in(tmp_path / name)) for name in ("a", "b")
    ]

    assert found[0] == found[1]
    assert not isinstance(found[0], Verdict)
    assert set(found[0]) == {View.ANTERIOR, View.POSTERIOR}
    assert found[0][View.ANTERIOR] != found[0][View.POSTERIOR]


def test_an_object_that_cannot_be_read_has_a_verdict_instead(tmp_path: Path) -> None:
    write(dataset_of(Scan(1)), tmp_path / "file")
    made = object_in(tmp_path)
    (tmp_path / "file").unlink()
    assert read_digests(DirectorySource(tmp_path), Isolation(), made) == Verdict.of(Stage.PIXELS, Reason.READ_ERROR)


def test_a_digest_is_of_shape_and_counts_whatever_their_encoding_and_empty_for_a_flat_view() -> None:
    counts = np.arange(12).reshape(3, 4)
    digest = _digest(ViewPixels(counts.astype("<u2")))
    assert digest.startswith("(3, 4)")
    assert _digest(ViewPixels(counts.astype(">u2"))) == _digest(ViewPixels(counts.astype("<i2"))) == digest
    assert _digest(ViewPixels((counts // 2 * 2).astype("<u2"))) != digest
    assert _digest(ViewPixels(counts.reshape(4, 3).astype("<u2"))) != digest
    assert _digest(ViewPixels(np.full((3, 4), 7, "<u2"))) == ""


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """Memory for ten pixels, and objects of more than four count as large."""
    monkeypatch.setattr(limits, "SMALL_PIXELS", 4)
    budget = Budget(10)
    monkeypatch.setattr(reading, "_LARGE", budget)
    return budget


def sized(rows: int, columns: int, frames: int, name: str = "a") -> ScanObject:
    return scan("AP", name, rows=rows, columns=columns, frames=frames)


@pytest.mark.parametrize(
    ("scans", "is_large"),
    [
        ((sized(2, 2, 1),), False),
        ((sized(1, 2, 2),), False),
        ((sized(5, 1, 1),), True),
        ((sized(1, 5, 1),), True),
        ((sized(1, 1, 5),), True),
        ((sized(2, 1, 1), sized(3, 1, 1, "b")), True),
        ((sized(2, 1, 1), sized(2, 1, 1, "b")), False),
        ((sized(3, 1, 1), sized(3, 1, 1)), False),
    ],
)
def test_large_objects_share_memory_and_small_ones_do_not_wait(
    budget: Budget, scans: tuple[ScanObject, ...], is_large: bool
) -> None:
    entered = threading.Event()

    def enter() -> None:
        with await_turn(*scans):
            entered.set()

    waiting = threading.Thread(target=enter)
    with budget.spend(10):
        waiting.start()
        assert entered.wait(0.1 if is_large else PATIENCE) is not is_large
    waiting.join(PATIENCE)
    assert entered.is_set()
