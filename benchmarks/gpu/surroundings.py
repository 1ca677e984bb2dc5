"""A step of `make gpu`: the GPU, its driver, and versions."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from benchmarks.gpu.machine import require_gpu
from benchmarks.gpu.sanitizer import find_sanitizer
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch.cuda.gpu import versions
from bsbatch.host.machine import output_of, usable_cpus
from bsbatch.native.build import compile_views
from bsbatch.native.library import LIBRARY, open_library

_FIELDS = (
    *("name", "driver_version", "memory.total", "memory.used", "clocks.max.sm", "clocks.sm", "clocks.mem"),
    *("pcie.link.gen.current", "pcie.link.width.current", "power.limit", "compute_mode", "mig.mode.current"),
)


def measure(_: Setup) -> Iterator[Line]:
    """Yield names and values; compiles bsbatch's C code first where it is missing."""
    problem = compile_views(LIBRARY) if open_library() is None else None
    yield {"what": "compiled code of bsbatch", "value": problem or "works"}
    yield {"what": "CPUs", "value": str(usable_cpus())}
    for name, version in versions().items():
        yield {"what": name, "value": version or "not here"}
    if find_spec("torch") is not None:
        torch = import_module("torch")
        yield {"what": "torch", "value": f"{torch.__version__}, CUDA {torch.version.cuda}"}
        yield {"what": "cuDNN", "value": str(torch.backends.cudnn.version())}
    yield {"what": "compute-sanitizer", "value": "works" if find_sanitizer() else "not here"}
    values = output_of(["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader", "--id=0"])
    for name, value in zip(_FIELDS, values.split(", ") if values else (), strict=False):
        yield {"what": f"nvidia-smi {name}", "value": value}
    found = require_gpu()
    yield {"what": "GPU", "value": found.name, "label": found.label}


if __name__ == "__main__":
    run_step(measure)
