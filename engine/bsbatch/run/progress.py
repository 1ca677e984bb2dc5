"""Progress of a run for its reporter: how long it takes at most, and counts that agree with the tables at the end."""

from collections import Counter
from collections.abc import Iterable, Mapping

from bsbatch.host.threads import Pending
from bsbatch.records import Failure, Outcome, UnitOutcome
from bsbatch.run.forecast import Rate
from bsbatch.run.report import Reporter


class Progress:
    """Counts what is scored, and what of it is committed. Used in the main thread."""

    def __init__(self, reporter: Reporter, rate: Rate | None, limit: int | None = None) -> None:
        self._reporter, self._rate, self._limit = reporter, rate, limit
        self._files: Pending[int] | None = None
        self._settled = 0
        self._ahead: Counter[str] = Counter()
        """Objects and examinations that are reported and not committed yet."""

    def start(self, files: "Pending[int]", settled: int) -> None:
        """Begin, with the number of files once they are counted, and the number that earlier runs settled."""
        self._files, self._settled = files, settled
        self._reporter.start(files, settled)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Report the outcomes of a batch."""
        counts = _count(outcomes)
        self._ahead += counts
        self._advance(counts)
        self._announce()

    def commit(self, outcome: UnitOutcome) -> None:
        """Report the objects of a committed unit that belong to no examination."""
        self._ahead -= _count(outcome.outcomes)
        self._reporter.advance(len(outcome.settled), 0, 0)
        self._announce()

    def take_back(self) -> None:
        """Take back what is not committed: an interrupted run has scored beyond its last unit."""
        if self._ahead["objects"]:
            self._advance({name: -count for name, count in self._ahead.items()})
            number = self._ahead["ok"] + self._ahead["failed"]
            words = f"Done beyond the last complete unit, so not kept: {number}. The next run does it again."
            self._reporter.remark(words)
            self._ahead.clear()

    def withdraw(self, rows: Mapping[str, int]) -> None:
        """Take back what was committed and then decided anew, see `bsbatch.store.committed.Committed.withdrawn`."""
        self._advance({name: -count for name, count in rows.items()})
        if rows.get("ok"):
            self._reporter.remark(
                f"Scored examinations whose study has further objects, and which were decided anew: {rows['ok']}."
            )

    def _advance(self, counts: Mapping[str, int]) -> None:
        self._reporter.advance(*(counts.get(name, 0) for name in ("objects", "ok", "failed")))

    def _announce(self) -> None:
        """Show once, when the files are counted, how long the run takes at most."""
        files = self._files
        if files is None or not files.done():
            return
        self._files = None
        if self._rate is not None and files.exception() is None and files.result() > self._settled:
            left = files.result() - self._settled
            scans = left if self._limit is None else min(left, self._limit)
            self._reporter.remark(
                f"{left} files to do: at most {self._rate.forecast(scans)}, if each were an examination; "
                "bsbatch run --dry-run counts them."
            )


def _count(outcomes: Iterable[Outcome]) -> Counter[str]:
    items = list(outcomes)
    failed = sum(isinstance(item, Failure) for item in items)
    return Counter(objects=sum(len(item.exam.scans) for item in items), ok=len(items) - failed, failed=failed)
