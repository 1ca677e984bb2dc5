"""Scans made wrong, and the share of them that each flag finds: ``python -m tests.imaging.wrong_pictures [STUDIES]``.

The scans are phantoms of every centre, a quarter of them without a background and three quarters with one in every row
and column, as real scans have it. A quarter of the scans show the arms above the head; phantoms of the training do not.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray
from tests.dicom.objects import scan

from bsbatch.dicom.pairing import examine
from bsbatch.imaging.quality import Flag, assess
from bsbatch.view_pixels import ViewPixels
from bsbatch_build.phantom.patient import Patient, draw_patient
from bsbatch_build.phantom.plan import SetPlan, assign
from bsbatch_build.phantom.study import Study, make_study

Counts = NDArray[np.uint16]
Pair = tuple[Counts, Counts]
"""The anterior and the posterior view."""
BACKGROUNDS = (0.0, 0.02, 0.1, 0.3)
"""Mean counts a pixel, outside the body and the scanned rows, too; a body has about 5."""
FLAGS = (
    Flag.ORIENTATION_SUSPECT,
    Flag.BODY_TRUNCATED,
    Flag.VIEW_INCOMPLETE,
    Flag.ROWS_MISSING,
    Flag.LATERALITY_SUSPECT,
)
SEED = 20261130


class Phantom(NamedTuple):
    """Views of a phantom, and where its body lies."""

    views: Pair
    vertex: float
    """Row of the vertex; above the first scanned row if the head is cut."""
    height: float
    """Rows from the vertex to the soles."""
    scanned: tuple[int, int]

    def at(self, share: float) -> int:
        """Row at a share of the height below the vertex."""
        return max(0, int(self.vertex + share * self.height)) // 2 * 2

    @property
    def is_whole(self) -> bool:
        """True if no more than a third of the head and the feet lie outside the scanned rows."""
        return self.at(0.045) >= self.scanned[0] and self.at(0.92) <= self.scanned[1]


def phantoms(studies: int, seed: int = SEED) -> Iterator[Phantom]:
    """Yield phantoms of every centre in turn."""
    for index in range(studies):
        plan = SetPlan(studies, seed, ("ABC"[index % 3],), clutter=False)
        yield locate(make_study(assign(plan, index), np.random.SeedSequence([seed, index])))


def phantoms_with_arms_up(studies: int, seed: int = SEED + 1) -> Iterator[Phantom]:
    """Yield phantoms with both arms above the head; hands and elbows lie within the view or above and beside it."""
    with mock.patch("bsbatch_build.phantom.study.draw_patient", _draw_with_arms_up):
        yield from phantoms(studies, seed)


def _draw_with_arms_up(rng: np.random.Generator) -> Patient:
    patient = draw_patient(rng)
    left, right = rng.uniform(150, 178, 2)
    bend = rng.uniform(0, 90)  # from straight arms to hands on the head
    elbows = (bend + rng.normal(0, 8), bend + rng.normal(0, 8))
    return replace(patient, posture=replace(patient.posture, arms=(left, right), elbows=elbows))


def locate(study: Study) -> Phantom:
    optics = study.case.acquisition.optics
    soles = 1.04 * study.case.patient.height  # feet point downwards
    return Phantom(study.views, optics.margin / optics.spacing, soles / optics.spacing, study.case.acquisition.window)


def add_background(views: Pair, mean: float, seed: int) -> Pair:
    random = np.random.default_rng(seed)
    front, back = ((view + random.poisson(mean, view.shape)).astype(np.uint16) for view in views)
    return front, back


def both(change: Callable[[Phantom, Counts], Counts]) -> Callable[[Phantom], Pair]:
    """A change of both views."""
    return lambda body: (change(body, body.views[0]), change(body, body.views[1]))


def anterior(change: Callable[[Phantom, Counts], Counts]) -> Callable[[Phantom], Pair]:
    """A change of the anterior view alone."""
    return lambda body: (change(body, body.views[0]), body.views[1])


def clear(view: Counts, rows: slice = slice(None), columns: slice = slice(None)) -> Counts:
    cleared = view.copy()
    cleared[rows, columns] = 0
    return cleared


def thin(view: Counts, share: float) -> Counts:
    return np.random.default_rng(1).binomial(view, share).astype(np.uint16)


def turn_within_matrix(view: Counts) -> Counts:
    turned = cv2.resize(np.rot90(view).astype(np.float32), view.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.round(turned).astype(np.uint16)


SOUND = {
    "as made": lambda body: body.views,
    "a fifth of the counts": both(lambda _, view: thin(view, 0.2)),
    "scaled to 255": both(lambda _, view: (view * (255 / max(view.max(), 1))).astype(np.uint16)),
    "ends at the ankles": both(lambda body, view: clear(view, slice(body.at(0.94), None))),
    "matrix ends at the ankles": both(lambda body, view: view[: body.at(0.94)]),
    "vertex in the first row": both(lambda body, view: view[body.at(0.01) :]),
}
"""Changes that leave a scan sound."""
TURNED: dict[str, Callable[[Phantom], Pair]] = {
    "upside down": both(lambda _, view: view[::-1]),
    "turned by 180 degrees": both(lambda _, view: view[::-1, ::-1]),
    "one view upside down": anterior(lambda _, view: view[::-1]),
    "upper half, upside down": both(lambda body, view: view[: body.at(0.5)][::-1]),
    "transposed": both(lambda _, view: view.T),
    "turned by 90 degrees": both(lambda _, view: np.rot90(view)),
    "turned by 90 degrees, same matrix": both(lambda _, view: turn_within_matrix(view)),
}
CUT: dict[str, Callable[[Phantom], Pair]] = {
    "without the head": both(lambda body, view: clear(view, slice(0, body.at(0.13)))),
    "matrix begins at the shoulders": both(lambda body, view: view[body.at(0.15) :]),
    "matrix ends at the pelvis": both(lambda body, view: view[: body.at(0.5)]),
    "stopped at the pelvis": both(lambda body, view: clear(view, slice(body.at(0.5), None))),
    "stopped at the knees": both(lambda body, view: clear(view, slice(body.at(0.72), None))),
    "thorax only": both(lambda body, view: view[: body.at(0.4)]),
    "lower half only": both(lambda body, view: view[body.at(0.5) :]),
    "upper half empty": both(lambda body, view: clear(view, slice(0, body.at(0.5)))),
    "legs only": both(lambda body, view: clear(view, slice(0, body.at(0.55)))),
    "one side of the body": lambda body: (
        clear(body.views[0], columns=slice(0, body.views[0].shape[1] // 2)),
        clear(body.views[1], columns=slice(body.views[1].shape[1] // 2, None)),
    ),
    "stopped at the pelvis, one view": anterior(lambda body, view: clear(view, slice(body.at(0.5), None))),
    "one view without its upper half": anterior(lambda body, view: clear(view, slice(0, body.at(0.5)))),
}
UNEVEN: dict[str, Callable[[Phantom], Pair]] = {
    "half of one detector": anterior(lambda _, view: clear(view, columns=slice(0, view.shape[1] // 2))),
    "same half of both detectors": both(lambda _, view: clear(view, columns=slice(0, view.shape[1] // 2))),
    "third of one detector": anterior(lambda _, view: clear(view, columns=slice(0, view.shape[1] // 3))),
    "one view of a fifth of the counts": anterior(lambda _, view: thin(view, 0.2)),
    "one view without the body": anterior(lambda _, view: thin(view, 0.005)),
}
DROPPED: dict[str, Callable[[Phantom], Pair]] = {
    "every 8th row": both(lambda _, view: clear(view, slice(0, None, 8))),
    "every 2nd row": both(lambda _, view: clear(view, slice(1, None, 2))),
    "40 rows in the pelvis": both(lambda body, view: clear(view, slice(body.at(0.48), body.at(0.48) + 40))),
    "40 rows in the pelvis, one view": anterior(
        lambda body, view: clear(view, slice(body.at(0.48), body.at(0.48) + 40))
    ),
    "one row of the thorax, one view": anterior(lambda body, view: clear(view, slice(body.at(0.3), body.at(0.3) + 1))),
    "10 rows in the thighs": both(lambda body, view: clear(view, slice(body.at(0.6), body.at(0.6) + 10))),
    "a fifth of the body": both(lambda body, view: clear(view, slice(body.at(0.3), body.at(0.5)))),
}
WRONG = {
    Flag.ORIENTATION_SUSPECT: TURNED,
    Flag.BODY_TRUNCATED: CUT,
    Flag.VIEW_INCOMPLETE: UNEVEN,
    Flag.ROWS_MISSING: DROPPED,
}
"""Flag that must be raised -> names of faults, and functions that make them."""


def flags_of(views: Pair) -> tuple[str, ...]:
    front, back = (ViewPixels(np.ascontiguousarray(view)) for view in views)
    return assess(examine((scan("AP", "both"),)), front, back).flags


def main(studies: int) -> None:
    """Print a table: rows are scans, columns are flags, entries are shares of the scans in per cent."""
    cases = {f"sound: {name}": change for name, change in SOUND.items()}
    cases |= {name: change for faults in WRONG.values() for name, change in faults.items()}
    counts: dict[str, Counter[str]] = {}
    for posture, bodies in (("", phantoms(studies)), ("arms up, ", phantoms_with_arms_up(studies // 3))):
        for index, body in enumerate(bodies):
            mean = BACKGROUNDS[index % len(BACKGROUNDS)]
            for name, change in cases.items():
                if body.is_whole or not name.startswith("sound"):
                    found = flags_of(add_background(change(body), mean, index))
                    counts.setdefault(posture + name, Counter()).update([*found, "scans"])
    counts["all sound ones"] = sum((number for name, number in counts.items() if "sound: " in name), Counter())
    sys.stdout.write(f"| scans | {' | '.join(FLAGS)} |\n|{' --- |' * (len(FLAGS) + 1)}\n")
    for name, number in counts.items():
        shares = (f"{100 * number[flag] / max(number['scans'], 1):.1f}" for flag in FLAGS)
        sys.stdout.write(f"| {name} ({number['scans']}) | {' | '.join(shares)} |\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
