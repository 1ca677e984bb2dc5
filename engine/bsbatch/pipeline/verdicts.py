"""The verdict of an examination or object after an error."""

from bsbatch.errors import ItemError, WorkerLostError
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict


def verdict_of(stage: Stage, error: ItemError | WorkerLostError | OSError) -> Verdict:
    """Return the stage, reason and message of a row for an error."""
    if isinstance(error, ItemError):
        return Verdict(stage, Reason(error.reason), error.message)
    if isinstance(error, WorkerLostError):
        return Verdict(stage, Reason.DECODE_FAILED, f"the decoder crashed or hung on the pixel data ({error})")
    return Verdict(stage, Reason.READ_ERROR, EXPLANATIONS[Reason.READ_ERROR])
