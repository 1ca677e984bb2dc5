"""``bsbatch worklist``: a ranked list of examinations for a reader."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.label_options import JoinOption, LabelOption, NegativeOption, PositiveOption, SheetOption
from bsbatch.cli.terminal import Terminal, printable
from bsbatch.cohort.settings import MOST_LISTED, LabelOptions, Rank, Worklist
from bsbatch.errors import UsageError
from bsbatch.notice import SENTENCE


def worklist(
    results: Annotated[
        Path, typer.Argument(help="Output folder of bsbatch run, or its results folder.", show_default=False)
    ],
    *,
    to: Annotated[Path, typer.Option(help="File to write: .xlsx, .html or .csv.", show_default=False)],
    rank: Annotated[
        Rank,
        typer.Option(
            metavar="NAME",
            help="score: positive ones; uncertainty: nearest to the threshold; disagreement: labels contradict.",
        ),
    ] = Rank.SCORE,
    limit: Annotated[int, typer.Option(help="Largest number of examinations.")] = MOST_LISTED,
    labels: Annotated[Path | None, typer.Option(help="Table of labels, with --join.", show_default=False)] = None,
    join: JoinOption = None,
    label: LabelOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    sheet: SheetOption = None,
) -> None:
    """Write a worklist: rank, identity (of runs with --identify), score, flags, tracer, path, verdict, thumbnails.

    Thumbnails are those of runs with --cam. Exit codes: 0 done, 2 usage, 4 cannot write.
    """
    table = LabelOptions(join, label, positive or (), negative or (), sheet).table(labels)
    if labels is not None and table is None:
        raise UsageError("--labels needs --join: how the table is joined with the results")
    settings = Worklist(rank, limit, table)
    from bsbatch.cohort.worklist import write_worklist
    from bsbatch.evaluation.results import out_of

    count = write_worklist(out_of(results), to, settings)
    terminal = Terminal()
    terminal.print(
        f"Worklist: {printable(str(to))}, {count} examinations", highlight=False, markup=False, soft_wrap=True
    )
    terminal.print(SENTENCE, style="dim")
