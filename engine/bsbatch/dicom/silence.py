"""Keeps the warnings of pydicom from terminals and logs: they quote values, and those may name a patient."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_pydicom() -> Iterator[None]:
    """Ignore all warnings, and the log of pydicom, to which it writes each of its warnings as well."""
    log = logging.getLogger("pydicom")
    was_disabled = log.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.disabled = True
        try:
            yield
        finally:
            log.disabled = was_disabled
