from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dicom.objects import ref, scan

from bsbatch.dicom.copies import Digests
from bsbatch.dicom.labels import label_of
from bsbatch.dicom.pairing import Event, decide
from bsbatch.identity import exam_id
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, ScanObject, SettledObject

CUT = Verdict.of(Stage.HEADER, Reason.TRUNCATED_PIXEL_DATA)
HOUR = 3600
Outcome = tuple[tuple[str, ...], Reason | None]


def clock(seconds: float) -> str:
    """A DICOM TM value."""
    return f"{int(seconds) // HOUR:02d}{int(seconds) % HOUR // 60:02d}{int(seconds) % 60:02d}"


def texted(item: ScanObject, text: str) -> ScanObject:
    """The object with a Series Description."""
    return item._replace(label=label_of(item.header._replace(descriptions=(text,))))


def events_of(scans: Iterable[ScanObject], pixels: Mapping[str, str] | None = None) -> list[Event]:
    """Events of objects whose pixels all differ, unless ``pixels`` names the same content for two sources."""

    def digests(item: ScanObject) -> Digests:
        content = (pixels or {}).get(item.ref.source, item.ref.source)
        return {frame.view: f"{content} {frame.view}" if content else "" for frame in item.frames}

    studies: dict[str | None, list[ScanObject]] = {}
    for item in scans:
        key = item.header.study_uid or item.header.sop_uid or item.ref.source
        studies.setdefault(key, []).append(item)
    return [event for study in studies.values() for event in decide(study, digests)]


def sources(event: Event) -> tuple[str, ...]:
    scans = event.scans if isinstance(event, Examination) else (event,)
    return tuple(sorted(item.ref.source for item in scans))


def reason(event: Event) -> Reason | None:
    verdict = event.defect if isinstance(event, Examination) else event.verdict
    return verdict.reason if verdict is not None else None


def outcomes(scans: Iterable[ScanObject], pixels: Mapping[str, str] | None = None) -> list[Outcome]:
    """Sources and reason of every event."""
    return sorted(((sources(event), reason(event)) for event in events_of(scans, pixels)), key=str)


def test_an_object_with_both_views_is_an_examination() -> None:
    (exam,) = events_of([scan("PA", "both")])

    assert isinstance(exam, Examination)
    assert exam.defect is None
    assert exam.anterior is not None
    assert exam.posterior is not None
    assert (exam.anterior.frame.frame, exam.posterior.frame.frame) == (2, 1)
    assert exam.exam_id == exam_id([scan("PA", "both")])


@pytest.mark.parametrize("order", ["AP", "PA"])
def test_the_two_views_of_a_series_are_an_examination(order: str) -> None:
    (exam,) = events_of([scan(view, view) for view in order])

    assert isinstance(exam, Examination)
    assert exam.defect is None
    assert exam.anterior is not None
    assert exam.posterior is not None
    assert (exam.anterior.scan.ref.source, exam.posterior.scan.ref.source) == ("A", "P")


def test_views_of_one_series_without_a_time_pair() -> None:
    assert outcomes([scan("A", "a", acquisition_time=None), scan("P", "p", acquisition_time=None)]) == [
        (("a", "p"), None)
    ]


def test_views_of_one_frame_of_reference_pair_across_series() -> None:
    one = scan("A", "a", series_uid="1", frame_of_reference_uid="7", acquisition_time="100000")
    other = scan("P", "p", series_uid="2", frame_of_reference_uid="7", acquisition_time="103000")

    assert outcomes([one, other]) == [(("a", "p"), None)]


