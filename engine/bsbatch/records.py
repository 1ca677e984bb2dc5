"""What passes between stages: frozen records, nothing else."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Status, status_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an object or examination was not used."""

    stage: Stage
    reason: Reason
    message: str
    """For people, without patient data."""

    @property
    def status(self) -> Status:
        """``skipped`` or ``failed``."""
        return status_of(self.reason)

    @staticmethod
    @lru_cache(None)
    def of(stage: Stage, reason: Reason) -> "Verdict":
        """A verdict with the reason's own explanation as message; always the same one."""
        return Verdict(stage, reason, EXPLANATIONS[reason])


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object of a source, not yet opened."""

    source: str
    """Where it lies in the source, for rows: relative, with forward slashes, valid Unicode."""
    location: str
    """What the source opens."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of last change, nanoseconds since 1970."""
    problem: Verdict | None = None
    """Set where the source could not even list it."""


class View(StrEnum):
    """How the detector saw the patient."""

    ANTERIOR = "anterior"
    POSTERIOR = "posterior"
    LATERAL = "lateral"


class EvidenceKind(StrEnum):
    """What named a view, strongest first (`bsbatch.dicom.views`)."""

    CODE = "code"
    MEANING = "meaning"
    PRIVATE = "private"
    VIEW_POSITION = "view_position"
    START_ANGLE = "start_angle"
    DESCRIPTION = "description"
    ASSUMED_ORDER = "assumed_order"


@dataclass(frozen=True, slots=True)
class Detector:
    """One item of (0054,0022) Detector Information Sequence, PS3.3 C.8.4.11."""

    start_angle: float | None
    """(0054,0200) Start Angle, degrees; 0 is the patient's back."""
    view_codes: tuple[tuple[str, str], ...]
    """(Coding Scheme Designator, Code Value) of (0054,0220) View Code Sequence."""
    view_texts: tuple[str, ...]
    """Code Meaning and Code Value of the same items."""


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where (7FE0,0010) Pixel Data lies in the file."""

    offset: int
    """First byte of the value; -1 inside a deflated dataset."""
    length: int
    """Bytes of the value that the header promises; -1 when encapsulated."""
    is_complete: bool
    """False where the file ends before the value does."""


class Header(NamedTuple):
    """What the stages after it need of a DICOM header; attributes in the standard's words.

    Text attributes are there for the view resolver alone and never reach a row. A tuple, because every file has one and
    tuples are made several times as fast.
    """

    sop_uid: str | None
    acquisition_time: str | None
    """(0008,0032) Acquisition Time, ``HHMMSS[.ffffff]``. These two are each object's own."""
    study_uid: str | None
    series_uid: str | None
    frame_of_reference_uid: str | None
    acquisition_date: str | None
    """(0008,0022) Acquisition Date, ``YYYYMMDD``. These four are those of its series."""
    counts_accumulated: int | None
    pixel_data: PixelData | None
    sop_class: str | None
    """From here on a camera writes the same into object after object, see `Header.without_own`."""
    modality: str
    image_type: tuple[str, ...]
    manufacturer: str | None
    model_name: str | None
    transfer_syntax: str
    rows: int
    columns: int
    frames: int
    samples_per_pixel: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    pixel_spacing: tuple[float, float] | None
    """(0028,0030) Pixel Spacing, mm: between rows, between columns."""
    rescale: tuple[float, float]
    """(0028,1053) Rescale Slope and (0028,1052) Rescale Intercept."""
    is_lossy: bool
    scan_length: float | None
    """(0018,1302) Scan Length, mm."""
    detector_vector: tuple[int, ...]
    energy_window_vector: tuple[int, ...]
    energy_windows: tuple[tuple[tuple[float, float], ...], ...]
    """For each energy window its ranges, (lower, upper) in keV."""
    detectors: tuple[Detector, ...]
    view_texts: tuple[str, ...]
    """Code Meaning and Code Value of a View Code Sequence at the root."""
    private_labels: tuple[tuple[str, ...], ...]
    """Values of GEMS_GENIE_1 (0011,1012) and (0011,1030), one for each frame where the writer was careful."""
    view_position: tuple[str, ...]
    """(0018,5101) View Position."""
    descriptions: tuple[str, ...]
    """(0054,0400) Image ID and (0008,103E) Series Description."""

    def without_own(self) -> "Header":
        """What objects of a camera have in common, to remember what follows from it."""
        return self._replace(
            sop_uid=None,
            acquisition_time=None,
            study_uid=None,
            series_uid=None,
            frame_of_reference_uid=None,
            acquisition_date=None,
            counts_accumulated=None,
            pixel_data=None,
        )


@dataclass(frozen=True, slots=True)
class FrameView:
    """A frame whose view is known."""

    frame: int
    """1-based, as DICOM counts frames."""
    view: View
    evidence: EvidenceKind


@dataclass(frozen=True, slots=True)
class ScanObject:
    """A whole-body object: recognised as a bone scan, its pixels not yet read."""

    ref: ObjectRef
    header: Header
    frames: tuple[FrameView, ...]
    """At most one anterior and one posterior frame; empty where the views are not known."""
    defect: Verdict | None = None
    """What makes it useless, known from the header alone."""


@dataclass(frozen=True, slots=True)
class ExamView:
    """One view of an examination: a frame of an object."""

    scan: ScanObject
    frame: FrameView


@dataclass(frozen=True, slots=True)
class Examination:
    """One anterior and one posterior frame of one acquisition, or what there is of it."""

    exam_id: str
    """32 hexadecimal digits, a hash of study, SOP Instance UIDs and frame numbers."""
    scans: tuple[ScanObject, ...]
    """The one or two objects it is made of."""
    anterior: ExamView | None
    posterior: ExamView | None
    defect: Verdict | None = None
    """Why it fails, where that is known before its pixels are read."""


