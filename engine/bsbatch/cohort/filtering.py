"""Filters results by an expression in SQL, with DuckDB: one expression over columns, without files or statements."""

from typing import Any

import pyarrow as pa

from bsbatch.cohort.cells import dates_of
from bsbatch.errors import UsageError
from bsbatch.requirements import require

DATES = "acquisition_date", "study_date"
"""Columns that an expression sees as dates."""
_ROW = "row_of_results"
_CLOSED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
    "threads": "1",
}
"""Settings of a database in memory that reads no file, no variable of Python and no network."""


def matching(results: pa.Table, expression: str) -> pa.Table:
    """Return the rows for which an expression is true, in their order.

    Parameters
    ----------
    results
        Rows of ``results``.
    expression
        Over their columns, ``p_metastasis > 0.8 and acquisition_date >= '2019-01-01'``.

    Raises
    ------
    UsageError
        It is no single expression, or uses something else than the columns.
    MissingPackageError
        DuckDB is not installed.
    """
    require("duckdb", extra="cohort")
    import duckdb  # noqa: PLC0415 - of an extra

    with duckdb.connect(":memory:", config=_CLOSED) as database:
        try:
            rows = database.from_arrow(_with_dates(results)).filter(expression).project(_ROW).fetchall()
        except duckdb.Error as error:
            raise UsageError(f"--where cannot be used: {_describe(duckdb, error)}") from None
    return results.take(pa.array(sorted(row for (row,) in rows), pa.int64()))


def _with_dates(results: pa.Table) -> pa.Table:
    table = results.append_column(_ROW, pa.array(range(results.num_rows), pa.int64()))
    for name in set(DATES) & set(results.column_names):
        days = pa.array(dates_of([text or "" for text in results.column(name).to_pylist()]), pa.date32())
        table = table.set_column(table.column_names.index(name), name, days)
    return table


def _describe(duckdb: Any, error: Exception) -> str:
    """Return the first line of an error, which names columns and syntax; never a value that could not be converted."""
    if isinstance(error, duckdb.DataError):
        return "a value has not the type that it is compared with. Dates are written '2019-01-31'"
    return str(error).partition("\n")[0]
