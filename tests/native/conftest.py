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
NARROW = "-D__builtin_cpu_supports(name)=0"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(shlex.split(os.environ.get("CC") or "cc")[0]) is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("native") / "libviews.so"
    assert compile_views(path, STRICT) is None
    return path


@pytest.fixture(scope="session", params=["this processor", "any processor"])
def native(library: Path, request: pytest.FixtureRequest) -> Views:
    """Its functions, as they are for this processor and as they are for one without wide instructions."""
    if request.param == "any processor":
        library = library.with_name("libplain.so")
        assert compile_views(library, [*STRICT, NARROW]) is None
    opened = open_library(library)
    assert opened is not None
    return Views(opened)
