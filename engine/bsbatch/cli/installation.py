"""Machine, versions and optional parts, for ``bsbatch info``; optional packages are found without an import."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import bsbatch
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import BackendName
from bsbatch.cuda.gpu import versions
from bsbatch.host.machine import processor, usable_cpus, usable_memory
from bsbatch.models.directory import Model, read_manifest, resolve_folder
from bsbatch.native.library import open_library, problem_of
from bsbatch.notice import NOTICE, SENTENCE
from bsbatch.requirements import Requirement, version_of
from bsbatch.run.backend_rates import Choice

_PACKAGES = (
    "numpy",
    "pydicom",
    "pyarrow",
    "opencv-python-headless",
    "onnxruntime",
    "MNN",
    "scikit-learn",
    "Jinja2",
    "vl-convert-python",
    "obstore",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
)
_INSTALL_CODECS = 'pip install "bsbatch[codecs]"'
CODECS = {
    "JPEG Lossless, JPEG 2000, JPEG-LS (GDCM)": Requirement("gdcm", _INSTALL_CODECS),
    "JPEG 2000 (OpenJPEG)": Requirement("openjpeg", _INSTALL_CODECS),
    "JPEG-LS (CharLS)": Requirement("jpeg_ls", _INSTALL_CODECS),
}
"""Optional decoders; pydicom uses those that are installed."""
_COMPILED = "[green]in use[/]"


@dataclass(frozen=True, slots=True)
class Availability:
    """State of a backend or decoder on this machine."""

    works: bool
    why_not: str | None
    """The problem, with advice; None if it works."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the scores of a model mean."""

    name: str
    model_id: str
    is_calibrated: bool
    """True if its scores are probabilities."""
    distance_limit: float | None
    """Distance beyond which a scan is flagged ``unlike_training``; None if the model cannot know such scans."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The content of ``bsbatch info --json``."""

    bsbatch: str
    """Version."""
    python: str
    """Version."""
    system: str
    processor: str
    cpus: int
    """Processors that this process may use."""
    memory_gib: float
    """Memory that this process may use."""
    compiled_part: bool
    """True if the compiled library is in use."""
    packages: Mapping[str, str | None]
    """Version by distribution; None if it is not installed."""
    backends: Mapping[str, Availability]
    codecs: Mapping[str, Availability]
    auto: Sequence[Choice]
    """Remembered choices of ``--backend auto`` that still apply."""
    model: ModelFacts | None = None
    """None if no model was named."""
    notice: str = NOTICE


def describe_model(folder: Path) -> ModelFacts:
    """Read the manifest of a model directory, or of ``demo``; raises `ModelError`."""
    directory = resolve_folder(folder)
    model = Model(directory, read_manifest(directory))
    manifest = model.manifest
    return ModelFacts(manifest.name, model.model_id, manifest.is_calibrated, manifest.distance_limit)


def inspect(choices: Sequence[Choice], model: ModelFacts | None = None) -> Installation:
    """Look at the machine and the installation."""
    return Installation(
        bsbatch=bsbatch.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        cpus=usable_cpus(),
        memory_gib=round(usable_memory() / 2**30, 1),
        compiled_part=open_library() is not None,
        packages={name: version_of(name) for name in _PACKAGES} | versions(),
        backends=availability({name: needed for name, needed in REQUIREMENTS.items() if name != BackendName.FAKE}),
        codecs=availability(CODECS),
        auto=choices,
        model=model,
    )


def availability(requirements: Mapping[str, Requirement]) -> dict[str, Availability]:
    """State of each backend or decoder by name."""
    problems = {name: needed.problem for name, needed in requirements.items()}
    return {name: Availability(problem is None, problem) for name, problem in problems.items()}


def show(console: Console, installation: Installation) -> None:
    """Print the installation as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path in a reason is shown whole
    for name in ("bsbatch", "python", "system", "processor", "cpus", "memory_gib"):
        table.add_row(name, str(getattr(installation, name)))
    table.add_row("compiled part", _COMPILED if installation.compiled_part else _not_compiled())
    for name, version in installation.packages.items():
        table.add_row(name, version or "[dim]not installed[/]")
    _add_states(table, "backends", installation.backends)
    _add_states(table, "codecs", installation.codecs)
    if installation.model is not None:
        _add_model(table, installation.model)
    _add_choices(table, installation.auto)
    console.print(table)
    console.print(SENTENCE, style="dim")


def _not_compiled() -> str:
    return f"[yellow]not in use[/], numpy replaces it: {escape(problem_of() or '')}"


def _add_states(table: Table, kind: str, states: Mapping[str, Availability]) -> None:
    table.add_row(f"[bold]{kind}[/]")
    for name, state in states.items():
        words = "[green]works[/]" if state.why_not is None else f"[yellow]{escape(state.why_not)}[/]"
        table.add_row(f"  {name}", words)


def _add_model(table: Table, model: ModelFacts) -> None:
    calibrated = "[green]calibrated[/]: they are probabilities"
    uncalibrated = "[yellow]not calibrated[/]: no probabilities (bsbatch-build export --calibrate)"
    absent = "[yellow]not recognised[/]: no statistics, so the column distance is null (bsbatch-build export --archive)"
    limit = model.distance_limit
    flagged = "" if limit is None else f"[green]flagged[/] (unlike_training) beyond a distance of {limit:.1f}"
    table.add_row("[bold]model[/]", f"{escape(model.name)} {model.model_id}")
    table.add_row("  scores", calibrated if model.is_calibrated else uncalibrated)
    table.add_row("  scans unlike the training", flagged or absent)


def _add_choices(table: Table, choices: Sequence[Choice]) -> None:
    table.add_row("[bold]--backend auto[/]", "" if choices else "[dim]measured by the first run with a model[/]")
    for choice in choices:
        situation = choice.situation
        rates = ", ".join(f"{name} {rate:.2f}" for name, rate in choice.rates.items())
        options = {"threads": situation.threads, "batch_size": situation.batch_size}
        given = [f"{name} {value}" for name, value in options.items() if value is not None]
        words = ", ".join([f"{rates} scans/s", *given, choice.measured])
        table.add_row(f"  {situation.model_id}", f"[green]{choice.backend}[/] ({words})")
        for name, reason in choice.refusals.items():
            table.add_row("", f"[yellow]{name} left out: {escape(reason)}[/]")
