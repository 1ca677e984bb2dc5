"""Objects and archives of field cases: each case is a folder of a few small files, with UIDs of its own."""

import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian
from tests.archives import Pixels, Scan, dataset_of, uid
from tests.end_to_end.tables import Row, bsbatch, objects, results

from bsbatch_build.phantom.plan import SetPlan, assign
from bsbatch_build.phantom.study import make_study

ROWS, COLUMNS = 512, 128
TC_99M = ("C-163A8", "SRT", "Technetium")
_SCT = {"A": ("399321004", "SCT", "Anterior"), "P": ("399001007", "SCT", "Posterior")}

Files = dict[str, bytes]
"""Content of the files of a case by name."""
Make = Callable[[], FileDataset | bytes | Files]
"""Makes the file of a case, which is then called ``a``, or its files."""


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one case; sources are the names of its files."""

    files: dict[str, tuple[str, str | None]]
    """Status and reason by file."""
    examinations: list[Row]

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """Anterior and posterior file of each examination with a score."""
        return {(row["source_anterior"], row["source_posterior"]) for row in self.examinations if row["status"] == "ok"}

    @property
    def scored(self) -> Row:
        """The only examination, which has a score."""
        (row,) = self.examinations
        assert row["status"] == "ok", row["reason"]
        return row

    @property
    def flags(self) -> set[str]:
        """Quality flags of the only examination."""
        return set(self.scored["qc_flags"])


def register(cases: dict[str, Make]) -> Callable[[Make], Make]:
    """Return a decorator that adds a function to the cases of an archive, under its name."""

    def add(make: Make) -> Make:
        cases[make.__name__] = make
        return make

    return add


def archive_fixture(cases: dict[str, Make]) -> Any:
    """Return a module's fixture: the rows of all its cases, screened in one archive."""

    @pytest.fixture(scope="module")
    def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
        return screen_cases(cases, tmp_path_factory.mktemp("cases"))

    return found


def assert_same_row(found: Found, plain: Found) -> None:
    """Check that the only file of a case has the score, the pixels and the flags of the plain object."""
    assert found.files == {"a": ("used", None)}
    for column in ("p_metastasis", "pixel_xxh3", "qc_flags"):
        assert found.scored[column] == plain.scored[column]


def screen_cases(cases: dict[str, Make], folder: Path) -> dict[str, Found]:
    """Write an archive of all cases, run ``bsbatch`` once, and divide its rows by case."""
    for case, make in cases.items():
        for name, data in _files_of(make).items():
            path = folder / "archive" / case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    options = ("--backend", "fake", "--max-error-rate", "1", "--quiet")
    done = bsbatch("run", folder / "archive", "--out", folder / "out", *options)
    assert done.returncode == 0, done.stderr
    files, examinations = objects(folder / "out"), results(folder / "out")
    return {case: _found(case, files, examinations) for case in cases}


def _files_of(make: Make) -> Files:
    with disable_value_validation():
        made = make()
        if isinstance(made, FileDataset):
            made = encode(made)
    return {"a": made} if isinstance(made, bytes) else made


def _found(case: str, files: Iterable[Row], examinations: Iterable[Row]) -> Found:
    lead = f"{case}/"
    rows = [row for row in files if row["source"].startswith(lead)]
    own = {row["exam_id"] for row in rows}
    return Found(
        {row["source"].removeprefix(lead): (row["status"], row["reason"]) for row in rows},
        [_shorten(row, lead) for row in examinations if row["exam_id"] in own],
    )


def _shorten(row: Row, lead: str) -> Row:
    sources = {name: row[name] for name in ("source_anterior", "source_posterior")}
    return row | {name: source and source.removeprefix(lead) for name, source in sources.items()}


def counts(number: int) -> Pixels:
    """``(2, 512, 128)`` counts of a narrow body; each number has a score and a digest of its own."""
    random = np.random.default_rng(number)
    frames = random.integers(0, 2, (2, ROWS, COLUMNS), np.uint16)
    frames[:, 50:-50, 60 - number : 60 + number] += random.integers(20, 40, (2, ROWS - 100, 2 * number), np.uint16)
    frames[..., :10] = frames[..., -10:] = 0
    return frames


@lru_cache(1)
def phantom() -> Pixels:
    """``(2, 1024, 256)`` counts of a phantom."""
    plan = SetPlan(studies=1, seed=2, centres=("A",))
    return np.stack(make_study(assign(plan, 0), np.random.SeedSequence([2, 1, 0])).views)


def scan(patient: str, pixels: Pixels, *, views: str = "AP", name: str = "", **values: Any) -> FileDataset:
    """Make one NM object.

    Parameters
    ----------
    patient
        Patient ID; study and series have UIDs of their own for each.
    pixels
        Both views, or as many frames as ``views`` has letters.
    views
        A, P or ? for each frame, as Start Angle and as code of CID 26.
    name
        Distinguishes objects of one patient with equal views.
    values
        Attributes by keyword; None removes one.
    """
    dataset = dataset_of(Scan(0, views), pixels)
    dataset.PatientID, dataset.StudyInstanceUID = patient, uid("study", patient)
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid("series", patient), uid("sop", patient, views, name)
    dataset.SeriesDescription = "WHOLE BODY"
    dataset.EnergyWindowInformationSequence = [window("126", "154")]
    dataset.RadiopharmaceuticalInformationSequence = [tracer("Tc-99m MDP", TC_99M)]
    for view, head in zip(views, dataset.DetectorInformationSequence, strict=True):
        head.ViewCodeSequence = [code(*_SCT[view])] if view in _SCT else None
    return change(dataset, **values)


def view(patient: str, image: int, side: str, **values: Any) -> FileDataset:
    """Make an object of one view, A or P, of an image."""
    at = "AP".index(side)
    name = str(values.pop("name", image))
    return scan(patient, counts(image)[at : at + 1], views=side, name=name, **values)


def change(dataset: FileDataset, **values: Any) -> FileDataset:
    """Set attributes by keyword; None removes one."""
    for keyword, value in values.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def window(lower: str, upper: str) -> Dataset:
    """One energy window, in keV; its limits are any text."""
    limits, item = Dataset(), Dataset()
    for keyword, text in (("EnergyWindowLowerLimit", lower), ("EnergyWindowUpperLimit", upper)):
        limits.add_new(keyword, "LO", text)
        limits[keyword].VR = "DS"
    item.EnergyWindowRangeSequence = [limits]
    return item


def tracer(name: str, nuclide: tuple[str, str, str] | None = None, start: str = "") -> Dataset:
    """One radiopharmaceutical; its nuclide as a code, and its injection as a time of day."""
    item = Dataset()
    item.Radiopharmaceutical, item.RadiopharmaceuticalStartTime = name, start
    if nuclide is not None:
        item.RadionuclideCodeSequence = [code(*nuclide)]
    return item


def encode(dataset: FileDataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Encode an object of 16-bit samples as a file."""
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def split(data: bytes) -> tuple[bytes, bytes]:
    """Divide a file into what ends with its meta information, and its data set (PS3.10 section 7.1)."""
    (length,) = struct.unpack("<I", data[140:144])
    return data[: 144 + length], data[144 + length :]
