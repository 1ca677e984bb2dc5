"""Workers on a Ray cluster: actors that hold a model. Ray places and watches them; retries are our own.

With retries of Ray's own a run does not end when a node is lost and none joins (ray#15045). Exceptions of an actor
arrive as results; an actor or node that has died arrives as an error of the calls before it.
"""

import os
import pickle
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from typing import Any, Protocol, TypeVar

import bsbatch
from bsbatch.config import Cluster
from bsbatch.errors import BsbatchError, ClusterError, SourceError, UsageError
from bsbatch.executors.dispatch import Answer, Event, Lost, Ready, Refused
from bsbatch.host.interruption import preserve_handlers
from bsbatch.records import Examination, Failure, Outcome, Prediction
from bsbatch.requirements import require

Seconds = Mapping[str, tuple[float, int]]
"""Busy seconds and items, by stage."""
Facts = TypeVar("Facts", covariant=True)
_CONNECT_SECONDS, _LOOK_SECONDS, _PAUSE_SECONDS = 5.0, 5.0, 5.0
"""Time for a connection, between two looks at the size of the cluster, and before a worker that did not start is
replaced."""
_LONGEST = 200
"""Characters of a message of Ray in one of ours."""
_ADVICE = "start one with ray start --head, or name its head with --ray-address HOST:PORT (docs/cluster.md)"


class UnitWorker(Protocol[Facts]):
    """What an actor holds."""

    @property
    def probe(self) -> Facts:
        """Facts about it for the driver."""
        ...

    def execute(self, exams: Sequence[Examination]) -> tuple[Outcome, ...]:
        """Return the outcomes of examinations, in their order."""
        ...

    def drain(self) -> Seconds:
        """Return what was spent since the last call."""
        ...


Make = Callable[[], AbstractContextManager[UnitWorker[Facts]]]
"""Opens a worker; it is pickled."""


def pack(value: object) -> bytes:
    """Pickle and compress: headers of one camera repeat one another."""
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), 1)


def unpack(packed: bytes) -> Any:
    """Undo `pack`."""
    return pickle.loads(zlib.decompress(packed))


def pack_answer(outcomes: Sequence[Outcome], spent: Seconds) -> bytes:
    """Pack an answer without the examinations, which the driver has."""
    return pack(([(isinstance(item, Failure), item[1:]) for item in outcomes], spent))


def unpack_answer(packed: bytes, exams: Sequence[Examination]) -> tuple[tuple[Outcome, ...], Seconds]:
    """Undo `pack_answer`."""
    bare, spent = unpack(packed)
    pairs = zip(exams, bare, strict=True)
    return tuple((Failure if failed else Prediction)._make((exam, *rest)) for exam, (failed, rest) in pairs), spent


class _Actor:
    """The class of an actor. Nothing fails in its constructor: such errors arrive without their type."""

    def warm(self, version: str, make: bytes) -> bytes:
        """Open the worker; return its facts."""
        if bsbatch.__version__ != version:
            raise UsageError(
                f"its bsbatch has version {bsbatch.__version__}, the run's {version}: install the same one"
            )
        self._stack = ExitStack()
        self._worker: UnitWorker[Any] = self._stack.enter_context(unpack(make)())
        return pack(self._worker.probe)

    def execute(self, exams: bytes) -> bytes:
        """Execute examinations."""
        return pack_answer(self._worker.execute(unpack(exams)), self._worker.drain())


