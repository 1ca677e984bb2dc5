"""`pip install` makes a platform wheel with the library, or without a compiler a wheel for every platform."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = "import os, sys; from hatchling.build import build_wheel; os.chdir(sys.argv[1]); print(build_wheel(sys.argv[2]))"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The repository without its large models, with a stale library in it."""
    pytest.importorskip("hatchling", reason="wheels are made by hatchling")
    root = tmp_path / "source"
    for folder in ("engine", "build_tools"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("models", "__pycache__", "*.so"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, root)
    (root / "engine/bsbatch/native/libviews.so").write_bytes(b"of another version")
    return root


def wheel_of(source: Path, out: Path, **environment: str) -> tuple[str, set[str], str]:
    """Name, files and build log of the wheel."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MAKE, source, out],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    (wheel,) = out.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return wheel.name, set(archive.namelist()), done.stdout + done.stderr


@pytest.mark.usefixtures("library")
def test_a_wheel_holds_the_library_and_names_its_platform(source: Path, tmp_path: Path) -> None:
    name, files, _ = wheel_of(source, tmp_path / "out")

    assert "-py3-none-" in name
    assert not name.endswith("-any.whl")
    assert {"bsbatch/native/libviews.so", "bsbatch/native/view_pairs.c", "bsbatch/imaging/quality.py"} <= files
    assert (source / "engine/bsbatch/native/libviews.so").read_bytes() != b"of another version"


def test_the_library_asks_for_no_newer_glibc_than_wheels_promise(library: Path) -> None:
    versions = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())}
    assert max(versions) <= 17


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"BSBATCH_NATIVE": "0"}, "BSBATCH_NATIVE=0"),
        ({"CC": "no-such-compiler"}, "cannot be run"),
        ({"CC": "false"}, "failed"),
    ],
)
def test_without_a_compiler_the_wheel_is_for_every_platform(
    source: Path, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    name, files, log = wheel_of(source, tmp_path / "out", **environment)

    assert name.endswith("-py3-none-any.whl")
    assert "bsbatch/native/libviews.so" not in files
    assert "bsbatch/native/view_pairs.py" in files
    assert words in log
    assert not (source / "engine/bsbatch/native/libviews.so").exists()


def test_a_build_that_requires_the_library_fails_without_it(source: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        wheel_of(source, tmp_path / "out", BSBATCH_NATIVE="1", CC="no-such-compiler")
    assert "no compiled part: no-such-compiler cannot be run" in raised.value.stderr
    assert not list((tmp_path / "out").iterdir())
