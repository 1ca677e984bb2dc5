"""Every error that bsbatch raises on purpose. This module imports nothing.

::

    BsbatchError
    ├── UsageError               nothing was started; exit code 2
    │   ├── ModelError           the model directory is missing, incomplete, tampered with or of another version
    │   │   └── OtherGraphError  a backend is for graphs of another kind; the next one is not
    │   ├── MissingPackageError  an optional package is not installed; the message is its install line
    │   └── ConfigMismatchError  the output folder belongs to another run configuration
    ├── RunError                 the run stopped and can be resumed; exit code 4
    │   ├── SourceError          the archive went away
    │   ├── OutputError          the output folder cannot be written to any more, a full disk for one
    │   └── BackendError         the backend died
    ├── ItemError                one object or one examination failed; becomes a row, never stops a run
    └── WorkerLostError          a call in another process crashed or did not come back; its caller makes a row of it

Anything else that is raised is a bug and shows its traceback. Messages say what to do next and carry no patient data.
"""


class BsbatchError(Exception):
    """Root of all errors raised on purpose."""


class UsageError(BsbatchError):
    """The command cannot start as it was given."""


class ModelError(UsageError):
    """The model directory cannot be used."""


class OtherGraphError(ModelError):
    """The backend computes graphs of one kind, and this is none of them."""


class MissingPackageError(UsageError):
    """An optional package is not installed."""


class ConfigMismatchError(UsageError):
    """The output folder holds results of another run configuration."""


class RunError(BsbatchError):
    """The run stopped; what is committed stays, and the same command resumes it."""


class SourceError(RunError):
    """The archive cannot be read any more."""


class OutputError(RunError):
    """The output folder cannot be written to any more."""

    @classmethod
    def of(cls, place: object, error: OSError) -> "OutputError":
        """The operating system's words, and what to do."""
        words = error.strerror or error
        return cls(f"cannot write to {place}: {words}. Make room or grant access, then run the same command to go on")


class BackendError(RunError):
    """The backend cannot infer any more."""


class ItemError(BsbatchError):
    """One object or examination failed.

    Parameters
    ----------
    reason
        A code of `bsbatch.reasons.Reason`.
    message
        What was seen, without patient data.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # all arguments, so that it survives the way out of a worker process
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class WorkerLostError(BsbatchError):
    """A call in a process of its own crashed or did not come back."""
