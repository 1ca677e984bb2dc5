"""The setup of a run: its settings resolved once, before anything is written."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bsbatch.config import BackendName, CamEngine, CamMode, RunConfig
from bsbatch.errors import UsageError
from bsbatch.host.machine import usable_cpus
from bsbatch.imaging.gradcam import Explainer
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch.pseudonyms import Pseudonymiser
from bsbatch.registry import BACKENDS, CAMS
from bsbatch.run.autotune import choose
from bsbatch.run.report import Reporter
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.folder import open_output
from bsbatch.store.tables import SCHEMA_VERSION, Provenance

MAX_UNIT = 256
"""Examinations in one commit, at most."""
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class RunSetup:
    """What a run works with, resolved once."""

    config: RunConfig
    out: Path
    source: DirectorySource
    model: Model | None
    pseudonymiser: Pseudonymiser | None
    backend_name: str
    precision: str
    provenance: Provenance
    threads: int


def resolve(config: RunConfig, reporter: Reporter) -> RunSetup:
    """Load the model, choose the backend, prove that the output folder can be written to, and hash the configuration.

    Raises
    ------
    UsageError
        The archive is empty, the output folder cannot be used, or the model has no maps and the run needs them.
    """
    if config.out is None:
        raise UsageError("say where the results go: --out FOLDER")
    source = open_source(config)
    model = Model.load(config.model, VERSION) if config.model is not None else None
    out = open_output(config.out, config.archive)
    pseudonymiser = Pseudonymiser.from_file(config.keyfile) if config.keyfile is not None else None
    has_maps = config.cam is not CamMode.NONE
    _check_maps(config, model)
    name = _backend_name(config, model, reporter)
    precision = BACKENDS[name].load().precision
    threshold = config.threshold
    if threshold is None:
        threshold = model.manifest.threshold if model is not None else _DEFAULT_THRESHOLD
    decisive = {
        "model": model.manifest.files if model is not None else None,
        "preprocessing": VERSION,
        "precision": precision,
        "threshold": threshold,
        "selection": asdict(config.selection),
        "pseudonyms": pseudonymiser.fingerprint if pseudonymiser is not None else None,
        "schema": SCHEMA_VERSION,
    }
    if has_maps:  # the hash of a run without maps is what it was before there were any
        decisive["cam"] = str(config.cam)
    if config.cam_engine is CamEngine.KERAS:
        decisive["cam_engine"] = str(config.cam_engine)
    provenance = Provenance(_hash_of(decisive), model.model_id if model is not None else None, threshold, has_maps)
    threads = config.effort.threads or usable_cpus()
    return RunSetup(config, out, source, model, pseudonymiser, name, precision, provenance, threads)


def _check_maps(config: RunConfig, model: Model | None) -> None:
    """Refuse what cannot give maps before backends are measured and anything is written."""
    if config.cam_engine is CamEngine.KERAS:
        CAMS[config.cam_engine].load()
    if model is None:
        return
    if config.cam_engine is CamEngine.KERAS:
        _ = model.keras
    else:
        model.manifest.outputs(with_cams=config.cam is not CamMode.NONE)


def make_backend(setup: RunSetup) -> Any:
    """What scores, and gives maps if the run is to have them; not entered."""
    config, make_backend = setup.config, BACKENDS[setup.backend_name].load()
    if config.cam_engine is CamEngine.FUSED:
        return make_backend(setup.model, config.effort, with_cams=setup.provenance.has_maps)
    wants = Explainer(config.cam, setup.provenance.threshold).wants
    return CAMS[config.cam_engine].load()(make_backend(setup.model, config.effort), setup.model, config.effort, wants)


def _hash_of(decisive: dict[str, Any]) -> str:
    """16 hexadecimal digits over everything that decides what a row says."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def open_source(config: RunConfig) -> DirectorySource:
    """Open the archive.

    Raises
    ------
    UsageError
        It holds no file.
    """
    source = DirectorySource(config.archive)
    if next(iter(source), None) is None:
        raise UsageError(f"the archive {config.archive} holds no file: check the path")
    return source


def _backend_name(config: RunConfig, model: Model | None, reporter: Reporter) -> str:
    if config.backend is not BackendName.AUTO:
        return str(config.backend)
    if model is None:
        raise UsageError("say which model to use: --model FOLDER")
    return choose(model, config.effort, reporter.remark)
