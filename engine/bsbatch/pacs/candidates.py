"""Decides by series and instance level which objects of a PACS may be whole-body bone scans, before they are fetched.

The rules are those of `bsbatch.dicom.selection`, as far as the PACS returns the attributes that they need. In place of
an attribute that it does not return stands a value with which the object may be a scan.
"""

from bsbatch.dicom.selection import decline as decline_header
from bsbatch.dicom.selection import has_body_shape, may_be_scan
from bsbatch.pacs.protocol import PacsObject
from bsbatch.reasons import SKIPS, Reason
from bsbatch.records import Header, PixelData

_SCAN_MATRIX, _SCAN_TYPE, _SCAN_TECHNIQUE = (1024, 256), ("ORIGINAL", "PRIMARY", "WHOLE BODY"), "1PS"
"""Values of a whole-body scan, PS3.3 C.8.4.9.1; no PACS returns its Whole Body Technique."""


def is_open(modality: str | None) -> bool:
    """Return True for a series that may hold a bone scan, by (0008,0060) Modality alone; None is unknown."""
    return modality is None or may_be_scan(modality.strip(), "")


def decline(found: PacsObject) -> Reason | None:
    """Return the reason why an object cannot be a whole-body bone scan; None if it may be one."""
    verdict = decline_header(_header(found))
    return verdict.reason if verdict is not None and verdict.reason in SKIPS else None


def _header(found: PacsObject) -> Header:
    """Return a header of the known attributes, completed so that the object may be a scan.

    A scan that can be scored has the shape of a body. What has another one needs an Image Type or a name to be fetched.
    """
    rows, columns = (found.rows, found.columns) if found.rows and found.columns else _SCAN_MATRIX
    is_body = has_body_shape(rows, columns)
    values = dict.fromkeys(Header._fields, ()) | {
        "sop_class": found.sop_class,
        "modality": (found.modality or "NM").strip(),
        "image_type": (_SCAN_TYPE if is_body else ()) if found.image_type is None else found.image_type,
        "rows": rows,
        "columns": columns,
        "frames": found.frames or 1,
        "samples_per_pixel": 1,
        "descriptions": (found.description or "",),
        "whole_body_technique": _SCAN_TECHNIQUE if is_body else None,
        "pixel_data": PixelData(0, 0, is_complete=True),
    }
    return Header._make(values.values())
