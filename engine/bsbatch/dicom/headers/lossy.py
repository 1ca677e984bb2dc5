"""Loss of information by compression, from an attribute and the transfer syntax."""

_ALWAYS = frozenset(
    (
        *(f"1.2.840.10008.1.2.4.{number}" for number in (*range(50, 57), *range(59, 65))),
        "1.2.840.10008.1.2.4.81",
        *(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)),
        *(f"1.2.840.10008.1.2.4.{number}.1" for number in range(100, 107)),
        "1.2.840.10008.1.2.4.111",
    )
)
"""JPEG other than process 14 and its lossless relatives, JPEG-LS near-lossless, MPEG, HEVC, recompressed JPEG."""
_EITHER = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (91, 93, 94, 95, 112, 203, 204, 205))
"""JPEG 2000, JPIP, JPEG XL and HTJ2K in the syntaxes that allow both ways, PS3.5 section A.4."""


def is_lossy(attribute: str | None, transfer_syntax: str) -> bool:
    """Return True if the pixels have, or may have, been compressed with loss.

    Where a transfer syntax allows both ways, (0028,2110) Lossy Image Compression decides; without it, loss is assumed.

    Parameters
    ----------
    attribute
        Value of (0028,2110): ``00``, ``01`` or None (PS3.3 section C.7.6.1.1.5).
    transfer_syntax
        Its UID.
    """
    is_assumed = transfer_syntax in _EITHER and attribute != "00"
    return attribute == "01" or transfer_syntax in _ALWAYS or is_assumed
