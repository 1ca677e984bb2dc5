"""Words that name a view in labels and descriptions, and the same words with other meanings.

"POST" is a view in "WB POST" and a preposition in "3H POST MDP"; "AP" is a projection, or abdomen and pelvis. Such a
word counts only among words that say nothing else.
"""

import re
import unicodedata
from functools import lru_cache

from bsbatch.records import View

_CERTAIN = {
    View.ANTERIOR: frozenset(["ANT", "ANTERIOR", "ANTEROPOSTERIOR", "ANTERIEUR", "ANTERIEURE", "ANTERIORE"]),
    View.POSTERIOR: frozenset(["POSTERIOR", "POSTEROANTERIOR", "POSTERIEUR", "POSTERIEURE", "POSTERIORE"]),
}
_AMONG_NEUTRAL = {
    View.ANTERIOR: frozenset({"AP", "AN"}),
    View.POSTERIOR: frozenset({"PA", "PO"}),
    View.LATERAL: frozenset({"LAT", "LATERAL", "LLAT", "RLAT"}),
}
"""Words that count if all others are neutral."""
_POST, _BEFORE_POST = "POST", frozenset({"STATUS", "STATE"})
_AND = frozenset({"AND", "UND", "ET", "E", "Y"})
_NAMES = frozenset({_POST}).union(*_CERTAIN.values(), *_AMONG_NEUTRAL.values())

_PROJECTION = re.compile(r"(ANTERO|POSTERO)[ _-]+(?=POSTERIOR|ANTERIOR)")  # one word, named after the first direction
_NEUTRAL = re.compile(
    r"[A-Z]|AND|UND|ET|WB|TB|WHOLE|BODY|TOT|TOTAL|GANZ\w*|KO?E?RPER|CORPS|ENTIER|CUERPO|CORPO|ENTER[AO]|INTERO|COMPLETO"
    r"|BONES?|SCAN|SKEL\w*|OSS\w*|OSE[AO]|KNOCHEN\w*|VIEW|VUE|VISTA|PROJ\w*|PROY\w*|IMAGE|IMG|IM|STATIC|STAT|PLANAR|FACE"
    r"|DELAY\w*|LATE|EARLY|HRS?|HOURS?|STD|MINS?|DET|DETECTOR|LEFT|RIGHT|NM|RAW|ORIG\w*|EM|EMISSION|WHOLEBODY|TOTALBODY"
)
"""Words that say neither which view it is nor what came before it."""
_TRACER = re.compile(r"TC|TECHNET\w*|MDP|HDP|HMDP|DPD|MEDRON\w*|OXIDRON\w*")
_AFTERWARDS = re.compile(
    r"INJ\w*|THERAP\w*|DOSE|OPS?|OPERATI\w*|TX|RX|SURG\w*|CHEMO\w*|TREAT\w*|RADI\w*|X?RT|FX|FRACTURE|FALL|TRAUMA\w*|THA"
    r"|THR|TKA|TKR|ORIF|TURP|CVA|TRANSPLANT\w*|\w*ECTOM\w*|\w*OTOM\w*|\w*PLAST\w*|ADMIN\w*|VOID\w*|MIC\w*|EXERCISE"
)
"""Words after which "POST" is a preposition even beside an anterior view."""


@lru_cache(256)
def views_in(text: str) -> frozenset[View]:
    """Return the views that the words of a text name.

    >>> [sorted(views_in(text)) for text in ("ANT", "3H POST MDP", "SPECT AP", "WB POST")]
    [[<View.ANTERIOR: 'anterior'>], [], [], [<View.POSTERIOR: 'posterior'>]]
    """
    decomposed = unicodedata.normalize("NFKD", text.upper())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = re.findall(r"[A-Z]+", _PROJECTION.sub(r"\1", letters))
    views = {view for view, known in _CERTAIN.items() if known & set(words)}
    if any(word == _POST and _is_view(words, index) for index, word in enumerate(words)):
        views.add(View.POSTERIOR)
    if all(word in _NAMES or _NEUTRAL.fullmatch(word) for word in words):
        views |= {view for view, known in _AMONG_NEUTRAL.items() if known & set(words)}
    return frozenset(views)


def _is_view(words: list[str], index: int) -> bool:
    """Return True if "POST" at an index is no preposition."""
    before, after = words[:index], words[index + 1 :]
    if before and before[-1] in _BEFORE_POST:
        return False
    if after and _AFTERWARDS.fullmatch(after[0]):
        return False
    neighbour = next((word for word in reversed(before) if word not in _AND), None)
    if neighbour in _CERTAIN[View.ANTERIOR]:
        return True
    rest = after[: next((number for number, word in enumerate(after) if word in _NAMES), None)]
    is_neutral = [_NEUTRAL.fullmatch(word) is not None for word in rest[:1]]
    return all(is_neutral) and all(_NEUTRAL.fullmatch(word) or _TRACER.fullmatch(word) for word in rest[1:])
