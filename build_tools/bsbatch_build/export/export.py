"""Makes a model directory: Keras network to ``model.onnx``, compared with the network, and ``manifest.json``."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import flush
from bsbatch.imaging import preprocess
from bsbatch.models.directory import GRAPH, KERAS, Manifest, sha256_of, write_manifest
from bsbatch_build import toolchain
from bsbatch_build.checks.export_check import Parity, storage_difference, verify
from bsbatch_build.export.cam_head import CAM, add_cam
from bsbatch_build.export.convert import other_to_onnx, stored_as_half, to_bytes, to_onnx
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings
from bsbatch_build.training.train import read_run

TOOLS = ("bsbatch", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """One model directory to make."""

    folder: Path
    """Where it goes; must not exist, or be empty."""
    network: NetworkSettings
    threshold: float = 0.5
    """``p_metastasis`` from which on an examination is predicted positive, in [0, 1]."""
    half_weights: bool = False
    """Store weights as float16; the arithmetic stays float32."""
    name: str | None = None
    """Short name for people; None makes one from the weights."""
    note: str | None = None
    """What people must know of the weights; None says where they come from."""
    may_widen: bool = False
    """Widen a narrower network from a file, see `bsbatch_build.network.surgery.widen`, instead of refusing it."""
    made_by: str | None = None
    """The command that makes this model again."""
    keep_keras: bool = False
    """Leave the Keras model beside the graph, for ``bsbatch run --cam-engine keras``."""
    other: Path | None = None
    """A whole Keras model to take as it is instead of `network`, see `bsbatch_build.network.weights.load_other`."""
    joined: tuple[Path, ...] = ()
    """Files of further networks, to stand beside that of `network` in one, see `bsbatch_build.network.surgery.join`."""
    mirrored: bool = False
    """Join each network a second time, for the mirrored image."""

    @property
    def is_joined(self) -> bool:
        """Whether several networks become one."""
        return self.mirrored or bool(self.joined)

    def __post_init__(self) -> None:
        """Refuse a threshold no probability could be compared with, and two networks."""
        if not 0.0 <= self.threshold <= 1.0:
            raise UsageError(f"--threshold {self.threshold} is outside [0, 1]")
        if self.other and (
            self.may_widen or self.half_weights or self.network != NetworkSettings(seed=self.network.seed)
        ):
            raise UsageError("--network takes a model as it is: leave --weights, --width, --widen, --half-weights out")
        if self.is_joined and (self.other or self.network.weights in (weights.RANDOM, weights.IMAGENET)):
            raise UsageError("--join and --mirror take trained networks: give the first as --weights FILE")


@dataclass(frozen=True, slots=True)
class Exported:
    """A model directory that was made."""

    folder: Path
    manifest: Manifest
    weights: int
    """Number of weights of the Keras network; the graph has fewer, for its first kernel is summed."""
    parity: Parity

    @property
    def model_id(self) -> str:
        """The first 16 hexadecimal digits of the graph's SHA-256, as in `bsbatch.models.directory.Model`."""
        return self.manifest.files[GRAPH][:16]


def export(settings: ExportSettings) -> Exported:
    """Make a model directory; it appears complete or not at all.

    Raises
    ------
    UsageError
        The folder exists and is not empty, or cannot be made; a setting is out of range.
    ModelError
        The weights do not fit, or the graph differs from the Keras network by more than 1e-5.
    MissingPackageError
        A package of the extra ``build`` is not installed.
    OutputError
        The disk is full, or the folder went away.
    """
    with _staged(settings.folder.resolve()) as staging:
        network, onnx_model = _made(settings)
        cam_name = CAM if add_cam(onnx_model) else None
        graph = to_bytes(onnx_model)
        parity = verify(graph, network, settings.network.seed)
        training = _training(settings, network, parity)
        if settings.half_weights:
            stored = to_bytes(stored_as_half(onnx_model))
            training["storage_difference"] = storage_difference(stored, graph, settings.network.seed)
            graph = stored
        if settings.keep_keras:
            toolchain.save(network, staging / KERAS)
        manifest = _written(settings, staging, graph, _manifest(settings, cam_name, training))
    return Exported(settings.folder, manifest, network.count_params(), parity)


def _made(settings: ExportSettings) -> tuple[Any, Any]:
    """The network in Keras and in ONNX."""
    if settings.other:
        network = weights.load_other(settings.other)
        return network, other_to_onnx(network)
    if settings.is_joined:
        network = weights.load_joined(settings.network, settings.joined, mirrored=settings.mirrored)
    else:
        network = weights.load(settings.network, may_widen=settings.may_widen)
    return network, to_onnx(network)