@pytest.mark.parametrize(
    ("first", "second", "is_pair"),
    [
        ("101500", "101500", True),
        ("101500", "101530", True),
        ("101500", "101530.000", True),
        ("101500.5", "101430.25", False),
        ("101500", "101531", False),
        ("10:15:00", "101500", True),
        ("1015", "101500", True),
        ("10", "100000", True),
        ("000000", "000000", False),
        ("101500", None, False),
        ("", "", False),
        ("noon", "noon", False),
        ("235950", "000010", False),
    ],
)
def test_views_of_two_series_pair_within_half_a_minute(first: str, second: str | None, is_pair: bool) -> None:
    one = scan("A", "a", series_uid="1", acquisition_time=first)
    other = scan("P", "p", series_uid="2", acquisition_time=second)

    alone = [(("a",), Reason.SINGLE_VIEW_ONLY), (("p",), Reason.SINGLE_VIEW_ONLY)]
    assert outcomes([one, other]) == ([(("a", "p"), None)] if is_pair else alone)


def test_midnight_between_two_views_is_no_day() -> None:
    one = scan("A", "a", series_uid="1", acquisition_time="235950", acquisition_date="20200102")
    other = scan("P", "p", series_uid="2", acquisition_time="000015", acquisition_date="20200103")

    assert outcomes([one, other]) == [(("a", "p"), None)]


def test_the_same_time_on_another_day_is_another_acquisition() -> None:
    one = scan("A", "a", series_uid="1", acquisition_date="20200102")
    other = scan("P", "p", series_uid="2", acquisition_date="20200103")

    assert [why for _, why in outcomes([one, other])] == [Reason.SINGLE_VIEW_ONLY] * 2


@pytest.mark.parametrize(
    "dates", [("2020.01.02", "2020.01.03"), ("20200102", "2020-01-03"), ("2020/01/02", "20200103")]
)
def test_days_in_the_form_of_older_standards_are_days(dates: tuple[str, str]) -> None:
    views = [scan(view, view, acquisition_date=date) for view, date in zip("AP", dates, strict=True)]

    assert [why for _, why in outcomes(views)] == [Reason.SINGLE_VIEW_ONLY] * 2
    untimed = [view._replace(header=view.header._replace(acquisition_time=None)) for view in views]
    assert [why for _, why in outcomes(untimed)] == [Reason.SINGLE_VIEW_ONLY] * 2


@pytest.mark.parametrize(("minutes", "is_pair"), [(25, True), (60, True), (61, False), (180, False)])
def test_the_views_of_one_head_are_at_most_an_hour_apart(minutes: int, is_pair: bool) -> None:
    views = [scan("A", "a", acquisition_time="080000"), scan("P", "p", acquisition_time=clock(8 * HOUR + 60 * minutes))]

    alone = [(("a",), Reason.SINGLE_VIEW_ONLY), (("p",), Reason.SINGLE_VIEW_ONLY)]
    assert outcomes(views) == ([(("a", "p"), None)] if is_pair else alone)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=12) | st.text(alphabet="0123456789.:-+_naife ", max_size=14))
def test_any_acquisition_time_is_accepted(time: str) -> None:
    one = scan("A", "a", series_uid="1", acquisition_time=time)
    other = scan("P", "p", series_uid="2", acquisition_time=time)

    assert sorted(name for event in events_of([one, other]) for name in sources(event)) == ["a", "p"]


def test_views_of_two_studies_do_not_pair() -> None:
    one, other = scan("A", "a", study_uid="1"), scan("P", "p", study_uid="2")

    assert [why for _, why in outcomes([one, other])] == [Reason.SINGLE_VIEW_ONLY] * 2


def test_without_a_study_uid_nothing_pairs() -> None:
    views = [scan("A", "a", study_uid=None), scan("P", "p", study_uid=None)]

    assert [why for _, why in outcomes(views)] == [Reason.SINGLE_VIEW_ONLY] * 2


def test_an_object_with_both_views_needs_no_study_uid() -> None:
    assert outcomes([scan("AP", "both", study_uid=None)]) == [(("both",), None)]


def test_a_lone_view_fails_as_single_view_only() -> None:
    (event,) = events_of([scan("A", "a")])

    assert isinstance(event, Examination)
    assert reason(event) is Reason.SINGLE_VIEW_ONLY
    assert event.posterior is None


