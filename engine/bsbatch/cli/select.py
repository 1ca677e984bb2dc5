"""``bsbatch select``: choose a cohort among the examinations of a finished run."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bsbatch.cli.terminal import Terminal, printable
from bsbatch.errors import UsageError

_option = partial(typer.Option, show_default=False)


def select(
    results: Annotated[
        Path, typer.Argument(help="Output folder of bsbatch run, or its results folder.", show_default=False)
    ],
    *,
    to: Annotated[Path, _option(help="File to write: .parquet, .csv or .xlsx.")],
    where: Annotated[
        str | None, _option(metavar="SQL", help="Expression over the columns of results, in DuckDB's SQL.")
    ] = None,
    one_per_study: Annotated[
        bool, _option("--one-per-study", help="The best of repeats: fewest quality flags, then most counts.")
    ] = False,
    latest_per_patient: Annotated[bool, _option("--latest-per-patient", help="The latest of each patient.")] = False,
    first_per_patient: Annotated[bool, _option("--first-per-patient", help="The first of each patient.")] = False,
    sample: Annotated[int | None, _option(help="Number of examinations to draw.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    stratify: Annotated[
        str | None, _option(metavar="COLUMN", help="Column whose values keep their shares in the sample.")
    ] = None,
) -> None:
    """Select examinations of a finished run and write their rows: filter, repeats, one per patient, sample.

    The steps are taken in this order. Exit codes: 0 done, 2 usage, 4 cannot write.
    """
    from bsbatch.cohort.export import check_target, write_cohort
    from bsbatch.cohort.selecting import Pick, Selecting
    from bsbatch.cohort.selecting import select as select_rows
    from bsbatch.evaluation.results import out_of
    from bsbatch.store.parts import read_table
    from bsbatch.store.tables import RESULTS

    if latest_per_patient and first_per_patient:
        raise UsageError("--latest-per-patient and --first-per-patient exclude each other")
    pick = Pick.LATEST if latest_per_patient else Pick.FIRST if first_per_patient else None
    settings = Selecting(where, one_per_study, pick, sample, seed, stratify)
    out = out_of(results)
    check_target(to, out)
    rows = read_table(out / RESULTS)
    if rows is None:
        raise UsageError(f"{results} holds no results: give the --out folder of bsbatch run")
    selected = select_rows(rows, settings)
    write_cohort(selected.table, to)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    for step in selected.steps:
        table.add_row(str(step.left), printable(step.words))
    terminal = Terminal()
    terminal.print(table, highlight=False, markup=False)
    terminal.print(f"Cohort: {printable(str(to))}", highlight=False, markup=False, soft_wrap=True)
