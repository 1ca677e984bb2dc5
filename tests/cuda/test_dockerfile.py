"""The GPU image is built without cuRAND, and its build fails where pycuda lacks a library that no driver brings."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE, DOCUMENT = ROOT / "Dockerfile", ROOT / "docs" / "gpu.md"
SHELL = shutil.which("sh")
FOUND = "\tlibstdc++.so.6 => /lib/x86_64-linux-gnu/libstdc++.so.6 (0x00007f0000000000)"
DRIVER, CURAND = "\tlibcuda.so.1 => not found", "\tlibcurand.so.10 => not found"


def steps() -> list[str]:
    """Instructions of the file, comments left out and continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def number_of(words: str) -> int:
    """Position of the one instruction with these words."""
    (number,) = [number for number, step in enumerate(steps()) if words in step]
    return number


def test_pycuda_is_built_without_curand() -> None:
    installs = [number for number, step in enumerate(steps()) if "pip install" in step and "EXTRAS" in step]
    assert number_of("AS wheels") < number_of("CUDA_ENABLE_CURAND = False") < max(installs)


@pytest.mark.parametrize("path", [DOCKERFILE, DOCUMENT], ids=lambda path: path.name)
def test_the_extras_of_images_exist(path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"EXTRAS=([\w,-]+)", path.read_text(encoding="utf-8"))
    assert named
    assert {extra for group in named for extra in group.split(",")} <= extras.keys()


def test_the_document_has_an_image_that_compiles_engines_and_its_command() -> None:
    """The image that runs cannot: it lacks what makes the float16 graph."""
    text = DOCUMENT.read_text(encoding="utf-8")
    image = re.search(r"docker build -t (\S+) --build-arg EXTRAS=build,tensorrt,", text)
    assert image is not None
    folder = steps()[number_of("COPY --from=wheels")].split()[-1]
    assert f"--entrypoint {folder}/bin/bsbatch-build {image[1]} compile /model" in text
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert "bsbatch-build" in scripts


def test_both_stages_for_a_gpu_are_of_one_cuda() -> None:
    stages = [step for step in steps() if step.startswith("FROM nvidia/")]
    assert [re.findall(r"nvidia/cuda:\$\{CUDA\}-(\w+)-", stage) for stage in stages] == [["devel"], ["base"]]


@pytest.mark.skipif(SHELL is None, reason="there is no sh")
@pytest.mark.parametrize(
    ("linked", "status", "is_complete"),
    [
        ([FOUND, DRIVER], 0, True),
        ([FOUND], 0, True),
        ([FOUND, DRIVER, CURAND], 0, False),
        ([CURAND], 0, False),
        ([DRIVER.replace("libcuda.so.1", "libcuda.so.10")], 0, False),
        ([], 1, False),  # no such file
    ],
)
def test_the_last_stage_fails_where_pycuda_lacks_a_library_besides_the_drivers(
    linked: list[str], status: int, is_complete: bool, tmp_path: Path
) -> None:
    assert number_of("ldd ") > number_of("COPY --from=wheels")
    (tmp_path / "linked").write_text("".join(f"{line}\n" for line in linked), encoding="utf-8")
    stand_in = tmp_path / "ldd"
    stand_in.write_text(f'#!/bin/sh\ncat "{tmp_path}/linked"\nexit {status}\n', encoding="utf-8")
    stand_in.chmod(0o755)
    command = steps()[number_of("ldd ")].removeprefix("RUN ")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([str(SHELL), "-c", command], env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) is is_complete
    assert (CURAND in done.stdout.decode()) is (CURAND in linked)  # the build's log names it
