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
app.command()(phantom)
app.command()(inspect)
app.command()(train)
app.command()(export)
app.command()(verify)
app.command("compile")(compile_)
app.command()(card)


def main() -> None:
    """Entry point of ``bsbatch-build``."""
    call(app)
