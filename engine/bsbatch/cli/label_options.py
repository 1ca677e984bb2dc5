"""Options of the commands that take labels; `bsbatch.cohort.settings.LabelOptions` checks them."""

from functools import partial
from typing import Annotated

import typer

_join = partial(typer.Option, show_default=False, rich_help_panel="How to join a table of labels")
JoinOption = Annotated[
    str | None,
    _join(
        "--join",
        metavar="KEY",
        help="Labels are a table of another form (.csv, .xlsx, .parquet): study, accession or patient+date[:DAYS]; "
        "=COLUMN behind a key names its column.",
    ),
]
LabelOption = Annotated[str | None, _join("--label", metavar="COLUMN", help="Column with the label.")]
PositiveOption = Annotated[
    list[str] | None, _join("--positive", metavar="VALUE", help="Label with metastasis; repeatable.")
]
NegativeOption = Annotated[
    list[str] | None, _join("--negative", metavar="VALUE", help="Label without metastasis; repeatable.")
]
SheetOption = Annotated[str | None, _join("--sheet", metavar="NAME", help="Sheet of a workbook.")]
DryJoinOption = Annotated[bool, _join("--dry-run", help="Show the join, and do nothing else.")]
