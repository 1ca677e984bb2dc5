"""What the documents promise is there: reasons, flags, files."""

import re
from pathlib import Path

import pytest

from bsbatch.imaging.gradcam import CamWarning
from bsbatch.imaging.quality import Flag
from bsbatch.reasons import EXPLANATIONS, SKIPS, Reason
from bsbatch.store.patients import IDENTITY_COLUMNS
from bsbatch.store.tables import CAM_COLUMNS, OBJECT_COLUMNS, RESULT_COLUMNS

ROOT = Path(__file__).parents[2]


def _document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8").replace("\\|", "|")  # as it must be in a cell of a table


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented_with_its_status(reason: Reason) -> None:
    status = "skipped" if reason in SKIPS else "failed"
    assert f"| `{reason}` | {status} | {EXPLANATIONS[reason]} |" in _document("tables.md")


@pytest.mark.parametrize("flag", Flag)
def test_every_quality_flag_is_documented(flag: Flag) -> None:
    assert f"| `{flag}` |" in _document("tables.md")


@pytest.mark.parametrize("warning", CamWarning)
def test_every_warning_of_a_heat_map_is_documented(warning: CamWarning) -> None:
    assert f"| `{warning}` |" in _document("tables.md")


@pytest.mark.parametrize(
    "column", [*RESULT_COLUMNS, *IDENTITY_COLUMNS, *CAM_COLUMNS, *OBJECT_COLUMNS], ids=lambda column: column.name
)
def test_every_column_is_documented(column: object) -> None:
    name, description = getattr(column, "name"), getattr(column, "description")  # noqa: B009 - columns of two tables
    assert f"| `{name}` |" in _document("tables.md")
    assert description in _document("tables.md")


def test_links_of_the_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "AGENTS.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


PACKAGES = ("engine", "build_tools", "tests", "benchmarks")
AGENTS = (ROOT / "AGENTS.md").read_text(encoding="utf-8")


def test_source_files_that_the_documents_name_are_there() -> None:
    files = [f"/{path.relative_to(ROOT)}" for room in PACKAGES for path in (ROOT / room).rglob("*.*")]
    for document in [ROOT / "README.md", ROOT / "AGENTS.md", *ROOT.glob("docs/*.md")]:
        for name in re.findall(r"`([\w/]+\.(?:py|c|cu))`", document.read_text(encoding="utf-8")):
            assert any(file.endswith(f"/{name}") for file in files), f"{document.name}: {name}"


def _paths_in_the_tree() -> list[str]:
    """The paths of the tree in AGENTS.md: a folder stands at the margin, its modules indented below it."""
    paths, folder = list[str](), ""
    for line in AGENTS.split("```")[1].splitlines():
        name = line.split()[0] if line.strip() else ""
        if line.startswith("  "):
            paths.append(f"{folder}{name}")
        elif name.endswith("/"):
            folder = name
    return paths


def test_the_tree_in_agents_has_one_line_for_each_module() -> None:
    packages = ("engine/bsbatch", "build_tools/bsbatch_build")
    modules = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    }

    listed = _paths_in_the_tree()

    assert {path for path in listed if path.endswith(".py") and path.startswith(packages)} == modules
    assert len(listed) == len(set(listed))
    assert [path for path in listed if not (ROOT / path).exists()] == []


def _recipes() -> dict[str, str]:
    """Title -> text of every recipe in AGENTS.md."""
    text = AGENTS.split("## Recipes")[1].split("\n## ")[0]
    return dict(re.findall(r"^### (.+?)\n(.+?)(?=^### |\Z)", text, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("title", _recipes())
def test_a_recipe_names_paths_and_the_names_in_them_that_are_there(title: str) -> None:
    steps = re.findall(r"^\d+\. `([^`]+)`(?: \(((?:`[^`]+`(?:, )?)+)\))?:", _recipes()[title], re.MULTILINE)

    assert len(steps) >= 2
    for path, names in steps:
        assert (ROOT / path).exists(), path
        for name in re.findall(r"`([^`]+)`", names):
            assert re.search(rf"\b{re.escape(name)}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path}: {name}"


def test_every_step_of_a_recipe_names_a_path() -> None:
    for title, text in _recipes().items():
        for step in re.findall(r"^\d+\. .*$", text, re.MULTILINE):
            assert re.match(r"\d+\. `[^`]+/?`( \(.+?\))?: ", step), f"{title}: {step}"


def test_the_readme_shows_rows_of_the_last_benchmark_and_those_that_missed_their_target() -> None:
    shown, measured = (
        re.findall(r"<!-- table -->\n(.*?)<!-- end of table -->", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
        for name in ("README.md", "benchmarks/RESULTS.md")
    )
    rows = shown[0].splitlines()
    missed = [row for row in measured[0].splitlines() if row.endswith("| missed |")]

    assert len(rows) >= 6
    assert rows == [row for row in measured[0].splitlines() if row in rows]
    assert set(missed) <= set(rows)
