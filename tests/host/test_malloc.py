"""Freed memory is used again without page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from bsbatch.host.malloc import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(100):
    images = [np.ones((512, 512), np.float32) for _ in range(4)]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    del images
print(faults[-1] - faults[10])
"""
IMAGES = 90 * 4
PAGES_OF_AN_IMAGE = 256


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_images_that_are_freed_and_allocated_again_take_no_new_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert int(done.stdout) < IMAGES * PAGES_OF_AN_IMAGE / 50