@pytest.mark.parametrize("views", ["AP", "A", "P"])
def test_an_object_of_the_same_uid_and_pixels_is_a_copy(views: str) -> None:
    first, copy = scan(views, "1"), scan(views, "copy", sop_uid="1.2.3.4.1")

    events = events_of([copy, first], {"copy": "1"})

    (settled,) = [event for event in events if isinstance(event, SettledObject)]
    assert (settled.ref.source, settled.verdict.reason) == ("copy", Reason.DUPLICATE_VIEW)
    assert len(events) == 2


@pytest.mark.parametrize("views", [("AP", "AP"), ("A", "A"), ("A", "P"), ("AP", "A")])
def test_objects_of_one_uid_and_other_pixels_fail_together(views: tuple[str, str]) -> None:
    scans = [scan(view, name, sop_uid="1.2.3.4.1") for view, name in zip(views, "xy", strict=True)]

    assert outcomes(scans) == [(("x", "y"), Reason.UID_CONFLICT)]


def test_one_object_of_other_pixels_spoils_all_of_its_uid() -> None:
    scans = [scan("AP", name, sop_uid="1.2.3.4.1") for name in "xyz"]

    assert outcomes(scans, {"x": "same", "y": "same"}) == [(("x", "y", "z"), Reason.UID_CONFLICT)]


def test_equal_pixels_under_one_uid_of_two_patients_are_no_copies() -> None:
    scans = [scan("AP", name, sop_uid="1.2.3.4.1", patient_id=name) for name in "xy"]

    assert outcomes(scans, {"x": "same", "y": "same"}) == [(("x", "y"), Reason.UID_CONFLICT)]


def test_the_message_of_a_conflict_names_the_files() -> None:
    (event,) = events_of([scan("AP", f"{number:02d}", sop_uid="1.2.3.4.1") for number in range(11)])

    assert isinstance(event, Examination)
    assert event.defect is not None
    assert event.defect.message.endswith("01, 02, 03, 04, 05, 06, 07 and 3 more")


def test_objects_without_a_uid_are_no_copies_of_each_other() -> None:
    events = events_of([scan("AP", "one", sop_uid=None), scan("AP", "two", sop_uid=None)])

    assert all(isinstance(event, Examination) for event in events)
    assert len({event.exam_id for event in events if isinstance(event, Examination)}) == 2


def test_a_third_view_without_a_time_is_no_copy_and_leaves_all_three_ambiguous() -> None:
    scans = [scan(view, name, acquisition_time=None) for view, name in (("A", "a"), ("P", "p"), ("A", "late"))]

    assert outcomes(scans) == [(("a", "late", "p"), Reason.AMBIGUOUS_PAIRING)]


def test_a_view_with_the_pixels_of_another_one_is_its_copy_under_any_uid() -> None:
    scans = [scan("A", "a"), scan("P", "p"), scan("A", "sent-again", series_uid="9", acquisition_time="101501")]

    assert outcomes(scans, {"sent-again": "a"}) == [(("a", "p"), None), (("sent-again",), Reason.DUPLICATE_VIEW)]


def test_views_whose_pixels_are_all_the_same_are_no_copies() -> None:
    scans = [scan("AP", "blank"), scan("AP", "empty")]

    assert [why for _, why in outcomes(scans, {"blank": "", "empty": ""})] == [None, None]


def test_the_split_views_of_an_object_are_its_copies() -> None:
    scans = [scan("A", "0", series_uid="8"), scan("AP", "both"), scan("P", "1", series_uid="8")]

    assert outcomes(scans, {"0": "both", "1": "both"}) == [
        (("0",), Reason.DUPLICATE_VIEW),
        (("1",), Reason.DUPLICATE_VIEW),
        (("both",), None),
    ]


DERIVED = ("DERIVED", "PRIMARY", "WHOLE BODY", "EMISSION")


