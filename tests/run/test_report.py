"""Notes at the end of a run."""

from collections import Counter

import pytest

from bsbatch.run.report import SilentReporter, note_unlike
from bsbatch.store.flow import Flow


class Notes(SilentReporter):
    """A reporter that keeps its notes."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def note(self, message: str) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(("scored", "unlike", "notes"), [(10, 1, 0), (10, 2, 1), (1, 1, 1), (1, 0, 0), (0, 0, 0)])
def test_a_run_with_more_than_a_tenth_of_unlike_scans_ends_with_a_notice(scored: int, unlike: int, notes: int) -> None:
    reporter = Notes()

    note_unlike(Flow(examinations=Counter(ok=scored, failed=5), unlike=unlike), reporter)

    assert len(reporter.messages) == notes
    assert all(f"{unlike} of {scored} scored" in message for message in reporter.messages)
