"""``--backend auto``: the fastest backend for a model on this machine, measured once and remembered."""

import time
from collections.abc import Callable
from datetime import date

import numpy as np

from bsbatch.backends.registry import load_backend
from bsbatch.backends.requirements import usable_backends
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.models.directory import Model
from bsbatch.protocols import Backend
from bsbatch.run.backend_rates import Choice, Situation, find, remember

_SECONDS = 2.0
"""Shortest measurement of one backend."""
_SCANS = 4
"""Images in one call; at least the backend's lanes, at most its batch."""


def choose(model: Model, effort: Effort, remark: Callable[[str], None]) -> str:
    """Return the name of the fastest backend, and report the choice and its reason.

    Parameters
    ----------
    model
        The model to run.
    effort
        Settings of the run: another number of threads may make another backend the fastest.
    remark
        Called with sentences for the user.

    Raises
    ------
    MissingPackageError
        No backend is installed.
    ModelError
        None of them can use the model.
    """
    names = usable_backends()
    if len(names) == 1:
        remark(f"Backend: {names[0]}, the only one installed.")
        return names[0]
    situation = Situation.now(model.model_id, effort)
    choice = find(situation)
    if choice is None:
        remark(f"Measuring {' and '.join(names)}, once for this machine and model ...")
        choice = _measure_all(situation, names, model, effort, remark)
        _remember(choice, remark)
    remark(f"Backend: {choice}.")
    return choice.backend


def measure_rate(backend: Backend) -> float:
    """Return scans per second, measured after one uncounted call.

    Raises
    ------
    ModelError
        The backend cannot run the model.
    BackendError
        The backend failed.
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


def _measure_all(
    situation: Situation, names: list[str], model: Model, effort: Effort, remark: Callable[[str], None]
) -> Choice:
    rates: dict[str, float] = {}
    refusals: dict[str, str] = {}
    for name in names:
        try:
            rates[name] = round(measure_rate(load_backend(name)(model, effort)), 4)
        except (UsageError, BackendError) as error:  # another backend may suit the model and the machine
            refusals[name] = str(error)
    left_out = [f"{name}: {reason}" for name, reason in refusals.items()]
    if not rates:
        raise ModelError(f"no backend can use this model. {'. '.join(left_out)}")
    for refusal in left_out:
        remark(f"Left out: {refusal}.")
    return Choice(situation, max(rates, key=rates.__getitem__), rates, date.today().isoformat(), refusals)


def _remember(choice: Choice, remark: Callable[[str], None]) -> None:
    try:
        remember(choice)
    except OSError as error:  # the next run measures again
        remark(f"The measurement cannot be kept ({error.strerror or error}): grant access or set XDG_CACHE_HOME.")
