"""README as a package index shows it, and the files that it names in the source distribution."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TARGET = re.compile(r"\]\(([^)]+)\)|(?:src|href|srcset)=[\"']([^\"']+)")


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the source distribution by their path, without its top folder."""
    pytest.importorskip("hatch_fancy_pypi_readme", reason="make wheels has it")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive}
        return {name.split("/", 1)[1]: file.read() for name, file in files.items() if file is not None}


def test_the_long_description_has_no_link_that_needs_a_file_beside_it(source_distribution: dict[str, bytes]) -> None:
    readme = source_distribution["PKG-INFO"].decode().split("\n\n", 1)[1]
    targets = [markdown or html for markdown, html in _TARGET.findall(readme)]
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_files_that_readme_links_are_in_the_source_distribution(source_distribution: dict[str, bytes]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = {(markdown or html).split("#")[0] for markdown, html in _TARGET.findall(readme)}
    assert {target for target in targets if not target.startswith("https:")} - {""} <= source_distribution.keys()


@pytest.mark.parametrize(
    "name", ["Makefile", "docs/index.md", "mkdocs.yml", "CITATION.cff", "CONTRIBUTING.md", ".ci/run"]
)
def test_the_source_distribution_has_what_its_commands_need(source_distribution: dict[str, bytes], name: str) -> None:
    assert name in source_distribution
