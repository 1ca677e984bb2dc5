"""``--backend auto``: the fastest backend for this model on this machine, measured once."""

import time
from collections.abc import Callable
from datetime import date

import numpy as np

from bsbatch.config import BackendName, Effort
from bsbatch.errors import BackendError, ModelError, UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.models.directory import Model
from bsbatch.protocols import Backend
from bsbatch.registry import BACKENDS, usable
from bsbatch.run.backend_rates import Choice, Situation, find, keep

_SECONDS = 2.0
"""A backend is measured for so long at least."""
_SCANS = 4
"""In one call, at least as many as it works on side by side and at most its batch."""


def choose(model: Model, effort: Effort, tell: Callable[[str], None]) -> str:
    """The name of the fastest backend; the user is told which it is and why.

    Parameters
    ----------
    model
        What is to be run.
    effort
        What the run was told; another number of threads may make another backend the fastest.
    tell
        Takes a sentence for the user.

    Raises
    ------
    MissingPackageError
        No backend is installed.
    ModelError
        None of them can use the model.
    """
    names = usable(BACKENDS, excluded=BackendName.FAKE)
    if len(names) == 1:
        tell(f"Backend: {names[0]}, the only one installed.")
        return names[0]
    situation = Situation.now(model.model_id, effort)
    choice = find(situation)
    if choice is None:
        tell(f"Measuring {' and '.join(names)}, once for this machine and model ...")
        choice = _measured(situation, names, model, effort, tell)
        _keep(choice, tell)
    tell(f"Backend: {choice}.")
    return choice.backend


def rate(backend: Backend) -> float:
    """Scans in a second, after a first call that does not count.

    Raises
    ------
    ModelError
        The backend cannot use the model.
    BackendError
        It gave up.
    """
    with backend:
        count = max(backend.lanes, min(backend.batch_size, _SCANS))
        images = np.random.default_rng(0).random((count, *INPUT_SHAPE), np.float32)
        backend.infer(images[: backend.lanes])
        started, calls = time.perf_counter(), 0
        while time.perf_counter() - started < _SECONDS:
            backend.infer(images)
            calls += 1
        return calls * count / (time.perf_counter() - started)


def _measured(
    situation: Situation, names: list[str], model: Model, effort: Effort, tell: Callable[[str], None]
) -> Choice:
    rates: dict[str, float] = {}
    refusals: list[str] = []
    for name in names:
        try:
            rates[name] = round(rate(BACKENDS[name].load()(model, effort)), 4)
        except (UsageError, BackendError) as error:  # this one cannot, for the model or the machine; another may
            refusals.append(f"{name}: {error}")
    if not rates:
        raise ModelError(f"no backend can use this model. {'. '.join(refusals)}")
    for refusal in refusals:
        tell(f"Left out: {refusal}.")
    return Choice(situation, max(rates, key=rates.__getitem__), rates, date.today().isoformat())


def _keep(choice: Choice, tell: Callable[[str], None]) -> None:
    try:
        keep(choice)
    except OSError as error:  # the next run measures again
        tell(f"The measurement cannot be kept ({error.strerror or error}): grant access or set XDG_CACHE_HOME.")
