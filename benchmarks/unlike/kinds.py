"""Kinds of images that no model was trained on, made of phantoms, and real files of pydicom and pydicom-data."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import data_store
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from bsbatch.imaging.preprocess import compose
from bsbatch_build.phantom.archive import study_of
from bsbatch_build.phantom.plan import SetPlan, assign

Counts = NDArray[np.float32]
Pair = tuple[Counts, Counts]
"""Anterior and posterior view, counts."""
Change = Callable[[np.random.Generator, Pair], Pair]
_SLICES = "CT_small.dcm", "MR_small.dcm", "emri_small.dcm"
_NM1 = "JPEG2000_UNC.dcm"
"""NEMA WG-04 NM1: one real anterior whole-body view."""
_FOCI = {
    "I-131": ((0.13, 0.5, 30), (0.4, 0.56, 12), (0.52, 0.5, 40)),
    "MIBG": ((0.1, 0.44, 8), (0.1, 0.56, 8), (0.24, 0.54, 15), (0.33, 0.4, 40), (0.52, 0.5, 25)),
    "octreotide": ((0.33, 0.4, 15), (0.37, 0.58, 35), (0.4, 0.42, 30), (0.4, 0.58, 30), (0.52, 0.5, 10)),
}
"""Row and column, as shares of the view, and uptake of organs: thyroid, stomach, bladder; salivary glands, heart,
liver, bladder; liver, spleen, kidneys, bladder."""
_BODY = 0.5
"""Counts of a smoothed pixel of the body, at least."""


def _each(change: Callable[[Counts], Counts]) -> Change:
    return lambda _, views: (change(views[0]), change(views[1]))


def _halve(views: Pair, first: float, last: float) -> Pair:
    front, back = (view[int(first * len(view)) : int(last * len(view))] for view in views)
    return front, back


def _zoom(factor: float) -> Change:
    """Show the body smaller or larger, as a camera of another field of view does."""

    def change(view: Counts) -> Counts:
        rows, columns = view.shape
        turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), 0, factor)
        return np.asarray(cv2.warpAffine(view, turn, (columns, rows)), np.float32)

    return _each(change)


def _blur(sigma: float) -> Change:
    return _each(lambda view: np.asarray(cv2.GaussianBlur(view, (0, 0), sigma), np.float32))


def _starve(rng: np.random.Generator, views: Pair) -> Pair:
    front, back = (rng.poisson(view / 30).astype(np.float32) for view in views)
    return front, back


def _other_tracer(name: str) -> Change:
    """Uptake of the soft tissue, without bones, and of the organs of another tracer."""

    def change(rng: np.random.Generator, views: Pair) -> Pair:
        return _take(rng, views[0], name, mirrored=False), _take(rng, views[1], name, mirrored=True)

    return change


def _take(rng: np.random.Generator, view: Counts, name: str, *, mirrored: bool) -> Counts:
    rows, columns = view.shape
    body = cv2.GaussianBlur((cv2.GaussianBlur(view, (0, 0), 8) > _BODY).astype(np.float32), (0, 0), 4)
    uptake = 2.0 * body
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    for row, column, strength in _FOCI[name]:
        centre = (
            rows * (row + rng.normal(0, 0.01)),
            columns * ((1 - column if mirrored else column) + rng.normal(0, 0.02)),
        )
        size = columns * rng.uniform(0.04, 0.07)
        uptake += (
            strength * rng.uniform(0.5, 2) * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * size**2))
        )
    return rng.poisson(uptake).astype(np.float32)


def _noise(rng: np.random.Generator, views: Pair) -> Pair:
    front, back = (rng.poisson(5, view.shape).astype(np.float32) for view in views)
    return front, back


CHANGES: dict[str, Change] = {
    "upside down": _each(lambda view: view[::-1]),
    "lying across": _each(lambda view: np.ascontiguousarray(view.T)),
    "upper half": lambda _, views: _halve(views, 0.0, 0.5),
    "lower half": lambda _, views: _halve(views, 0.5, 1.0),
    "one view twice": lambda _, views: (views[0], views[0]),
    "body at 60 %": _zoom(0.6),
    "body at 140 %": _zoom(1.4),
    "blurred, 5 pixels": _blur(5.0),
    "a thirtieth of the counts": _starve,
    "root of the counts": _each(lambda view: np.asarray(np.sqrt(view), np.float32)),
    "inverted": _each(lambda view: np.asarray(view.max() - view, np.float32)),
    "I-131": _other_tracer("I-131"),
    "MIBG": _other_tracer("MIBG"),
    "octreotide": _other_tracer("octreotide"),
    "noise": lambda rng, views: (
        rng.poisson(5, views[0].shape).astype("f4"),
        rng.poisson(5, views[1].shape).astype("f4"),
    ),
}
"""Each from the views of a phantom, of all three centres in turn."""


def phantom_images(centres: tuple[str, ...], number: int, seed: int, change: Change | None = None) -> Iterator[Counts]:
    """Yield inputs of the model ``(512, 512)`` of phantoms, changed if wanted."""
    plan = SetPlan(number, seed, centres, clutter=False)
    rng = np.random.default_rng(seed)
    for index in range(number):
        anterior, posterior = (view.astype(np.float32) for view in study_of(plan, index).views)
        yield compose(*((anterior, posterior) if change is None else change(rng, (anterior, posterior))))


def phantom_labels(centres: tuple[str, ...], number: int, seed: int) -> NDArray[np.bool_]:
    """Return True for each of these phantoms that has metastases."""
    plan = SetPlan(number, seed, centres, clutter=False)
    return np.array([assign(plan, index).positive for index in range(number)], bool)


def slice_images(number: int, seed: int) -> Iterator[Counts]:
    """Yield slices of CT and MR, turned and cut at random, and forced in as one view and its mirror image."""
    rng = np.random.default_rng(seed)
    planes = [_plane_of(name) for name in _SLICES]
    for index in range(number):
        top, left = rng.integers(1, 8, 2)
        plane = np.ascontiguousarray(np.rot90(planes[index % len(planes)], int(rng.integers(4)))[top:, left:])
        yield compose(plane, np.ascontiguousarray(plane[:, ::-1]))


def _plane_of(name: str) -> Counts:
    """Read the first frame of a file of pydicom, as counts from 0."""
    pixels = pydicom.dcmread(str(get_testdata_file(name))).pixel_array.astype(np.float32)
    plane = pixels.reshape(-1, *pixels.shape[-2:])[0]
    return np.asarray(plane - plane.min(), np.float32)


def real_images() -> Iterator[Counts]:
    """Yield the real view beside its own mirror image."""
    (path,) = Path(data_store.__file__).parent.rglob(_NM1)
    view = pydicom.dcmread(path).pixel_array.astype(np.float32)
    yield compose(view, np.ascontiguousarray(view[:, ::-1]))
