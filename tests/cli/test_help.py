"""Help pages: what a user finds on them."""

import re
import shlex
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import pytest
from tests.end_to_end.tables import bsbatch
from typer.main import get_command

from bsbatch.cli import app
from bsbatch.config import OFFERED_BACKENDS, BackendName
from bsbatch_build.cli import app as build_app

COMMANDS = {
    f"{name} {command}": details
    for name, group in (("bsbatch", get_command(app)), ("bsbatch-build", get_command(build_app)))
    for command, details in group.commands.items()  # type: ignore[attr-defined]
}


def help_of(command: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """The words of a help page, without frames."""
    with command.make_context("x", [], resilient_parsing=True) as context:
        command.get_help(context)
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_page_has_an_example_that_the_command_accepts(name: str) -> None:
    example = re.fullmatch("Example: (.*)", COMMANDS[name].epilog or "")

    assert example is not None
    assert example[1].startswith(name)
    COMMANDS[name].make_context(name, shlex.split(example[1])[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_with_choices_lists_them_and_a_required_one_says_so(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(COMMANDS[name], capsys).replace(" ", "")  # long words are broken between lines

    for option, kind in get_type_hints(COMMANDS[name].callback).items():
        kinds = [item for item in (kind, *get_args(kind)) if isinstance(item, type) and issubclass(item, StrEnum)]
        choices = OFFERED_BACKENDS[1:] if option == "backend" else [choice for item in kinds for choice in item]
        assert all(choice in shown for choice in choices), option
    required = [option for option in COMMANDS[name].params if option.required]
    assert shown.count("[required]") == len(required)


@pytest.mark.parametrize("name", ["bsbatch run", "bsbatch bench", "bsbatch demo", "bsbatch-build verify"])
def test_the_backend_without_a_model_is_not_offered(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert BackendName.FAKE not in help_of(COMMANDS[name], capsys)


def test_options_that_a_run_needs_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of(COMMANDS["bsbatch run"], capsys).count("Needed but for --dry-run.") == 2


def test_the_papers_training_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(COMMANDS["bsbatch-build train"], capsys)

    paper, beyond = shown.split("Beyond the paper", maxsplit=1)
    for option in ("--labels", "--out", "--weights", "--epochs", "--steps", "--batch-size", "--learning-rate"):
        assert f"{option} " in paper
    for option in ("--masks", "--width", "--batch-norm", "--schedule", "--precision"):
        assert f"{option} " in beyond


def test_help_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    assert max(map(len, bsbatch("run", "--help").stdout.splitlines())) <= 80
