"""Radionuclides and radiopharmaceuticals by code and by the spellings of real headers.

Codes of nuclides are those of PS3.16 CID 18 and CID 4020, codes of pharmaceuticals those of CID 25; the SRT codes are
the retired ones of older objects.
"""

import re
import unicodedata
from functools import lru_cache

TC_99M = "Tc-99m"
OTHER = "other"
"""Normalised name of a pharmaceutical that is none of those below."""
BONE_TRACERS = frozenset({"MDP", "HDP", "DPD", "HEDP", "PYP", "diphosphonate"})

_NUCLIDE_CODES = {
    "Au-198": "C-146A9 24301009",
    "Au-199": "C-146B1 70544003",
    "Ba-133": "C-122A5 3027009",
    "C-11": "C-105A1 40565003",
    "C-14": "C-105A2 71647005",
    "Co-57": "C-144A3 27054007",
    "Co-58": "C-144A4 89272005",
    "Co-60": "C-144A6 5405008",
    "Cr-51": "C-129A2 52745005",
    "Cu-64": "C-127A2 3932008",
    "Cu-67": "C-127A3 53700003",
    "F-18": "C-111A1 77004003",
    "Fe-59": "C-130A3 68580003",
    "Ga-67": "C-131A2 2008008",
    "Ga-68": "C-131A3 35337001",
    "Gd-153": "C-178A8 14529005",
    "Ho-166": "C1943",
    "I-123": "C-114A4 21572004",
    "I-124": "C-114A5 40937006",
    "I-125": "C-114A6 68630002",
    "I-131": "C-114B1 1368003",
    "In-111": "C-145A4 56609000",
    "In-113m": "C-145A5 48895003",
    "Ir-191m": "126604",
    "K-42": "C-135A2 59844004",
    "K-43": "C-135A3 8202008",
    "Kr-81m": "C-173A5 61716009",
    "Kr-85": "C-173A7 34127007",
    "Lu-177": "C-101ED 447553000",
    "N-13": "C-107A1 21576001",
    "Na-22": "C-155A1 71633006",
    "Na-24": "C-155A2 58541008",
    "O-15": "C-B1038 129504001",
    "P-32": "C-106A1 32505007",
    "Pb-203": "C-132A8 47588004",
    "Ra-223": "C-136A2 24853006",
    "Rb-82": "C-159A2 79197006",
    "Re-186": "C-11906 395865006",
    "Re-188": "C-1018D 423578007",
    "Ru-97": "C-180A2 23788009",
    "Se-75": "C-116A3 43239002",
    "Sm-153": "C-B1134 419804008",
    "Sr-85": "C-158A3 111084009",
    "Sr-87m": "C-158A5 78023008",
    "Sr-89": "C-158A6 7770004",
    "Ta-178": "C-156A6 6301006",
    "Tc-94m": "C-163AA 424079002",
    "Tc-99m": "C-163A8 72454006",
    "Tl-201": "C-138A9 60057003",
    "Xe-127": "C-172A5 27081007",
    "Xe-133": "C-172A8 80751004",
    "Y-86": "C-162A3 10738001",
    "Y-90": "C-162A7 14691008",
    "Yb-169": "C-181A3 41758004",
    "Zr-89": "C-168A4 63360001",
}
"""SRT and SCT codes of PS3.16 CID 18, and those of CID 4020 that cameras for both write."""
_NUCLIDE_OF_CODE = {code: name for name, codes in _NUCLIDE_CODES.items() for code in codes.split()}

_PHARMACEUTICAL_OF_CODE = {
    code: name
    for name, codes in {
        "MDP": "C-B1218 96390006",
        "HDP": "C-B1213 53951001",
        "HEDP": "C-B1211 111162007",
        "PYP": "764821009",
        "sestamibi": "C-163AB 424299003",
        "tetrofosmin": "C-163AD 424118002",
        "pertechnetate": "C-B1206 19495007",
        "DMSA": "C-B1221 24511001",
        "MAA": "C-B1200 85693008",
        "colloid": "C-B1222 5931004 C-163BB 447127000 C-163BC 447128005",
        "exametazime": "C-B1223 77313009",
        "red cells": "C-B1224 89818005",
        "pentetate": "C-163B0 430276001",
        "MAG3": "C-163B8 446536001",
        "HIDA": "C-B1207 3040004 C-B1208 4832001 C-B1209 7281000 C-B1225 87410002",
        "depreotide": "C-B1133 415704007",
        "MIBG": "C-B110E 395787009 C-B112D 395789007",
        "FDG": "C-B1031 35321007",
        "fluoride": "C-B1032 129501009",
        "iodide": "C-B1081 67690002 C-B1086 111160004",
    }.items()
    for code in codes.split()
}
"""SRT and SCT codes of PS3.16 CID 25."""

