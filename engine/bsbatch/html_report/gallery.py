"""Scans for the gallery, as data URLs cropped to the body, and contours of heat maps and lesions as SVG paths."""

import os
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import OutputError
from bsbatch.geometry import CAM_SHAPE
from bsbatch.host.files import read_plain
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import ordered_map
from bsbatch.sinks.contours import LEVELS, outline, stretch
from bsbatch.sinks.drawing import SCAN_ROWS
from bsbatch.sinks.window import Box, boxes_of
from bsbatch.store.folder import overlays_of, scan_files
from bsbatch.store.parts import selected_rows
from bsbatch.store.tables import RESULTS

Halves = list[NDArray[np.float32]]
"""Values at each pixel of the anterior and of the posterior view; empty if there are none."""
FindLesions = Callable[[str], NDArray[np.bool_] | None]
"""Function from an ``exam_id`` to its lesions, ``(512, 512)``, anterior view at the left; None without masks."""
_LARGEST_IMAGE = 1 << 24
_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 65)
_GAP, _NAMES = 8, 30
"""White columns between the views, and white rows above them for their names."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Image of one examination."""

    exam_id: str
    scan: str
    """Data URL of both views, in the grey of `bsbatch.sinks.drawing.scan_image`."""
    size: tuple[int, int]
    """Width and height, in pixels."""
    split: int
    """Column where the anterior view ends."""
    contours: tuple[str, ...]
    """Path of each of `LEVELS`."""
    lesions: str
    """Path of the lesion masks; empty without any."""


def pictures_of(out: Path, ranked: Iterable[str], limit: int, find_lesions: FindLesions) -> tuple[Picture, ...]:
    """Load the images of the first `limit` examinations that have one.

    Raises
    ------
    OutputError
        An image cannot be read.
    """
    scans = {path.stem: path for path in scan_files(out)}
    chosen = [exam_id for exam_id in ranked if exam_id in scans][:limit]
    maps = _read_maps(out, set(chosen))

    def picture(exam_id: str) -> Picture:
        return _picture(exam_id, _read_scan(scans[exam_id]), maps.get(exam_id), find_lesions(exam_id))

    return tuple(ordered_map(picture, chosen, usable_cpus()))


def links_of(out: Path, page: Path) -> dict[str, str]:
    """Address of the full overlay of each examination, relative to the page."""
    base = page.resolve().parent
    return {
        name: quote(Path(os.path.relpath(path.resolve(), base)).as_posix()) for name, path in overlays_of(out).items()
    }


def _read_maps(out: Path, chosen: Collection[str]) -> Mapping[str, NDArray[np.float32]]:
    """Read the heat maps of some examinations, ``(32, 32)`` each; the others are not even decoded."""
    return {
        row["exam_id"]: np.asarray(row["cam_map"], np.float32).reshape(CAM_SHAPE)
        for row in selected_rows(out / RESULTS, ["cam_map"], chosen)
        if row.get("cam_map") is not None
    }


def _picture(
    exam_id: str, scan: NDArray[np.uint8], cells: NDArray[np.float32] | None, lesions: NDArray[np.bool_] | None
) -> Picture:
    views = np.hsplit(scan, 2)
    boxes = boxes_of([np.square(255 - view.astype(np.float32)) for view in views])
    front, back = (box.crop(view) for box, view in zip(boxes, views, strict=True))
    gap = np.full((len(front), _GAP), 255, np.uint8)
    image = np.pad(np.hstack([front, gap, back]), ((_NAMES, 0), (0, 0)), constant_values=255)
    encoded = cv2.imencode(".webp", image, _WEBP)[1].tobytes()
    shape = views[0].shape[0], views[0].shape[1]
    heat = [] if cells is None else [stretch(half, shape) for half in np.hsplit(cells, 2)]
    marks = [] if lesions is None else [stretch(half, shape) for half in np.hsplit(lesions.astype(np.float32), 2)]
    return Picture(
        exam_id,
        f"data:image/webp;base64,{b64encode(encoded).decode()}",
        (image.shape[1], image.shape[0]),
        front.shape[1],
        tuple(_path(heat, boxes, level) for level in LEVELS),
        _path(marks, boxes, 0.5),
    )


def _path(halves: Halves, boxes: tuple[Box, Box], level: float) -> str:
    """Outline both views from a value on, as an SVG path in pixels of the picture."""
    path, start = "", 0
    for half, box in zip(halves, boxes, strict=False):
        inside = box.crop(half >= level)
        corners = [np.add(polygon, (start, _NAMES)).tolist() for polygon in outline(inside)]
        path += "".join("M" + "L".join(f"{column} {row}" for column, row in polygon) + "Z" for polygon in corners)
        start += inside.shape[1] + _GAP
    return path


def _read_scan(path: Path) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(read_plain(path, _LARGEST_IMAGE), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (OSError, cv2.error):
        image = None
    if image is None or len(image) != SCAN_ROWS or image.shape[1] % 2:
        raise OutputError(f"{path} cannot be read: delete it and run again; its examination keeps its row")
    return np.asarray(image, np.uint8)
