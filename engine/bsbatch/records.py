"""Records that the stages of a run pass to one another. Those of every object are tuples, which are made faster."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.patients.record import Demographics, StudyAttributes
from bsbatch.reasons import Verdict
from bsbatch.tracers.record import UNKNOWN_TRACER, Drug, Tracer
from bsbatch.view_pixels import ViewPixels

Location = str | tuple[str | int, ...]
"""Path, key, or position in a container."""


class ObjectRef(NamedTuple):
    """One object of a source, not yet opened."""

    source: str
    """Path for rows: relative to the source, with forward slashes, valid Unicode; no two objects have the same."""
    location: Location
    """What the source opens it by; opaque to all others."""
    size: int | None
    """Bytes; None if nobody knows before it is read."""
    version: str
    """Opaque; equal versions and sizes mean equal content. Of a file its time of change, nanoseconds since 1970."""
    problem: Verdict | None = None
    """Set if the source could not list it."""


class View(StrEnum):
    """Direction from which the detector saw the patient."""

    ANTERIOR = "anterior"
    POSTERIOR = "posterior"
    LATERAL = "lateral"


class EvidenceKind(StrEnum):
    """Kinds of evidence for a view, strongest first (`bsbatch.dicom.views`)."""

    CODE = "code"
    MEANING = "meaning"
    PRIVATE = "private"
    VIEW_POSITION = "view_position"
    START_ANGLE = "start_angle"
    DESCRIPTION = "description"
    ASSUMED_ORDER = "assumed_order"


class Detector(NamedTuple):
    """One item of (0054,0022) Detector Information Sequence, PS3.3 C.8.4.11."""

    start_angle: float | None
    """(0054,0200) Start Angle, degrees; 0 is the patient's back."""
    view_codes: tuple[tuple[str, str], ...]
    """(Coding Scheme Designator, Code Value) of (0054,0220) View Code Sequence."""
    view_texts: tuple[str, ...]
    """Code Meaning and Code Value of the same items."""


EnergyRange = tuple[float, float]
"""Lower and upper limit, keV."""


@dataclass(frozen=True, slots=True)
class PixelData:
    """Position of (7FE0,0010) Pixel Data."""

    offset: int
    """Offset of the value, bytes; in the inflated data set if it was deflated."""
    length: int
    """Length of the value according to the header, bytes; -1 if encapsulated."""
    is_complete: bool
    """False if the file ends before the value does. Not known, and True, of a deflated data set."""


