"""Decoders of attribute values that agree with pydicom or refuse the value.

A value that pydicom would guess or repair raises `UnclearError`. Value representations are those of PS3.5 section 6.2.
"""

import math
import re
import struct
from functools import lru_cache

from bsbatch.dicom.headers.elements import RawValues, check

_NAME = re.compile(rb"[ -<>-\[\]-~]*\0*")
_INTEGER = re.compile(rb" *[+-]?\d{1,12} *")
_DECIMAL = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})? *")
_INT32 = 2**31 - 1
_ESCAPE = b"\x1b"
_REMEMBERED = 1024
"""Size of the caches of codes and UIDs. Objects of a study repeat them, and so share the strings."""

_WITH_ASCII = frozenset(f"ISO_IR {number}" for number in (6, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 192))
_EXTENDED = frozenset(f"ISO 2022 IR {number}" for number in (6, 13, 58, 87, 149, 159))
_CODECS = {"": "latin-1", "ISO_IR 6": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}


@lru_cache(_REMEMBERED)
def codec_of(value: bytes) -> str:
    """Python codec of free text for a Specific Character Set, PS3.3 section C.12.1.1.2.

    It is ``ascii`` if only the ASCII part is supported.
    """
    names = value.decode("latin-1").rstrip(" \0").split("\\")
    if len(names) == 1 and names[0] in _CODECS:
        return _CODECS[names[0]]
    check(names[0] in _WITH_ASCII or names[0] in {"", "ISO 2022 IR 6"})
    check(all(name in _WITH_ASCII or name in _EXTENDED for name in names[1:]))
    return "ascii"


def text(raw: RawValues, keyword: str) -> str | None:
    """First value of CS, DA, TM or UI, which do not depend on the character set."""
    return _first_code(raw[keyword]) if keyword in raw else None


def texts(raw: RawValues, keyword: str) -> tuple[str, ...]:
    """All values of CS, DA, TM or UI."""
    return _codes(raw[keyword]) if keyword in raw else ()


def unique_text(value: bytes) -> str | None:
    """Do what `text` does, without a cache, for values that differ in every object."""
    if not value:
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


def free_text(raw: RawValues, keyword: str, codec: str) -> str | None:
    """First value of LO or SH."""
    values = free_texts(raw, keyword, codec)
    return (values[0] or None) if values else None


def unique_free_text(value: bytes, codec: str) -> str | None:
    """First value of LO or SH, for values that differ between patients."""
    if not value:
        return None
    check(_ESCAPE not in value)
    first, _, _ = value.decode(codec).partition("\\")
    return first.rstrip(" \0").strip() or None


def simple_name(value: bytes) -> str | None:
    """The value of PN, if it has one group of components in ASCII (PS3.5 section 6.2.1)."""
    check(_NAME.fullmatch(value) is not None)
    return value.decode("ascii").rstrip(" \0").strip() or None


def free_texts(raw: RawValues, keyword: str, codec: str) -> tuple[str, ...]:
    """All values of LO or SH."""
    value = raw.get(keyword)
    if not value:
        return ()
    check(_ESCAPE not in value)
    parts = [part.rstrip(" \0") for part in value.decode(codec).split("\\")]
    return tuple(map(str.strip, parts)) if parts != [""] else ()


def shorts(raw: RawValues, keyword: str) -> tuple[int, ...]:
    """All values of US."""
    value = raw.get(keyword, b"")
    check(len(value) % 2 == 0)
    return struct.unpack(f"<{len(value) // 2}H", value)


def short(raw: RawValues, keyword: str) -> int | None:
    """The value of US; more than one may be parts of other elements."""
    values = shorts(raw, keyword)
    check(len(values) <= 1)
    return values[0] if values else None


def integer(value: bytes) -> int | None:
    """`whole`, clipped to 32 bits."""
    number = whole(value)
    return None if number is None else max(-_INT32 - 1, min(_INT32, number))


def whole(value: bytes) -> int | None:
    """First value of IS."""
    value = value.rstrip(b" \0")
    if not value:
        return None
    parts = value.split(b"\\")
    check(all(map(_INTEGER.fullmatch, parts)))
    return int(parts[0])


def decimals(raw: RawValues, keyword: str) -> tuple[float, ...]:
    """All values of DS; none if one is not finite."""
    value = raw.get(keyword, b"").rstrip(b" \0")
    if not value:
        return ()
    parts = value.split(b"\\")
    check(all(map(_DECIMAL.fullmatch, parts)))
    values = tuple(map(float, parts))
    return values if all(map(math.isfinite, values)) else ()


def decimal(raw: RawValues, keyword: str) -> float | None:
    """First value of DS; None if one of the values is not finite."""
    values = decimals(raw, keyword)
    return values[0] if values else None
