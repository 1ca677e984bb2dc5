"""A template gives the result of a walk."""

import struct
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.dicom.objects import CT, dataset, encode, item

from bsbatch.dicom.headers import fast
from bsbatch.dicom.headers import templates as templates_module
from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.dicom.headers.elements import UnclearError
from bsbatch.dicom.headers.templates import TemplateCache, Walk
from bsbatch.dicom.selection import may_be_scan

IMAGE_ATTRIBUTES = (
    *("ViewCodeSequence", "Rows", "Columns", "NumberOfFrames", "DetectorVector", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"),
)
SLICE = {"Modality": "CT", "SOPClassUID": CT, "InstanceNumber": 1}


def walk(data: bytes) -> Walk | None:
    """Result of a walk; None if it leaves the header to pydicom."""
    try:
        return fast._walk(data, len(data), may_be_scan)
    except (UnclearError, struct.error):
        return None


def cache_of(*objects: bytes) -> TemplateCache:
    """Cache with the templates of some objects, each walked twice."""
    cache = TemplateCache()
    for data in objects:
        for _ in range(2):
            result = walk(data)
            assert result is not None
            cache.remember(data, result, result.stop == len(data))
    return cache


def image(syntax: UID = ExplicitVRLittleEndian, **attributes: Any) -> bytes:
    codes = [item(CodeValue="A", CodeMeaning="Anterior")]
    fields: dict[str, Any] = {"ViewCodeSequence": codes, **SLICE, **attributes}
    return encode(dataset(**fields), syntax)


def document(**attributes: Any) -> bytes:
    """An object without image attributes."""
    absent = dict.fromkeys(IMAGE_ATTRIBUTES)
    return encode(dataset(**{"Modality": "SR", "SOPClassUID": CT, **absent, **attributes}))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("modality", ["CT", "NM"])
def test_the_next_slice_of_a_series_matches_and_has_its_own_values(syntax: UID, modality: str) -> None:
    first, second = (
        image(syntax, Modality=modality),
        image(syntax, Modality=modality, InstanceNumber=2, Rows=99),
    )

    found = cache_of(first).recall(second)

    assert found == walk(second)
    assert found != walk(first)


@pytest.mark.parametrize(
    "attributes", [{"Modality": "NM"}, {"StudyInstanceUID": "1.2.3333"}, {"PatientID": "1"}, {"InstanceNumber": 100}]
)
def test_a_header_of_another_structure_does_not_match(attributes: dict[str, Any]) -> None:
    assert cache_of(image()).recall(image(**attributes)) is None


def test_each_encoding_has_its_own_template() -> None:
    cache = cache_of(image(), image(ImplicitVRLittleEndian))

    assert [cache.recall(data) == walk(data) for data in (image(), image(ImplicitVRLittleEndian))] == [True, True]


def test_the_first_header_of_its_kind_leaves_no_template() -> None:
    cache, data = TemplateCache(), image()
    result = walk(data)
    assert result is not None

    cache.remember(data, result, result.stop == len(data))
    assert cache.recall(data) is None
    cache.remember(data, result, result.stop == len(data))
    assert cache.recall(data) == result


def test_few_templates_are_made_if_no_header_ever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []
    original = templates_module._make_template

    def count(data: bytes, result: Walk, is_whole: bool) -> Any:
        calls.append(data)
        return original(data, result, is_whole)

    monkeypatch.setattr(templates_module, "_make_template", count)

    cache_of(*(image(StudyDescription="x" * (2 * number % 60), Rows=number) for number in range(200)))

    assert len(calls) < 40


def test_a_series_after_many_others_matches_again() -> None:
    cache = cache_of(*(image(StudyDescription="x" * number) for number in range(0, 60, 2)))
    data = image(InstanceNumber=1000)
    result = walk(data)
    assert result is not None

    for _ in range(64):
        cache.remember(data, result, result.stop == len(data))

    assert cache.recall(data) == result


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_changed_header_matches_with_the_result_of_a_walk_or_not_at_all(draws: st.DataObject) -> None:
    original = draws.draw(st.sampled_from([image(), image(Modality="NM"), image(ImplicitVRLittleEndian), document()]))
    cache, data = cache_of(original), bytearray(original)
    for _ in range(draws.draw(st.integers(0, 2))):
        data[draws.draw(st.integers(132, len(data) - 1))] = draws.draw(st.integers(0, 255))

    found = cache.recall(bytes(data))

    assert found is None or found == walk(bytes(data))


@pytest.mark.parametrize("length", [0, 100, 140, 300])
def test_a_file_that_is_too_short_does_not_match(length: int) -> None:
    assert cache_of(image()).recall(image()[:length]) is None


def test_a_template_up_to_the_end_of_the_file_matches_files_of_that_length_only() -> None:
    first, second = document(), document(StudyInstanceUID="1.2.4")
    cache, result = cache_of(first), walk(first)

    assert result is not None
    assert result.stop == len(first)
    assert cache.recall(second) == walk(second) != result
    assert cache.recall(first[:-1]) is cache.recall(first + b"\0") is cache.recall(document(Rows=1)) is None


def test_a_longer_file_that_begins_like_a_shorter_one_is_read_to_its_end() -> None:
    padding = " " * (fast.HEAD - len(document(AdditionalPatientHistory="")))
    whole, longer = (document(AdditionalPatientHistory=padding, **more) for more in ({}, {"Rows": 5}))
    assert len(whole) == fast.HEAD
    assert longer.startswith(whole)

    found = [
        fast.parse(BytesIO(data[fast.HEAD :]), data[: fast.HEAD], len(data), may_be_scan)
        for data in (whole, whole, whole, longer)
    ]

    assert [header is not None and header.rows for header in found] == [0, 0, 0, 5]


def test_a_template_is_used_only_for_the_same_choice_of_attributes() -> None:
    def everything(_modality: str, _sop_class: str) -> bool:
        return True

    data, readings = image(), list[IsWanted]([may_be_scan, everything] * 3)

    found = [fast.parse(BytesIO(data), data, len(data), is_wanted) for is_wanted in readings]

    assert [header is not None and header.pixel_data is not None for header in found] == [False, True] * 3
