import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dicom.objects import ref, scan

from bsbatch.pipeline.waiting import Packed, WaitingRoom, key_of
from bsbatch.records import ScanObject


def single(number: int) -> ScanObject:
    """One of many single views, with the long UIDs and paths of a real archive."""
    tail = f"{number * 2654435761 % 2**64:020d}"
    made = scan(
        "AP"[number % 2],
        str(number),
        sop_uid=f"1.2.840.113619.2.280.2.1.{tail}.{number}",
        study_uid=f"1.2.840.113619.2.280.2.1.{number // 2}.{tail[:9]}",
        series_uid=f"1.2.840.113619.2.280.2.1.{number // 2}.{tail[9:]}",
        patient_id=f"{number // 2:032x}",
        acquisition_time=f"{number % 24:02d}{tail[:4]}",
    )
    path = f"archive/2020/{number // 500:04d}/study-{number // 2:07d}/series-1/image-{number:07d}.dcm"
    return made._replace(
        ref=ref(path)._replace(size=525000 + number % 7, version=str(1_600_000_000_000_000_000 + number))
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.text(max_size=5)), max_size=20))
def test_studies_come_back_whole_and_in_the_order_of_their_first_objects(plan: list[tuple[int, str]]) -> None:
    scans = [scan("A", f"{number}{name}", study_uid=f"1.{study}") for number, (study, name) in enumerate(plan)]
    room, expected = WaitingRoom(), dict[str | None, list[ScanObject]]()
    for item in scans:
        room.add(item)
        expected.setdefault(item.header.study_uid, []).append(item)

    assert list(room.studies(lambda _: True)) == list(expected.values())
    assert list(room) == [key_of(item) for item in scans]


def test_studies_that_are_not_wanted_stay_behind() -> None:
    room, (one, other) = WaitingRoom(), [scan("A", name, study_uid=name) for name in ("1.1", "1.2")]
    room.add(one)
    room.add(other)

    assert list(room.studies(lambda key: key == key_of(other))) == [[other]]


def test_records_are_read_in_any_order() -> None:
    packed = Packed[tuple[int, str]]()
    positions = [packed.append((number, "x" * number)) for number in range(9)]

    assert [packed.read(position)[0] for position in reversed(positions)] == list(range(8, -1, -1))
    assert [number for number, _ in packed] == list(range(9))


def test_a_single_view_waits_in_at_most_300_bytes() -> None:
    room, number = WaitingRoom(), 4000
    for index in range(64):  # what all share is allocated before
        room.add(single(index))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(number):
            room.add(single(index))
        each = (tracemalloc.get_traced_memory()[0] - before) / number
    finally:
        tracemalloc.stop()

    assert each <= 300
