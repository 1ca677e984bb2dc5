"""Finds the anterior and the posterior frame of an object from the evidence in its header.

Evidence in ranks from strong to weak: coded view (PS3.16 CID 26) and its text; the vendor's private labels; View
Position and Start Angle (PS3.3 C.8.4.11: zero is the patient's back); descriptions. The strongest rank that names a
view decides, whatever weaker ranks name. Contradictory evidence of one rank is ``view_conflict``. The order of frames
is used only on request.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from bsbatch.dicom.view_words import views_in
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import EvidenceKind, FrameView, Header, View

_CID_26 = {
    "399321004": View.ANTERIOR,
    "399001007": View.POSTERIOR,
    "G-5215": View.ANTERIOR,
    "G-5216": View.POSTERIOR,
    "G-5200": View.ANTERIOR,
    "G-5201": View.POSTERIOR,
    "399118008": View.LATERAL,
    "399297009": View.LATERAL,
    "49370004": View.LATERAL,
}  # PS3.16 CID 26: SCT, and the retired SRT codes of older files
_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})

_SUFFIXES = {"_E": View.ANTERIOR, "_F": View.POSTERIOR}  # GE Genie and Xeleris: detector E in front, F behind
_GE = re.compile(r"\s*(GE|G\.E\.|GEMS|GENERAL ELECTRIC|SMV|SOPHA|ELSCINT)(?![A-Z])", re.IGNORECASE)
"""Manufacturers whose workstations append the suffixes."""
_ANGLE_TOLERANCE = 45.0
_PAIR = 2
_REMEMBERED = 256
"""Size of the caches of labels and headers: an archive has few different ones."""

Witness = Callable[[Header, int], set[View]]
"""Returns the views that one kind of evidence names for a frame, counted from 1."""


def resolve(header: Header, frames: tuple[int, ...], *, assume_order: bool) -> tuple[FrameView, ...] | Verdict:
    """Name the view of each frame and keep one anterior and one posterior.

    Parameters
    ----------
    header
        Of a whole-body object.
    frames
        Numbers of the frames to use (from 1), those of the photopeak window.
    assume_order
        Assume that the first of two unlabelled frames is the anterior one.

    Returns
    -------
    One or two `FrameView`, anterior first; or the verdict ``view_unresolved``, ``view_conflict``, ``composite_views``,
    ``too_many_frames`` or ``lateral_view``.
    """
    return _resolve(header.shared(), frames, assume_order)


@lru_cache(_REMEMBERED)
def _resolve(
    shared: tuple[object, ...], frames: tuple[int, ...], assume_order: bool
) -> tuple[FrameView, ...] | Verdict:
    """Resolve the views of a header by the values that a camera's objects share, and so this cache."""
    header, named = Header.of_last(shared), list[FrameView]()
    for frame in frames:
        found = testify(header, frame)
        if isinstance(found, Reason):
            return Verdict.of(Stage.VIEWS, found)
        if found is not None:
            named.append(found)
    if not named and assume_order and len(frames) == _PAIR:
        named = _in_assumed_order(frames)
    if len(named) < len(frames) and not _is_whole(named):
        return Verdict.of(Stage.VIEWS, _reason_without_views(header, frames))
    return _select(named)


def without_labels(header: Header) -> Header:
    """Remove what only this module needs, so that waiting objects hold no free text and less memory."""
    return _replace_labels(header, _NO_LABELS)


_OF_LABELS = "detectors", "view_texts", "private_labels", "view_position", "image_ids", "descriptions", "drugs"
_NO_LABELS = ((),) * len(_OF_LABELS)
_replace_labels = Header.replacer(*_OF_LABELS)


def testify(header: Header, frame: int) -> FrameView | Reason | None:
    """Return the view of a frame; ``view_conflict`` if two witnesses of a rank disagree, None if all are silent."""
    for rank in WITNESSES:
        testimony = [(kind, view) for kind, witness in rank for view in witness(header, frame)]
        if len({view for _, view in testimony}) > 1:
            return Reason.VIEW_CONFLICT
        if testimony:
            return FrameView(frame, testimony[0][1], testimony[0][0])
    return None


@lru_cache(_REMEMBERED)
def views_of_text(text: str, *, has_suffixes: bool = True) -> frozenset[View]:
    """Return the views that a label names.

    Parameters
    ----------
    text
        The label.
    has_suffixes
        Read the suffixes of GE's workstations: other labels end in letters of other meanings.

    Examples
    --------
    >>> [sorted(views_of_text(text)) for text in ("WB ANT", "WHOLE BODY_F", "3 H POST INJECTION")]
    [[<View.ANTERIOR: 'anterior'>], [<View.POSTERIOR: 'posterior'>], []]
    """
    views = views_in(text)
    suffix = text.strip().upper()[-2:]
    if not views and has_suffixes and suffix in _SUFFIXES:
        return frozenset({_SUFFIXES[suffix]})
    return views


