"""The setup of a run: its settings resolved once, before anything is written."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bsbatch.backends.registry import load_backend
from bsbatch.cohort.lists import read_list, read_studies
from bsbatch.config import BackendName, CamEngine, CamMode, OverlayFormat, RunConfig, StudyChoice
from bsbatch.errors import UsageError
from bsbatch.host.machine import usable_cpus
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch.pipeline.choosing import Choosing, names_of
from bsbatch.pipeline.intake import may_be_opened
from bsbatch.protocols import Backend, Source
from bsbatch.pseudonyms import PatientKeys, Pseudonymiser
from bsbatch.requirements import require
from bsbatch.run.autotune import choose
from bsbatch.run.forecast import Rate, find_rate
from bsbatch.run.recipe import MapRecipe, ModelRecipe, WorkerRecipe
from bsbatch.run.report import Reporter
from bsbatch.sources import address
from bsbatch.store.folder import open_output, open_patient_key
from bsbatch.store.tables import SCHEMA_VERSION, Provenance

MAX_UNIT = 256
"""Examinations in one commit, at most."""
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class RunSetup:
    """Everything that a run works with."""

    config: RunConfig
    out: Path
    """The output folder; it exists and can be written to."""
    source: Source
    model: Model | None
    pseudonymiser: Pseudonymiser | None
    patient_keys: PatientKeys
    backend_name: str
    precision: str
    """Of the backend; part of the configuration hash."""
    provenance: Provenance
    """Configuration hash, model and threshold, as every row carries them."""
    threads: int
    """Threads that read headers and prepare examinations. More of them read headers where files wait."""
    choosing: Choosing
    """Decides which studies are scored."""

    @property
    def recipe(self) -> WorkerRecipe:
        """Describes the workers of this run."""
        config, path = self.config, self.config.archive_path
        overlays = config.overlay_format if config.has_overlays else OverlayFormat.NONE
        return WorkerRecipe(
            archive=config.archive if path is None else path.absolute(),
            out=self.out.absolute(),
            model=None if self.model is None else ModelRecipe.of(self.model),
            backend=self.backend_name,
            precision=self.precision,
            effort=config.effort,
            maps=MapRecipe(config.cam, config.cam_engine, overlays, config.overlay_style),
            threshold=self.provenance.threshold,
            is_calibrated=self.provenance.is_calibrated,
        )

    @property
    def archive_names(self) -> tuple[str, ...]:
        """Names of the archive in ``run.json``: its absolute path or URL; with pseudonyms its keyed hash, once that."""
        path = self.config.archive_path
        name = str(self.config.archive if path is None else path.resolve())
        return (name,) if self.pseudonymiser is None else (self.pseudonymiser.archive(name), name)

    @property
    def rate(self) -> Rate | None:
        """The measured rate of the backend with this model on this machine; None if it was not measured."""
        return find_rate(self.model.model_id, self.backend_name, self.config.effort) if self.model is not None else None

    @property
    def model_name(self) -> str | None:
        """Name of the model for people; None without a model."""
        return self.model.manifest.name if self.model is not None else None


def resolve(config: RunConfig, reporter: Reporter, *, is_watched: bool = False) -> RunSetup:
    """Load the model, choose the backend, prove that the output folder can be written to, and hash the configuration.

    Parameters
    ----------
    is_watched
        True if the archive may be empty, because objects will come.

    Raises
    ------
    UsageError
        The archive is empty, the output folder cannot be used, or the model has no maps and the run needs them.
    """
    if config.out is None:
        raise UsageError("name a folder for the results: --out FOLDER")
    source = open_source(config, is_watched=is_watched)
    model = Model.load(config.model, VERSION) if config.model is not None else None
    out = open_output(config.out, config.archive_path)
    pseudonymiser = Pseudonymiser.from_file(config.keyfile) if config.keyfile is not None else None
    patient_keys = PatientKeys.of(pseudonymiser.key if pseudonymiser is not None else open_patient_key(out))
    choosing = choose_studies(config.studies, patient_keys, pseudonymiser)
    _check_maps(config, model)
    name = _choose_backend(config, model, reporter)
    precision = load_backend(name).precision
    provenance = _provenance_of(config, model, precision, pseudonymiser, choosing)
    threads = config.effort.threads or usable_cpus()
    return RunSetup(
        config, out, source, model, pseudonymiser, patient_keys, name, precision, provenance, threads, choosing
    )


def open_source(config: RunConfig, *, is_watched: bool = False) -> Source:
    """Open the archive.

    Raises
    ------
    UsageError
        It holds no file.
    """
    source = address.open_source(config.archive, may_be_opened)
    if not is_watched and next(iter(source), None) is None:
        raise UsageError(f"the archive {config.archive} holds no file: check the path")
    return source


def choose_studies(studies: StudyChoice, keys: PatientKeys, pseudonymiser: Pseudonymiser | None) -> Choosing:
    """Read the lists of the studies that are scored.

    Raises
    ------
    UsageError
        A list cannot be read.
    """

    def names(path: Path | None, read: Callable[[Path], tuple[str, ...]] = read_list) -> frozenset[str] | None:
        return None if path is None else names_of(read(path), keys, pseudonymiser)

    return Choosing(
        studies.since,
        studies.until,
        None if studies.manufacturer is None else studies.manufacturer.strip().casefold(),
        names(studies.accessions),
        names(studies.worklist, read_studies),
        names(studies.exclude),
    )


def make_backend(setup: RunSetup) -> Backend:
    """Construct the backend, with heat maps if the run needs them; it is not entered."""
    return setup.recipe.backend_of(setup.model)


def _check_maps(config: RunConfig, model: Model | None) -> None:
    """Refuse a model that cannot give maps, before backends are measured and anything is written."""
    if config.cam_engine is CamEngine.KERAS:
        require("tensorflow", extra="keras")
    if model is None:
        return
    if config.cam_engine is CamEngine.KERAS:
        _ = model.keras
    else:
        model.manifest.outputs(with_cams=config.cam is not CamMode.NONE)


def _choose_backend(config: RunConfig, model: Model | None, reporter: Reporter) -> str:
    if config.backend is not BackendName.AUTO:
        return str(config.backend)
    if model is None:
        raise UsageError("name a model: --model FOLDER")
    return choose(model, config.effort, reporter.remark)


def _provenance_of(
    config: RunConfig,
    model: Model | None,
    precision: str,
    pseudonymiser: Pseudonymiser | None,
    choosing: Choosing,
) -> Provenance:
    threshold = config.threshold
    if threshold is None:
        threshold = model.manifest.threshold if model is not None else _DEFAULT_THRESHOLD
    has_maps = config.cam is not CamMode.NONE
    decisive: dict[str, object] = {
        "model": model.manifest.files if model is not None else None,
        "preprocessing": VERSION,
        "precision": precision,
        "threshold": threshold,
        "selection": asdict(config.selection),
        "pseudonyms": pseudonymiser.fingerprint if pseudonymiser is not None else None,
        "schema": SCHEMA_VERSION,
        "distance_limit": model.manifest.distance_limit if model is not None else None,
    }
    if has_maps:  # without maps the hash stays that of earlier versions, which had none
        decisive["cam"] = str(config.cam)
    if config.cam_engine is CamEngine.KERAS:
        decisive["cam_engine"] = str(config.cam_engine)
    if config.is_identified:
        decisive["identified"] = True
    if studies := choosing.facts():
        decisive["studies"] = studies
    is_calibrated = model is not None and model.manifest.is_calibrated
    model_id = model.model_id if model is not None else None
    return Provenance(_hash_of(decisive), model_id, threshold, has_maps, is_calibrated, config.is_identified)


def _hash_of(decisive: Mapping[str, object]) -> str:
    """Return 16 hexadecimal digits over everything that decides the content of a row."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
