"""The trainings that led to a model's weights, in their order, out of what its manifest nests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NESTED = frozenset({"weights", "weights_sha256", "configuration", "initialisation", "history", "joined_with"})
"""Entries of ``manifest.training`` that `lineage` tells in order."""
_HASH_DIGITS = 16

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Training:
    """One run of ``bsbatch-build train``."""

    sha256: str
    """Of the weights that it left."""
    start: str
    """Where its weights came from, in words."""
    network: Entry
    recipe: Entry
    studies: Entry
    """Side and centre -> class -> labelled studies."""
    tools: Entry
    history: tuple[Entry, ...]
    """An entry for each epoch."""


def lineage(training: Entry) -> tuple[Training, ...]:
    """List the trainings, each behind those that it started from; none where the manifest tells of none.

    Parameters
    ----------
    training
        ``manifest.training``, as ``bsbatch-build export`` writes it.
    """
    found: dict[str, Training] = {}
    for origin in (training, *training.get("joined_with", ())):
        if _is_recorded(origin):
            _add(_as_start(origin), found)
    return tuple(found.values())


def summary(trainings: tuple[Training, ...]) -> str:
    """The starts of all trainings, in words."""
    starts = (f"training {number} from {training.start}" for number, training in enumerate(trainings, start=1))
    return f"{'; '.join(starts)}. They stand under Training."


def _is_recorded(origin: Entry) -> bool:
    configuration = origin.get("configuration")
    return "weights_sha256" in origin and isinstance(configuration, Mapping) and "recipe" in configuration


def _as_start(origin: Entry) -> Entry:
    """What was exported, in the form that a training names its start in."""
    run = {
        **origin["configuration"],
        "studies": origin["data"]["studies"],
        "history": origin["history"],
        "start": origin["initialisation"],
    }
    return {"weights": origin["weights"], "sha256": origin["weights_sha256"], "run": run}


def _add(start: Entry, found: dict[str, Training]) -> None:
    """Put a training behind all that it comes from."""
    run = start.get("run")
    if run is None or start["sha256"] in found:
        return
    parents = list(_parents(run))
    for parent in parents:
        _add(parent, found)
    known = list(found)
    words = " and ".join(_named(parent, known, run["network"]) for parent in parents)
    found[start["sha256"]] = Training(
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


def _named(start: Entry, known: list[str], network: Entry) -> str:
    if start.get("sha256") in known:
        return f"training {known.index(start['sha256']) + 1}"
    if "sha256" in start:
        return f"{start['weights']} (SHA-256 {start['sha256'][:_HASH_DIGITS]})"
    return f"{start['weights']} weights, seed {network['seed']}"