@dataclass(slots=True)
class RayPool:
    """Actors of one run. Used by one thread."""

    ray: Any
    make: bytes
    """Packed `Make`."""
    cluster: Cluster
    spend: Callable[[Seconds], None] = lambda _: None
    """Called with the seconds of each answer."""
    facts: dict[int, object] = field(default_factory=dict)
    """Facts of the workers that were ready, by their numbers."""
    _actors: dict[int, Any] = field(default_factory=dict)
    _warming: dict[Any, int] = field(default_factory=dict)
    _calls: dict[Any, tuple[int, int, Sequence[Examination]]] = field(default_factory=dict)
    """By reference: worker, ticket, examinations."""
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _target: int = 0
    _look_at: float = 0.0
    _start_at: float = 0.0

    def submit(self, worker: int, ticket: int, exams: Sequence[Examination]) -> None:
        """Queue examinations for an actor, which does one call after the other."""
        call = self._actors[worker].execute.remote(pack(tuple(exams)))
        self._calls[call] = worker, ticket, exams

    def wait(self, seconds: float) -> Sequence[Event]:
        """Start missing actors, wait for the first result, and return all that are there; losses come last."""
        self._replenish()
        waiting = [*self._warming, *self._calls]
        if not waiting:
            time.sleep(seconds)
            return ()
        ready, rest = self.ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready and rest:
            ready += self.ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        events = [event for result in ready for event in self._event(result)]
        return sorted(events, key=lambda event: isinstance(event, Lost))

    def end(self, worker: int) -> None:
        """End an actor, whatever it does. Its calls are waited for: it may answer before it learns of its end."""
        self._kill(worker)

    def close(self) -> None:
        """End all actors."""
        for worker in list(self._actors):
            self._forget(worker)

    def _replenish(self) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._target, self._look_at = self._wanted(), now + _LOOK_SECONDS
        while len(self._actors) < self._target and now >= self._start_at:
            number = next(self._numbers)
            actor = self.ray.remote(
                num_cpus=self.cluster.worker_cpus,
                num_gpus=self.cluster.worker_gpus,
                max_restarts=0,
                max_task_retries=0,
            )(_Actor).remote()
            self._actors[number] = actor
            self._warming[actor.warm.remote(bsbatch.__version__, self.make)] = number

    def _wanted(self) -> int:
        """Return the number of actors: as many as asked for, or as fit and one more, for which a cluster may grow."""
        return self.possible if self.cluster.workers is not None else self.possible + 1

    @property
    def possible(self) -> int:
        """The number of workers that were asked for, or that fit."""
        return self.fitting() if self.cluster.workers is None else self.cluster.workers

    @property
    def ready(self) -> int:
        """The number of workers that have proved themselves and have not ended."""
        return len(self.facts.keys() & self._actors.keys())

    def fitting(self) -> int:
        """Return the number of workers that the nodes have the resources for, whatever else runs there."""
        needs = {"CPU": self.cluster.worker_cpus, "GPU": self.cluster.worker_gpus}
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0) // need) for name, need in needs.items() if need) for node in nodes)

    def _event(self, result: Any) -> Iterator[Event]:
        warming = result in self._warming
        if not warming and result not in self._calls:  # of an actor that another result has shown to be lost
            return
        worker, ticket, exams = (self._warming.pop(result), 0, ()) if warming else self._calls.pop(result)
        try:
            packed = self.ray.get(result)
        except self.ray.exceptions.RayError as error:
            if worker in self._actors:  # not one that was ended
                yield self._failure(worker, error, warming=warming)
            return
        if warming:
            self.facts[worker] = unpack(packed)
            yield Ready(worker)
        else:
            outcomes, spent = unpack_answer(packed, exams)
            self.spend(spent)
            yield Answer(worker, ticket, outcomes)

    def _failure(self, worker: int, error: Exception, *, warming: bool) -> Event:
        """Return the event of an error. A worker is refused for what it lacks; others are lost.

        Raises
        ------
        Exception
            A bug in a worker.
        """
        self._forget(worker)
        if warming:
            self._start_at = time.monotonic() + _PAUSE_SECONDS
        cause = getattr(error, "cause", None)  # of Ray's own error
        if isinstance(cause, BsbatchError):
            if warming and isinstance(cause, UsageError):
                return Refused(f"worker {worker} cannot take part: {cause}")
            return Lost(worker, str(cause), is_blameless=isinstance(cause, SourceError))
        if isinstance(error, self.ray.exceptions.RayTaskError):
            raise error
        if getattr(error, "actor_init_failed", False):
            words = "its Python has no bsbatch, or another one: install the driver's version on every node"
            return Refused(f"worker {worker} cannot take part: {words}")
        return Lost(worker, type(error).__name__)

    def _kill(self, worker: int) -> None:
        with suppress(Exception):  # it may have ended already, and its node with it
            self.ray.kill(self._actors.pop(worker), no_restart=True)

    def _forget(self, worker: int) -> None:
        self._kill(worker)
        self._calls = {call: entry for call, entry in self._calls.items() if entry[0] != worker}
        self._warming = {call: number for call, number in self._warming.items() if number != worker}


@contextmanager
def open_pool(make: Make[Facts], cluster: Cluster) -> Iterator[RayPool]:
    """Connect to a cluster that runs; actors start with the first `RayPool.wait` and end with the block.

    Raises
    ------
    UsageError
        There is no cluster, or it refuses.
    """
    ray = connect(cluster.address)
    pool = RayPool(ray, pack(make), cluster)
    try:
        yield pool
    finally:
        pool.close()
        ray.shutdown()


def connect(address: str | None) -> Any:
    """Return the module ``ray``, connected.

    Raises
    ------
    UsageError
        There is no cluster at the address, or it refuses.
    """
    require("ray", extra="ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    _check_port(address)
    ray = import_module("ray")
    try:
        with preserve_handlers():  # Ray's would end the process between two renames of a commit
            ray.init(address or "auto", log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(_explain(error, address)) from error
    return ray


def _explain(error: Exception, address: str | None) -> str:
    """Return the reason why a cluster cannot be joined, and what to do; `_check_port` has found a head there."""
    reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    if address is None:
        refusal = f"no Ray cluster can be joined ({reason}): {_ADVICE}"
    else:
        refusal = (
            f"the Ray cluster at {address} cannot be joined ({reason}): the driver's machine must be one of its nodes "
            f"(ray start --address {address} makes it one), with the same versions of Ray and Python"
        )
    token = "set RAY_AUTH_MODE=token here, too, and copy its ~/.ray/auth_token"
    return f"{refusal}. Where the head asks for a token, {token}"


def _check_port(address: str | None) -> None:
    """Try the port first: Ray itself tries for two minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"nothing answers at --ray-address {address} ({error.strerror or error}): {_ADVICE}"
        ) from error


def await_workers(pool: RayPool, number: int, patience: float) -> list[Event]:
    """Wait for some workers; return what has happened, for the dispatcher.

    Raises
    ------
    UsageError
        A worker was refused.
    ClusterError
        Fewer were ready in time.
    """
    events, started = list[Event](), time.monotonic()
    while pool.ready < number:
        events += pool.wait(1.0)
        refused = next((event for event in events if isinstance(event, Refused)), None)
        if refused is not None:
            raise UsageError(refused.cause)
        if time.monotonic() - started > patience:
            lost = next((f" ({event.cause})" for event in reversed(events) if isinstance(event, Lost)), "")
            some = f"{pool.ready} of {number} workers were" if pool.ready else "no worker was"
            raise ClusterError(
                f"{some} ready within {patience:g} s{lost}: ray status shows the nodes and their free processors; "
                "then run the same command to go on"
            )
    return events
