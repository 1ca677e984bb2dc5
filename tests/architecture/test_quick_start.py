"""The quick start of the README runs."""

from pathlib import Path

from tests.architecture.readme import commands_of, run_all


def test_the_quick_start_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    commands = commands_of("quick start")
    assert [command[:2] for command in commands] == [
        ["bsbatch-build", "phantom"],
        ["bsbatch-build", "export"],
        ["bsbatch", "run"],
        ["bsbatch", "info"],
    ]
    run_all(commands, tmp_path, tmp_path / "cache")
    assert list(tmp_path.glob("OUT/results/part-*.parquet"))
