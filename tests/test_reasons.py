import pytest

from bsbatch.reasons import EXPLANATIONS, SKIPS, Reason, Stage, Status, Verdict, status_of


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_in_one_line(reason: Reason) -> None:
    assert EXPLANATIONS[reason].strip()
    assert "\n" not in EXPLANATIONS[reason]


@pytest.mark.parametrize("reason", Reason)
def test_a_code_is_its_own_name_in_lower_case(reason: Reason) -> None:
    assert reason.value == reason.name.lower()


@pytest.mark.parametrize("reason", Reason)
def test_objects_that_never_were_bone_scans_are_skipped_and_others_fail(reason: Reason) -> None:
    assert status_of(reason) is (Status.SKIPPED if reason in SKIPS else Status.FAILED)


def test_a_verdict_carries_the_explanation_and_the_status_of_its_reason() -> None:
    verdict = Verdict.of(Stage.HEADER, Reason.PET)

    assert verdict.message == EXPLANATIONS[Reason.PET]
    assert verdict.status is Status.SKIPPED


def test_the_codes_are_the_published_ones() -> None:
    assert {"single_view_only", "view_conflict", "sc_display_capture", "too_large"} <= {str(code) for code in Reason}
