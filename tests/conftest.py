"""Fixtures of several rooms: a model, and an archive of phantoms with clutter."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.graphs import give_distance

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