def model_name(settings: NetworkSettings) -> str:
    """Short name for people, for example ``vgg16-random-seed1`` or ``vgg16-width0.0625-random-seed1``."""
    width = "" if settings.width == 1.0 else f"-width{settings.width:g}"
    if settings.weights in (weights.RANDOM, weights.IMAGENET):
        return f"vgg16{width}-{settings.weights}-seed{settings.seed}"
    return f"vgg16{width}-{Path(settings.weights).stem.removesuffix('.weights')}"


def _written(settings: ExportSettings, staging: Path, graph: bytes, unsigned: Manifest) -> Manifest:
    """Write the graph, and the manifest with the hash of every file."""
    try:
        (staging / GRAPH).write_bytes(graph)
        manifest = replace(unsigned, files={path.name: sha256_of(path) for path in sorted(staging.iterdir())})
        write_manifest(staging, manifest)
    except OSError as error:
        message = f"{settings.folder} cannot be written ({error.strerror}): make room and start again"
        raise OutputError(message) from error
    return manifest


def _manifest(settings: ExportSettings, cam_name: str | None, training: dict[str, Any]) -> Manifest:
    return Manifest(
        files={GRAPH: ""},
        cam_name=cam_name,
        preprocessing_version=preprocess.VERSION,
        name=settings.name or (settings.other.stem if settings.other else model_name(settings.network)),
        threshold=settings.threshold,
        tools={name: toolchain.package(name).__version__ for name in TOOLS},
        training=training,
    )


def _training(settings: ExportSettings, network: Any, parity: Parity) -> dict[str, Any]:
    origin = _file_origin(settings.other) if settings.other else _origin(settings.network)
    if settings.is_joined:
        others = [_file_origin(path) for path in settings.joined]
        origin["joined"] = _joined(origin, others, settings.mirrored)
        origin["joined_with"] = others
    note = settings.note or origin["note"]
    if "data" in origin:
        origin["data"] = {"kind": note, **origin["data"]}
    return {
        **origin,
        "note": note,
        **({"commands": [settings.made_by]} if settings.made_by else {}),
        **({} if settings.other else {"width": settings.network.width}),
        "stored_as": "fp16" if settings.half_weights else "fp32",
        "weights_count": network.count_params(),
        "parity_difference": parity.difference,
        "parity_log_difference": parity.log_difference,
        "parity_images": parity.images,
    }


def _joined(first: Mapping[str, Any], others: Sequence[Mapping[str, Any]], mirrored: bool) -> str:
    """What was joined, in words."""
    hashes = ", ".join(member["weights_sha256"][:16] for member in (first, *others))
    twice = ", each once more for the mirrored image" if mirrored else ""
    return f"the mean of the logits of networks with channels of their own, by SHA-256: {hashes}{twice}"


def _origin(settings: NetworkSettings) -> dict[str, Any]:
    if settings.weights == weights.RANDOM:
        return {"weights": weights.RANDOM, "seed": settings.seed, "note": "not trained: random weights"}
    if settings.weights == weights.IMAGENET:
        note = "not trained on bone scans: ImageNet convolutions, random head"
        return {"weights": weights.IMAGENET, "seed": settings.seed, "note": note}
    return _file_origin(Path(settings.weights))


def _file_origin(path: Path) -> dict[str, Any]:
    origin = {"weights": path.name, "weights_sha256": sha256_of(path), "note": "weights from a file"}
    run = read_run(path)
    return origin if run is None else {**origin, **_trained(run)}


def _trained(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a training says of itself, under the names that the model card looks for."""
    weights_left = "average of the weights" if run["recipe"].get("ema_momentum") else "weights"
    return {
        "note": "trained by bsbatch-build train",
        "data": {"studies": run["studies"], "masks": run["masks"]},
        "split": run["split"],
        "configuration": {name: run[name] for name in ("network", "recipe", "tools", "preprocessing_version")},
        "initialisation": _initialisation(run),
        "selection": f"the {weights_left} after the last epoch",
        "history": run["history"],
    }


def _initialisation(run: Mapping[str, Any]) -> Any:
    """What a training started from; of a mean of two networks, both."""
    return {"mean_of": [run["start"], run["average"]]} if "average" in run else run["start"]


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Give a folder beside `folder` to write into; it becomes `folder` when the block ends well, and goes otherwise."""
    _refuse_used(folder)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}): name a folder where you may write") from error
    try:
        yield staging
        _commit(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_used(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a folder that does not exist yet, or delete this one first")


def _commit(staging: Path, folder: Path) -> None:
    try:
        for path in (*staging.iterdir(), staging):
            flush(path)
        staging.rename(folder)
        flush(folder.parent)
    except OSError as error:
        message = f"{folder} cannot be made ({error.strerror}): name a folder that does not exist yet"
        raise UsageError(message) from error
