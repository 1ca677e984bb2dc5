"""The notice that goes with every result that bsbatch shows or writes, and the form of a score in it."""

NOTICE = "research use only, not for clinical use"
"""In JSON files and in the metadata of Parquet files."""
HEADLINE = NOTICE.capitalize()
"""On images."""
SENTENCE = f"{HEADLINE}."
"""On terminals and in reports."""
LOOKED = "A heat map shows where the model looked, not where a lesion is."
"""With every heat map."""
_ROUNDED = {"1.000": ">0.999", "0.000": "<0.001"}


def show_score(score: float) -> str:
    """Return a score in [0, 1] with three decimals; none is shown as certain."""
    text = f"{score:.3f}"
    return _ROUNDED.get(text, text)
