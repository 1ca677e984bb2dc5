"""Other backends in place of the registered ones, for one test."""

from collections.abc import Mapping

import pytest

from bsbatch.backends.registry import LOADERS, BackendFactory
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.requirements import Requirement


def use_backend(
    monkeypatch: pytest.MonkeyPatch, name: str, factory: BackendFactory, needed: Requirement | None = None
) -> None:
    """Register a backend under a new name, or in place of another; without ``needed`` it works on every machine."""
    monkeypatch.setitem(REQUIREMENTS, name, needed or Requirement())
    monkeypatch.setitem(LOADERS, name, lambda: factory)


def use_only(monkeypatch: pytest.MonkeyPatch, factories: Mapping[str, BackendFactory]) -> None:
    """Register these backends; all others are missing. None is removed, so that their order is the same afterwards."""
    for name in [name for name in REQUIREMENTS if name not in factories]:
        monkeypatch.setitem(REQUIREMENTS, name, Requirement("no_such_package"))
    for name, factory in factories.items():
        use_backend(monkeypatch, name, factory)
