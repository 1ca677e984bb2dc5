"""The measures of `make house` on small packages whose values are known, and its exit code."""

from pathlib import Path

import pytest
from tests.architecture import house

LAYERS = [{"cli"}, {"run", "bench"}, {"host"}, {"errors"}]


def write_package(folder: Path, **modules: str) -> Path:
    """Write a package; ``run__screen`` becomes ``run/screen.py``."""
    package = folder / "little"
    for name, text in {"__init__": '"""A package."""\n', **modules}.items():
        path = package / f"{name.replace('__', '/') if not name.startswith('__') else name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def measure(folder: Path, **modules: str) -> dict[str, float]:
    modules = {"errors": "def fail() -> None: ...\n", **modules}
    return house.measure(write_package(folder, **modules), LAYERS)


def test_modules_in_rooms_are_not_loose(tmp_path: Path) -> None:
    assert measure(tmp_path, host__files="", host__threads="", config="")["loose modules"] == 2


def test_modules_that_import_one_another_are_a_cycle_also_inside_a_function(tmp_path: Path) -> None:
    first = "from little.host.threads import work\n"
    second = "def work() -> None:\n    import little.host.files\n"

    assert measure(tmp_path, host__files=first, host__threads=second)["import cycles"] == 1


@pytest.mark.parametrize(
    ("importer", "imported", "upward"),
    [("run__screen", "host.files", 0), ("host__files", "run.screen", 1), ("run__screen", "bench.stages", 1)],
)
def test_an_import_runs_up_if_it_leads_to_a_higher_layer_or_a_sibling(
    tmp_path: Path, importer: str, imported: str, upward: int
) -> None:
    modules = {"run__screen": "", "host__files": "", "bench__stages": "", importer: f"import little.{imported}\n"}

    assert measure(tmp_path, **modules)["imports that run up"] == upward


def test_any_counts_in_arguments_and_results_and_not_in_bodies(tmp_path: Path) -> None:
    text = (
        "def one(value: Any) -> None: ...\n"
        "def two(*values: int, **others: dict[str, Any]) -> None: ...\n"
        "def three() -> list[Any]: ...\n"
        "def four(value: Anything) -> None:\n    rows: list[Any] = []\n"
    )

    assert measure(tmp_path, errors=text)["signatures with Any, %"] == pytest.approx(75)


@pytest.mark.parametrize("name", ["told", "_kept", "_made_up", "sampled", "written_files"])
def test_a_participle_is_recognised(name: str) -> None:
    assert house.is_participle(name)


@pytest.mark.parametrize("name", ["tell", "read", "keep_freed_memory", "feed", "is_asked", "red_channel", "ed"])
def test_a_verb_or_a_noun_is_no_participle(name: str) -> None:
    assert not house.is_participle(name)


def test_docstrings_of_attributes_count(tmp_path: Path) -> None:
    text = 'class Box:\n    """A box."""\n\n    side: int\n    """How long it is."""\n\n\ndef f() -> None: ...\n'

    share = measure(tmp_path, errors=text)["docstrings that begin with a question word, %"]

    assert share == pytest.approx(100 / 3)  # of the package, the class and the attribute


def test_phrases_are_found_across_a_line_break_and_in_comments(tmp_path: Path) -> None:
    text = '"""Hold it\n\nagainst ours; what the caller has is told."""\n# it tells nothing\ndef f() -> None: ...\n'

    values = measure(tmp_path, errors=text)

    assert values["'hold against' in 10,000 words"] > 0
    assert values["'what ... is' in 10,000 words of docstrings"] > 0
    assert values["'told', 'tells' in 10,000 words"] == pytest.approx(2 * values["'hold against' in 10,000 words"])


def test_lengths_are_counted_from_def_to_the_end(tmp_path: Path) -> None:
    long = "def long() -> None:\n" + "    print()\n" * 29

    values = measure(tmp_path, errors="def short() -> None: ...\n" + long)

    assert values["lines of the longest function"] == 30
    assert values["functions over 25 lines, %"] == 50
    assert values["lines of the longest module"] == 31


def test_pages_are_measured_without_code_and_tables_have_no_sentences() -> None:
    page = (
        "# What the heading is\n\nIt shall be told; what the page has is bad. It is held against ours.\n"
        "* A part (one; two).\n* Another.\n\n| told; and | what a table is |\n|---|---|\n\n"
        "```sh\nrun; told  # what is\n```\n"
    )

    assert house.sentences_of(page) == [
        "It shall be told; what the page has is bad.",
        "It is held against ours.",
        "* A part (one; two).",
        "* Another.",
    ]
    values = house.measure_pages([page])
    assert values["semicolons in 100 sentences"] == 50
    told = values["'told', 'tells' in 10,000 words"] / 2
    for name in ("'hold against' in 10,000 words", "'shall' in 10,000 words"):
        assert values[name] == pytest.approx(told)
    assert values["'what ... is' in 10,000 words"] == pytest.approx(2 * told)


@pytest.mark.parametrize(("words", "share"), [(40, 0), (41, 100)])
def test_a_sentence_is_long_beyond_40_words(words: int, share: float) -> None:
    assert house.measure_pages(["word " * words + "\n"])["sentences of more than 40 words, %"] == share


def test_every_measure_of_pages_has_a_limit_and_the_pages_are_those_of_the_site() -> None:
    assert set(house.measure_pages(["A page."])) == set(house.PAGE_LIMITS)
    assert {"README.md", "CHANGELOG.md", "index.md", "gpu.md"} <= {path.name for path in house.pages()}


def test_every_measure_has_a_limit(tmp_path: Path) -> None:
    assert set(measure(tmp_path)) == set(house.LIMITS)


def test_a_value_above_its_limit_is_marked_and_makes_the_command_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_package(tmp_path, errors="def kept() -> None: ...\n")
    monkeypatch.setattr(house, "PACKAGES", {"engine": package, "build_tools": package})
    monkeypatch.setattr(house, "layers_of", lambda _package: LAYERS)

    assert house.main() == 1

    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("participles")).split()[-4:] == ["100*", "2", "100*", "2"]
    assert max(map(len, lines)) <= 80
