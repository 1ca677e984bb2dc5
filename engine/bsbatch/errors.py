"""Every error that bsbatch raises on purpose. This module imports nothing of bsbatch.

::

    BsbatchError
    ├── UsageError               nothing was started; exit code 2
    │   ├── ModelError           the model directory is missing, incomplete, changed or of another version
    │   │   └── OtherGraphError  the backend cannot compute this kind of graph; another backend can
    │   ├── MissingPackageError  an optional package is not installed; the message is its install line
    │   └── ConfigMismatchError  the output folder belongs to another run configuration
    ├── RunError                 the run stopped and can be resumed; exit code 4
    │   ├── SourceError          the archive can no longer be read
    │   ├── OutputError          the output folder can no longer be written to, because of a full disk for example
    │   ├── BackendError         the backend died
    │   ├── ClusterError         no worker is left on a cluster, and none came
    │   └── MachineError         the machine lacks memory, threads or files; no object is at fault
    ├── ItemError                one object or one examination failed; it becomes a row and never stops a run
    └── WorkerLostError          a call in a worker process crashed; the caller turns it into a row
        └── WorkerTimeoutError   it took too long

Any other exception is a bug. Raised for one object or examination it becomes a row with the reason ``internal_error``;
elsewhere it shows its traceback. Messages say what to do next and contain no patient data.
"""

import errno


class BsbatchError(Exception):
    """Base class of all errors that bsbatch raises on purpose."""


class UsageError(BsbatchError):
    """The command cannot start with these arguments."""


class ModelError(UsageError):
    """The model directory cannot be used."""


class OtherGraphError(ModelError):
    """The backend cannot compute this kind of graph."""


class MissingPackageError(UsageError):
    """An optional package is not installed."""


class ConfigMismatchError(UsageError):
    """The output folder has results of another run configuration."""


class RunError(BsbatchError):
    """The run stopped; committed results stay, and the same command resumes it."""


class SourceError(RunError):
    """The archive can no longer be read."""


class OutputError(RunError):
    """The output folder can no longer be written to."""

    @classmethod
    def of(cls, path: object, error: OSError) -> "OutputError":
        """Error with the operating system's message and advice."""
        words = error.strerror or error
        return cls(f"cannot write to {path}: {words}. Make room or grant access, then run the same command to go on")


class BackendError(RunError):
    """The backend can no longer infer."""


class ClusterError(RunError):
    """No worker of a cluster can be had."""


class MachineError(RunError):
    """The machine lacks memory, threads or file descriptors; no object is at fault."""

    @classmethod
    def of(cls, error: BaseException) -> "MachineError | None":
        """Return this error for one that the operating system's limits cause; None for any other."""
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            advice = "the memory ran out: free some, or try fewer --threads or a smaller --max-pixels"
        elif isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            advice = "too many files are open: raise the limit (ulimit -n), or try fewer --threads"
        elif isinstance(error, RuntimeError) and "start new thread" in str(error):
            advice = "no further thread can be started: raise the limit (ulimit -u), or try fewer --threads"
        else:
            return None
        return cls(f"{advice}; the same command goes on")


class ItemError(BsbatchError):
    """One object or examination failed.

    Parameters
    ----------
    reason
        A code of `bsbatch.reasons.Reason`.
    message
        Description of the failure, without patient data.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # with all arguments, so that it can be pickled in a worker process
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class WorkerLostError(BsbatchError):
    """A call in a worker process crashed."""


class WorkerTimeoutError(WorkerLostError):
    """A call in a worker process took too long."""
