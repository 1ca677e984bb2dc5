from tests.dicom.habits import CHOICES, table


def test_no_pair_of_random_studies_is_wrong_and_most_acquisitions_are_paired() -> None:
    lines, total = table(count=400, seed=7)

    assert total["wrong"] == total["twice"] == 0
    assert total["paired"] > 0.8 * total["acquisitions"]
    assert total["paired"] + total["ambiguous"] + total["alone"] == total["acquisitions"]
    assert all(habit in lines for choices in CHOICES.values() for habit in choices)
