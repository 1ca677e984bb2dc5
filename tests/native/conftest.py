"""The compiled part, made of its source with every warning an error."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from bsbatch.native.build import compile_views
from bsbatch.native.library import open_library
from bsbatch.native.view_pairs import Views

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
PROCESSORS = {
    "this processor": "",
    "one with AVX2": '-D__builtin_cpu_supports(name)=(sizeof(name)<=sizeof("avx2"))',
    "any processor": "-D__builtin_cpu_supports(name)=0",
}
"""What the compiler is told of each: the functions made for it are then the ones that are called."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(shlex.split(os.environ.get("CC") or "cc")[0]) is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("native") / "libviews.so"
    assert compile_views(path, STRICT) is None
    return path


def library_for(processor: str, library: Path) -> Path:
    """The library as it is for one of `PROCESSORS`, compiled beside that for this one."""
    if "AVX2" in processor and "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    path = library.with_name(f"lib{processor.rsplit(maxsplit=1)[-1]}.so") if PROCESSORS[processor] else library
    if not path.exists():
        assert compile_views(path, [*STRICT, PROCESSORS[processor]]) is None
    return path


@pytest.fixture(scope="session", params=PROCESSORS)
def native(library: Path, request: pytest.FixtureRequest) -> Views:
    """Its functions, as they are for this processor and as they are for those with fewer of the wide instructions."""
    opened = open_library(library_for(request.param, library))
    assert opened is not None
    return Views(opened)
