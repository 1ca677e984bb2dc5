"""The library, compiled from source with every warning an error."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from bsbatch.native.build import compile_views
from bsbatch.native.library import open_library
from bsbatch.native.view_pairs import PairFunctions

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
PROCESSORS = {
    "this processor": "",
    "one with AVX2": '-D__builtin_cpu_supports(name)=(sizeof(name)<=sizeof("avx2"))',
    "any processor": "-D__builtin_cpu_supports(name)=0",
}
"""Compiler option for each processor, which selects the functions compiled for it."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(shlex.split(os.environ.get("CC") or "cc")[0]) is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("native") / "libviews.so"
    assert compile_views(path, STRICT) is None
    return path


def library_for(processor: str, library: Path) -> Path:
    """The library for one of `PROCESSORS`, compiled beside the library for this one."""
    if "AVX2" in processor and "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    path = library.with_name(f"lib{processor.rsplit(maxsplit=1)[-1]}.so") if PROCESSORS[processor] else library
    if not path.exists():
        assert compile_views(path, [*STRICT, PROCESSORS[processor]]) is None
    return path


@pytest.fixture(scope="session", params=PROCESSORS)
def native(library: Path, request: pytest.FixtureRequest) -> PairFunctions:
    """The functions for this processor, for one with AVX2 and for one without vector extensions."""
    opened = open_library(library_for(request.param, library))
    assert opened is not None
    return PairFunctions(opened)
