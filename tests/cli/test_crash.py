"""A crash of compiled code is reported."""

import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys
import bsbatch.cli, bsbatch.run.screen
bsbatch.run.screen.screen = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)
sys.argv = ["bsbatch", "run", sys.argv[1], "--backend", "fake", "--out", sys.argv[2]]
bsbatch.cli.main()
"""


def test_a_crash_is_reported_with_its_stack(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, tmp_path / "out"], capture_output=True, text=True, check=False
    )

    assert done.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in done.stderr
    assert "_screen" in done.stderr
