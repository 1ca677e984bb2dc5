"""``bsbatch compare``: two runs beside each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bsbatch.cli.label_options import JoinOption, LabelOption, NegativeOption, PositiveOption, SheetOption
from bsbatch.cli.terminal import Terminal, printable
from bsbatch.cohort.settings import LabelOptions
from bsbatch.evaluation.settings import require_packages as require_evaluate
from bsbatch.html_report.settings import require_packages as require_report
from bsbatch.notice import SENTENCE, show_score

_PAGE = "comparison.html"
_MOST_FLIPS = 10


def compare(
    first: Annotated[Path, typer.Argument(help="Output folder of bsbatch run: this.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Output folder of another run: other.", show_default=False)],
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with study_uid and label, or any table with --join.", show_default=False),
    ] = None,
    join: JoinOption = None,
    label: LabelOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    sheet: SheetOption = None,
    out: Annotated[Path | None, typer.Option(help="Page to write.", show_default=f"{_PAGE} in SECOND")] = None,
) -> None:
    """Compare two runs over the same examinations: another model, backend or threshold, or other scanner software.

    Shows differences of scores and flips; with labels, ROC AUC and right decisions. Writes a page.
    Exit codes: 0 done, 2 usage (they share no examination), 4 cannot write.
    """
    table = LabelOptions(join, label, positive or (), negative or (), sheet).table(labels)
    require_evaluate()
    require_report()
    from bsbatch.evaluation.agreement import compare_runs
    from bsbatch.evaluation.agreement_words import sentences, table_rows
    from bsbatch.evaluation.results import out_of
    from bsbatch.html_report.comparison import write_comparison

    agreement = compare_runs(first, second, labels, table)
    page = write_comparison(agreement, out or out_of(second) / _PAGE)
    terminal = Terminal()
    terminal.print(_table([f"{len(agreement.pairs)} examinations compared", "this", "other"], table_rows(agreement)))
    flips = [(pair.exam_id, show_score(pair.first), show_score(pair.second)) for pair in agreement.flips]
    if flips:
        terminal.print(_table(["flips, the largest difference first", "this", "other"], flips[:_MOST_FLIPS]))
    if len(flips) > _MOST_FLIPS:
        terminal.print(f"and {len(flips) - _MOST_FLIPS} more in the page", highlight=False)
    for sentence in sentences(agreement):
        terminal.print(sentence, highlight=False)
    terminal.print(f"Page: {printable(str(page))}", highlight=False, markup=False, soft_wrap=True)
    terminal.print(SENTENCE, style="dim")


def _table(heads: Iterable[str], rows: Iterable[tuple[str, str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, name in enumerate(heads):
        table.add_column(name, justify="right" if column else "left", min_width=8)
    for row in rows:
        table.add_row(*map(printable, row))
    return table
