"""How long scoring takes on this machine, from the rates that ``--backend auto`` measured."""

from dataclasses import dataclass

from bsbatch.config import BackendName, Effort
from bsbatch.run.backend_rates import Situation, find, list_choices

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_UNITS = ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min"), (1.0, "s"))
_FEWEST = 2.0
"""Smallest number of a unit: 90 minutes are shown as minutes, 2 hours as hours."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured rate of one backend."""

    backend: str
    scans_per_second: float
    measured: str
    """Day, ISO 8601."""

    def forecast(self, scans: int) -> str:
        """Return the time for a number of examinations as words, with the rate."""
        return f"{duration(scans / self.scans_per_second)} ({self.backend}, {self.scans_per_second:.2f} scans/s)"


def find_rate(model_id: str | None, backend: str, effort: Effort) -> Rate | None:
    """Return the rate of a backend on this machine.

    Parameters
    ----------
    model_id
        See `bsbatch.models.directory.Model.model_id`; None for the model that was measured last.
    backend
        Name of the backend; ``auto`` for the fastest.
    effort
        Settings of the run.

    Returns
    -------
    None if it was not measured, or measures too slow to divide by.
    """
    choice = find(Situation.now(model_id, effort)) if model_id is not None else next(iter(list_choices()), None)
    if choice is None:
        return None
    name = choice.backend if backend == BackendName.AUTO else backend
    rate = choice.rates.get(name, 0.0)
    return Rate(name, rate, choice.measured) if rate > 0 else None


def duration(seconds: float) -> str:
    """Return a time as words: ``45 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    size, unit = next((item for item in _UNITS if seconds >= _FEWEST * item[0]), _UNITS[-1])
    digits = 1 if size >= _HOUR else 0
    return f"{max(seconds / size, 1.0):.{digits}f} {unit}"
