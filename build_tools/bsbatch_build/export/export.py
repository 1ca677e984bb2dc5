"""Makes a model directory: the network as ``model.onnx``, compared with Keras, and ``manifest.json``."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import flush
from bsbatch.imaging import preprocess
from bsbatch.models.directory import GRAPH, KERAS, Manifest, Model, sha256_of, write_manifest
from bsbatch.models.onnx.pruning import remove_output
from bsbatch_build import toolchain
from bsbatch_build.checks.export_check import GraphDifference, check_graph, storage_difference
from bsbatch_build.export.cam_head import CAM, add_heat_map
from bsbatch_build.export.convert import other_to_onnx, store_as_half, to_bytes, to_onnx
from bsbatch_build.export.fit import FitSettings, fit
from bsbatch_build.export.onnx_types import ModelProto
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings
from bsbatch_build.toolchain import KerasModel
from bsbatch_build.training.train import read_training

TOOLS = ("bsbatch", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """One model directory to make."""

    folder: Path
    """Path of the directory; must not exist, or be empty."""
    network: NetworkSettings
    threshold: float = 0.5
    """Smallest ``p_metastasis`` of an examination that is predicted positive, in [0, 1]."""
    half_weights: bool = False
    """Store weights as float16; the arithmetic stays float32."""
    name: str | None = None
    """Short name for display; None for one that is derived from the weights."""
    note: str | None = None
    """Note about the weights for the user; None for one that states their origin."""
    may_widen: bool = False
    """Widen a narrower network from a file instead of refusing it, see `bsbatch_build.network.surgery.widen`."""
    made_by: str | None = None
    """The command that makes this model again."""
    keep_keras: bool = False
    """Write the Keras model beside the graph, for ``bsbatch run --cam-engine keras``."""
    other: Path | None = None
    """A whole Keras model to export instead of `network`, see `bsbatch_build.network.weights.load_other`."""
    joined: tuple[Path, ...] = ()
    """Files of further networks to join with `network` into one, see `bsbatch_build.network.surgery.join`."""
    mirrored: bool = False
    """Join each network a second time, for the mirrored image."""
    model: Path | None = None
    """A model directory whose network to take instead of `network`; its files are not changed."""
    fit: FitSettings | None = None
    """Examinations for the distance from the training data, and for a calibration."""

    @property
    def is_joined(self) -> bool:
        """True if several networks become one."""
        return self.mirrored or bool(self.joined)

    def __post_init__(self) -> None:
        """Refuse a threshold outside [0, 1] and options that contradict each other."""
        if not 0.0 <= self.threshold <= 1.0:
            raise UsageError(f"--threshold {self.threshold} is outside [0, 1]")
        if self.other and (
            self.may_widen or self.half_weights or self.network != NetworkSettings(seed=self.network.seed)
        ):
            raise UsageError("--network takes a model as it is: leave --weights, --width, --widen, --half-weights out")
        if self.model is not None and (self.other or self.is_joined or self.half_weights or self.keep_keras):
            raise UsageError("--model takes a network as it is: give only --archive, --labels and options for them")
        if self.is_joined and (self.other or self.network.weights in (weights.RANDOM, weights.IMAGENET)):
            raise UsageError("--join and --mirror take trained networks: give the first as --weights FILE")


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A new model directory."""

    folder: Path
    manifest: Manifest

    @property
    def weights(self) -> int:
        """Number of weights of the Keras network; the graph has fewer, because its first kernel is summed."""
        return int(self.manifest.training["weights_count"])

    @property
    def model_id(self) -> str:
        """First 16 hexadecimal digits of the graph's SHA-256, as in `bsbatch.models.directory.Model`."""
        return self.manifest.files[GRAPH][:16]

    def summary(self) -> list[str]:
        """Lines for the terminal: folder, name, weights, difference from Keras, heat maps, calibration, limit."""
        training = self.manifest.training
        return [
            f"model       {self.folder}",
            f"name        {self.manifest.name}",
            f"id          {self.model_id}",
            f"weights     {self.weights:,} ({training['note']})",
            f"difference  {training['parity_difference']:.1e} to Keras, on {training['parity_images']} images",
            f"heat maps   {self._heat_maps()}",
            f"scores      {self._scores()}",
            f"unlike      {self._unlike()}",
        ]

    def _scores(self) -> str:
        if not self.manifest.is_calibrated:
            return "not calibrated, so no probabilities (--archive, --calibrate)"
        fitted = self.manifest.calibration
        return (
            f"calibrated on {fitted['examinations']}: slope {fitted['slope']:.3f}, "
            f"intercept {fitted['intercept']:+.3f}, threshold {self.manifest.threshold:.3f}"
        )

    def _unlike(self) -> str:
        limit, fitted = self.manifest.distance_limit, self.manifest.statistics
        if limit is None:
            return "scans unlike the training data are not recognised (--archive)"
        return (
            f"scans beyond {limit:.1f}; moments of {fitted['examinations']}, limit of {fitted['validation']}, "
            f"shrinkage {fitted['shrinkage']:.3f}"
        )

    def _heat_maps(self) -> str:
        if self.manifest.cam_name is not None:
            return "in the graph: bsbatch run --cam positive"
        if KERAS in self.manifest.files:
            return f"of {KERAS}: bsbatch run --cam positive --cam-engine keras"
        return "none: its head is not the paper's; with --keep-keras, bsbatch run --cam-engine keras computes them"


