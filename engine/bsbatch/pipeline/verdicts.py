"""The verdict of an examination or object after an error."""

from bsbatch.errors import BsbatchError, ItemError, MachineError, WorkerLostError, WorkerTimeoutError
from bsbatch.host.origin import describe
from bsbatch.host.threads import PoolClosedError
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict


def verdict_of(stage: Stage, error: Exception) -> Verdict:
    """Return the stage, reason and message of a row for an error. An error of no known kind is a bug of ours.

    Raises
    ------
    BsbatchError
        No single object is at fault: the run stops. An error of this kind is raised again; a limit of the machine
        raises `MachineError`.
    """
    if isinstance(error, ItemError):
        return Verdict(stage, Reason(error.reason), error.message)
    if isinstance(error, WorkerTimeoutError):
        return Verdict(stage, Reason.DECODE_TIMEOUT, f"the decoder hung on the pixel data ({error})")
    if isinstance(error, WorkerLostError):
        return Verdict(stage, Reason.DECODE_FAILED, f"the decoder crashed on the pixel data ({error})")
    machine = MachineError.of(error)
    if machine is not None:
        raise machine from error
    if isinstance(error, OSError):
        return Verdict(stage, Reason.READ_ERROR, EXPLANATIONS[Reason.READ_ERROR])
    if isinstance(error, BsbatchError | PoolClosedError):
        raise error
    return Verdict(stage, Reason.INTERNAL_ERROR, f"a bug in bsbatch, please report it: {describe(error)}")