@pytest.mark.parametrize("time", ["101500", None])
@pytest.mark.parametrize("views", ["AP", "A"])
def test_a_processed_copy_beside_its_original_is_told_apart(views: str, time: str | None) -> None:
    original = [scan(view, f"original{view}", acquisition_time=time) for view in "AP"]
    processed = [scan(views, "smooth", image_type=DERIVED, acquisition_time=time)]

    assert outcomes(processed + original) == [
        (("originalA", "originalP"), None),
        (("smooth",), Reason.DERIVED_COPY),
    ]


def test_a_processed_object_without_its_original_is_an_examination() -> None:
    others = [scan("AP", "late", acquisition_time="160000")]

    assert outcomes([scan("AP", "smooth", image_type=DERIVED), *others]) == [(("late",), None), (("smooth",), None)]


def test_a_view_left_over_from_another_acquisition_is_no_duplicate() -> None:
    scans = [scan("A", "a"), scan("P", "p"), scan("A", "late", series_uid="9", acquisition_time="160000")]

    assert (("late",), Reason.SINGLE_VIEW_ONLY) in outcomes(scans)


def test_views_of_two_patients_in_one_series_do_not_pair() -> None:
    scans = [scan("A", "a", patient_id="1"), scan("P", "p", patient_id="2")]

    assert [why for _, why in outcomes(scans)] == [Reason.SINGLE_VIEW_ONLY] * 2


@pytest.mark.parametrize("issuers", [("here", "there"), ("here", None), (None, None)])
def test_the_issuer_counts_where_both_views_have_one(issuers: tuple[str | None, str | None]) -> None:
    scans = [
        scan(view, view, patient_id="1", patient_issuer=issuer) for view, issuer in zip("AP", issuers, strict=True)
    ]

    alone = [(("A",), Reason.SINGLE_VIEW_ONLY), (("P",), Reason.SINGLE_VIEW_ONLY)]
    assert outcomes(scans) == (alone if None not in issuers else [(("A", "P"), None)])


def test_a_view_without_a_patient_joins_the_only_patient_of_its_study_and_none_of_two() -> None:
    lone = scan("P", "p", patient_id=None)
    one, other = scan("A", "a", patient_id="1"), scan("A", "b", patient_id="2", series_uid="9")

    assert outcomes([one, lone]) == [(("a", "p"), None)]
    assert [why for _, why in outcomes([one, other, lone])] == [Reason.SINGLE_VIEW_ONLY] * 3


def test_without_patient_ids_views_of_two_names_do_not_pair() -> None:
    named = [scan("A", "a", patient_name="1"), scan("P", "p", patient_name="2")]
    half = [scan("A", "a", patient_name="1"), scan("P", "p")]

    assert [why for _, why in outcomes(named)] == [Reason.SINGLE_VIEW_ONLY] * 2
    assert outcomes(half) == [(("a", "p"), None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"acquisition_datetime": "20200109101500"},
        {"acquisition_datetime": "20200102111600"},
        {"acquisition_date": None, "content_date": "20200109"},
    ],
    ids=str,
)
def test_a_date_and_time_that_contradicts_the_other_ones_keeps_views_apart(changes: dict[str, Any]) -> None:
    same: dict[str, Any] = {"acquisition_datetime": "20200102101500"} if "acquisition_datetime" in changes else {}
    first = same or {"acquisition_date": None, "content_date": "20200102"}

    assert [why for _, why in outcomes([scan("A", "a", **first), scan("P", "p", **changes)])] == [
        Reason.SINGLE_VIEW_ONLY
    ] * 2
    assert outcomes([scan("A", "a", **first), scan("P", "p", **first)]) == [(("a", "p"), None)]


