"""Lists the trainings behind a model's weights in their order, from the nested records of its manifest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NESTED = frozenset({"weights", "weights_sha256", "configuration", "initialisation", "history", "joined_with"})
"""Entries of ``manifest.training`` that `lineage` lists in order."""
_HASH_DIGITS = 16

Entry = Mapping[str, Any]
"""A JSON object of the manifest."""


@dataclass(frozen=True, slots=True)
class Training:
    """One run of ``bsbatch-build train``."""

    sha256: str
    """SHA-256 of the resulting weights, hexadecimal."""
    start: str
    """Origin of its starting weights, in words."""
    network: Entry
    recipe: Entry
    studies: Entry
    """Side and centre -> class -> number of labelled studies."""
    tools: Entry
    history: tuple[Entry, ...]
    """One entry for each epoch."""


def lineage(training: Entry) -> tuple[Training, ...]:
    """List the trainings, each after those that it started from; empty if the manifest records none.

    Parameters
    ----------
    training
        ``manifest.training``, as ``bsbatch-build export`` writes it.
    """
    trainings: dict[str, Training] = {}
    for origin in (training, *training.get("joined_with", ())):
        if _is_recorded(origin):
            _add(_as_start(origin), trainings)
    return tuple(trainings.values())


def summary(trainings: tuple[Training, ...]) -> str:
    """Starts of all trainings, in words."""
    starts = (f"training {number} from {training.start}" for number, training in enumerate(trainings, start=1))
    return f"{'; '.join(starts)}. They are listed under Training."


def _is_recorded(origin: Entry) -> bool:
    configuration = origin.get("configuration")
    return "weights_sha256" in origin and isinstance(configuration, Mapping) and "recipe" in configuration


def _as_start(origin: Entry) -> Entry:
    """Convert the exported training to the form in which a training records its start."""
    run = {
        **origin["configuration"],
        "studies": origin["data"]["studies"],
        "history": origin["history"],
        "start": origin["initialisation"],
    }
    return {"weights": origin["weights"], "sha256": origin["weights_sha256"], "run": run}


def _add(start: Entry, trainings: dict[str, Training]) -> None:
    """Append a training after all its ancestors."""
    run = start.get("run")
    if run is None or start["sha256"] in trainings:
        return
    parents = list(_parents(run))
    for parent in parents:
        _add(parent, trainings)
    hashes = list(trainings)
    words = " and ".join(_name_of(parent, hashes, run["network"]) for parent in parents)
    trainings[start["sha256"]] = Training(
        start["sha256"],
        f"the mean of {words}" if len(parents) > 1 else words,
        run["network"],
        run["recipe"],
        run["studies"],
        run["tools"],
        tuple(run["history"]),
    )


def _parents(run: Entry) -> Iterator[Entry]:
    start = run["start"]
    yield from start.get("mean_of", [start])
    if "average" in run:
        yield run["average"]


def _name_of(start: Entry, hashes: list[str], network: Entry) -> str:
    if start.get("sha256") in hashes:
        return f"training {hashes.index(start['sha256']) + 1}"
    if "sha256" in start:
        return f"{start['weights']} (SHA-256 {start['sha256'][:_HASH_DIGITS]})"
    return f"{start['weights']} weights, seed {network['seed']}"