def export(settings: ExportSettings, on_image: Callable[[], object] = lambda: None) -> ExportedModel:
    """Make a model directory; it appears complete or not at all. `on_image` is called after each image of a fit.

    Raises
    ------
    UsageError
        The folder exists and is not empty, or cannot be made; a setting is out of range.
    ModelError
        The weights do not fit, or the graph differs from the Keras network by more than 1e-5.
    MissingPackageError
        A package of the extra ``build`` is not installed.
    OutputError
        The disk is full, or the folder was removed.
    """
    with _stage(settings.folder.resolve()) as staging:
        graph, manifest = _make(settings, staging) if settings.model is None else _take(settings, settings.model)
        if settings.fit is not None:
            manifest = fit(graph, manifest, settings.fit, on_image)
        manifest = _write(settings, staging, to_bytes(graph), manifest)
    return ExportedModel(settings.folder, manifest)


def _make(settings: ExportSettings, staging: Path) -> tuple[ModelProto, Manifest]:
    """Make the graph of a Keras network, compared with it."""
    network, graph = _load_network(settings)
    cam_name = CAM if add_heat_map(graph) else None
    difference = check_graph(to_bytes(graph), network, settings.network.seed)
    training = _training(settings, network, difference)
    if settings.half_weights:
        stored = store_as_half(graph)
        training["storage_difference"] = storage_difference(to_bytes(stored), to_bytes(graph), settings.network.seed)
        graph = stored
    if settings.keep_keras:
        toolchain.save(network, staging / KERAS)
    return graph, _manifest(settings, cam_name, training)


def _take(settings: ExportSettings, folder: Path) -> tuple[ModelProto, Manifest]:
    """Take the graph of a model directory, without a distance that it has."""
    model = Model.load(folder, preprocess.VERSION)
    content, manifest = model.graph.read_bytes(), model.manifest
    if manifest.distance_name is not None:
        content = remove_output(content, manifest.distance_name)
        manifest = replace(manifest, distance_name=None, distance_limit=None, statistics={})
    graph: ModelProto = toolchain.package("onnx").load_from_string(content)
    commands = dict.fromkeys([*manifest.training.get("commands", []), *filter(None, [settings.made_by])])
    return graph, replace(manifest, training={**manifest.training, "commands": [*commands]}, derived={})


def _load_network(settings: ExportSettings) -> tuple[KerasModel, ModelProto]:
    """Load the network, as Keras and as ONNX."""
    if settings.other:
        network = weights.load_other(settings.other)
        return network, other_to_onnx(network)
    if settings.is_joined:
        network = weights.load_joined(settings.network, settings.joined, mirrored=settings.mirrored)
    else:
        network = weights.load(settings.network, may_widen=settings.may_widen)
    return network, to_onnx(network)


