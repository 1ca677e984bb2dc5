"""Records of radiopharmaceuticals: as a header has them, and normalised."""

from typing import NamedTuple


class Drug(NamedTuple):
    """One item of (0054,0016) Radiopharmaceutical Information Sequence, PS3.3 C.8.4.10."""

    nuclide_codes: tuple[str, ...]
    """Code Values of (0054,0300) Radionuclide Code Sequence."""
    nuclide_texts: tuple[str, ...]
    """Code Meanings of the same items, or the values of the retired (0018,0030) Radionuclide."""
    codes: tuple[str, ...]
    """Code Values of (0054,0304) Radiopharmaceutical Code Sequence."""
    texts: tuple[str, ...]
    """(0018,0031) Radiopharmaceutical, and the Code Meanings of the same items."""
    start_time: str | None
    """(0018,1072) Radiopharmaceutical Start Time, ``HHMMSS.FFFFFF``."""
    start_datetime: str | None
    """(0018,1078) Radiopharmaceutical Start DateTime."""


class Tracer(NamedTuple):
    """The tracer of an object as its header reports it, see `bsbatch.dicom.tracers`."""

    radionuclide: str | None = None
    """Normalised, for example ``Tc-99m``; None if unknown."""
    radiopharmaceutical: str | None = None
    """Normalised name of a known one, or ``other``; None if unknown."""
    minutes: float | None = None
    """From injection to acquisition; None if unknown."""
    is_other: bool = False
    """True if the header names something else than a bone tracer with Tc-99m."""
    is_early: bool = False
    """True for a flow or blood pool phase."""


UNKNOWN_TRACER = Tracer()
