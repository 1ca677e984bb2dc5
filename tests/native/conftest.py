"""The compiled part, made of its source with every warning an error."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from bsbatch.native.build import compile_views
from bsbatch.native.library import open_library
from bsbatch.native.views import Views

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(shlex.split(os.environ.get("CC") or "cc")[0]) is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("native") / "libviews.so"
    assert compile_views(path, STRICT) is None
    return path


@pytest.fixture(scope="session")
def native(library: Path) -> Views:
    opened = open_library(library)
    assert opened is not None
    return Views(opened)
