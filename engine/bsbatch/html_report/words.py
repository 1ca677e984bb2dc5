"""Explanations of the names in a page."""

from bsbatch.imaging.gradcam import CamWarning
from bsbatch.imaging.quality import Flag

FLAGS = {
    Flag.COUNTS_MISMATCH: "pixels do not add up to the counts in the header: processed, or damaged",
    Flag.COUNTS_TOO_LOW: "a view of fewer than 100,000 counts",
    Flag.NEGATIVE_COUNTS: "a pixel below zero: lossy compression, or a subtraction",
    Flag.LOSSY: "compressed with loss",
    Flag.EIGHT_BIT_ORIGIN: "counts were squeezed into eight bits",
    Flag.HOTSPOT_DOMINATES: "bladder or injection site determines the scale of the image",
    Flag.SATURATED: "more than 4 pixels at the largest value that can be stored",
    Flag.ORIENTATION_SUSPECT: "the body lies upside down or across the matrix; it was scored as it is",
    Flag.BODY_TRUNCATED: "the head, the legs or one side of the body lie outside the scan",
    Flag.VIEW_INCOMPLETE: "one view lacks a part of the body that the other shows, or is much fainter",
    Flag.ROWS_MISSING: "rows within the body have lost their counts",
    Flag.LATERALITY_SUSPECT: "one view may be stored mirrored",
    Flag.PADDING_REMOVED: "pixels marked as padding were set to no counts",
    Flag.MODALITY_LUT: "counts were looked up in the table of the file (Modality LUT)",
    Flag.MONOCHROME1: "MONOCHROME1: counts were kept, an 8-bit display was inverted",
    Flag.OTHER_TRACER: "the header names another tracer than those of bone scans",
    Flag.EARLY_PHASE: "a flow or blood pool phase, or less than 90 minutes after the injection",
    Flag.VIEW_ASSUMED: "views were taken from the order of the frames (--assume-frame-order)",
    Flag.VALUES_DROPPED: "a value of the header does not fit its attribute and was dropped",
    Flag.UNLIKE_TRAINING: "unlike everything that the model was trained on: its score means nothing here",
}
MAP_WARNINGS = {
    CamWarning.NO_EVIDENCE: "no part of the image is evidence for the predicted class",
    CamWarning.OUTSIDE_BODY: "less than half of the map lies inside the body",
    CamWarning.BLADDER: "more than half lies at the bladder, which overlaps sacrum and coccyx",
    CamWarning.PERIPHERY: "more than half lies at the hands and forearms, where the tracer is injected",
}
ENDINGS = {
    "limited": "The run stopped at --limit: examinations are missing here. Run it again without --limit to go on.",
    "interrupted": "The run was interrupted: examinations are missing here. The same command goes on.",
    "stopped": "The run stopped at an error: examinations are missing here. The same command goes on.",
    "running": "The run was still at work, or was killed, when this page was made: examinations are missing here. "
    "Wait for it, or run the same command again; then make the page again.",
    None: "run.json is missing or cannot be read: the end of the run, its model and its configuration are unknown.",
}
"""By the status in ``run.json``; a complete run needs none."""
STAGES = {
    "header": "read headers",
    "copies": "settle copies",
    "wait": "wait for pixels",
    "pixels": "read pixels",
    "quality": "check quality",
    "preprocess": "make images",
    "body": "find the body",
    "infer": "run the model",
    "explain": "make heat maps",
    "overlays": "draw overlays",
    "commit": "write tables and overlays",
}
"""By the names in ``run.json``."""
CLUSTER = {
    "workers": "workers that took part",
    "lost": "workers lost",
    "refused": "workers refused",
    "again": "units done again",
    "dropped": "late answers dropped",
}
"""By the names under ``cluster`` in ``run.json``."""
POINTS = {
    "threshold": "the run's threshold",
    "half": "0.5",
    "youden": "Youden",
    "sensitivity": "chosen sensitivity",
}
"""Names of operating points, by their keys in ``metrics.json``."""
