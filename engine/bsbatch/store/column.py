"""Columns of tables: name, Arrow type and description."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: pa.DataType
    description: str
    is_nullable: bool = True


def text(name: str, description: str, *, is_nullable: bool = True) -> Column:
    """Return a column of texts."""
    return Column(name, pa.string(), description, is_nullable)
