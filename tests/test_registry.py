import subprocess
import sys

import pytest

from bsbatch import registry
from bsbatch.config import BackendName
from bsbatch.errors import MissingPackageError
from bsbatch.registry import BACKENDS, CODECS, Part, installed_version, load, usable


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_can_be_asked_for_by_name(name: str) -> None:
    assert name in set(BackendName) - {BackendName.AUTO}


def test_every_name_but_auto_has_a_backend() -> None:
    assert set(BackendName) - {BackendName.AUTO} == set(BACKENDS)


@pytest.mark.parametrize("part", [part for part in BACKENDS.values() if part.missing is None], ids=lambda p: p.target)
def test_an_installed_part_loads_under_its_own_name(part: Part) -> None:
    assert part.load().__name__ == part.target.partition(":")[2]


def test_a_missing_package_answers_with_its_install_line() -> None:
    part = Part("nowhere:Nothing", "no_such_package", "pip install no-such-package")

    assert part.missing == "pip install no-such-package"
    with pytest.raises(MissingPackageError, match="pip install no-such-package"):
        part.load()


def test_a_package_of_the_wrong_distribution_is_missing() -> None:
    part = Part("pytest:Item", "pytest", "pip install pytest-of-another-kind", "pytest-of-another-kind")

    assert part.missing == "pip install pytest-of-another-kind"
    with pytest.raises(MissingPackageError, match=r"^pytest-of-another-kind is not installed: pip install"):
        part.load()
    assert Part("pytest:Item", "pytest", "pip install pytest", "pytest").missing is None


def test_a_part_without_a_package_is_never_missing() -> None:
    assert Part("bsbatch.backends.fake:FakeBackend").missing is None


@pytest.mark.parametrize("part", CODECS.values(), ids=CODECS)
def test_a_codec_comes_with_the_extra(part: Part) -> None:
    assert "bsbatch[codecs]" in part.install


def test_a_target_is_loaded_by_name() -> None:
    assert load("bsbatch.registry:BACKENDS") is registry.BACKENDS


def test_looking_for_parts_imports_none_of_them() -> None:
    script = (
        "import sys; from bsbatch.registry import BACKENDS, CODECS;"
        "[part.missing for part in (*BACKENDS.values(), *CODECS.values())];"
        "heavy = ('onnxruntime', 'MNN', '_mnncengine', 'gdcm', 'openjpeg', 'jpeg_ls', 'numpy');"
        "print([name for name in heavy if name in sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"


def test_versions_of_what_is_installed_are_known() -> None:
    assert installed_version("numpy")
    assert installed_version("no-such-distribution") is None


HERE, MISSING = Part("a:A"), Part("b:B", "no_such_package", "pip install b")
WITHOUT_DRIVER = Part("c:C", asked="tests.test_registry:no_driver")


def no_driver() -> str:
    return "there is no driver here: install it"


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ({"one": HERE, "two": HERE}, ["one", "two"]),
        ({"gone": MISSING, "two": HERE}, ["two"]),
        ({"driver": WITHOUT_DRIVER, "two": HERE}, ["two"]),
        ({"fake": HERE, "two": HERE}, ["two"]),
    ],
    ids=["all that are here", "none that is missing", "none that the machine is not for", "never the excluded one"],
)
def test_usable_parts_are_those_that_work_here(parts: dict[str, Part], names: list[str]) -> None:
    assert usable(parts, excluded="fake") == names


def test_a_part_says_what_it_lacks_beside_its_package() -> None:
    assert (HERE.why_not, WITHOUT_DRIVER.missing) == (None, None)
    assert MISSING.why_not == "no_such_package is missing: pip install b"
    assert WITHOUT_DRIVER.why_not == no_driver()


def test_where_no_part_works_every_install_line_is_told() -> None:
    with pytest.raises(MissingPackageError, match="pip install b"):
        usable({"gone": MISSING, "fake": HERE}, excluded="fake")
