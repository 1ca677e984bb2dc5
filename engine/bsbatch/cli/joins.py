"""The join of a table of labels with a run, on the terminal: ``--dry-run`` of the commands that take labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from bsbatch.cli.terminal import Terminal, printable
from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import UsageError

if TYPE_CHECKING:
    from bsbatch.cohort.joining import Joined

_MOST_LINES = 12
"""Lines of a table that are named for one cause."""


def show_join(terminal: Terminal, results: Path, settings: LabelTable | None, by: Sequence[str] = ()) -> None:
    """Join a table with the results of a run and show what comes of it; nothing is written.

    Raises
    ------
    UsageError
        There is no table to join, or it cannot be read.
    """
    table = require_table(settings)
    from bsbatch.cohort.examined import read_examined
    from bsbatch.cohort.joining import join
    from bsbatch.evaluation.results import out_of

    show(terminal, join(table, read_examined(out_of(results)), by))


def require_table(table: LabelTable | None) -> LabelTable:
    """Return a table that is to be joined.

    Raises
    ------
    UsageError
        There is none.
    """
    if table is None:
        raise UsageError("--dry-run shows a join: add --labels and --join")
    return table


def show(terminal: Terminal, joined: "Joined") -> None:
    """Show the counts of a join, and the lines that label no study, by cause. No cell of the table is shown."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    negatives = len(joined.rows) - joined.positives
    counts = (
        (len(joined.table.rows), f"rows of {printable(joined.settings.path.name)} ({joined.table.form})"),
        (len(joined.rows), f"studies with a label: {joined.positives} positive, {negatives} negative"),
        (joined.repeated, "rows that repeat another one of their study"),
        (joined.labelled, f"examinations with a label, of {joined.examinations}"),
        *((len(lines), f"not joined: {cause} ({_named(lines)})") for cause, lines in joined.causes.items()),
    )
    for count, words in counts:
        table.add_row(str(count), words)
    terminal.print(table, highlight=False, markup=False)


def _named(lines: Sequence[int]) -> str:
    more = f" and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
    return f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:_MOST_LINES]))}{more}"
