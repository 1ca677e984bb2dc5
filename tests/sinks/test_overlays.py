from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.dicom.objects import scan

from bsbatch.config import OverlayFormat
from bsbatch.dicom.pairing import examine
from bsbatch.errors import OutputError
from bsbatch.records import (
    Explanation,
    HeatMap,
    MapLocation,
    Prediction,
    Quality,
    UnitOutcome,
)
from bsbatch.sinks.overlays import Look, OverlaySink
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.folder import overlay_files, scan_files
from bsbatch.store.tables import Provenance
from bsbatch.view_pixels import ViewPixels

PROVENANCE = Provenance("hash", "model", 0.5, has_maps=True)
QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "0" * 64)
HEAT = HeatMap(np.eye(32, dtype=np.float32), 1.0)
WHERE = MapLocation(None, None, 1.0, 0.0, 0.0, 0.5, 0.5, ())


def views(seed: int) -> tuple[ViewPixels, ViewPixels]:
    counts = np.random.default_rng(seed).poisson(5, (2, 64, 16)).astype(np.uint16)
    return ViewPixels(counts[0]), ViewPixels(counts[1])


def prediction(number: int, *, is_drawn: bool = True) -> Prediction:
    explanation = Explanation(HEAT, WHERE, views(number) if is_drawn else None)
    return Prediction(examine((scan("AP", f"{number}"),)), QUALITY, number / 100, explanation)


def write(out: Path, *numbers: int, form: OverlayFormat = OverlayFormat.PNG, threads: int = 2) -> OverlaySink:
    """Commit one unit as a run does, overlays first; return the sink."""
    sink, unit = OverlaySink(out, Look(0.5, form), threads), UnitOutcome(tuple(map(prediction, numbers)), ())
    sink.commit(unit)
    ParquetSink(out, PROVENANCE).commit(unit)
    return sink


def name(number: int) -> str:
    return prediction(number).exam.exam_id


def read(path: Path) -> Any:
    return cv2.imread(str(path))


@pytest.mark.parametrize("form", [OverlayFormat.PNG, OverlayFormat.WEBP])
def test_every_examination_with_a_map_has_an_image_named_after_it(form: OverlayFormat, tmp_path: Path) -> None:
    write(tmp_path, 1, 2, form=form)

    assert {path.name for path in (tmp_path / "overlays").iterdir()} == {f"{name(1)}.{form}", f"{name(2)}.{form}"}
    assert read(tmp_path / f"overlays/{name(1)}.{form}").ndim == 3


def test_an_examination_without_a_map_has_no_image(tmp_path: Path) -> None:
    sink = OverlaySink(tmp_path, Look(0.5), 1)

    sink.commit(UnitOutcome((Prediction(examine((scan("AP", "x"),)), QUALITY, 0.5), prediction(1, is_drawn=False)), ()))

    assert not list((tmp_path / "overlays").iterdir())


def test_an_examination_that_cannot_be_drawn_costs_its_own_image_alone(tmp_path: Path) -> None:
    sink = OverlaySink(tmp_path, Look(0.5), 2)
    damaged = Explanation(HeatMap(np.zeros((32, 32), np.complex64), 1.0), WHERE, views(3))
    broken = Prediction(prediction(3).exam, QUALITY, 0.5, damaged)

    sink.commit(UnitOutcome((prediction(1), broken, prediction(2)), ()))

    assert {path.stem for path in (tmp_path / "overlays").iterdir()} == {name(1), name(2)}
    (bug,) = sink.bugs
    assert bug.startswith("cv2.error at sinks.contours:")


@pytest.mark.parametrize("form", [OverlayFormat.PNG, OverlayFormat.WEBP])
def test_any_number_of_threads_writes_the_same_bytes(form: OverlayFormat, tmp_path: Path) -> None:
    folders = [tmp_path / str(threads) for threads in (1, 2, 5)]
    for folder, threads in zip(folders, (1, 2, 5), strict=True):
        write(folder, *range(12), form=form, threads=threads).finish()

    contents = [{path.name: path.read_bytes() for path in overlay_files(folder)} for folder in folders]

    assert len(contents[0]) == 13
    assert contents[0] == contents[1] == contents[2]
    scans = [{path.name: path.read_bytes() for path in scan_files(folder)} for folder in folders]
    assert scans[0].keys() == {f"{name(number)}.jpg" for number in range(12)}
    assert scans[0] == scans[1] == scans[2]


def test_the_contact_sheets_hold_the_most_probable_first(tmp_path: Path) -> None:
    write(tmp_path, *range(30)).finish()
    sheets = [path for path in overlay_files(tmp_path) if path.name.startswith("sheet")]

    assert [path.name for path in sheets] == ["sheet-0001.png", "sheet-0002.png"]
    first, second = map(read, sheets)
    assert len(first) > len(second)
    write(tmp_path / "top", *range(6, 30)).finish()
    assert (tmp_path / "top/overlays/sheet-0001.png").read_bytes() == sheets[0].read_bytes()


def test_images_without_a_row_are_removed_and_other_files_stay(tmp_path: Path) -> None:
    sink = write(tmp_path, 1)
    sink.commit(UnitOutcome((prediction(2),), ()))
    note = tmp_path / "overlays/note.png"
    note.write_bytes(b"mine")
    (tmp_path / "overlays/sheet-0009.png").write_bytes(b"old")

    sink.finish()

    assert {path.name for path in (tmp_path / "overlays").iterdir()} == {f"{name(1)}.png", "sheet-0001.png", "note.png"}
    assert note.read_bytes() == b"mine"
    assert [path.name for path in scan_files(tmp_path)] == [f"{name(1)}.jpg"]


def test_a_run_without_a_map_ends_without_a_sheet(tmp_path: Path) -> None:
    OverlaySink(tmp_path, Look(0.5), 1).finish()

    assert overlay_files(tmp_path) == []


def test_unfinished_images_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays/.x.png.partial").write_bytes(b"half")

    OverlaySink(tmp_path, Look(0.5), 1).remove_leftovers()

    assert not list((tmp_path / "overlays").iterdir())


def test_a_folder_that_cannot_be_written_to_stops_the_run(tmp_path: Path) -> None:
    sink = OverlaySink(tmp_path, Look(0.5), 1)
    (tmp_path / "overlays").rmdir()

    with pytest.raises(OutputError, match="Make room or grant access"):
        sink.commit(UnitOutcome((prediction(1),), ()))
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError):
        OverlaySink(tmp_path / "file", Look(0.5), 1)


def test_the_error_names_a_damaged_overlay(tmp_path: Path) -> None:
    sink = write(tmp_path, 1)
    (tmp_path / f"overlays/{name(1)}.png").write_bytes(b"no image")

    with pytest.raises(OutputError, match=rf"{name(1)}\.png cannot be read: delete it"):
        sink.finish()
