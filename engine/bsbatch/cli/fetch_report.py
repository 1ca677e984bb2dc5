"""Progress and summary of ``bsbatch fetch``; counts only, since all else would name patients."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from bsbatch.cli.terminal import printable
from bsbatch.notice import SENTENCE
from bsbatch.pacs.fetch import Tally
from bsbatch.pacs.ledger import LEDGER, FetchStatus
from bsbatch.pacs.settings import FetchConfig

_LINE_SECONDS, _MEGABYTE = 10.0, 1e6


@contextmanager
def progress_of(console: Console, *, quiet: bool) -> Iterator[Callable[[Tally], None]]:
    """Yield a function that shows counts: on one line of a terminal, else as a line every ten seconds."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("asking for studies") as status:
            yield lambda tally: status.update(_line(tally))
    else:
        last = time.monotonic()

        def show_line(tally: Tally) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                console.print(_line(tally), highlight=False, soft_wrap=True)

        yield show_line


def show(console: Console, tally: Tally, config: FetchConfig) -> None:
    """Print the counts of one command, and how to go on."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("name")
    table.add_column("count", justify="right")
    for name, count in _counts(tally, config):
        table.add_row(name, count)
    for reason, times in sorted(tally.reasons.items(), key=lambda item: -item[1]):
        table.add_row(f"    {reason}", str(times), style="dim")
    console.print(table)
    folder = printable(str(config.folder))
    if config.dry_run:
        words = "Counted only: nothing was fetched or written."
    elif tally.failed:
        words = f"What failed is in {folder}/{LEDGER}; the same command asks for it again."
    else:
        words = f"Complete. Next: bsbatch run {folder} --model MODEL --out OUT"
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(SENTENCE, style="dim")


def _counts(tally: Tally, config: FetchConfig) -> Iterator[tuple[str, str]]:
    fetched, size = ("to be fetched", "MB, about") if config.dry_run else ("fetched", "MB")
    yield "[bold]studies asked for[/]", f"[bold]{tally.studies}[/]"
    yield "series looked at", str(tally.series)
    yield "[bold]objects found[/]", f"[bold]{sum(tally.objects.values())}[/]"
    yield "  declined, no whole-body scans", str(tally.objects[FetchStatus.DECLINED])
    yield f"  {fetched}", str(tally.objects[FetchStatus.FETCHED])
    yield f"    {size}", f"{tally.size / _MEGABYTE:.1f}"
    yield "  failed", str(tally.objects[FetchStatus.FAILED])
    yield "studies failed", str(tally.failed_studies)


def _line(tally: Tally) -> str:
    fetched = tally.objects[FetchStatus.FETCHED]
    failed = f", {tally.failed} failed" if tally.failed else ""
    return f"{tally.studies} studies, {fetched} objects, {tally.size / _MEGABYTE:.1f} MB{failed}"
