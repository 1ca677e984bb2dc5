"""``bsbatch fetch``: mirror what may be a whole-body bone scan from a PACS into a folder."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.exits import DONE, TOO_MANY_FAILED
from bsbatch.cli.options import parse_day
from bsbatch.cli.terminal import Terminal
from bsbatch.pacs.pace import Hours, SteadyPace
from bsbatch.pacs.settings import Access, FetchConfig, Wanted

_INTERRUPTED = "Stopping once what is on its way has arrived. The same command goes on."
_WHAT, _HOW, _ACCESS = "What to fetch", "How to fetch", "Access"


def fetch(
    source: Annotated[
        str, typer.Argument(help="dicomweb:https://host/dicom-web or dimse:AET@host:port.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="Folder for the objects and the ledger.", show_default=False)],
    *,
    since: Annotated[
        date | None,
        typer.Option(
            parser=parse_day, metavar="DATE", help="First Study Date.", show_default=False, rich_help_panel=_WHAT
        ),
    ] = None,
    until: Annotated[
        date | None,
        typer.Option(
            parser=parse_day, metavar="DATE", help="Last Study Date.", show_default=False, rich_help_panel=_WHAT
        ),
    ] = None,
    accessions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Accession Numbers, one a line.", show_default=False, rich_help_panel=_WHAT),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Patient IDs, one a line.", show_default=False, rich_help_panel=_WHAT),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="user:password or Bearer TOKEN; or the variable BSBATCH_PACS_CREDENTIALS.",
            show_default=False,
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Client certificate and key, PEM.", show_default=False, rich_help_panel=_ACCESS
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificates that the server's is checked with, PEM.",
            show_default="the system's",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    aet: Annotated[
        str, typer.Option(metavar="AET", help="Our AE title, for dimse: sources.", rich_help_panel=_ACCESS)
    ] = "BSBATCH",
    move_to: Annotated[
        str | None,
        typer.Option(
            metavar="AET:PORT",
            help="Receiver of our own for C-MOVE, as the PACS knows it.",
            show_default="C-GET",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Most objects a second.", show_default="no limit", rich_help_panel=_HOW),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS",
            help="When the PACS may be asked, 20:00-06:00.",
            show_default="always",
            rich_help_panel=_HOW,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count studies, objects and bytes; fetch nothing.", rich_help_panel=_HOW)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=_HOW)] = False,
) -> None:
    """Mirror what may be a whole-body bone scan from a PACS into a folder; then bsbatch run FOLDER needs no network.

    The same command goes on, and later fetches what is new.
    Exit codes: 0 done, 2 usage, 3 something failed, 4 stopped (resumable), 130 interrupted.
    """
    from bsbatch.cohort.lists import read_list

    wanted = Wanted(since, until, read_list(accessions) if accessions else (), read_list(patients) if patients else ())
    config = FetchConfig(source, folder, wanted, Access(credentials, certificate, ca, aet, move_to), dry_run)
    pace = SteadyPace(rate, Hours.parse(between) if between is not None else None)
    raise typer.Exit(_mirror(config, pace, quiet=quiet))


def _mirror(config: FetchConfig, pace: SteadyPace, *, quiet: bool) -> int:
    """Mirror, print the summary and return the exit code."""
    from bsbatch.cli.fetch_report import progress_of, show
    from bsbatch.host.interruption import handle_interrupts
    from bsbatch.pacs.clients import open_client
    from bsbatch.pacs.fetch import Tally
    from bsbatch.pacs.fetch import fetch as mirror

    console = Terminal(stderr=True)

    def stop() -> None:
        pace.stop()
        console.print(_INTERRUPTED, highlight=False, soft_wrap=True)

    with progress_of(console, quiet=quiet) as show_progress, handle_interrupts(stop) as interruption:

        def report(tally: Tally) -> None:
            show_progress(tally)
            if interruption.is_requested:
                raise KeyboardInterrupt

        tally = mirror(config, open_client(config, pace), report)
    if not quiet:
        show(Terminal(), tally, config)
    return TOO_MANY_FAILED if tally.failed else DONE
