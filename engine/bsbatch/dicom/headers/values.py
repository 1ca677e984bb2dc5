"""Values of attributes as pydicom decodes them; what it would have to guess at or repair is an `UnclearError`.

The value representations are those of PS3.5 section 6.2.
"""

import math
import re
import struct
from functools import lru_cache

from bsbatch.dicom.headers.elements import Found, check

_INTEGER = re.compile(rb" *[+-]?\d{1,12} *")
_DECIMAL = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})? *")
_INT32 = 2**31 - 1
_ESCAPE = b"\x1b"
_REMEMBERED = 1024
"""Codes and UIDs that are kept: the objects of a study say nearly the same, and so share their strings."""

_WITH_ASCII = frozenset(f"ISO_IR {number}" for number in (6, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 192))
_EXTENDED = frozenset(f"ISO 2022 IR {number}" for number in (6, 13, 58, 87, 149, 159))
_CODECS = {"": "latin-1", "ISO_IR 6": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}


def codec(found: Found) -> str:
    """How free text is encoded, PS3.3 section C.12.1.1.2: known, or the same as ASCII as long as it is ASCII."""
    return _codec_of(found.get("SpecificCharacterSet", b""))


@lru_cache(_REMEMBERED)
def _codec_of(value: bytes) -> str:
    names = value.decode("latin-1").rstrip(" \0").split("\\")
    if len(names) == 1 and names[0] in _CODECS:
        return _CODECS[names[0]]
    check(names[0] in _WITH_ASCII or names[0] in {"", "ISO 2022 IR 6"})
    check(all(name in _WITH_ASCII or name in _EXTENDED for name in names[1:]))
    return "ascii"


def text(found: Found, keyword: str) -> str | None:
    """First value of CS, DA, TM or UI, which no character set changes."""
    return _first_code(found[keyword]) if keyword in found else None


def texts(found: Found, keyword: str) -> tuple[str, ...]:
    """All values of CS, DA, TM or UI."""
    return _codes(found[keyword]) if keyword in found else ()


def unique_text(found: Found, keyword: str) -> str | None:
    """`text` of what is another in every object, and so not worth keeping."""
    value = found.get(keyword)
    if value is None:
        return None
    first, _, _ = value.decode("latin-1").rstrip(" \0").partition("\\")
    return first.strip() or None


@lru_cache(_REMEMBERED)
def _first_code(value: bytes) -> str | None:
    values = _codes(value)
    return (values[0] or None) if values else None


@lru_cache(_REMEMBERED)
def _codes(value: bytes) -> tuple[str, ...]:
    whole = value.decode("latin-1").rstrip(" \0")
    return tuple(map(str.strip, whole.split("\\"))) if whole else ()


def free_text(found: Found, keyword: str, codec: str) -> str | None:
    """First value of LO or SH."""
    values = free_texts(found, keyword, codec)
    return (values[0] or None) if values else None


def free_texts(found: Found, keyword: str, codec: str) -> tuple[str, ...]:
    """All values of LO or SH."""
    value = found.get(keyword)
    if not value:
        return ()
    check(_ESCAPE not in value)
    parts = [part.rstrip(" \0") for part in value.decode(codec).split("\\")]
    return tuple(map(str.strip, parts)) if parts != [""] else ()


def shorts(found: Found, keyword: str) -> tuple[int, ...]:
    """All values of US."""
    value = found.get(keyword, b"")
    check(len(value) % 2 == 0)
    return struct.unpack(f"<{len(value) // 2}H", value)


def short(found: Found, keyword: str) -> int | None:
    """First value of US."""
    values = shorts(found, keyword)
    return values[0] if values else None


def integer(found: Found, keyword: str) -> int | None:
    """`whole`, held within 32 bits."""
    value = whole(found, keyword)
    return None if value is None else max(-_INT32 - 1, min(_INT32, value))


def whole(found: Found, keyword: str) -> int | None:
    """First value of IS."""
    value = found.get(keyword, b"").rstrip(b" \0")
    if not value:
        return None
    parts = value.split(b"\\")
    check(all(map(_INTEGER.fullmatch, parts)))
    return int(parts[0])


def decimals(found: Found, keyword: str) -> tuple[float, ...]:
    """All values of DS; none where one is not finite."""
    value = found.get(keyword, b"").rstrip(b" \0")
    if not value:
        return ()
    parts = value.split(b"\\")
    check(all(map(_DECIMAL.fullmatch, parts)))
    values = tuple(map(float, parts))
    return values if all(map(math.isfinite, values)) else ()


def decimal(found: Found, keyword: str) -> float | None:
    """First value of DS, None where one of them is not finite."""
    values = decimals(found, keyword)
    return values[0] if values else None
