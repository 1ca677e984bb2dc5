from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dicom.objects import ref, scan

from bsbatch.dicom.pairing import Event, Pairer
from bsbatch.identity import DigestSet, acquisition_key, exam_id, object_key
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, ScanObject, SettledObject

CUT = Verdict.of(Stage.HEADER, Reason.TRUNCATED_PIXEL_DATA)
HOUR = 3600


def clock(seconds: float) -> str:
    """A DICOM TM value."""
    return f"{int(seconds) // HOUR:02d}{int(seconds) % HOUR // 60:02d}{int(seconds) % 60:02d}"


def play(scans: Iterable[ScanObject]) -> tuple[list[Event], list[Event]]:
    """Events while objects are added, and events at the end."""
    pairer = Pairer()
    on_the_way = [event for item in scans for event in pairer.add(item)]
    return on_the_way, list(pairer.finish())


def events_of(scans: Iterable[ScanObject]) -> list[Event]:
    return [event for events in play(scans) for event in events]


def sources(event: Event) -> tuple[str, ...]:
    scans = event.scans if isinstance(event, Examination) else (event,)
    return tuple(sorted(item.ref.source for item in scans))


def reason(event: Event) -> Reason | None:
    verdict = event.defect if isinstance(event, Examination) else event.verdict
    return verdict.reason if verdict is not None else None


def outcomes(scans: Iterable[ScanObject]) -> list[tuple[tuple[str, ...], Reason | None]]:
    """Sources and reason of every event."""
    return sorted(((sources(event), reason(event)) for event in events_of(scans)), key=str)


def test_an_object_with_both_views_is_an_examination_at_once() -> None:
    on_the_way, at_the_end = play([scan("PA", "both")])

    (exam,) = on_the_way
    assert isinstance(exam, Examination)
    assert at_the_end == []
    assert exam.defect is None
    assert exam.anterior is not None
    assert exam.posterior is not None
    assert (exam.anterior.frame.frame, exam.posterior.frame.frame) == (2, 1)
    assert exam.exam_id == exam_id([scan("PA", "both")])


@pytest.mark.parametrize("order", ["AP", "PA"])
def test_the_second_view_of_a_series_completes_an_examination_at_once(order: str) -> None:
    on_the_way, at_the_end = play([scan(view, view) for view in order])

    (exam,) = on_the_way
    assert isinstance(exam, Examination)
    assert at_the_end == []
    assert exam.defect is None
    assert exam.anterior is not None
    assert exam.posterior is not None
    assert (exam.anterior.scan.ref.source, exam.posterior.scan.ref.source) == ("A", "P")


def test_views_of_one_series_without_a_time_pair_at_once() -> None:
    on_the_way, _ = play([scan("A", "a", acquisition_time=None), scan("P", "p", acquisition_time=None)])

    assert [sources(event) for event in on_the_way] == [("a", "p")]


def test_views_of_one_frame_of_reference_pair_across_series() -> None:
    one = scan("A", "a", series_uid="1", frame_of_reference_uid="7", acquisition_time="100000")
    other = scan("P", "p", series_uid="2", frame_of_reference_uid="7", acquisition_time="103000")

    assert outcomes([one, other]) == [(("a", "p"), None)]


@pytest.mark.parametrize(
    ("first", "second", "is_pair"),
    [
        ("101500", "101500", True),
        ("101500", "101700", True),
        ("101500", "101700.000", True),
        ("101500.5", "101300.25", False),
        ("101500", "101701", False),
        ("10:15:00", "101500", True),
        ("1015", "101500", True),
        ("10", "100000", True),
        ("101500", None, False),
        ("", "", False),
        ("noon", "noon", False),
        ("235930", "000030", False),
    ],
)
def test_views_of_two_series_pair_within_two_minutes(first: str, second: str | None, is_pair: bool) -> None:
    one = scan("A", "a", series_uid="1", acquisition_time=first)
    other = scan("P", "p", series_uid="2", acquisition_time=second)

    on_the_way, at_the_end = play([one, other])

    assert len(on_the_way) == int(is_pair)
    assert [reason(event) for event in at_the_end] == ([] if is_pair else [Reason.SINGLE_VIEW_ONLY] * 2)


def test_midnight_between_two_views_is_a_minute_and_not_a_day() -> None:
    one = scan("A", "a", series_uid="1", acquisition_time="235930", acquisition_date="20200102")
    other = scan("P", "p", series_uid="2", acquisition_time="000030", acquisition_date="20200103")

    assert outcomes([one, other]) == [(("a", "p"), None)]


def test_the_same_time_on_another_day_is_another_acquisition() -> None:
    one = scan("A", "a", series_uid="1", acquisition_date="20200102")
    other = scan("P", "p", series_uid="2", acquisition_date="20200103")

    assert [why for _, why in outcomes([one, other])] == [Reason.SINGLE_VIEW_ONLY] * 2