def test_two_patients_of_one_study_are_paired_each_for_itself() -> None:
    scans = [scan(view, patient + view, patient_id=patient, acquisition_time=None) for view in "AP" for patient in "12"]

    assert outcomes(scans) == [(("1A", "1P"), None), (("2A", "2P"), None)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"rows": 512}),
        ({}, {"columns": 512}),
        ({"pixel_spacing": (2.4, 2.4)}, {"pixel_spacing": (2.4, 2.26)}),
        ({"scan_length": 1900.0}, {"scan_length": 1780.0}),
        ({}, {"model_name": "Another"}),
    ],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_views_of_one_series_that_do_not_match_fail_together(
    first: dict[str, Any], second: dict[str, Any], order: tuple[int, int]
) -> None:
    scans = [scan("A", "a", **first), scan("P", "p", **second)]

    assert outcomes([scans[index] for index in order]) == [(("a", "p"), Reason.MATRIX_MISMATCH)]


@pytest.mark.parametrize(
    "changes",
    [
        {"pixel_spacing": (2.41, 2.4)},
        {"pixel_spacing": (0.0, 0.0)},
        {"pixel_spacing": (-1.0, 2.4)},
        {"pixel_spacing": None},
        {"scan_length": 1900.0},
        {"scan_length": 1948.0, "pixel_spacing": (2.4, 2.4)},
        {"manufacturer": None},
        {"model_name": ""},
        {"model_name": "TEST CAMERA"},
    ],
    ids=str,
)
def test_small_differences_and_absent_values_still_match(changes: dict[str, Any]) -> None:
    length = 1950.0 if "pixel_spacing" in changes else None

    assert outcomes([scan("A", "a", scan_length=length), scan("P", "p", **changes)]) == [(("a", "p"), None)]


def test_a_mismatched_view_waits_for_the_one_that_fits() -> None:
    scans = [scan("A", "small", rows=512, columns=128), scan("P", "p"), scan("A", "a")]

    assert (("a", "p"), None) in outcomes(scans)


