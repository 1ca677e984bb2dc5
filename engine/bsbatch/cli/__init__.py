"""The command line of ``bsbatch``: one file for each command. Heavy packages are imported when a command runs."""

from typing import Annotated

import typer

import bsbatch
from bsbatch.cli.bench import bench
from bsbatch.cli.compare import compare
from bsbatch.cli.demo import demo
from bsbatch.cli.evaluate import evaluate
from bsbatch.cli.exits import call
from bsbatch.cli.fetch import fetch
from bsbatch.cli.info import info
from bsbatch.cli.key import key
from bsbatch.cli.merge import merge
from bsbatch.cli.report import report
from bsbatch.cli.run import run
from bsbatch.cli.select import select
from bsbatch.cli.terminal import CommandGroup
from bsbatch.cli.watch import watch
from bsbatch.cli.worklist import worklist
from bsbatch.notice import SENTENCE

app = typer.Typer(
    cls=CommandGroup,
    name="bsbatch",
    help=f"Screen DICOM archives for metastatic bone disease on whole-body bone scans.\n\n{SENTENCE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog="Example: bsbatch run /archive --model demo --out OUT")(run)
app.command(epilog="Example: bsbatch watch /incoming --model demo --out OUT")(watch)
app.command(epilog="Example: bsbatch fetch dicomweb:https://pacs.example/dicom-web MIRROR --since 2025-01-01")(fetch)
app.command(epilog="Example: bsbatch merge OUT1 OUT2 OUT3 --out OUT")(merge)
app.command(epilog="Example: bsbatch evaluate OUT --labels labels.csv --out REPORT")(evaluate)
app.command(epilog="Example: bsbatch compare OUT OTHER --labels labels.csv")(compare)
app.command(epilog="Example: bsbatch report OUT --labels labels.csv")(report)
app.command(epilog="Example: bsbatch select OUT --to cohort.csv --latest-per-patient")(select)
app.command(epilog="Example: bsbatch worklist OUT --to positives.xlsx")(worklist)
app.command(epilog="Example: bsbatch bench /archive --model demo")(bench)
app.command(epilog="Example: bsbatch info --model demo")(info)
app.command(epilog="Example: bsbatch key bsbatch.key")(key)
app.command(epilog="Example: bsbatch demo --out bsbatch-demo")(demo)


def _show_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"bsbatch {bsbatch.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version.", is_eager=True, callback=lambda value: _show_version(is_asked=value)
        ),
    ] = False,
) -> None:
    """Options before the name of a command."""
    del version


def main() -> None:
    """Entry point of ``bsbatch``."""
    call(app)
