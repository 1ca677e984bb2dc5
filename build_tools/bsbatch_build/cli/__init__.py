"""Command line of the build tools, one file for each command; heavy packages load when a command runs."""

import typer

from bsbatch.cli.exits import call
from bsbatch.cli.terminal import CommandGroup
from bsbatch.notice import SENTENCE
from bsbatch_build.cli.card import card
from bsbatch_build.cli.compile import compile_
from bsbatch_build.cli.export import export
from bsbatch_build.cli.inspect import inspect
from bsbatch_build.cli.phantom import phantom
from bsbatch_build.cli.train import train
from bsbatch_build.cli.verify import verify

app = typer.Typer(
    cls=CommandGroup,
    name="bsbatch-build",
    help=f"Make synthetic examinations and models for bsbatch.\n\n{SENTENCE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog="Example: bsbatch-build phantom SET --studies 100 --seed 1")(phantom)
app.command(epilog="Example: bsbatch-build inspect SET SHEETS")(inspect)
app.command(epilog="Example: bsbatch-build train /archive --labels labels.csv --out TRAINING")(train)
app.command(epilog="Example: bsbatch-build export MODEL --weights TRAINING")(export)
app.command(epilog="Example: bsbatch-build verify MODEL --json parity.json")(verify)
app.command("compile", epilog="Example: bsbatch-build compile MODEL --batch 1,32")(compile_)
app.command(epilog="Example: bsbatch-build card MODEL --evaluation REPORT")(card)


def main() -> None:
    """Entry point of ``bsbatch-build``."""
    call(app)
