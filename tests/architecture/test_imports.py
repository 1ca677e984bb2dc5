"""The command line is light, and the layers hold."""

import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "pydicom",
    "cv2",
    "onnxruntime",
    "MNN",
    "_mnncengine",
    "_tools",
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "sklearn",
    "scipy",
    "jinja2",
    "vl_convert",
    "tensorrt",
    "tensorrt_rtx",
    "pycuda",
)


def _loaded_after(code: str) -> set[str]:
    report = f"{code}\nimport sys; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import bsbatch",
        "import bsbatch.cli",
        "import bsbatch_build",
        "import bsbatch_build.cli",
        "from typer.testing import CliRunner; from bsbatch.cli import app; CliRunner().invoke(app, ['--help'])",
        "from typer.testing import CliRunner; from bsbatch.cli import app; CliRunner().invoke(app, ['run', '--help'])",
        "from typer.testing import CliRunner; from bsbatch.cli import app; CliRunner().invoke(app, ['info', '--json'])",
        "import typer.testing as t; from bsbatch.cli import app; t.CliRunner().invoke(app, ['evaluate', '--help'])",
        "import typer.testing as t; from bsbatch.cli import app; t.CliRunner().invoke(app, ['report', '--help'])",
        "import typer.testing as t; from bsbatch.cli import app; t.CliRunner().invoke(app, ['bench', '--help'])",
        "from typer.testing import CliRunner; from bsbatch_build.cli import app; CliRunner().invoke(app, ['--help'])",
        "import typer.testing as t, bsbatch_build.cli as c; t.CliRunner().invoke(c.app, ['compile', '--help'])",
    ],
)
def test_the_command_line_loads_nothing_heavy(code: str) -> None:
    assert _loaded_after(code).isdisjoint(HEAVY)


def test_a_run_loads_no_training_package() -> None:
    assert _loaded_after("import bsbatch.run.screen").isdisjoint(
        {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "MNN"}
    )


def test_a_report_without_labels_and_a_run_load_no_package_of_an_evaluation() -> None:
    code = "import bsbatch.html_report.page, bsbatch.html_report.charts, bsbatch.run.screen"
    assert _loaded_after(code).isdisjoint({"sklearn", "scipy", "statsmodels"})


def test_mnn_and_its_converter_are_never_loaded_into_the_run_itself() -> None:
    """They crash in C, write to the terminal and hold the interpreter lock, so they stay in the workers."""
    assert _loaded_after("import bsbatch.backends.mnn").isdisjoint({"MNN", "_mnncengine", "_tools"})


def test_help_loads_few_modules() -> None:
    """The number of modules decides the time of --help, which the benchmarks measure; 348 with Python 3.11."""
    program = (
        "import atexit, sys; from bsbatch.cli import main; "
        "atexit.register(lambda: print(len(sys.modules))); sys.argv[1:] = ['--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < 400
