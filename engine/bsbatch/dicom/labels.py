"""Reads from the texts of an object which scan of a study it belongs to, whatever its view."""

import re
from functools import lru_cache

from bsbatch.identity import digest
from bsbatch.records import Header, ScanLabel

_DIRECTIONS = frozenset(
    {"A", "AN", "ANT", "ANTERIOR", "ANTEROPOSTERIOR", "AP", "E", "VIEW", "IMAGE"}
    | {"P", "PO", "POST", "POSTERIOR", "POSTEROANTERIOR", "PA", "F"}
)
"""Words that differ between the views of one scan."""
_REMEMBERED = 256
"""Size of the cache: an archive has few different texts."""
_WORDS = re.compile(r"[A-Z0-9]+")
_HOURS = re.compile(r"(?<!\d)(\d{1,2}) ?(?:H|HR|HRS|HOUR|HOURS|STD|STUNDEN?|HEURES?|ORE?|UUR)(?![A-Z])")
_MINUTES = re.compile(r"(?<!\d)(\d{1,3}) ?(?:M|MIN|MINS|MINUTES?|MINUTEN)(?![A-Z])")
_PHASES = {
    "early": re.compile(
        r"BLOOD[ _-]*POOL|BLUTPOOL|(?<![A-Z])(?:POOL|FLOW|EARLY|FRUE?H|FRÜH|WEICHTEIL|PR[EÉ]CO[CZ]|TEMPRAN|VASCULAR"
        r"|TISULAR|IN?MM?[EÉ]DIAT|PERFUSION|PHASE[ _-]*(?:[12]|II?)(?![A-Z0-9])|(?:1ST|2ND|FIRST|SECOND)[ _-]*PHASE)"
    ),
    "late": re.compile(r"DELAY|(?<![A-Z])(?:LATE(?![A-Z])|SPAE?T|SPÄT|TARDI|RETARD)"),
}


def label_of(header: Header) -> ScanLabel:
    """Return the label that Image ID and Series Description give to a scan."""
    return _label_of(header.image_ids + header.descriptions)


def named_phases(text: str) -> set[str]:
    """Return the phases of a scan that the words of a text name: ``early``, ``late``."""
    return {phase for phase, pattern in _PHASES.items() if pattern.search(text.upper())}


@lru_cache(_REMEMBERED)
def _label_of(texts: tuple[str, ...]) -> ScanLabel:
    text = " ".join(texts).upper().replace("_", " ")
    words = sorted(set(_WORDS.findall(text)) - _DIRECTIONS)
    hours = {f"{int(found)} h" for found in _HOURS.findall(text)}
    minutes = {f"{int(found)} min" for found in _MINUTES.findall(text)}
    return ScanLabel(digest(*words), frozenset(hours | minutes | named_phases(text)))
