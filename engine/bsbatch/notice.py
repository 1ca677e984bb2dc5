"""The notice that goes with every result that bsbatch shows or writes."""

NOTICE = "research use only, not for clinical use"
"""In JSON files and in the metadata of Parquet files."""
HEADLINE = NOTICE.capitalize()
"""On images."""
SENTENCE = f"{HEADLINE}."
"""On terminals and in reports."""
