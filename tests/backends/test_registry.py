"""Backends by name: loaded late, with an install line if their package is missing."""

import subprocess
import sys

import pytest
from tests.backends.replacing import use_only

from bsbatch.backends.fake import FakeBackend
from bsbatch.backends.registry import LOADERS, load_backend
from bsbatch.backends.requirements import REQUIREMENTS, usable_backends
from bsbatch.config import BackendName
from bsbatch.errors import MissingPackageError
from bsbatch.requirements import Requirement

MISSING = Requirement("no_such_package", "pip install b")
WITHOUT_DRIVER = Requirement(other_problem=lambda: "there is no driver here: install it")


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_backend_can_be_chosen_by_name(name: str) -> None:
    assert name in set(BackendName) - {BackendName.AUTO}


def test_every_name_but_auto_has_a_backend_and_its_requirement() -> None:
    assert set(LOADERS) == set(REQUIREMENTS) == set(BackendName) - {BackendName.AUTO}


@pytest.mark.parametrize("name", [name for name, needed in REQUIREMENTS.items() if needed.missing is None])
def test_an_installed_backend_loads_and_has_a_precision(name: str) -> None:
    assert load_backend(name).precision in {"fp32", "fp16", "fake"}


def test_a_backend_without_its_package_answers_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REQUIREMENTS, "fake", MISSING)
    with pytest.raises(MissingPackageError, match="no_such_package is not installed: pip install b"):
        load_backend("fake")


def test_a_search_for_backends_imports_none_of_them() -> None:
    script = (
        "import sys; from bsbatch.backends.requirements import REQUIREMENTS;"
        "[needed.missing for needed in REQUIREMENTS.values()];"
        "heavy = ('onnxruntime', 'MNN', '_mnncengine', 'pycuda', 'tensorrt', 'numpy');"
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("requirements", "names"),
    [
        ({"one": Requirement(), "two": Requirement()}, ["one", "two"]),
        ({"gone": MISSING, "two": Requirement()}, ["two"]),
        ({"driver": WITHOUT_DRIVER, "two": Requirement()}, ["two"]),
        ({"fake": Requirement(), "two": Requirement()}, ["two"]),
    ],
    ids=["all that are installed", "none that is missing", "none without its device", "never the fake one"],
)
def test_usable_backends_are_those_that_work_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, requirements: dict[str, Requirement], names: list[str]
) -> None:
    use_only(monkeypatch, dict.fromkeys(requirements, FakeBackend))
    for name, needed in requirements.items():
        monkeypatch.setitem(REQUIREMENTS, name, needed)

    assert usable_backends() == names


def test_if_no_backend_works_the_message_has_every_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    use_only(monkeypatch, {"gone": FakeBackend, "fake": FakeBackend})
    monkeypatch.setitem(REQUIREMENTS, "gone", MISSING)

    with pytest.raises(MissingPackageError, match="gone: no_such_package is missing: pip install b"):
        usable_backends()
