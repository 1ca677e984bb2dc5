"""``bsbatch fetch``: mirror what may be a whole-body bone scan from a PACS into a folder."""

from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.exits import DONE, TOO_MANY_FAILED
from bsbatch.cli.options import parse_day
from bsbatch.cli.terminal import Terminal
from bsbatch.pacs.pace import Hours, SteadyPace
from bsbatch.pacs.settings import Access, FetchConfig, Wanted

_INTERRUPTED = "Stopping once what is on its way has arrived. The same command goes on."
_wanted = partial(typer.Option, show_default=False, rich_help_panel="What to fetch")
_pace = partial(typer.Option, rich_help_panel="How to fetch")
_access = partial(typer.Option, rich_help_panel="Access")


def fetch(
    source: Annotated[
        str, typer.Argument(help="dicomweb:https://host/dicom-web or dimse:AET@host:port.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="Folder for the objects and the ledger.", show_default=False)],
    *,
    since: Annotated[date | None, _wanted(parser=parse_day, metavar="DATE", help="First Study Date.")] = None,
    until: Annotated[date | None, _wanted(parser=parse_day, metavar="DATE", help="Last Study Date.")] = None,
    accessions: Annotated[Path | None, _wanted(metavar="FILE", help="Accession Numbers, one a line.")] = None,
    patients: Annotated[Path | None, _wanted(metavar="FILE", help="Patient IDs, one a line.")] = None,
    credentials: Annotated[
        Path | None,
        _access(
            metavar="FILE",
            help="user:password or Bearer TOKEN; or the variable BSBATCH_PACS_CREDENTIALS.",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None, _access(metavar="FILE", help="Client certificate and key, PEM.", show_default=False)
    ] = None,
    ca: Annotated[
        Path | None,
        _access(
            metavar="FILE", help="Certificates that the server's is checked with, PEM.", show_default="the system's"
        ),
    ] = None,
    aet: Annotated[str, _access(metavar="AET", help="Our AE title, for dimse: sources.")] = "BSBATCH",
    move_to: Annotated[
        str | None,
        _access(metavar="AET:PORT", help="Receiver of our own for C-MOVE, as the PACS knows it.", show_default="C-GET"),
    ] = None,
    rate: Annotated[
        float | None,
        _pace(help="Most objects a second.", show_default="no limit"),
    ] = None,
    between: Annotated[
        str | None,
        _pace(metavar="HOURS", help="When the PACS may be asked, 20:00-06:00.", show_default="always"),
    ] = None,
    dry_run: Annotated[bool, _pace("--dry-run", help="Count studies, objects and bytes; fetch nothing.")] = False,
    quiet: Annotated[bool, _pace("--quiet", help="Print errors only.")] = False,
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
