"""Results beside the table of labels that they were joined with, as one Arrow table."""

import pyarrow as pa

from bsbatch.cohort.cells import typed
from bsbatch.cohort.joining import Joined

LABEL = "is_positive"
"""Column of the joined label."""
_TAKEN = "_of_table"


def beside(results: pa.Table, joined: Joined) -> pa.Table:
    """Return the rows of results whose study has a label, with `LABEL` and the columns of the table behind theirs.

    Cells are whole numbers, decimals or texts (`bsbatch.cohort.cells.typed`). Of equal headings the first counts.
    """
    numbers = {row.study_uid: number for number, row in enumerate(joined.rows)}
    places = [numbers.get(uid) for uid in results.column("study_uid").to_pylist()]
    rows = pa.array([place for place in places if place is not None], pa.int64())
    found = results.filter(pa.array([place is not None for place in places], pa.bool_()))
    columns = {LABEL: pa.array([row.is_positive for row in joined.rows], pa.bool_())}
    headings = joined.table.columns
    for name in dict.fromkeys(filter(None, headings)):
        column = typed([row.cells[headings.index(name)] for row in joined.rows])
        columns[f"{name}{_TAKEN}" if name in found.column_names or name in columns else name] = column
    for name, column in columns.items():
        found = found.append_column(name, column.take(rows))
    return found
