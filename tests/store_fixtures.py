"""Fixtures with servers of object stores: modules that use them name this one in ``pytest_plugins``.

They are not in conftest.py, because `make gpu` runs tests on machines without obstore.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from tests.sources.faults import Proxy, proxy
from tests.stores import S3, SERVICES, Service

from bsbatch.sources import object_store


@pytest.fixture(scope="session")
def start_store() -> Iterator[Callable[[Service], str]]:
    """A function that starts the server of a service, once in a session, and returns its URL."""
    with ExitStack() as stack:
        yield cache(lambda service: stack.enter_context(service.run()))


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