_ELEMENTS = {
    "Tc": ("99 94", "TC TECHNETIUM TECNECIO TECNETIO TECNEZIO TECHNETIO"),
    "I": ("123 124 125 131", "I J IODINE IOD JOD IODE JODIUM YODO IODIO IODO"),
    "In": ("111 113", "IN INDIUM INDIO"),
    "Ga": ("67 68", "GA GALLIUM GALIO GALLIO"),
    "Tl": ("201", "TL THALLIUM TALIO TALLIO"),
    "F": ("18", "F FLUORINE FLUOR FLUORO"),
    "Lu": ("177", "LU LUTETIUM LUTECIO LUTEZIO"),
    "Sm": ("153", "SM SAMARIUM SAMARIO"),
    "Ra": ("223 224", "RA RADIUM"),
    "Sr": ("82 85 87 89", "SR STRONTIUM ESTRONCIO STRONZIO"),
    "Re": ("186 188", "RE RHENIUM RENIO"),
    "Y": ("86 90", "Y YTTRIUM ITRIO YTRIO"),
    "Ho": ("166", "HO HOLMIUM"),
    "Kr": ("81 85", "KR KRYPTON CRIPTON"),
    "Xe": ("127 133", "XE XENON"),
    "Cr": ("51", "CR CHROMIUM CHROM CROMO"),
    "Co": ("57 58 60", "CO COBALT KOBALT COBALTO"),
    "Se": ("75", "SE SELENIUM SELENIO"),
    "Cu": ("64 67", "CU COPPER KUPFER COBRE"),
    "Zr": ("89", "ZR ZIRCONIUM"),
    "Rb": ("82", "RB RUBIDIUM"),
    "Ac": ("225", "AC ACTINIUM"),
    "Tb": ("161", "TB TERBIUM"),
    "P": ("32", "PHOSPHORUS PHOSPHOR FOSFORO"),
    "C": ("11 14", "CARBON"),
    "N": ("13", "NITROGEN"),
    "O": ("15", "OXYGEN"),
}
"""Symbol -> mass numbers in use, and spellings. Symbols that are letters of everyday texts need their full name."""
_METASTABLE = frozenset({"Tc-99", "Tc-94", "In-113", "Kr-81", "Sr-87"})
_SYMBOL_OF = {word: symbol for symbol, (_, words) in _ELEMENTS.items() for word in words.split()}
_MASSES = {symbol: frozenset(masses.split()) for symbol, (masses, _) in _ELEMENTS.items()}
_WORDS = "|".join(sorted(_SYMBOL_OF, key=len, reverse=True))
_ELEMENT_FIRST = re.compile(rf"(?<![A-Z])({_WORDS}) ?([0-9]{{2,3}})(?![0-9])(?: ?M(?![A-Z])|(?<=99)M(?!DP|IBI|AA|AG))?")
_MASS_FIRST = re.compile(rf"(?<![0-9])([0-9]{{2,3}}) ?M? ?(?:(TC)|({_WORDS})(?![A-Z]))")
_NAME_ALONE = re.compile(rf"(?<![A-Z])(TC|{'|'.join(word for word in _SYMBOL_OF if len(word) > 2)})(?![A-Z])")  # noqa: PLR2004 - longer than a symbol