def _is_whole(named: list[FrameView]) -> bool:
    return {View.ANTERIOR, View.POSTERIOR} <= {item.view for item in named}


def _select(named: list[FrameView]) -> tuple[FrameView, ...] | Verdict:
    upright = [item for item in named if item.view is not View.LATERAL]
    if not named:
        return Verdict.of(Stage.VIEWS, Reason.VIEW_UNRESOLVED)
    if not upright:
        return Verdict.of(Stage.VIEWS, Reason.LATERAL_VIEW)
    if len({item.view for item in upright}) < len(upright):
        return Verdict.of(Stage.VIEWS, Reason.TOO_MANY_FRAMES)
    return tuple(sorted(upright, key=lambda item: item.view))


def _reason_without_views(header: Header, frames: tuple[int, ...]) -> Reason:
    names_both = any(len(views_of_text(text)) > 1 for text in header.image_ids + header.descriptions)
    is_wide = header.columns * _PAIR >= header.rows
    return Reason.COMPOSITE_VIEWS if len(frames) == 1 and is_wide and names_both else Reason.VIEW_UNRESOLVED


def _in_assumed_order(frames: tuple[int, ...]) -> list[FrameView]:
    views = (View.ANTERIOR, View.POSTERIOR)
    return [FrameView(frame, view, EvidenceKind.ASSUMED_ORDER) for frame, view in zip(frames, views, strict=True)]


def _views_named_by(texts: Iterable[str], *, has_suffixes: bool = False) -> set[View]:
    """Return the views of the labels that name exactly one; "ANT/POST" is no evidence."""
    named = (views_of_text(text, has_suffixes=has_suffixes) for text in texts)
    return {view for views in named if len(views) == 1 for view in views}


def _by_code(header: Header, frame: int) -> set[View]:
    codes = _detector_codes(header, frame)
    return {_CID_26[value] for scheme, value in codes if scheme in _SCHEMES and value in _CID_26}


def _by_meaning(header: Header, frame: int) -> set[View]:
    detector = _detector_index(header, frame)
    views = _views_named_by(header.detectors[detector].view_texts) if detector is not None else set()
    return views | (_views_named_by(header.view_texts) if header.frames == 1 else set())


def _by_private(header: Header, frame: int) -> set[View]:
    labels = (values[frame - 1] for values in header.private_labels if len(values) == header.frames)
    return _views_named_by(labels, has_suffixes=True)


def _by_view_position(header: Header, frame: int) -> set[View]:
    is_for_each = len(header.view_position) == header.frames
    return _views_named_by(header.view_position[frame - 1 : frame]) if is_for_each else set()


def _by_start_angle(header: Header, frame: int) -> set[View]:
    detector = _detector_index(header, frame)
    angle = header.detectors[detector].start_angle if detector is not None else None
    if angle is None:
        return set()
    from_back = abs((angle + 180.0) % 360.0 - 180.0)
    if from_back <= _ANGLE_TOLERANCE:
        return {View.POSTERIOR}
    return {View.ANTERIOR} if from_back >= 180.0 - _ANGLE_TOLERANCE else {View.LATERAL}


def _by_description(header: Header, frame: int) -> set[View]:
    """Read Image ID, which is the object's own, else Series Description, which all objects of a series share."""
    if header.frames != 1 or frame != 1:
        return set()
    has_suffixes = bool(header.private_labels) or _GE.match(header.manufacturer or "") is not None
    own = _views_named_by(header.image_ids, has_suffixes=has_suffixes)
    return own or _views_named_by(header.descriptions, has_suffixes=has_suffixes)


def _detector_codes(header: Header, frame: int) -> tuple[tuple[str, str], ...]:
    detector = _detector_index(header, frame)
    return header.detectors[detector].view_codes if detector is not None else ()


def _detector_index(header: Header, frame: int) -> int | None:
    """Index from 0 in Detector Information Sequence for a frame (PS3.3 C.8.4.11: item n is Detector Vector value n)."""
    count = len(header.detectors)
    if header.detector_vector:
        number = header.detector_vector[frame - 1] if frame <= len(header.detector_vector) else 0
    elif count == header.frames:
        number = frame
    else:
        number = 0
    return number - 1 if 1 <= number <= count else None


WITNESSES: tuple[tuple[tuple[EvidenceKind, Witness], ...], ...] = (
    ((EvidenceKind.CODE, _by_code), (EvidenceKind.MEANING, _by_meaning)),
    ((EvidenceKind.PRIVATE, _by_private),),
    ((EvidenceKind.VIEW_POSITION, _by_view_position), (EvidenceKind.START_ANGLE, _by_start_angle)),
    ((EvidenceKind.DESCRIPTION, _by_description),),
)
"""Ranks of evidence, strongest first."""
