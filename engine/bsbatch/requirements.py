"""Optional packages: found without an import, and named with the line that installs them."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from bsbatch.errors import MissingPackageError


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that a part of bsbatch needs; without arguments, nothing beyond bsbatch itself."""

    package: str | None = None
    """Import name."""
    install: str = "pip install bsbatch"
    """The line that installs it."""
    distribution: str | None = None
    """Name of its distribution; only if several distributions contain a package of this name."""
    other_problem: Callable[[], str | None] | None = None
    """Returns a message with advice if the machine lacks anything else, else None; imports nothing heavy."""

    @property
    def name(self) -> str | None:
        """Name of the distribution or package, for messages; None if nothing is needed."""
        return self.distribution or self.package

    @property
    def missing(self) -> str | None:
        """The install line if the package is not installed, else None; does not import it."""
        is_installed = self.package is None or find_spec(self.package) is not None
        is_right = self.distribution is None or version_of(self.distribution) is not None
        return None if is_installed and is_right else self.install

    @property
    def problem(self) -> str | None:
        """A message with advice if the part does not work on this machine, else None; does not import the package."""
        if self.missing:
            return f"{self.name} is missing: {self.missing}"
        return self.other_problem() if self.other_problem is not None else None

    def check(self) -> None:
        """Raise an error if the package is not installed.

        Raises
        ------
        MissingPackageError
            With the install line.
        """
        if self.missing:
            raise MissingPackageError(f"{self.name} is not installed: {self.missing}")


def require(package: str, *, extra: str) -> None:
    """Raise an error if a package of an extra of bsbatch is not installed; does not import it.

    Raises
    ------
    MissingPackageError
        With the install line.
    """
    Requirement(package, f'pip install "bsbatch[{extra}]"').check()


def version_of(distribution: str) -> str | None:
    """Version of a distribution, None if it is not installed."""
    metadata = import_module("importlib.metadata")  # loads all of email, which --help does not need
    try:
        return str(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return None
