"""Energy windows are read as they were meant, or are unreadable."""

import pytest

from bsbatch.dicom.headers.energies import range_of, ranges_of, windows_of


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (b"126", b"154 ", (126.0, 154.0)),
        (b"327,6", b"400,4", (327.6, 400.4)),
        (b"126.0 keV", b"154 KEV", (126.0, 154.0)),
        (b"154", b"126", (126.0, 154.0)),
        (b"126000", b"154000", (126.0, 154.0)),
        (b"0.126", b"0.154", (126.0, 154.0)),
        (b"0", b"154", (0.0, 154.0)),
        (None, b"125", (0.0, 125.0)),
        (b"327", None, (327.0, 3000.0)),
        (b"327", b"0", (327.0, 3000.0)),
        (b"1.26E2", b".154e3", (126.0, 154.0)),
    ],
)
def test_limits_are_read_in_kev(lower: bytes | None, upper: bytes | None, expected: tuple[float, float]) -> None:
    assert list(range_of(lower, upper)) == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(None, None), (b"", b"  "), (b"", None)],
)
def test_absent_limits_are_no_range(lower: bytes | None, upper: bytes | None) -> None:
    assert range_of(lower, upper) == ()


def test_two_equal_limits_name_the_energy_that_they_are() -> None:
    assert range_of(b"364", b"364") == ((364.0, 364.0),)


@pytest.mark.parametrize(("lower", "upper"), [(b"0", b"0"), (b"0.0", b"0,0"), (b"-1", b"-1"), (b"0", b"-1")])
def test_zero_is_a_placeholder_that_neither_names_an_energy_nor_is_absent(lower: bytes, upper: bytes) -> None:
    assert range_of(lower, upper) == (None,)
    assert windows_of((range_of(lower, upper),), b"140", b"28") == (((126.0, 154.0),),)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(b"n/a", b"154"), (b"126", b"?"), (b"nan", b"nan"), (b"1_26", b"154"), (b"126;5", b"154"), (b"3", b"5")],
)
def test_limits_that_are_no_energies_are_unreadable_and_not_absent(lower: bytes, upper: bytes) -> None:
    assert range_of(lower, upper) == (None,)


@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        (b"140", b"28", (126.0, 154.0)),
        (b"140,5", b"28,1", (126.45, 154.55)),
        (b"140", None, (126.0, 154.0)),
        (b"364", b"0", (327.6, 400.4)),
        (b"140000", b"28000", (126.0, 154.0)),
    ],
)
def test_centre_and_width_stand_in_for_limits(
    centre: bytes, width: bytes | None, expected: tuple[float, float]
) -> None:
    assert list(range_of(None, b"0", centre, width)) == [pytest.approx(expected)]
    assert range_of(b"80", b"90", centre, width) == ((80.0, 90.0),)


@pytest.mark.parametrize("centre", [b"tc", b"140 +- 10"])
def test_a_centre_that_is_no_energy_is_unreadable(centre: bytes) -> None:
    assert range_of(None, None, centre, b"20") == (None,)


def test_a_window_without_ranges_has_its_own_centre() -> None:
    assert ranges_of([], b"140", b"28") == ((126.0, 154.0),)
    assert ranges_of([(b"0", b"0", None, None)], b"140", b"28") == ((126.0, 154.0),)
    assert ranges_of([(b"80", b"90", None, None)], b"140", b"28") == ((80.0, 90.0),)


def test_centres_at_the_root_count_if_no_window_gives_an_energy() -> None:
    assert windows_of((), b"140", b"28") == (((126.0, 154.0),),)
    assert windows_of(((),), b"140\\364", b"28\\72.8") == (((126.0, 154.0),), ((327.6, 400.4),))
    assert windows_of((((80.0, 90.0),),), b"140", b"28") == (((80.0, 90.0),),)
    assert windows_of(((),), None, None) == ((),)
