"""Measured rates of the backends on this machine, kept in the cache. Light: ``bsbatch info`` shows them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bsbatch
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import Effort
from bsbatch.host.files import cache_folder, replace_text
from bsbatch.host.machine import processor, usable_cpus
from bsbatch.requirements import Requirement, version_of

_DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError)
"""Errors of reading a file that is absent, truncated, edited, or of another version of bsbatch."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The conditions under which a measurement is valid."""

    model_id: str
    """See `bsbatch.models.directory.Model.model_id`."""
    processor: str
    """See `bsbatch.host.machine.processor`."""
    cpus: int
    """Processors that this process may use."""
    threads: int | None
    """Value of ``--threads``."""
    batch_size: int | None
    """Value of ``--batch-size``."""
    versions: Mapping[str, str | None]
    """Versions of bsbatch and of every backend's package; None if it does not work, ``here`` if it has no version."""

    @classmethod
    def now(cls, model_id: str, effort: Effort) -> "Situation":
        """Return the present conditions. Imports no backend."""
        named = {needed.name: needed for needed in REQUIREMENTS.values()}
        versions = {name: _version(name, needed) for name, needed in named.items() if name is not None}
        versions["bsbatch"] = bsbatch.__version__
        return cls(model_id, processor(), usable_cpus(), effort.threads, effort.batch_size, versions)


def _version(name: str, needed: Requirement) -> str | None:
    return None if needed.problem else version_of(name) or "here"


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen backend and the rates that decided."""

    situation: Situation
    backend: str
    """Name of the chosen backend."""
    rates: Mapping[str, float]
    """Scans per second of every backend that worked, by name."""
    measured: str
    """Day, ISO 8601."""
    refusals: Mapping[str, str]
    """Reasons of the backends that could not score this model, by name."""

    def __str__(self) -> str:
        """Return the choice as words for a person."""
        others = [f"{name} {rate:.2f}" for name, rate in self.rates.items() if name != self.backend]
        beside = f", {', '.join(others)}" if others else ""
        return f"{self.backend}, the fastest here ({self.rates[self.backend]:.2f} scans/s{beside}; {self.measured})"


def find(situation: Situation) -> Choice | None:
    """Return the measurement of a situation; None if there is none that can be read."""
    try:
        choice = _read(_folder() / _name(situation))
    except _DAMAGE:  # measured anew
        return None
    return choice if choice.situation == situation else None


def list_choices(model_id: str | None = None) -> list[Choice]:
    """Return the measurements that are valid now, of one model or of all, the latest first."""
    choices = []
    for path in _files():
        try:
            choice = _read(path)
        except _DAMAGE:  # measured anew when it is needed
            continue
        situation = choice.situation
        effort = Effort(situation.threads, situation.batch_size)
        if situation == Situation.now(model_id or situation.model_id, effort):
            choices.append(choice)
    return sorted(choices, key=lambda choice: choice.measured, reverse=True)


def remember(choice: Choice) -> None:
    """Write a measurement into the cache.

    Raises
    ------
    OSError
        The cache cannot be written to.
    """
    path = _folder() / _name(choice.situation)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(asdict(choice), indent=2) + "\n")


def _folder() -> Path:
    return cache_folder() / "backends"


def _files() -> list[Path]:
    try:
        return sorted(_folder().glob("*.json"))
    except OSError:  # no home, so nothing is kept
        return []


def _name(situation: Situation) -> str:
    text = json.dumps(asdict(situation), sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Choice:
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rates = {str(name): float(rate) for name, rate in fields["rates"].items()}
    if fields["backend"] != max(rates, key=rates.__getitem__) or not set(rates) <= set(REQUIREMENTS):
        raise ValueError(f"{path} is no measurement")
    situation = Situation(**fields["situation"])
    refusals = {str(name): str(reason) for name, reason in fields["refusals"].items()}
    return Choice(situation, fields["backend"], rates, str(fields["measured"]), refusals)
