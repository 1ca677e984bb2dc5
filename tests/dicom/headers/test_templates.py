"""A header that is recognised says what a walk says."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.dicom.objects import dataset, encode, item

from bsbatch.dicom.headers import fast
from bsbatch.dicom.headers import templates as layouts_module
from bsbatch.dicom.headers.elements import UnclearError
from bsbatch.dicom.headers.templates import TemplateCache, Walk
from bsbatch.dicom.headers.values import text
from bsbatch.dicom.selection import may_be_scan

BEHIND_COLUMNS = (
    *("ViewCodeSequence", "Rows", "Columns", "NumberOfFrames", "DetectorVector", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"),
)
SLICE = {"Modality": "CT", "InstanceNumber": 1}


def walk(data: bytes) -> Walk | None:
    """What a walk comes to; None where it leaves the header to pydicom."""
    try:
        return fast._walk(fast._Source(BytesIO(data), data, len(data)), may_be_scan)
    except (UnclearError, struct.error):
        return None


def known(*objects: bytes) -> TemplateCache:
    """The layouts of some objects, each met twice."""
    layouts = TemplateCache()
    for data in objects:
        for _ in range(2):
            walked = walk(data)
            assert walked is not None
            layouts.remember(data, walked, walked.stop == len(data))
    return layouts


def made(syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    codes = [item(CodeValue="A", CodeMeaning="Anterior")]
    fields: dict[str, Any] = {"ViewCodeSequence": codes, **SLICE, **attributes}
    return encode(dataset(**fields), syntax)


def document(**attributes: Any) -> bytes:
    """An object that ends before anything of an image."""
    image = dict.fromkeys(BEHIND_COLUMNS)
    return encode(dataset(**{"Modality": "SR", **image, **attributes}))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("modality", ["CT", "NM"])
def test_the_next_slice_of_a_series_is_recognised_with_its_own_values(syntax: UID, modality: str) -> None:
    first, second = made(syntax, Modality=modality), made(syntax, Modality=modality, InstanceNumber=2, Rows=99)

    found = known(first).recall(second)

    assert found == walk(second)
    assert found != walk(first)


@pytest.mark.parametrize(
    "attributes", [{"Modality": "NM"}, {"StudyInstanceUID": "1.2.3333"}, {"PatientID": "1"}, {"InstanceNumber": 100}]
)
def test_a_header_that_is_laid_out_otherwise_is_not_recognised(attributes: dict[str, Any]) -> None:
    assert known(made()).recall(made(**attributes)) is None


def test_a_header_in_another_encoding_is_not_recognised() -> None:
    layouts = known(made(), made(ImplicitVRLittleEndian))

    assert [layouts.recall(data) == walk(data) for data in (made(), made(ImplicitVRLittleEndian))] == [True, True]


def test_a_header_that_is_met_for_the_first_time_is_only_walked() -> None:
    layouts, data = TemplateCache(), made()
    walked = walk(data)
    assert walked is not None

    layouts.remember(data, walked, walked.stop == len(data))
    assert layouts.recall(data) is None
    layouts.remember(data, walked, walked.stop == len(data))
    assert layouts.recall(data) == walked


def test_where_nothing_is_ever_laid_out_alike_few_layouts_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made_of: list[bytes] = []
    original = layouts_module._make_template

    def counted(data: bytes, walked: Walk, is_whole: bool) -> Any:
        made_of.append(data)
        return original(data, walked, is_whole)

    monkeypatch.setattr(layouts_module, "_make_template", counted)

    known(*(made(StudyDescription="x" * (2 * number % 60), Rows=number) for number in range(200)))

    assert len(made_of) < 40


def test_a_series_after_many_others_is_recognised_again() -> None:
    layouts = known(*(made(StudyDescription="x" * number) for number in range(0, 60, 2)))
    data = made(InstanceNumber=1000)
    walked = walk(data)
    assert walked is not None

    for _ in range(64):
        layouts.remember(data, walked, walked.stop == len(data))

    assert layouts.recall(data) == walked


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_header_is_recognised_as_a_walk_sees_it_or_not_at_all(draws: st.DataObject) -> None:
    original = draws.draw(st.sampled_from([made(), made(Modality="NM"), made(ImplicitVRLittleEndian), document()]))
    layouts, data = known(original), bytearray(original)
    for _ in range(draws.draw(st.integers(0, 2))):
        data[draws.draw(st.integers(132, len(data) - 1))] = draws.draw(st.integers(0, 255))

    found = layouts.recall(bytes(data))

    if found is not None and may_be_scan(text(found.found, "Modality") or "") == found.is_wanted:
        assert found == walk(bytes(data))


@pytest.mark.parametrize("length", [0, 100, 140, 300])
def test_a_file_that_is_too_short_is_not_recognised(length: int) -> None:
    assert known(made()).recall(made()[:length]) is None


def test_an_object_whose_walk_comes_to_its_end_is_recognised_where_it_ends_there() -> None:
    first, second = document(), document(StudyInstanceUID="1.2.4")
    layouts, walked = known(first), walk(first)

    assert walked is not None
    assert walked.stop == len(first)
    assert layouts.recall(second) == walk(second) != walked
    assert layouts.recall(first[:-1]) is layouts.recall(first + b"\0") is layouts.recall(document(Rows=1)) is None


def test_a_longer_file_that_begins_like_a_whole_one_is_read_to_its_end() -> None:
    padding = " " * (fast.HEAD - len(document(AdditionalPatientHistory="")))
    whole, longer = (document(AdditionalPatientHistory=padding, **more) for more in ({}, {"Rows": 5}))
    assert len(whole) == fast.HEAD
    assert longer.startswith(whole)

    found = [
        fast.parse(BytesIO(data[fast.HEAD :]), data[: fast.HEAD], len(data), may_be_scan)
        for data in (whole, whole, whole, longer)
    ]

    assert [header is not None and header.rows for header in found] == [0, 0, 0, 5]


def test_both_readings_of_one_header_are_kept_apart() -> None:
    def everything(_modality: str) -> bool:
        return True

    data, readings = made(), list[Callable[[str], bool]]([may_be_scan, everything] * 3)

    found = [fast.parse(BytesIO(data), data, len(data), is_wanted) for is_wanted in readings]

    assert [header is not None and header.pixel_data is not None for header in found] == [False, True] * 3
