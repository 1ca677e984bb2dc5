"""Packages and devices that each backend needs. Light: ``bsbatch info`` shows them.

In order of preference, the fastest first; `bsbatch.run.autotune` measures which is the fastest on this machine.
"""

from bsbatch.config import BackendName
from bsbatch.cuda.gpu import INSTALL, ONNXRUNTIME_INSTALL, driver_problem
from bsbatch.cuda.library import nvinfer_problem, tensorrt_problem
from bsbatch.errors import MissingPackageError
from bsbatch.native.library import INSTALL as LIBRARY_INSTALL
from bsbatch.native.library import problem_of
from bsbatch.requirements import Requirement

REQUIREMENTS: dict[str, Requirement] = {
    BackendName.TENSORRT: Requirement("pycuda", INSTALL, other_problem=tensorrt_problem),
    BackendName.ONNXRUNTIME_TENSORRT: Requirement(
        "onnxruntime", ONNXRUNTIME_INSTALL, "onnxruntime-gpu", other_problem=nvinfer_problem
    ),
    BackendName.ONNXRUNTIME_CUDA: Requirement(
        "onnxruntime", ONNXRUNTIME_INSTALL, "onnxruntime-gpu", other_problem=driver_problem
    ),
    BackendName.WINOGRAD: Requirement("bsbatch.native.libviews", LIBRARY_INSTALL, other_problem=problem_of),
    BackendName.MNN: Requirement("MNN", "pip install MNN"),
    BackendName.ONNXRUNTIME: Requirement("onnxruntime"),
    BackendName.FAKE: Requirement(),
}
"""By the name of the backend; `bsbatch.backends.registry` loads it."""


def usable_backends() -> list[str]:
    """Names of the backends that work on this machine; never the fake one.

    Raises
    ------
    MissingPackageError
        There is none; the message names the problem of each, with its install line.
    """
    problems = {name: needed.problem for name, needed in REQUIREMENTS.items() if name != BackendName.FAKE}
    names = [name for name, problem in problems.items() if problem is None]
    if not names:
        lines = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise MissingPackageError(f"no backend works here. {lines}")
    return names
