"""Settings of a run, frozen and checked once. Light: the command line imports it."""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

from bsbatch.errors import UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class BackendName(StrEnum):
    """Inference engines."""

    AUTO = "auto"
    """The fastest that works on this machine."""
    TENSORRT = "tensorrt"
    """TensorRT or TensorRT-RTX on NVIDIA GPUs, in float16."""
    ONNXRUNTIME_CUDA = "onnxruntime:cuda"
    """ONNX Runtime on one NVIDIA GPU, in float16."""
    ONNXRUNTIME_TENSORRT = "onnxruntime:tensorrt"
    """The same with ONNX Runtime's TensorRT provider."""
    WINOGRAD = "winograd"
    """Compiled Winograd convolutions of bsbatch on the CPU, with ONNX Runtime for the head."""
    MNN = "mnn"
    """MNN on the CPU: Winograd convolutions, in worker processes."""
    ONNXRUNTIME = "onnxruntime"
    """ONNX Runtime on the CPU."""
    FAKE = "fake"
    """No model: a score from the mean of the image, for tests and rehearsals."""


OFFERED_BACKENDS = tuple(name for name in BackendName if name is not BackendName.FAKE)
"""All but the one without a model."""


class CamMode(StrEnum):
    """Examinations that get a heat map (Grad-CAM)."""

    NONE = "none"
    """None; no heat map is computed."""
    POSITIVE = "positive"
    """Those predicted positive."""
    ALL = "all"
    """All, for their predicted class."""


class CamEngine(StrEnum):
    """Ways to compute heat maps."""

    FUSED = "fused"
    """The backend, as a second output of the graph: the head's gradient in closed form."""
    KERAS = "keras"
    """TensorFlow's gradient tape on ``model.keras`` of the model directory, for any head; slow."""


class OverlayFormat(StrEnum):
    """File formats of heat maps drawn over the scans."""

    NONE = "none"
    """No drawings; the tables have the heat maps."""
    PNG = "png"
    """Lossless, about 0.7 MB for two views of 1024 x 256."""
    WEBP = "webp"
    """Lossy, a sixth of that size; takes a third longer to write."""


class OverlayStyle(StrEnum):
    """Looks of a heat map over the scan."""

    CONTOURS = "contours"
    """Lines around 30 and 60 % of its maximum; the scan stays visible."""
    TRANSLUCENT = "translucent"
    """Colours, the stronger the more opaque."""


class TracerRule(StrEnum):
    """Tracers of the scans that are scored."""

    BONE = "bone"
    """Tc-99m, if the header names a radionuclide."""
    ANY = "any"
    """All; other tracers than those of bone scans are flagged."""


def is_url(archive: Path | str) -> bool:
    """Return True if the address of an archive is no path: ``s3://bucket/prefix``."""
    return isinstance(archive, str) and _SCHEME.match(archive) is not None


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules for usable examinations; part of the configuration hash."""

    assume_frame_order: bool = False
    """Take the first of two unlabelled frames as the anterior one; the row records this."""
    max_pixels: int = 1 << 24
    """Largest rows x columns x frames of an object that is read."""
    tracer: TracerRule = TracerRule.BONE
    """Scans of other radionuclides fail, or are scored with a flag."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.max_pixels < 1:
            raise UsageError("--max-pixels must be at least 1")


@dataclass(frozen=True, slots=True)
class StudyChoice:
    """The studies that are scored; without a value all. Part of the configuration hash if it has one."""

    since: date | None = None
    """First date of a study."""
    until: date | None = None
    """Last date of a study."""
    manufacturer: str | None = None
    """Part of (0008,0070) Manufacturer, in any case."""
    accessions: Path | None = None
    """File with Accession Numbers, one a line."""
    exclude: Path | None = None
    """File with Accession Numbers or Study Instance UIDs to leave out, one a line."""
    worklist: Path | None = None
    """File of ``bsbatch select`` or ``bsbatch worklist``, or Study Instance UIDs, one a line."""

    def __post_init__(self) -> None:
        """Refuse values that choose nothing."""
        if self.since and self.until and self.since > self.until:
            raise UsageError("--since is later than --until")
        if self.manufacturer is not None and not self.manufacturer.strip():
            raise UsageError("--manufacturer needs a text")