@dataclass(frozen=True, slots=True)
class SettledObject:
    """An object whose fate is known without an examination."""

    ref: ObjectRef
    header: Header | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ViewPixels:
    """One view as it was counted."""

    stored: NDArray[np.generic]
    """``(rows, columns)`` as in the file."""
    slope: float = 1.0
    """(0028,1053) Rescale Slope."""
    intercept: float = 0.0
    """(0028,1052) Rescale Intercept."""
    is_inverted: bool = False
    """MONOCHROME1: the largest value is the darkest."""

    @property
    def counts(self) -> NDArray[np.float32]:
        """``(rows, columns)``, rescaled, MONOCHROME1 inverted; worked out anew each time."""
        counts = self.stored.astype(np.float32)
        if (self.slope, self.intercept) != (1.0, 0.0):
            counts = counts * np.float32(self.slope) + np.float32(self.intercept)
        return counts.max() + counts.min() - counts if self.is_inverted else counts

    @property
    def values(self) -> NDArray[np.generic]:
        """The same values, as they are stored where that is the same: half the memory to walk through."""
        is_same = (self.slope, self.intercept, self.is_inverted) == (1.0, 0.0, False)
        return self.stored if is_same else self.counts


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures that warn and never turn an examination down."""

    counts_anterior: float
    """Sum of the pixels."""
    counts_posterior: float
    hotspot_ratio_anterior: float
    """Maximum over the 99th percentile of the non-zero pixels."""
    hotspot_ratio_posterior: float
    laterality_correlation: float
    """corr(ANT, mirrored POST) - corr(ANT, POST); below 0 a view may be stored mirrored."""
    saturated_pixels: int
    """Pixels at the largest value that the stored bits can hold."""
    flags: tuple[str, ...]
    """Names of `bsbatch.imaging.quality.Flag`."""
    pixel_xxh3: str
    """XXH3 of the two views' stored values, 128 bits as 32 hexadecimal digits; no protection against forgery."""


@dataclass(frozen=True, slots=True, eq=False)
class PinnedImage:
    """The image of an examination in memory of a backend, as `bsbatch.imaging.preprocess.compact` fills it."""

    counts: NDArray[np.uint16]
    """``(512, 512)``, anterior left: integers, or the bits of float16 in [0, 1]."""
    scales: NDArray[np.float32]
    """``(2, 2)``: for each view its minimum, and its maximum less that; 0 and 0 if it is float16 already."""


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What a backend gives for a batch."""

    probabilities: NDArray[np.float32]
    """``(N, 2)`` in [0, 1], column 1 metastasis."""
    cams: NDArray[np.float32] | None = None
    """``(N, 32, 32)``, anterior left: where the model finds metastasis (above 0) or its absence (below 0), in the
    unit that the model happens to have; None where nobody asked."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Where in the image the model finds the class that it predicts."""

    cells: NDArray[np.float32]
    """``(32, 32)`` in [0, 1], anterior left; the largest is 1, or all are 0."""
    strength: float
    """What the largest was before, 0 or more: comparable between examinations of one model."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """How far the body reaches in one view, in cells of a map: 32 rows, 16 columns."""

    top: float
    bottom: float
    midline: float
    """Column that halves it."""
    half_width: float
    """From the midline to the body's outermost column."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Where the body is in the image of an examination."""

    cells: NDArray[np.float32]
    """``(32, 32)`` in [0, 1]: how much of each cell of a map is body."""
    anterior: Silhouette
    posterior: Silhouette


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest value of a heat map in one view."""

    row: float
    """Of the view's own pixels, from 0: the middle of the map's cell."""
    column: float
    value: float
    """In (0, 1]; 1 in the view that holds the largest of both."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a heat map lies on the body; shares are of the sum of its values, in [0, 1], None where that is 0."""

    peak_anterior: Peak | None
    """None where the map has nothing in this view."""
    peak_posterior: Peak | None
    body: float | None
    pelvis: float | None
    periphery: float | None
    left: float | None
    """On the patient's left; the rest is on the right."""
    anterior: float | None
    """In the anterior view; the rest is in the posterior one."""
    warnings: tuple[str, ...]
    """Names of `bsbatch.imaging.gradcam.CamWarning`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an examination was predicted to be what it is."""

    heat: HeatMap
    where: Whereabouts
    views: tuple[ViewPixels, ViewPixels] | None = None
    """Anterior and posterior as they were counted; None where nobody will draw them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An examination ready for the model."""

    exam: Examination
    image: NDArray[np.float32] | PinnedImage
    """``(512, 512) float32`` in [0, 1], anterior left, posterior right; pinned if the backend lends memory."""
    quality: Quality
    body: Body | None = None
    """None where nobody asked for heat maps."""
    views: tuple[ViewPixels, ViewPixels] | None = None
    """Anterior and posterior as they were counted; None where nobody will draw them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An examination that will have no score."""

    exam: Examination
    verdict: Verdict
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A scored examination."""

    exam: Examination
    quality: Quality
    p_metastasis: float
    """In [0, 1]."""
    explanation: Explanation | None = None
    """For the class on whose side of the threshold it is; None where nobody asked."""


Outcome = Prediction | Failure


@dataclass(frozen=True, slots=True)
class Unit:
    """What is executed and committed as a whole."""

    exams: tuple[Examination, ...]
    settled: tuple[SettledObject, ...]


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """An executed unit: what its rows will say."""

    outcomes: tuple[Outcome, ...]
    settled: tuple[SettledObject, ...]