class Header(NamedTuple):
    """The part of a DICOM header that later stages use, under the standard's names.

    Only the view resolver reads texts; no row has them.
    """

    sop_uid: str | None
    acquisition_time: str | None
    """(0008,0032) Acquisition Time, else that of (0008,002A) Acquisition DateTime: ``HHMMSS[.ffffff]``."""
    acquisition_date: str | None
    """(0008,0022), else from Acquisition DateTime: ``YYYYMMDD``."""
    study_uid: str | None
    series_uid: str | None
    frame_of_reference_uid: str | None
    patient_id: str | None
    patient_issuer: str | None
    """(0010,0020) Patient ID and (0010,0021) its issuer; keyed hashes as soon as the intake has read the header."""
    acquisition_datetime: str | None
    content_date: str | None
    """(0008,0023), read only without a date of acquisition; (0008,002A) may contradict the others."""
    patient_name: str | None
    """(0010,0010) Patient's Name, read only without a Patient ID; a keyed hash likewise. It reaches no row."""
    counts_accumulated: int | None
    drugs: tuple[Drug, ...]
    """Items of Radiopharmaceutical Information Sequence; without one, the retired attributes at the root."""
    study: StudyAttributes | None
    pixel_data: PixelData | None
    sop_class: str | None
    """From here on, objects of one camera have the same values, see `Header.shared`."""
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
    """Compressed with loss, by (0028,2110) Lossy Image Compression or by the transfer syntax."""
    scan_length: float | None
    """(0018,1302) Scan Length, mm."""
    detector_vector: tuple[int, ...]
    energy_window_vector: tuple[int, ...]
    energy_windows: tuple[tuple[EnergyRange | None, ...], ...]
    """Ranges of each energy window; None is a range that is given and cannot be read."""
    detectors: tuple[Detector, ...]
    view_texts: tuple[str, ...]
    """Code Meaning and Code Value of a View Code Sequence at the root of the data set."""
    private_labels: tuple[tuple[str, ...], ...]
    """Values of GEMS_GENIE_1 (0011,1012) and (0011,1030); some writers give one for each frame."""
    view_position: tuple[str, ...]
    image_ids: tuple[str, ...]
    """(0018,5101) View Position, and (0054,0400) Image ID."""
    descriptions: tuple[str, ...]
    """(0008,103E) Series Description; the objects of a series share it."""
    whole_body_technique: str | None
    """(0018,1301) Whole Body Technique, PS3.3 C.8.4.9.1.5."""
    high_bit: int
    padding: tuple[int, ...]
    """(0028,0120) Pixel Padding Value and, if present, (0028,0121) Pixel Padding Range Limit, as unsigned 16 bits."""
    has_modality_lut: bool
    unfit: tuple[str, ...] = ()
    """Keywords of values that do not fit their attributes and were dropped (`bsbatch.dicom.headers.validity`)."""
    is_damaged: bool = False
    """True if one of them held parts of other elements, or identifies the object: it must not be used."""

    def shared(self) -> tuple[object, ...]:
        """Return the values that the objects of one camera share, as a key for a cache."""
        return self[FIRST_SHARED:]

    @classmethod
    def of_last(cls, values: tuple[object, ...]) -> "Header":
        """Return a header of its last values alone, such as `shared` ones."""
        return cls._make((*(() if name == "drugs" else None for name in cls._fields[: -len(values)]), *values))

    @classmethod
    def replacer(cls, *names: str) -> "Callable[[Header, tuple[object, ...]], Header]":
        """Return a function that replaces fields by values, in half of the time that `_replace` takes."""
        size = len(cls._fields)
        pick = itemgetter(*(size + names.index(name) if name in names else at for at, name in enumerate(cls._fields)))
        return lambda header, values: cls._make(pick(header + values))


FIRST_SHARED = Header._fields.index("sop_class")
"""Position of the first field of `Header.shared`."""


class FrameView(NamedTuple):
    """A frame and its view."""

    frame: int
    """1-based, as DICOM counts frames."""
    view: View
    evidence: EvidenceKind


@dataclass(frozen=True, slots=True)
class ScanLabel:
    """Texts of an object that distinguish the scans of a study, without its view."""

    words: int = 0
    """Digest of the words."""
    phases: frozenset[str] = frozenset()
    """Phases that they name: ``4 h``, ``20 min``, ``early``, ``late``."""


class ScanObject(NamedTuple):
    """An object recognised as a whole-body bone scan; its pixels are not read yet."""

    ref: ObjectRef
    header: Header
    frames: tuple[FrameView, ...]
    """At most one anterior and one posterior frame; empty if the views are unknown."""
    defect: Verdict | None = None
    """Set if the header shows that the object cannot be used."""
    label: ScanLabel = ScanLabel()
    tracer: Tracer = UNKNOWN_TRACER
    demographics: Demographics = Demographics()
    is_wanted: bool | None = True
    """False if it was not asked for; None if it is excluded, and its whole study with it."""


class ExamView(NamedTuple):
    """One view of an examination: a frame of an object."""

    scan: ScanObject
    frame: FrameView


class Examination(NamedTuple):
    """An anterior and a posterior frame of one acquisition; one of them may be missing."""

    exam_id: str
    """32 hexadecimal digits, a hash of study, SOP Instance UIDs and frame numbers."""
    scans: tuple[ScanObject, ...]
    """The one or two objects with its frames; more if nothing separates the objects of several acquisitions."""
    anterior: ExamView | None
    posterior: ExamView | None
    defect: Verdict | None = None
    """Set if it fails before its pixels are read."""


class SettledObject(NamedTuple):
    """An object with a verdict of its own, outside any examination."""

    ref: ObjectRef
    header: Header | None
    verdict: Verdict


class Quality(NamedTuple):
    """Quality metrics; they raise flags and never exclude an examination."""

    counts_anterior: float
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
    """XXH3-128 of the two views' stored values, 32 hexadecimal digits; not cryptographic."""


