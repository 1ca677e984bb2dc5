import pytest

from bsbatch.errors import MissingPackageError
from bsbatch.requirements import Requirement, require, version_of


def test_a_missing_package_answers_with_its_install_line() -> None:
    needed = Requirement("no_such_package", "pip install no-such-package")

    assert needed.missing == "pip install no-such-package"
    assert needed.problem == "no_such_package is missing: pip install no-such-package"
    with pytest.raises(MissingPackageError, match="no_such_package is not installed: pip install no-such-package"):
        needed.check()


def test_a_missing_package_of_an_extra_answers_with_the_extra() -> None:
    require("pytest", extra="test")
    with pytest.raises(MissingPackageError, match=r'^no_such_package is not installed: pip install "bsbatch\[some\]"$'):
        require("no_such_package", extra="some")


def test_a_package_of_the_wrong_distribution_is_missing() -> None:
    needed = Requirement("pytest", "pip install pytest-of-another-kind", "pytest-of-another-kind")

    assert needed.missing == "pip install pytest-of-another-kind"
    with pytest.raises(MissingPackageError, match=r"^pytest-of-another-kind is not installed: pip install"):
        needed.check()
    assert Requirement("pytest", "pip install pytest", "pytest").missing is None


def test_a_part_that_needs_no_package_is_never_missing() -> None:
    assert Requirement().missing is None
    assert Requirement().problem is None
    Requirement().check()


def test_a_machine_that_lacks_anything_else_has_a_problem_although_the_package_is_installed() -> None:
    needed = Requirement("pytest", other_problem=lambda: "there is no driver here: install it")

    assert needed.missing is None
    assert needed.problem == "there is no driver here: install it"


def test_versions_of_installed_distributions_are_known() -> None:
    assert version_of("numpy")
    assert version_of("no-such-distribution") is None
