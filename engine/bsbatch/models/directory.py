"""A model directory: ``model.onnx`` and ``manifest.json``.

The manifest says what the graph eats and gives, which preprocessing it was trained behind, and the SHA-256 of every
file, so that a model that was changed, or that belongs to another preprocessing, is refused before a run starts.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bsbatch.errors import ModelError

MANIFEST = "manifest.json"
GRAPH = "model.onnx"
KERAS = "model.keras"
"""The Keras model that the graph was made of; only where `bsbatch-build export --keep-keras` left it."""
HALF_GRAPH = "model.fp16.onnx"
"""What ``bsbatch-build compile`` derives of it, for GPUs."""
MANIFEST_VERSION = 1
DEMO = "demo"
"""Name of the model that comes with bsbatch: trained on synthetic phantoms, not for clinical use."""
_BUNDLED = Path(__file__).parent
LABELS = ("no_metastasis", "metastasis")
"""What the columns of the output stand for; the engine takes the second for ``p_metastasis``."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A file that was made of the graph and can be made again, see `bsbatch.models.derived`."""

    sha256: str
    """Of the file, hexadecimal."""
    source: str
    """SHA-256 of the graph that it was made of."""
    maker: str
    """Package and version that made it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says of a model."""

    files: Mapping[str, str]
    """File name to SHA-256 (hexadecimal) of every file of the model."""
    preprocessing_version: int
    """`bsbatch.imaging.preprocess.VERSION` that the model was trained behind."""
    name: str
    """Short name for people, for example ``vgg16-random``."""
    input_name: str = "image"
    """The graph's input, ``(N, 1, 512, 512) float32 in [0, 1]``."""
    output_name: str = "probabilities"
    """The graph's output, ``(N, 2) float32``, each row adding up to 1."""
    cam_name: str | None = None
    """The graph's second output, ``(N, 32, 32) float32``: where it finds metastasis (above 0) or its absence (below 0);
    None where there is none. Nodes and weights that serve it alone are called ``{cam_name}/...``."""
    labels: tuple[str, ...] = LABELS
    """What the columns of the output stand for."""
    threshold: float = 0.5
    """``p_metastasis`` from which on an examination is predicted positive, in [0, 1]."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that made the model."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Summary of how the weights came about."""
    derived: Mapping[str, Derived] = field(default_factory=dict)
    """File name to what was made of the graph on some machine; no part of the model, which is the same without."""
    version: int = MANIFEST_VERSION

    def __post_init__(self) -> None:
        """Refuse values no run could use."""
        if self.version != MANIFEST_VERSION:
            raise ModelError(
                f"manifest version {self.version} is not {MANIFEST_VERSION}: export the model with this bsbatch-build"
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise ModelError(f"threshold {self.threshold} is outside [0, 1]")
        if self.labels != LABELS:
            raise ModelError(f"the model's labels are {self.labels}, not {LABELS}: export it again")
        if GRAPH not in self.files:
            raise ModelError(f"the manifest lists no {GRAPH}: export the model again")

    def outputs(self, *, with_cams: bool) -> tuple[str, ...]:
        """The outputs to ask the graph for: probabilities, then the map.

        Raises
        ------
        ModelError
            It gives no map.
        """
        if not with_cams:
            return (self.output_name,)
        if self.cam_name is None:
            raise ModelError(
                f"the model {self.name} gives no map: export it again with this bsbatch-build (its head must be dense "
                "layers behind a global average), or with --keep-keras and run with --cam-engine keras, or run with "
                "--cam none"
            )
        return self.output_name, self.cam_name


@dataclass(frozen=True, slots=True)
class Model:
    """A model directory whose files are what its manifest says."""

    folder: Path
    manifest: Manifest

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH

    @property
    def keras(self) -> Path:
        """The Keras model.

        Raises
        ------
        ModelError
            There is none.
        """
        if KERAS not in self.manifest.files:
            raise ModelError(
                f"the model {self.manifest.name} has no {KERAS}: export it again with bsbatch-build export "
                "--keep-keras, or run with --cam-engine fused"
            )
        return self.folder / KERAS

    @property
    def is_bundled(self) -> bool:
        """Whether it lies in the package, where nothing is written."""
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
            Where ``manifest.json`` lies, see `resolve_folder`.
        preprocessing_version
            The version that this program preprocesses with.

        Raises
        ------
        ModelError
            A file is missing or not the one the manifest describes, or the model belongs to another preprocessing.
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
    """The folder itself; for ``demo``, where no model lies in such a folder, the one that comes with bsbatch.

    ``bsbatch demo --out demo`` makes a folder of that name for its results.
    """
    return _BUNDLED / DEMO if folder == Path(DEMO) and not (folder / MANIFEST).exists() else folder


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``; the last file of a model directory to be written."""
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")


def manifest_text(manifest: Manifest) -> str:
    """What stands in ``manifest.json``."""
    return json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``; looks at no other file.

    Raises
    ------
    ModelError
        There is none, or it is not one of this version.
    """
    path = folder / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): str(digest) for name, digest in fields["files"].items()}
        derived = {str(name): Derived(**entry) for name, entry in fields.get("derived", {}).items()}
        return Manifest(**{**fields, "files": files, "labels": tuple(fields["labels"]), "derived": derived})
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} is no model directory, it has no {MANIFEST}: make one with bsbatch-build export"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a manifest of this version: export the model again with bsbatch-build export"
        ) from error


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
