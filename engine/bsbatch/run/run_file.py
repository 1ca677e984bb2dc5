"""The content of ``run.json``: configuration, model, versions, counts, seconds by stage."""

import platform
from dataclasses import asdict

import bsbatch
from bsbatch.cuda import gpu
from bsbatch.host.machine import usable_cpus
from bsbatch.imaging.preprocess import VERSION
from bsbatch.notice import NOTICE
from bsbatch.requirements import version_of
from bsbatch.run.report import Ending, Report
from bsbatch.run.setup import RunSetup
from bsbatch.store.tables import SCHEMA_VERSION
from bsbatch.telemetry import Telemetry


def run_metrics(report: Report, telemetry: Telemetry) -> dict[str, object]:
    """Counts by status and reason, seconds and scans per second, of the run and by stage."""
    return {
        "counts": report.flow.as_dict(),
        "seconds": round(report.seconds, 3),
        "scored_in_this_run": report.scored,
        "scored_per_second": round(report.scored / report.seconds, 3) if report.seconds else 0.0,
        "stages": telemetry.report(),
    }


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
            "backend": setup.backend_name,
            "precision": setup.precision,
            "preprocessing_version": VERSION,
            "selection": asdict(config.selection),
            "cam": str(config.cam),
            "cam_engine": str(config.cam_engine),
            "effort": asdict(config.effort),
            "max_error_rate": config.max_error_rate,
            "limit": config.limit,
            "pseudonymised": setup.pseudonymiser is not None,
        },
        "model": asdict(model.manifest) | {"model_id": model.model_id} if model is not None else None,
        "schema_version": SCHEMA_VERSION,
        "versions": _versions(),
        "machine": {"processor": platform.machine(), "system": platform.system(), "cpus": usable_cpus()},
        **metrics,
    }


def _versions() -> dict[str, str]:
    packages = ("numpy", "pydicom", "pyarrow", "opencv-python-headless", "onnxruntime", "MNN")
    found = {name: version_of(name) for name in packages} | gpu.versions()
    return {"bsbatch": bsbatch.__version__, "python": platform.python_version()} | {
        name: version for name, version in found.items() if version is not None
    }
