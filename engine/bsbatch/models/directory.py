"""A model directory: ``model.onnx`` and ``manifest.json``.

The manifest names the graph's inputs and outputs, the preprocessing version of its training and the SHA-256 of every
file. A model that was changed, or that belongs to another preprocessing, is thus refused before a run starts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from types import UnionType
from typing import Any, Self

from bsbatch.errors import ModelError
from bsbatch.host.files import open_plain, read_plain
from bsbatch.models.onnx.soundness import find_fault

MANIFEST = "manifest.json"
GRAPH = "model.onnx"
KERAS = "model.keras"
"""The Keras model from which the graph was exported; present only after `bsbatch-build export --keep-keras`."""
HALF_GRAPH = "model.fp16.onnx"
"""Float16 graph for GPUs, derived by ``bsbatch-build compile``."""
MANIFEST_VERSION = 1
DISTANCE = "distance"
"""Name that every export gives to the output of distances."""
DEMO = "demo"
"""Name of the model that comes with bsbatch: trained on synthetic phantoms, not for clinical use."""
_BUNDLED = Path(__file__).parent
_LARGEST_MANIFEST = 1 << 24
LABELS = ("no_metastasis", "metastasis")
"""Classes by column of the output; the second column is ``p_metastasis``."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Manifest entry of a file that was made from the graph and can be made again, see `bsbatch.models.derived`."""

    sha256: str
    """SHA-256 of the file, hexadecimal."""
    source: str
    """SHA-256 of the graph from which the file was made, hexadecimal."""
    maker: str
    """Package and version that made the file."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of ``manifest.json``."""

    files: Mapping[str, str]
    """File name to SHA-256 (hexadecimal) of every file of the model."""
    preprocessing_version: int
    """`bsbatch.imaging.preprocess.VERSION` with which the model was trained."""
    name: str
    """Short name for display, for example ``vgg16-random``."""
    input_name: str = "image"
    """Name of the graph's input, ``(N, 1, 512, 512) float32 in [0, 1]``."""
    output_name: str = "probabilities"
    """Name of the graph's output, ``(N, 2) float32``; each row sums to 1."""
    cam_name: str | None = None
    """Name of the graph's output of heat maps, ``(N, 32, 32) float32``: evidence for metastasis (above 0) or against it
    (below 0). None if the graph has no such output. Nodes and weights of this output alone are named
    ``{cam_name}/...``."""
    distance_name: str | None = None
    """Name of the graph's output of distances from the training data, ``(N,) float32``: the squared Mahalanobis
    distance of the features that the head reads. None if the graph has no such output."""
    distance_limit: float | None = None
    """Distance beyond which an examination is unlike the training data; None without `distance_name`."""
    labels: tuple[str, ...] = LABELS
    """Classes by column of the output."""
    threshold: float = 0.5
    """Smallest ``p_metastasis`` of a positive prediction, in [0, 1]."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that made the model."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Summary of the training."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Slope and intercept that were folded into the last layer (Platt), and the data; empty if not calibrated."""
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the distance: the data, their number, the shrinkage of the covariance; empty without a distance."""
    derived: Mapping[str, Derived] = field(default_factory=dict)
    """File name to manifest entry of files made from the graph; they are no part of the model."""
    version: int = MANIFEST_VERSION

    def __post_init__(self) -> None:
        """Raise `ModelError` for values that no run could use."""
        if self.version != MANIFEST_VERSION:
            raise ModelError(
                f"manifest version {self.version} is not {MANIFEST_VERSION}: export the model with this bsbatch-build"
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise ModelError(f"threshold {self.threshold} is outside [0, 1]")
        self._check_distance()
        if self.labels != LABELS:
            raise ModelError(f"the model's labels are {self.labels}, not {LABELS}: export it again")
        if GRAPH not in self.files:
            raise ModelError(f"the manifest lists no {GRAPH}: export the model again")
        for name in (*self.files, *self.derived):
            if name in {"", ".", ".."} or Path(name).name != name or "\0" in name:
                raise ModelError(f"the manifest lists {name!r}, which is no name of a file in its folder")

    def _check_distance(self) -> None:
        limit = self.distance_limit
        if (self.distance_name is None) is not (limit is None):
            raise ModelError("the manifest has a distance without a limit, or a limit alone: export the model again")
        if limit is not None and not 0.0 < limit < inf:
            raise ModelError(f"distance limit {limit} is no positive number: export the model again")

    @property
    def is_calibrated(self) -> bool:
        """True if ``p_metastasis`` is a probability, and not only a score."""
        return bool(self.calibration)

    def outputs(self, *, with_cams: bool) -> dict[str, str]:
        """Outputs of the graph to request: field of `bsbatch.records.Inference` -> name in the graph.

        Raises
        ------
        ModelError
            The graph has no heat map.
        """
        outputs = {"probabilities": self.output_name}
        if self.distance_name is not None:
            outputs["distances"] = self.distance_name
        if with_cams:
            outputs["cams"] = self._require_cam()
        return outputs

    @property
    def all_outputs(self) -> dict[str, str]:
        """All outputs of the graph, see `outputs`."""
        return self.outputs(with_cams=self.cam_name is not None)

    def _require_cam(self) -> str:
        if self.cam_name is None:
            raise ModelError(
                f"the model {self.name} has no heat map: export it again with this bsbatch-build (its head must be "
                "dense layers behind a global average), or with --keep-keras and run with --cam-engine keras, or run "
                "with --cam none"
            )
        return self.cam_name


@dataclass(frozen=True, slots=True)
class Model:
    """A model directory whose files match its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def graph(self) -> Path:
        """Path of the ONNX file."""
        return self.folder / GRAPH

    @property
    def keras(self) -> Path:
        """Path of the Keras model.

        Raises
        ------
        ModelError
            The directory has no Keras model.
        """
        if KERAS not in self.manifest.files:
            raise ModelError(
                f"the model {self.manifest.name} has no {KERAS}: export it again with bsbatch-build export "
                "--keep-keras, or run with --cam-engine fused"
            )
        return self.folder / KERAS

    @property
    def is_bundled(self) -> bool:
        """True if the model is part of the package, into which nothing is written."""
        return self.folder.parent == _BUNDLED

    @property
    def model_id(self) -> str:
        """The first 16 hexadecimal digits of the graph's SHA-256."""
        return self.manifest.files[GRAPH][:16]

    @classmethod
    def load(cls, folder: Path, preprocessing_version: int) -> Self:
        """Read and check a model directory.

        Parameters
        ----------
        folder
            Folder with ``manifest.json``, or ``demo``, see `resolve_folder`.
        preprocessing_version
            The preprocessing version of this program.

        Raises
        ------
        ModelError
            A file is missing or differs from its SHA-256, the model belongs to another preprocessing version, or its
            graph has a cycle or other inputs and outputs than the manifest names.
        """
        folder = resolve_folder(folder)
        manifest = read_manifest(folder)
        for name, expected in manifest.files.items():
            _check_file(folder / name, expected)
        if manifest.preprocessing_version != preprocessing_version:
            raise ModelError(
                f"the model was made for preprocessing version {manifest.preprocessing_version}, this bsbatch has "
                f"version {preprocessing_version}: export the model again, or use the bsbatch that made it"
            )
        _check_graph(folder / GRAPH, manifest)
        return cls(folder, manifest)


