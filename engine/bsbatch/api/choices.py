"""Choices that are given by name."""

from enum import StrEnum
from typing import TypeVar

from bsbatch.config import OFFERED_BACKENDS, BackendName
from bsbatch.errors import UsageError

Choice = TypeVar("Choice", bound=StrEnum)


def choice_of(kind: type[Choice], value: Choice | str, argument: str) -> Choice:
    """Return the member of an enumeration.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    try:
        return kind(value)
    except ValueError:
        offered = OFFERED_BACKENDS if kind is BackendName else tuple(kind)
        names = ", ".join(f'"{name}"' for name in offered)
        raise UsageError(f'{argument}="{value}" is none of {names}') from None
