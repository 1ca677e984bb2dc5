"""Objects of a PACS are decided before they are fetched, as a run would; none is lost for want of a value."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.pacs.candidates import decline, is_open
from bsbatch.pacs.protocol import PacsObject
from bsbatch.reasons import Reason

NM = "1.2.840.10008.5.1.4.1.1.20"
SCAN = PacsObject(
    "1.2", "1.2.3", "NM", "BONE WB", NM, ("ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"), 1024, 256, 2, 16
)
TOMOGRAPHY = SCAN._replace(
    image_type=("ORIGINAL", "PRIMARY", "TOMO"), rows=128, columns=128, frames=60, description="x"
)
KNOWN = ("modality", "description", "sop_class", "image_type", "rows", "columns", "frames", "bits_allocated")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (SCAN, None),
        (SCAN._replace(image_type=("ORIGINAL", "PRIMARY", "STATIC"), description="spot"), None),  # Image ID may name it
        (TOMOGRAPHY, Reason.NOT_WHOLE_BODY),
        (TOMOGRAPHY._replace(image_type=None), Reason.NOT_WHOLE_BODY),
        (SCAN._replace(image_type=("ORIGINAL", "PRIMARY", "DYNAMIC")), Reason.NOT_WHOLE_BODY),
        (SCAN._replace(sop_class="1.2.840.10008.5.1.4.1.1.7", image_type=("DERIVED",)), Reason.SC_DISPLAY_CAPTURE),
        (SCAN._replace(modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.2"), Reason.MODALITY_NOT_NM),
        (SCAN._replace(modality="CT"), None),  # nuclear medicine's SOP class
        (SCAN._replace(sop_class="1.2.840.10008.5.1.4.1.1.88.33"), Reason.STRUCTURED_REPORT_OR_PDF),
    ],
)
def test_the_rules_of_a_run_decide(found: PacsObject, reason: Reason | None) -> None:
    assert decline(found) is reason


def test_a_scan_is_fetched_whatever_the_pacs_does_not_return() -> None:
    for count in range(len(KNOWN) + 1):
        for absent in combinations(KNOWN, count):
            assert decline(PacsObject(**SCAN._asdict() | dict.fromkeys(absent))) is None, absent


@given(st.text(), st.integers(0, 2**16), st.integers(0, 2**16), st.lists(st.text(), max_size=4))
def test_no_value_is_an_error(modality: str, rows: int, columns: int, image_type: list[str]) -> None:
    decline(PacsObject("1", "2", modality, modality, modality, tuple(image_type), rows, columns, rows))


def test_only_series_that_may_hold_nuclear_medicine_are_open() -> None:
    assert [is_open(modality) for modality in ("NM", "nm ", "", None, "CT", "PT", "SR")] == [True] * 4 + [False] * 3