def require_model(model: Model | None, option: str) -> Model:
    """Return the model.

    Parameters
    ----------
    model
        None if no model directory was given.
    option
        The option that needs it, for example ``--backend mnn``.

    Raises
    ------
    ModelError
        There is no model.
    """
    if model is None:
        raise ModelError(f"{option} needs a model: --model FOLDER")
    return model


def resolve_folder(folder: Path) -> Path:
    """Return the folder itself, or the bundled model's folder for ``demo`` if no folder ``demo`` holds a model.

    ``bsbatch demo --out demo`` creates a folder of that name for its results.
    """
    return _BUNDLED / DEMO if folder == Path(DEMO) and not (folder / MANIFEST).exists() else folder


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``. It is written last, after all other files of the directory."""
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")


def manifest_text(manifest: Manifest) -> str:
    """Return the manifest as the JSON text of ``manifest.json``."""
    return json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with open_plain(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json`` and no other file.

    Raises
    ------
    ModelError
        The file is missing, not readable or not a manifest of this version.
    """
    path = folder / MANIFEST
    try:
        fields = json.loads(read_plain(path, _LARGEST_MANIFEST))
        _check_types(fields)
        files = {str(name): str(digest) for name, digest in fields["files"].items()}
        derived = {str(name): Derived(**entry) for name, entry in fields.get("derived", {}).items()}
        return Manifest(**{**fields, "files": files, "labels": tuple(fields["labels"]), "derived": derived})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"{_describe(folder)}: name a folder that bsbatch-build export wrote, or --model {DEMO} for the one that "
            "comes with bsbatch"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a manifest of this version: export the model again with bsbatch-build export"
        ) from error


def _describe(folder: Path) -> str:
    """Say why a path is no model directory."""
    if not folder.exists():
        return f"there is no model {folder}"
    return f"{folder} is a file, not a model directory" if folder.is_file() else f"{folder} has no {MANIFEST}"


def _check_types(fields: Mapping[str, object]) -> None:
    """Raise `TypeError` for a value of another type than its field of `Manifest`, as far as nothing else notices it."""
    texts, tables = ("name", "input_name", "output_name"), ("files", "tools", "training", "calibration", "statistics")
    kinds: dict[str, type | UnionType] = {**dict.fromkeys(texts, str), **dict.fromkeys(tables, dict)}
    kinds |= {"cam_name": str | None, "distance_name": str | None, "preprocessing_version": int}
    kinds |= {"distance_limit": float | int | None}
    for name, kind in kinds.items():
        if name in fields and not isinstance(fields[name], kind):
            raise TypeError(name)


def _check_graph(path: Path, manifest: Manifest) -> None:
    try:
        fault = find_fault(path.read_bytes(), manifest.input_name, manifest.all_outputs.values())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if fault is not None:
        raise ModelError(f"the graph {path} cannot be used, {fault}: export the model again")


def _check_file(path: Path, expected: str) -> None:
    try:
        actual = sha256_of(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} has no {path.name}: export the model again with bsbatch-build export"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if actual != expected:
        raise ModelError(
            f"{path} is not the file its manifest describes (SHA-256 differs): copy or export the model again"
        )