@pytest.mark.parametrize("is_damaged_first", [True, False])
def test_a_damaged_copy_does_not_affect_the_sound_one(is_damaged_first: bool) -> None:
    sound, damaged = scan("AP", "1"), scan("AP", "cut", defect=CUT, sop_uid="1.2.3.4.1")
    scans = [damaged, sound] if is_damaged_first else [sound, damaged]

    assert outcomes(scans) == [(("1",), None), (("cut",), Reason.TRUNCATED_PIXEL_DATA)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_damaged_copy_of_one_view_does_not_affect_the_pair(order: tuple[int, ...]) -> None:
    scans = [scan("A", "1"), scan("P", "2"), scan("A", "cut", defect=CUT, sop_uid="1.2.3.4.1")]

    assert outcomes([scans[index] for index in order]) == [(("1", "2"), None), (("cut",), Reason.TRUNCATED_PIXEL_DATA)]


@pytest.mark.parametrize("order", ["AP", "PA"])
def test_a_damaged_view_fails_together_with_its_partner(order: str) -> None:
    scans = [scan(view, view, defect=CUT if view == "A" else None) for view in order]

    assert outcomes(scans) == [(("A", "P"), Reason.TRUNCATED_PIXEL_DATA)]


def test_an_object_whose_views_are_not_known_fails_alone() -> None:
    assert outcomes([scan("", "x", defect=CUT), scan("A", "a"), scan("P", "p")]) == [
        (("a", "p"), None),
        (("x",), Reason.TRUNCATED_PIXEL_DATA),
    ]


def test_views_of_repeated_acquisitions_pair_within_their_acquisition() -> None:
    first = [scan(view, f"first{view}", series_uid="1", acquisition_time="101500") for view in "AP"]
    second = [scan(view, f"second{view}", series_uid="2", acquisition_time="134500") for view in "AP"]

    pairs = outcomes([first[0], second[1], first[1], second[0]])

    assert pairs == [(("firstA", "firstP"), None), (("secondA", "secondP"), None)]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_repeat_within_the_hour_in_one_series_pairs_closest_in_time_in_any_order(order: tuple[int, ...]) -> None:
    scans = [scan(view, f"{when}{view}", acquisition_time=when) for when in ("101500", "103500") for view in "AP"]

    pairs = outcomes([scans[index] for index in order])

    assert pairs == [(("101500A", "101500P"), None), (("103500A", "103500P"), None)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_repeated_view_pairs_with_the_one_of_its_time_in_any_order(order: tuple[int, ...]) -> None:
    scans = [
        scan("A", "stopped", acquisition_time="120000"),
        scan("P", "p", acquisition_time="120100"),
        scan("A", "again", acquisition_time="120100"),
    ]

    assert outcomes([scans[index] for index in order]) == [
        (("again", "p"), None),
        (("stopped",), Reason.SINGLE_VIEW_ONLY),
    ]


def test_a_repeated_view_of_one_head_is_ambiguous_and_fails_with_its_rivals() -> None:
    times = {"a": "120000", "p": "122500", "again": "125000"}
    scans = [scan("P" if name == "p" else "A", name, acquisition_time=time) for name, time in times.items()]

    assert outcomes(scans) == [(("a", "again", "p"), Reason.AMBIGUOUS_PAIRING)]


def test_the_series_decides_between_scans_of_one_head_that_follow_each_other() -> None:
    plan = [("1", "A", "120000"), ("1", "P", "122500"), ("2", "A", "123500"), ("2", "P", "130000")]
    scans = [
        scan(view, number + view, series_uid=number, frame_of_reference_uid="7", acquisition_time=time)
        for number, view, time in plan
    ]

    assert outcomes(scans) == [(("1A", "1P"), None), (("2A", "2P"), None)]


def test_a_series_that_contradicts_the_times_is_ambiguous() -> None:
    plan = [("1", "A", "120000"), ("2", "P", "120000"), ("2", "A", "123000"), ("1", "P", "123000")]
    scans = [scan(view, number + view, series_uid=number, acquisition_time=time) for number, view, time in plan]

    assert outcomes(scans) == [(("1A", "1P", "2A", "2P"), Reason.AMBIGUOUS_PAIRING)]


@pytest.mark.parametrize(
    "texts", [("WB 4H", "WB 24H"), ("EARLY", "LATE"), ("10 MIN", "3 HOURS"), ("BLOOD POOL", "DELAYED")]
)
def test_texts_of_two_phases_are_two_scans(texts: tuple[str, str]) -> None:
    scans = [
        texted(scan(view, f"{number}{view}", acquisition_time=None), f"{text} {view}")
        for number, text in enumerate(texts)
        for view in ("A", "P")
    ]

    assert outcomes(scans) == [(("0A", "0P"), None), (("1A", "1P"), None)]
    assert [why for _, why in outcomes([scans[0], scans[3]])] == [Reason.SINGLE_VIEW_ONLY] * 2


def test_texts_that_each_name_one_pair_decide_where_nothing_else_does() -> None:
    scans = [
        texted(scan(view, f"{number}{view}", acquisition_time=None), f"SCAN {number} {view}")
        for number in "12"
        for view in ("A", "P")
    ]

    assert outcomes(scans) == [(("1A", "1P"), None), (("2A", "2P"), None)]


def test_a_text_of_several_scans_leaves_those_of_one_undecided_too() -> None:
    texts = {"a": "SCAN 1 A", "b": "SCAN 1 A", "p": "SCAN 1 P", "c": "SCAN 2 A", "q": "SCAN 2 P"}
    scans = [
        texted(scan("P" if name in "pq" else "A", name, acquisition_time=None), text) for name, text in texts.items()
    ]

    assert outcomes(scans) == [(tuple("abcpq"), Reason.AMBIGUOUS_PAIRING)]


@pytest.mark.parametrize(("time", "is_one_scan"), [("104500", True), ("121500", False)])
def test_times_count_without_days(time: str, is_one_scan: bool) -> None:
    front = scan("A", "a", acquisition_date=None, acquisition_time="101500")
    back = scan("P", "p", acquisition_date=None, acquisition_time=time)

    found = outcomes([front, back])

    assert found == ([(("a", "p"), None)] if is_one_scan else [((name,), Reason.SINGLE_VIEW_ONLY) for name in "ap"])


def test_a_text_added_to_one_view_alone_decides_nothing() -> None:
    texts = {"a": "WB ANT", "again": "WB ANT REPEAT", "p": "WB POST"}
    scans = [
        texted(scan("P" if name == "p" else "A", name, acquisition_time=None), text) for name, text in texts.items()
    ]

    assert outcomes(scans) == [(("a", "again", "p"), Reason.AMBIGUOUS_PAIRING)]


def test_an_object_whose_pixels_cannot_be_read_fails_for_itself_beside_its_sound_copy() -> None:
    unreadable = Verdict.of(Stage.PIXELS, Reason.DECODE_FAILED)
    scans = [scan("AP", "1"), scan("AP", "copy", sop_uid="1.2.3.4.1")]

    events = decide(scans, lambda item: unreadable if item.ref.source == "copy" else {})

    assert sorted((sources(event), reason(event)) for event in events) == [
        (("1",), None),
        (("copy",), Reason.DECODE_FAILED),
    ]


def acquisition(study: int, number: int, kind: str) -> list[ScanObject]:
    """The sound objects of one acquisition, two hours before the next one of its study."""
    name, start = f"{study}.{number}", (8 + number * 2) * HOUR + 600 * study
    fields: dict[str, Any] = {"study_uid": f"1.{study}", "series_uid": name, "acquisition_time": clock(start)}
    if kind == "both":
        return [scan("AP", name, **fields)]
    if kind == "lone":
        return [scan("A", name, **fields)]
    later = {**fields, "acquisition_time": clock(start + (1800 if kind == "series" else 20))}
    if kind == "apart":
        later["series_uid"] = name + ".2"
    return [scan("A", name + ".1", **fields), scan("P", name + ".2", **later)]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_sound_objects_give_the_same_examinations_in_any_order(draws: st.DataObject) -> None:
    kinds = st.sampled_from(["both", "lone", "series", "apart"])
    plan = draws.draw(st.lists(st.lists(kinds, min_size=1, max_size=5), min_size=1, max_size=3))
    groups = [acquisition(study, n, kind) for study, row in enumerate(plan) for n, kind in enumerate(row)]
    scans = [item for group in groups for item in group]
    copies = [ScanObject(ref(f"copy{n}"), item.header, item.frames) for n, item in enumerate(scans[:2])]
    arrival = draws.draw(st.permutations(scans + copies))

    events = events_of(arrival, {f"copy{n}": item.ref.source for n, item in enumerate(scans[:2])})

    exams = [event.exam_id for event in events if isinstance(event, Examination)]
    assert sorted(exams) == sorted(exam_id(group) for group in groups)
    names = sorted(name for event in events for name in sources(event))
    assert names == sorted(item.ref.source for item in arrival)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.builds(
            lambda views, uid, study, series, minutes, is_cut: (views, uid, study, series, minutes, is_cut),
            st.sampled_from(["A", "P", "AP", "PA"]),
            st.integers(1, 6) | st.none(),
            st.sampled_from(["1", "2", None]),
            st.sampled_from(["1", "2", None]),
            st.integers(0, 200) | st.none(),
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_every_object_is_in_exactly_one_event(
    plan: list[tuple[str, int | None, str | None, str | None, int | None, bool]],
) -> None:
    scans = [
        scan(
            views,
            f"{number}",
            CUT if is_cut else None,
            sop_uid=f"1.2.{uid}" if uid else None,
            study_uid=study,
            series_uid=series,
            acquisition_time=clock(60 * minutes) if minutes is not None else None,
        )
        for number, (views, uid, study, series, minutes, is_cut) in enumerate(plan)
    ]

    events = events_of(scans)

    assert sorted(name for event in events for name in sources(event)) == sorted(item.ref.source for item in scans)
    exams = [event.exam_id for event in events if isinstance(event, Examination)]
    assert len(set(exams)) == len(exams)
