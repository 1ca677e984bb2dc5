"""The public names of the package."""

import subprocess
import sys

import bsbatch

HEAVY = {"numpy", "pyarrow", "pydicom", "cv2", "onnxruntime", "typer"}


def test_every_public_name_has_a_docstring() -> None:
    assert len(bsbatch.__all__) > 12
    assert all(getattr(bsbatch, name).__doc__ for name in bsbatch.__all__)


def test_importing_bsbatch_loads_nothing_heavy() -> None:
    command = "import sys, bsbatch; print(*(name for name in sys.modules if '.' not in name))"

    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)

    assert HEAVY.isdisjoint(done.stdout.split())