_PHARMACEUTICALS = (
    ("HEDP", r"\b(?:HEDP|EHDP)\b|ETIDRON|HYDROXY ?ETH|HIDROXI ?ETI"),
    ("HDP", r"\b(?:HDP|HMDP)\b|OX[IY]DRON|HYDROXY ?METH|HIDROXI ?METI|OSTEOCIS"),
    ("DPD", r"\bDPD\b|DI ?CARBOX[IY]|BUTEDRON|TECEOS"),
    ("MDP", r"\bMDP\b|MEDRON|METH?[IY]L\w* ?DI ?(?:PH|F)OS"),
    ("diphosphonate", r"(?:DI|BIS?|POLY)[ ]?(?:PHOSPHON|FOSFON)|PHOSPHONAT|FOSFONAT"),
    ("PSMA", r"PSMA|TROFOLASTAT"),
    ("octreotide", r"OCTREO|HYNIC|TEKTROTYD|\bEDDA\b|DOTA|PENTETREOT|\bTOC\b"),
    ("depreotide", r"DEPREOT|NEOSPECT"),
    ("sestamibi", r"MIBI\b|SESTAMIBI|CARDIOLITE|STAMICIS"),
    ("tetrofosmin", r"TETROFOSMIN|MYOVIEW"),
    ("MIBG", r"MIBG|IOBENGUAN|ADREVIEW|IODOBENZYL"),
    ("ioflupane", r"IOFLUPAN|DATSCAN|FP ?CIT"),
    ("leukocytes", r"\bWBC\b|LEU[KC]O|WHITE (?:BLOOD )?CELL|GRANULO|SCINTIMUN|BESILESOMAB|SULESOMAB"),
    ("red cells", r"\bRBC\b|RED (?:BLOOD )?CELL|ER[YI]T[H]?RO|HEMATIE|ULTRATAG"),
    ("exametazime", r"HMPAO|EXAMETAZ|CERETEC"),
    ("DMSA", r"\bDMSA\b|SUCCIMER"),
    ("MAA", r"\bMAA\b|MA[CK]RO ?AG|AGGREGATED|PULMOCIS"),
    ("tilmanocept", r"TILMANOCEPT|LYMPHOSEEK"),
    ("colloid", r"[CK]OLL?OID|COLOIDE|SULPHUR|SULFUR|PHYTAT|FITATO|NANOCOLL|NANOTOP|NANOCIS"),
    ("pentetate", r"\bDTPA\b|PENTETAT"),
    ("MAG3", r"\bMAG ?3\b|MERTIATID|BETIATID"),
    ("HIDA", r"\b(?:H|BR|B|DIS|PIP|DIP)?IDA\b|MEBROFENIN|DISOFENIN|LIDOFENIN|CHOLETEC"),
    ("bicisate", r"\bECD\b|BICISAT|NEUROLITE"),
    ("albumin", r"\bHSA\b|ALBUMIN"),
    ("FDG", r"\bFDG\b|FLUORODEOXY"),
    ("fluoride", r"\bNAF\b|FLUORID|FLUORUR"),
    ("iodide", r"\bNAI\b|IODID|JODID|YODUR|IODUR"),
    ("citrate", r"CITRAT"),
    ("chloride", r"CHLORID|CLORUR|CHLORUR"),
    ("PYP", r"\bPYP\b|P[YI]RO ?(?:PH|F)OS|TECHNESCAN PYP"),
    ("pertechnetate", r"P[EA]RTE[CK]H?N|TCO4"),
)
"""Normalised name, and its spellings in English, German, French, Spanish, Italian, Portuguese; the first one counts. A
bone tracer comes before the eluate it was made with, and pyrophosphate after the cells that it labels."""
_PATTERNS = tuple((name, re.compile(spelling)) for name, spelling in _PHARMACEUTICALS)
_SAYS_NOTHING = re.compile(
    r"AGENT|AND|AS|BONES?|BONESCAN|BODY|DEFAULT|DOSE|FOR|INJ|INJECT\w*|ISOTOPE|IV|KIT|KNOCHEN\w*|[KMG]BQ|M?CI|NA|NO|NONE"
    r"|NOT|NUCLIDE|OF|OSE[AO]|OSSE\w*|OSTEO|RADIOPHARMACEUTICAL|SCAN|SKELET\w*|SODIUM|SOLUTION|STANNOUS|STERILE|STUDY"
    r"|SZINTIGRA\w*|TECHNESCAN|DRAXIMAGE|AMERSCAN|TIN|TOTAL|TRACER|UNKNOWN|UNSPECIFIED|WB|WHOLE|WITH"
)
"""Words that name no pharmaceutical."""
_UNMISTAKABLE = frozenset(
    {"PSMA", "octreotide", "sestamibi", "tetrofosmin", "MIBG", "ioflupane", "leukocytes", "exametazime", "DMSA", "MAA"}
    | {"MAG3", "colloid", "pertechnetate", "iodide", "FDG", "depreotide", "tilmanocept"}
    | {"I-123", "I-131", "In-111", "Ga-67", "Tl-201", "Lu-177", "Sm-153", "Ra-223"}
)
"""Names that have no other meaning in a description."""
_NUCLIDE_OF_PHARMACEUTICAL = {"FDG": "F-18", "fluoride": "F-18", "MIBG": "I", "ioflupane": "I-123", "iodide": "I"}