@dataclass(frozen=True, slots=True)
class Effort:
    """Use of the machine; changes no result. None lets bsbatch choose for the processors and memory it may use."""

    threads: int | None = None
    """Threads that preprocess and infer."""
    batch_size: int | None = None
    """Examinations in one call of the backend."""
    unit_size: int | None = None
    """Examinations in one commit, at most 256; by default about a minute's work."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("threads", "batch_size", "unit_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1")


class ExecutorName(StrEnum):
    """Places where units are executed."""

    LOCAL = "local"
    """This process, with all GPUs of this machine."""
    RAY = "ray"
    """Workers on a Ray cluster that runs already."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Workers on other machines; changes no result."""

    address: str | None = None
    """Host and port of the head; None for the environment's, or the cluster of this machine."""
    workers: int | None = None
    """Workers to start; None for as many as fit, while the cluster grows and shrinks."""
    worker_cpus: float = 1
    """Processors of a worker, and its threads."""
    worker_gpus: float = 0
    """GPUs of a worker."""
    patience: float = 600
    """Seconds without any worker, or without a worker's answer, that are borne."""

    @property
    def threads(self) -> int:
        """Threads of a worker, if no number is named: one for each of its processors."""
        return max(1, int(self.worker_cpus))

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.workers is not None and self.workers < 1:
            raise UsageError("--workers must be at least 1, or auto")
        if not (self.worker_cpus >= 0 and self.worker_gpus >= 0 and self.worker_cpus + self.worker_gpus > 0):
            raise UsageError("--worker-cpus and --worker-gpus must not be negative, and one of them above 0")
        if not self.patience > 0:
            raise UsageError("--patience must be above 0 seconds")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of ``bsbatch run``."""

    archive: Path | str
    """Address of the archive: a folder with DICOM files, whose subfolders are searched, too, or a URL."""
    out: Path | None = None
    """Folder for the two tables; None with ``dry_run``."""
    model: Path | None = None
    """Model directory; None with ``dry_run`` and with the fake backend."""
    backend: BackendName = BackendName.AUTO
    threshold: float | None = None
    """Smallest ``p_metastasis`` that is predicted positive, in [0, 1]; None for the model's threshold."""
    selection: Selection = Selection()
    studies: StudyChoice = StudyChoice()
    effort: Effort = Effort()
    cam: CamMode = CamMode.NONE
    """Examinations that get a heat map; part of the configuration hash unless ``none``."""
    cam_engine: CamEngine = CamEngine.FUSED
    """Way to compute heat maps; part of the configuration hash if ``keras``."""
    overlay_format: OverlayFormat = OverlayFormat.PNG
    """Format of overlays; changes no row."""
    overlay_style: OverlayStyle = OverlayStyle.CONTOURS
    """Look of overlays; changes no row."""
    max_error_rate: float = 0.05
    """Share of failed examinations above which the exit code is 3, in [0, 1]."""
    limit: int | None = None
    """Largest number of examinations to process."""
    keyfile: Path | None = None
    """File with the key of pseudonyms; None keeps UIDs and paths as they are."""
    is_identified: bool = False
    """Write Patient ID, Accession Number and more into the results; part of the configuration hash if True."""
    fresh: bool = False
    """Delete the tables of earlier runs in ``out`` first."""
    archive_moved: bool = False
    """Go on with the tables of an archive that has had another path."""
    dry_run: bool = False
    """Plan only, without a model or tables."""
    cluster: Cluster | None = None
    """Workers on a cluster; None for this process."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and combinations that cannot run."""
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise UsageError("--threshold must be in [0, 1]")
        if not 0.0 <= self.max_error_rate <= 1.0:
            raise UsageError("--max-error-rate must be in [0, 1]")
        if self.limit is not None and self.limit < 1:
            raise UsageError("--limit must be at least 1")
        if self.cam_engine is CamEngine.KERAS and self.cam is CamMode.NONE:
            raise UsageError("--cam-engine keras makes heat maps: choose which with --cam positive or --cam all")
        if self.is_identified and self.keyfile is not None:
            raise UsageError("--identify writes what --pseudonymise hides: choose one of them")
        if self.cluster is not None and self.cluster.worker_gpus and self.backend is BackendName.AUTO:
            raise UsageError("--backend auto measures this machine: name the backend of the workers' GPUs")
        self._check_parts()

    @property
    def archive_path(self) -> Path | None:
        """Path of the archive; None if it is a URL."""
        return None if is_url(self.archive) else Path(self.archive)

    @property
    def executor(self) -> ExecutorName:
        """The place where units are executed."""
        return ExecutorName.LOCAL if self.cluster is None else ExecutorName.RAY

    @property
    def has_overlays(self) -> bool:
        """True if overlays are drawn."""
        return self.cam is not CamMode.NONE and self.overlay_format is not OverlayFormat.NONE

    def _check_parts(self) -> None:
        if self.dry_run:
            return
        if self.out is None:
            raise UsageError("name a folder for the results: --out FOLDER (or --dry-run to only plan)")
        if self.model is None and self.backend is not BackendName.FAKE:
            raise UsageError("name a model: --model FOLDER (bsbatch-build train and export make one), or --model demo")