def model_name(settings: NetworkSettings) -> str:
    """Short name for display, for example ``vgg16-random-seed1`` or ``vgg16-width0.0625-random-seed1``."""
    width = "" if settings.width == 1.0 else f"-width{settings.width:g}"
    if settings.weights in (weights.RANDOM, weights.IMAGENET):
        return f"vgg16{width}-{settings.weights}-seed{settings.seed}"
    return f"vgg16{width}-{Path(settings.weights).stem.removesuffix('.weights')}"


def _write(settings: ExportSettings, staging: Path, graph: bytes, unsigned: Manifest) -> Manifest:
    """Write the graph, then the manifest with the hash of every file."""
    try:
        (staging / GRAPH).write_bytes(graph)
        manifest = replace(unsigned, files={path.name: sha256_of(path) for path in sorted(staging.iterdir())})
        write_manifest(staging, manifest)
    except OSError as error:
        message = f"{settings.folder} cannot be written ({error.strerror}): make room and start again"
        raise OutputError(message) from error
    return manifest


def _manifest(settings: ExportSettings, cam_name: str | None, training: dict[str, object]) -> Manifest:
    return Manifest(
        files={GRAPH: ""},
        cam_name=cam_name,
        preprocessing_version=preprocess.VERSION,
        name=settings.name or (settings.other.stem if settings.other else model_name(settings.network)),
        threshold=settings.threshold,
        tools={name: toolchain.package(name).__version__ for name in TOOLS},
        training=training,
    )


def _training(settings: ExportSettings, network: KerasModel, difference: GraphDifference) -> dict[str, object]:
    """Describe the origin of the weights for the manifest."""
    origin = _file_origin(settings.other) if settings.other else _origin(settings.network)
    if settings.is_joined:
        others = [_file_origin(path) for path in settings.joined]
        origin["joined"] = _describe_members([origin, *others], settings.mirrored)
        origin["joined_with"] = others
    note = settings.note or origin["note"]
    data = origin.get("data")
    if isinstance(data, Mapping):
        origin["data"] = {"kind": note, **data}
    return {
        **origin,
        "note": note,
        **({"commands": [settings.made_by]} if settings.made_by else {}),
        **({} if settings.other else {"width": settings.network.width}),
        "stored_as": "fp16" if settings.half_weights else "fp32",
        "weights_count": network.count_params(),
        "parity_difference": difference.difference,
        "parity_log_difference": difference.log_difference,
        "parity_images": difference.images,
    }


def _describe_members(members: Sequence[Mapping[str, object]], mirrored: bool) -> str:
    """List the joined networks by their hashes."""
    hashes = ", ".join(str(member["weights_sha256"])[:16] for member in members)
    twice = ", each once more for the mirrored image" if mirrored else ""
    return f"the mean of the logits of networks with channels of their own, by SHA-256: {hashes}{twice}"


def _origin(settings: NetworkSettings) -> dict[str, object]:
    if settings.weights == weights.RANDOM:
        return {"weights": weights.RANDOM, "seed": settings.seed, "note": "not trained: random weights"}
    if settings.weights == weights.IMAGENET:
        note = "not trained on bone scans: ImageNet convolutions, random head"
        return {"weights": weights.IMAGENET, "seed": settings.seed, "note": note}
    return _file_origin(Path(settings.weights))


def _file_origin(path: Path) -> dict[str, object]:
    origin = {"weights": path.name, "weights_sha256": sha256_of(path), "note": "weights from a file"}
    run = read_training(path)
    return {**origin, **(_describe_run(run) if run is not None else {})}


def _describe_run(run: Mapping[str, Any]) -> dict[str, object]:
    """Describe a training under the names that the model card reads."""
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


def _initialisation(run: Mapping[str, object]) -> object:
    """Start of a training; both networks if it started from their mean."""
    return {"mean_of": [run["start"], run["average"]]} if "average" in run else run["start"]


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yield a new folder to write into; rename it to `folder` at the end, or delete it on an error."""
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