def nuclide_of_code(code: str) -> str | None:
    """Return the normalised name of a nuclide's code."""
    return _NUCLIDE_OF_CODE.get(code)


def pharmaceutical_of_code(code: str) -> str | None:
    """Return the normalised name of a pharmaceutical's code."""
    return _PHARMACEUTICAL_OF_CODE.get(code)


def nuclide_of_pharmaceutical(name: str | None) -> str | None:
    """Return the nuclide of a pharmaceutical that is never labelled with Tc-99m."""
    return _NUCLIDE_OF_PHARMACEUTICAL.get(name or "")


def nuclides_in(text: str) -> frozenset[str]:
    """Return the nuclides that a text names; the symbol of an element without its mass number.

    >>> [sorted(nuclides_in(text)) for text in ("^99m^Technetium", "131I-NaI", "Indium", "MDP")]
    [['Tc-99m'], ['I-131'], ['In'], []]
    """
    plain = _simplify(text)
    pairs = [(match[1], match[2]) for match in _ELEMENT_FIRST.finditer(plain)]
    pairs += [(match[2] or match[3], match[1]) for match in _MASS_FIRST.finditer(plain)]
    found = {(symbol, mass) for word, mass in pairs if mass in _MASSES[symbol := _SYMBOL_OF[word]]}
    if found:
        return frozenset(_name(symbol, mass) for symbol, mass in found)
    symbols = {_SYMBOL_OF[match[1]] for match in _NAME_ALONE.finditer(plain)}
    return frozenset(TC_99M if symbol == "Tc" else symbol for symbol in symbols)


def pharmaceutical_of_text(text: str) -> str | None:
    """Return the normalised name of a pharmaceutical, ``other`` if it is none of ours; None if the text names none.

    >>> [pharmaceutical_of_text(text) for text in ("Tc-99m HDP", "MDP-Tc99m", "99mTc-oxidronat", "Tc99m", "Smith")]
    ['HDP', 'MDP', 'HDP', None, 'other']
    """
    plain = _simplify(text)
    rest = _MASS_FIRST.sub(" ", _ELEMENT_FIRST.sub(" ", plain))
    for name, pattern in _PATTERNS:
        if pattern.search(rest):
            return name
    words = re.findall(r"[A-Z]{2,}", _NAME_ALONE.sub(" ", rest))
    return OTHER if any(_SAYS_NOTHING.fullmatch(word) is None for word in words) else None


def names_other_tracer(description: str) -> bool:
    """Return True if a description names another tracer than those of bone scans, in a word of no other meaning.

    >>> [names_other_tracer(text) for text in ("MIBG WB 24H", "WB I-131", "WB BONE MDP", "WB F 18Y")]
    [True, True, False, False]
    """
    is_named = pharmaceutical_of_text(description) in _UNMISTAKABLE
    return is_named or bool(nuclides_in(description) & _UNMISTAKABLE)


def _name(symbol: str, mass: str) -> str:
    name = f"{symbol}-{mass}"
    return name + "m" if name in _METASTABLE else name


@lru_cache(256)
def _simplify(text: str) -> str:
    """Return capital letters without accents, figures, and single spaces for everything else."""
    decomposed = unicodedata.normalize("NFKD", text.upper())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"[^A-Z0-9]+", " ", letters).strip()
