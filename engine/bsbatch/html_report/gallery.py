"""Small overlays as data URLs, each with the scan without its heat map if the run wrote one."""

import os
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2

from bsbatch.errors import OutputError
from bsbatch.host.files import read_plain
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import ordered_map
from bsbatch.sinks.drawing import small_overlay
from bsbatch.sinks.overlays import read_overlay
from bsbatch.store.folder import overlays_of, scan_files

_LARGEST_IMAGE = 1 << 26
_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 70)


@dataclass(frozen=True, slots=True)
class Picture:
    """Images of one examination."""

    exam_id: str
    overlay: str
    """Data URL, 400 pixels wide."""
    scan: str | None
    """Data URL of the scan in the same size, without the heat map; None for a run older than these files."""
    height: int
    """Height of both, in pixels."""


def pictures_of(out: Path, ranked: Iterable[str], limit: int) -> tuple[Picture, ...]:
    """Load the images of the first `limit` examinations that have an overlay.

    Raises
    ------
    OutputError
        An overlay cannot be read.
    """
    overlays, scans = overlays_of(out), {path.stem: path for path in scan_files(out)}
    chosen = [exam_id for exam_id in ranked if exam_id in overlays][:limit]

    def picture(exam_id: str) -> Picture:
        small = small_overlay(read_overlay(overlays[exam_id]))
        encoded = cv2.imencode(".webp", small, _WEBP)[1].tobytes()
        scan = scans.get(exam_id)
        return Picture(exam_id, _url("webp", encoded), _url("jpeg", _content(scan)) if scan else None, len(small))

    return tuple(ordered_map(picture, chosen, usable_cpus()))


def links_of(out: Path, page: Path) -> dict[str, str]:
    """Address of the full overlay of each examination, relative to the page."""
    base = page.resolve().parent
    return {
        name: quote(Path(os.path.relpath(path.resolve(), base)).as_posix()) for name, path in overlays_of(out).items()
    }


def _content(path: Path) -> bytes:
    try:
        return read_plain(path, _LARGEST_IMAGE)
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}): grant access, or delete it") from error


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