def test_views_of_one_series_that_are_hours_apart_wait_for_a_better_partner() -> None:
    early, late = scan("A", "a", acquisition_time="080000"), scan("P", "p", acquisition_time="110000")

    on_the_way, at_the_end = play([early, late])

    assert on_the_way == []
    assert [(sources(event), reason(event)) for event in at_the_end] == [(("a", "p"), None)]


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
    on_the_way, at_the_end = play([scan("A", "a", study_uid=None), scan("P", "p", study_uid=None)])

    assert [reason(event) for event in on_the_way] == [Reason.SINGLE_VIEW_ONLY] * 2
    assert at_the_end == []


def test_an_object_with_both_views_needs_no_study_uid() -> None:
    assert outcomes([scan("AP", "both", study_uid=None)]) == [(("both",), None)]


def test_a_lone_view_fails_as_single_view_only() -> None:
    (event,) = events_of([scan("A", "a")])

    assert isinstance(event, Examination)
    assert reason(event) is Reason.SINGLE_VIEW_ONLY
    assert event.posterior is None


@pytest.mark.parametrize("views", ["AP", "A", "P"])
def test_a_second_copy_of_an_object_is_a_duplicate(views: str) -> None:
    first, copy = scan(views, "1"), scan(views, "copy", sop_uid="1.2.3.4.1")

    events = events_of([first, copy])

    (settled,) = [event for event in events if isinstance(event, SettledObject)]
    assert (settled.ref.source, settled.verdict.reason) == ("copy", Reason.DUPLICATE_VIEW)
    assert len(events) == 2


def test_objects_without_a_uid_are_no_copies_of_each_other() -> None:
    events = events_of([scan("AP", "one", sop_uid=None), scan("AP", "two", sop_uid=None)])

    assert all(isinstance(event, Examination) for event in events)
    assert len({event.exam_id for event in events if isinstance(event, Examination)}) == 2


def test_a_further_view_of_a_finished_acquisition_is_a_duplicate() -> None:
    scans = [scan("A", "a"), scan("P", "p"), scan("A", "derived")]

    assert outcomes(scans) == [(("a", "p"), None), (("derived",), Reason.DUPLICATE_VIEW)]


def test_a_view_left_over_from_another_acquisition_is_no_duplicate() -> None:
    scans = [scan("A", "a"), scan("P", "p"), scan("A", "late", series_uid="9", acquisition_time="160000")]

    assert (("late",), Reason.SINGLE_VIEW_ONLY) in outcomes(scans)


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

    on_the_way, at_the_end = play([scans[index] for index in order])

    assert on_the_way == []
    assert [(sources(event), reason(event)) for event in at_the_end] == [(("a", "p"), Reason.MATRIX_MISMATCH)]


@pytest.mark.parametrize(
    "changes", [{"pixel_spacing": (2.4005, 2.4)}, {"pixel_spacing": None}, {"scan_length": 1900.0}], ids=str
)
def test_small_differences_and_absent_values_still_match(changes: dict[str, Any]) -> None:
    assert outcomes([scan("A", "a"), scan("P", "p", **changes)]) == [(("a", "p"), None)]


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


def test_objects_committed_by_an_earlier_run_make_duplicates() -> None:
    done = scan("A", "1")
    header = done.header
    key = acquisition_key(header.study_uid, header.series_uid, header.acquisition_date, header.acquisition_time)
    assert key is not None
    pairer = Pairer(seen=DigestSet([object_key(header.study_uid, "1.2.3.4.1")]), closed=DigestSet([key]))

    events = [*pairer.add(done), *pairer.add(scan("P", "derived")), *pairer.finish()]

    assert [reason(event) for event in events] == [Reason.DUPLICATE_VIEW] * 2


def acquisition(study: int, number: int, kind: str) -> list[ScanObject]:
    """The sound objects of one acquisition, two hours before the next one of its study."""
    name, start = f"{study}.{number}", number * 2 * HOUR + 600 * study
    fields: dict[str, Any] = {"study_uid": f"1.{study}", "series_uid": name, "acquisition_time": clock(start)}
    if kind == "both":
        return [scan("AP", name, **fields)]
    if kind == "lone":
        return [scan("A", name, **fields)]
    later = {**fields, "acquisition_time": clock(start + (1800 if kind == "series" else 90))}
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

    events = events_of(arrival)

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

    pairer = Pairer()
    events = [*(event for item in scans for event in pairer.add(item)), *pairer.finish()]

    assert sorted(name for event in events for name in sources(event)) == sorted(item.ref.source for item in scans)
    assert list(pairer.finish()) == []
    exams = [event.exam_id for event in events if isinstance(event, Examination)]
    assert len(set(exams)) == len(exams)
