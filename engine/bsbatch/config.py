"""Settings of a run, frozen and checked once. Light: the command line imports it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bsbatch.errors import UsageError


class BackendName(StrEnum):
    """Which engine infers."""

    AUTO = "auto"
    """The fastest that works here."""
    TENSORRT = "tensorrt"
    """TensorRT or TensorRT-RTX on NVIDIA GPUs, in float16."""
    ONNXRUNTIME_CUDA = "onnxruntime:cuda"
    """ONNX Runtime on one NVIDIA GPU, in float16."""
    ONNXRUNTIME_TENSORRT = "onnxruntime:tensorrt"
    """The same by ONNX Runtime's TensorRT provider."""
    WINOGRAD = "winograd"
    """Compiled convolutions of our own on the CPU, Winograd's, ONNX Runtime for the head."""
    MNN = "mnn"
    """MNN on the CPU: Winograd convolutions, in processes of its own."""
    ONNXRUNTIME = "onnxruntime"
    """ONNX Runtime on the CPU."""
    FAKE = "fake"
    """No model: a score from the mean of the image, for tests and rehearsals."""


class CamMode(StrEnum):
    """Which examinations get a heat map (Grad-CAM)."""

    NONE = "none"
    """None: nothing is computed for it."""
    POSITIVE = "positive"
    """Those predicted positive."""
    ALL = "all"
    """Every one, for the class that was predicted."""


class CamEngine(StrEnum):
    """What computes heat maps."""

    FUSED = "fused"
    """The backend, as a second output of the graph: the head's gradient in closed form."""
    KERAS = "keras"
    """TensorFlow's gradient tape over the directory's ``model.keras``, for any head; slow."""


class OverlayFormat(StrEnum):
    """How heat maps are drawn over the scans."""

    NONE = "none"
    """Not at all; the tables have the maps."""
    PNG = "png"
    """Lossless, about 0.7 MB for two views of 1024 x 256."""
    WEBP = "webp"
    """Lossy, a sixth of that; takes a third longer to write."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What counts as a usable examination; part of the configuration hash."""

    assume_frame_order: bool = False
    """Take the first of two unlabelled frames for the anterior one; the row says so."""
    max_pixels: int = 1 << 24
    """Largest rows x columns x frames that is ever allocated."""

    def __post_init__(self) -> None:
        """Refuse values no run could use."""
        if self.max_pixels < 1:
            raise UsageError("--max-pixels must be at least 1")


@dataclass(frozen=True, slots=True)
class Effort:
    """How a run uses the machine; changes no result. None lets bsbatch choose from what the process may use."""

    threads: int | None = None
    """Threads that preprocess and infer."""
    batch_size: int | None = None
    """Examinations in one call of the backend."""
    unit_size: int | None = None
    """Examinations in one commit, at most 256; by default what takes about a minute."""

    def __post_init__(self) -> None:
        """Refuse values no run could use."""
        for name in ("threads", "batch_size", "unit_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything ``bsbatch run`` was told."""

    archive: Path
    """Folder with DICOM files, searched to the bottom."""
    out: Path | None = None
    """Folder for the two tables; None with ``dry_run``."""
    model: Path | None = None
    """Model directory; None with ``dry_run`` and with the fake backend."""
    backend: BackendName = BackendName.AUTO
    threshold: float | None = None
    """``p_metastasis`` from which on an examination is predicted positive, in [0, 1]; None takes the model's."""
    selection: Selection = Selection()
    effort: Effort = Effort()
    cam: CamMode = CamMode.NONE
    """Which examinations get a heat map; part of the configuration hash unless ``none``."""
    cam_engine: CamEngine = CamEngine.FUSED
    """What computes it; part of the configuration hash where it is ``keras``."""
    overlay_format: OverlayFormat = OverlayFormat.PNG
    """How their maps are drawn; changes no row."""
    max_error_rate: float = 0.05
    """Share of failed examinations beyond which the exit code is 3, in [0, 1]."""
    limit: int | None = None
    """Stop after so many examinations."""
    keyfile: Path | None = None
    """Key for pseudonyms; None keeps UIDs and paths as they are."""
    fresh: bool = False
    """Delete the tables of earlier runs in ``out`` first."""
    dry_run: bool = False
    """Plan only: no model, no table."""

    def __post_init__(self) -> None:
        """Refuse values no run could use."""
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise UsageError("--threshold must be in [0, 1]")
        if not 0.0 <= self.max_error_rate <= 1.0:
            raise UsageError("--max-error-rate must be in [0, 1]")
        if self.limit is not None and self.limit < 1:
            raise UsageError("--limit must be at least 1")
        if self.cam_engine is CamEngine.KERAS and self.cam is CamMode.NONE:
            raise UsageError("--cam-engine keras makes heat maps: say which with --cam positive or --cam all")
        self._check_parts()

    @property
    def has_overlays(self) -> bool:
        """Whether anything is drawn."""
        return self.cam is not CamMode.NONE and self.overlay_format is not OverlayFormat.NONE

    def _check_parts(self) -> None:
        if self.dry_run:
            return
        if self.out is None:
            raise UsageError("say where the results go: --out FOLDER (or --dry-run to only plan)")
        if self.model is None and self.backend is not BackendName.FAKE:
            raise UsageError(
                "say which model to use: --model FOLDER (bsbatch-build train and export make one), or --model demo"
            )