@dataclass(frozen=True, slots=True, eq=False)
class PinnedImage:
    """The image of an examination in memory of a backend, filled by `bsbatch.imaging.preprocess.compact`."""

    counts: NDArray[np.uint16]
    """``(512, 512)``, anterior left: integers, or the bits of float16 in [0, 1]."""
    scales: NDArray[np.float32]
    """``(2, 2)``: for each view its minimum, and its maximum less that; 0 and 0 if it is float16 already."""
    address: int = 0
    onwards: NDArray[np.uint16] | None = None
    """Of images that were pinned together: address of the counts, and these with those of all images behind them."""


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """Output of a backend for a batch; the names of its fields are those of `bsbatch.geometry.OUTPUT_SHAPES`."""

    probabilities: NDArray[np.float32]
    """``(N, 2)`` in [0, 1], column 1 metastasis."""
    distances: NDArray[np.float32] | None = None
    """``(N,)`` squared Mahalanobis distances from the training data; None if the model has no statistics of them."""
    cams: NDArray[np.float32] | None = None
    """``(N, 32, 32)``, anterior left: evidence of metastasis (above 0) or its absence (below 0); None without maps."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Evidence for the predicted class at each position of the image."""

    cells: NDArray[np.float32]
    """``(32, 32)`` in [0, 1], anterior left; the maximum is 1 unless all are 0."""
    strength: float
    """Maximum before scaling, at least 0; comparable between examinations of one model."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """Extent of the body in one view, in cells of a heat map: 32 rows, 16 columns."""

    top: float
    bottom: float
    midline: float
    """Column that halves the body."""
    half_width: float
    """Distance of the midline from the outermost column of the body."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Position of the body in the image of an examination."""

    cells: NDArray[np.float32]
    """``(32, 32)`` in [0, 1]: share of each heat map cell that is body."""
    anterior: Silhouette
    posterior: Silhouette


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest value of a heat map in one view."""

    row: float
    """In pixels of the stored view, from 0: centre of the heat map cell."""
    column: float
    value: float
    """In (0, 1]; 1 in the view with the larger peak."""


@dataclass(frozen=True, slots=True)
class MapLocation:
    """Location of a heat map on the body; shares are of the sum of its values, in [0, 1], None if the sum is 0."""

    peak_anterior: Peak | None
    peak_posterior: Peak | None
    body: float | None
    pelvis: float | None
    periphery: float | None
    left: float | None
    anterior: float | None
    warnings: tuple[str, ...]
    """Names of `bsbatch.imaging.gradcam.CamWarning`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The heat map of a prediction, with its location."""

    heat: HeatMap
    location: MapLocation
    views: tuple[ViewPixels, ViewPixels] | None = None
    """Anterior and posterior; None if no overlay is drawn."""


class PreparedExam(NamedTuple):
    """An examination with the input of the model; its body only with heat maps, its views only for overlays."""

    exam: Examination
    image: NDArray[np.float32] | NDArray[np.float16] | PinnedImage
    """``(512, 512)`` in [0, 1], anterior left, posterior right; float16 or pinned where the backend takes that."""
    quality: Quality
    body: Body | None = None
    views: tuple[ViewPixels, ViewPixels] | None = None


class Failure(NamedTuple):
    """An examination that gets no score."""

    exam: Examination
    verdict: Verdict
    quality: Quality | None = None


class Prediction(NamedTuple):
    """A scored examination: its score in [0, 1], and ``ln(p / (1 - p))``, which is not rounded to 1."""

    exam: Examination
    quality: Quality
    p_metastasis: float
    explanation: Explanation | None = None
    """For the predicted class; None if the examination gets no heat map."""
    logit: float | None = None
    distance: float | None = None


Outcome = Prediction | Failure


@dataclass(frozen=True, slots=True)
class Unit:
    """Examinations and objects that are executed and committed together."""

    exams: tuple[Examination, ...]
    settled: tuple[SettledObject, ...]


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """The results of an executed unit, from which its rows are made."""

    outcomes: tuple[Outcome, ...]
    settled: tuple[SettledObject, ...]
