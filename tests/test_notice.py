import pytest

from bsbatch.notice import show_score


@pytest.mark.parametrize(
    ("score", "shown"),
    [(0.5, "0.500"), (0.99949, "0.999"), (0.9996, ">0.999"), (1.0, ">0.999"), (0.0006, "0.001"), (0.0, "<0.001")],
)
def test_no_score_is_shown_as_certain(score: float, shown: str) -> None:
    assert show_score(score) == shown
