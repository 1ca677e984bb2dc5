"""The content of ``run.json``: configuration, model, versions, counts, seconds by stage."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import bsbatch
from bsbatch.config import StudyChoice
from bsbatch.cuda import gpu
from bsbatch.host.machine import usable_cpus
from bsbatch.imaging.preprocess import VERSION
from bsbatch.notice import NOTICE
from bsbatch.requirements import version_of
from bsbatch.run.report import ClusterFacts, Ending, Report
from bsbatch.run.setup import RunSetup
from bsbatch.store.folder import read_run_file
from bsbatch.store.tables import SCHEMA_VERSION
from bsbatch.telemetry import Telemetry


def run_metrics(report: Report, telemetry: Telemetry) -> dict[str, object]:
    """Counts by status and reason, seconds and scans per second, of the run and by stage, and counts of workers."""
    return {
        "counts": report.flow.as_dict(),
        "seconds": round(report.seconds, 3),
        "scored_in_this_run": report.scored,
        "scored_per_second": round(report.scored / report.seconds, 3) if report.seconds else 0.0,
        **work_metrics(telemetry, report.cluster),
    }


def work_metrics(telemetry: Telemetry, cluster: ClusterFacts | None) -> dict[str, object]:
    """Seconds and items by stage, and the counts of a cluster's workers."""
    return {"stages": telemetry.report()} | ({} if cluster is None else {"cluster": asdict(cluster)})


def run_content(setup: RunSetup, ending: Ending, metrics: dict[str, object]) -> dict[str, object]:
    """Content of ``run.json``: status, configuration and its hash, model, versions, machine, metrics."""
    config, model = setup.config, setup.model
    return {
        "version": 1,
        "notice": NOTICE,
        "status": str(ending),
        "archive": setup.archive_names[0],
        "config_hash": setup.provenance.config_hash,
        "config": {
            "threshold": setup.provenance.threshold,
            "executor": str(config.executor),
            "backend": setup.backend_name,
            "precision": setup.precision,
            "preprocessing_version": VERSION,
            "selection": asdict(config.selection),
            "studies": dict.fromkeys(_STUDIES) | setup.choosing.facts(),
            "cam": str(config.cam),
            "cam_engine": str(config.cam_engine),
            "effort": asdict(config.effort),
            "max_error_rate": config.max_error_rate,
            "limit": config.limit,
            "identified": config.is_identified,
            "pseudonymised": setup.pseudonymiser is not None,
        },
        "model": asdict(model.manifest) | {"model_id": model.model_id} if model is not None else None,
        "schema_version": SCHEMA_VERSION,
        "versions": _versions(),
        "machine": {"processor": platform.machine(), "system": platform.system(), "cpus": usable_cpus()},
        **metrics,
    }


_STUDIES = tuple(field.name for field in fields(StudyChoice))
_OPTIONS = {
    "model_id": "--model",
    "threshold": "--threshold",
    "precision": "precision of --backend",
    "preprocessing_version": "preprocessing version",
    "assume_frame_order": "--assume-frame-order",
    "max_pixels": "--max-pixels",
    "tracer": "--tracer",
    **{name: f"--{name}" for name in _STUDIES},
    "cam": "--cam",
    "cam_engine": "--cam-engine",
    "identified": "--identify",
    "pseudonymised": "--pseudonymise",
    "schema_version": "schema version",
    "distance_limit": "distance limit of --model",
}
"""Settings that decide the content of rows, and their options."""
_LONGEST = 40
"""Characters of a setting in a message."""


def find_differences(setup: RunSetup) -> str:
    """Return the settings that differ from those in ``run.json``, in words; empty if none are known to."""
    found = differing_settings(read_run_file(setup.out), run_content(setup, Ending.RUNNING, {}))
    return ", ".join(f"{option} was {earlier} and is {now}" for option, earlier, now in found)


def differing_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List the settings that decide the content of rows and differ between two ``run.json``: option, both values."""
    first, second = _decisive(one), _decisive(other)
    return [
        (option, _shown(first[name]), _shown(second.get(name)))
        for name, option in _OPTIONS.items()
        if name in first and first[name] != second.get(name)
    ]


def _decisive(content: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the settings of `_OPTIONS` from ``run.json``, which may be another program's."""
    config = content.get("config")
    rules = [config.get(name) for name in ("selection", "studies")] if isinstance(config, dict) else []
    parts = content, content.get("model"), config, *rules
    return {name: part[name] for part in parts if isinstance(part, Mapping) for name in _OPTIONS if name in part}


def _shown(value: object) -> str:
    return {"True": "on", "False": "off"}.get(str(value), str(value)[:_LONGEST])


def _versions() -> dict[str, str]:
    packages = ("numpy", "pydicom", "pyarrow", "opencv-python-headless", "onnxruntime", "MNN")
    found = {name: version_of(name) for name in packages} | gpu.versions()
    return {"bsbatch": bsbatch.__version__, "python": platform.python_version()} | {
        name: version for name, version in found.items() if version is not None
    }
