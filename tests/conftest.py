"""Fixtures of several rooms: a model, and an archive of phantoms with clutter."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache as cache_results
from pathlib import Path

import pytest
from tests.graphs import give_distance
from tests.sources.faults import Proxy, proxy
from tests.stores import S3, SERVICES, Service

from bsbatch.sources import object_store
from bsbatch_build.export.export import ExportSettings, export
from bsbatch_build.network.network import NetworkSettings
from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of the tests, empty at first; child processes inherit it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def start_store() -> Iterator[Callable[[Service], str]]:
    """A function that starts the server of a service, once in a session, and returns its URL."""
    with ExitStack() as stack:
        yield cache_results(lambda service: stack.enter_context(service.run()))


@pytest.fixture(params=SERVICES, ids=lambda service: service.scheme)
def service(
    request: pytest.FixtureRequest, start_store: Callable[[Service], str], monkeypatch: pytest.MonkeyPatch
) -> Service:
    """Every kind of object store, with the settings of its server in the environment."""
    kind: Service = request.param
    kind.use(start_store(kind), monkeypatch)
    return kind


@pytest.fixture
def faulty(start_store: Callable[[Service], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before moto, in the environment, which does no harm until it has a rule; obstore gives up soon."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2}
    monkeypatch.setattr(object_store, "_RETRIES", {"max_retries": 2, "backoff": backoff})
    with proxy(start_store(S3)) as (state, url):
        S3.use(url, monkeypatch)
        yield state


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A prefix of a bucket that no other test uses."""
    return f"{tmp_path.parent.name}-{tmp_path.name}"


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of the small twin, with a distance whose limit no image reaches."""
    folder = tmp_path_factory.mktemp("model") / "twin"
    export(ExportSettings(folder, NetworkSettings(seed=1, width=0.0625)))
    give_distance(folder, channels=32, limit=1e9)
    return folder


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of phantoms of every dialect, with clutter."""
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_set(folder, SetPlan(studies=48, seed=11))
    return folder
