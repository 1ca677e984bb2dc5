"""Mirrors a PACS: search, decide, retrieve what is not in the mirror, note it in the ledger."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from bsbatch.dicom.silence import silence_pydicom
from bsbatch.errors import ItemError, OutputError
from bsbatch.host.threads import ordered_map
from bsbatch.pacs.candidates import decline
from bsbatch.pacs.ledger import FetchStatus, Ledger, ObjectOutcome, StudyOutcome, open_ledger
from bsbatch.pacs.mirror import file_of, write_object
from bsbatch.pacs.protocol import PacsClient, PacsObject, PacsStudy, Trouble
from bsbatch.pacs.search import searches
from bsbatch.pacs.settings import FetchConfig
from bsbatch.reasons import EXPLANATIONS

_ATTEMPTS = 2
"""An object that is missing from an answer is asked for once more."""
_NOT_SENT = ItemError(Trouble.NOT_SENT, "the PACS lists the object and does not send it")
_BITS = 16
"""Bits of a pixel, if the PACS does not return them."""


@dataclass(slots=True)
class Tally:
    """Counts of one command."""

    studies: int = 0
    failed_studies: int = 0
    """Studies whose objects could not be listed."""
    series: int = 0
    objects: dict[FetchStatus, int] = field(default_factory=lambda: dict.fromkeys(FetchStatus, 0))
    size: int = 0
    """Bytes of the files, or expected ones of a dry run."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Failures by reason."""

    def add(self, outcome: StudyOutcome) -> None:
        """Add a study."""
        self.studies += 1
        self.failed_studies += outcome.reason is not None
        self.series += outcome.series
        self.size += outcome.size
        for status in FetchStatus:
            self.objects[status] += outcome.count(status)
        failures = [item.reason for item in outcome.objects if item.status is FetchStatus.FAILED]
        for reason in filter(None, (outcome.reason, *failures)):
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def failed(self) -> int:
        """Studies and objects that could not be fetched."""
        return self.failed_studies + self.objects[FetchStatus.FAILED]


def fetch(config: FetchConfig, client: PacsClient, report: Callable[[Tally], object]) -> Tally:
    """Mirror the wanted studies, or go on with an earlier mirror.

    Parameters
    ----------
    report
        Called with the counts after each study.

    Raises
    ------
    UsageError
        The folder cannot be used.
    RunError
        The PACS or the folder cannot be used any more. What was fetched stays, and the same call goes on.
    """
    tally, visit = Tally(), _Visit(config, client)
    with silence_pydicom(), client, _open_ledger(config) as ledger:
        new = (study for study in visit.studies() if ledger.claim(study))
        with closing(ordered_map(visit.mirror, new, client.lanes)) as outcomes:
            for outcome in outcomes:
                if not config.dry_run:
                    ledger.add(outcome)
                tally.add(outcome)
                report(tally)
    return tally


def _open_ledger(config: FetchConfig) -> AbstractContextManager[Ledger]:
    """Open the ledger; a dry run only reads it."""
    return (
        nullcontext(Ledger(config.folder, config.source))
        if config.dry_run
        else open_ledger(config.folder, config.source)
    )


@dataclass(frozen=True, slots=True)
class _Visit:
    """All that one command asks of a PACS."""

    config: FetchConfig
    client: PacsClient

    def studies(self) -> Iterator[PacsStudy]:
        """Search for the wanted studies."""
        for wanted in searches(self.config.wanted, date.today()):
            yield from self.client.studies(wanted)

    def mirror(self, study: PacsStudy) -> StudyOutcome:
        """Fetch the objects of a study that may be scans and have no file yet; a dry run only decides."""
        try:
            found = {item.sop_uid: item for item in self.client.objects(study)}
        except ItemError as error:
            return StudyOutcome(study, reason=error.reason, message=error.message)
        verdicts = {uid: decline(item) for uid, item in found.items()}
        wanted = {uid: item for uid, item in found.items() if verdicts[uid] is None}
        troubles = {} if self.config.dry_run else self._retrieve(study, wanted)
        outcomes = []
        for uid, item in found.items():
            if reason := verdicts[uid]:
                outcomes.append(ObjectOutcome(item, FetchStatus.DECLINED, reason, EXPLANATIONS[reason]))
            elif trouble := troubles.get(uid):
                outcomes.append(ObjectOutcome(item, FetchStatus.FAILED, trouble.reason, trouble.message))
            else:
                outcomes.append(self._fetched(study, item))
        return StudyOutcome(study, tuple(outcomes))

    def _fetched(self, study: PacsStudy, item: PacsObject) -> ObjectOutcome:
        file = file_of(study.uid, item.sop_uid)
        size = _expected_size(item) if self.config.dry_run else (self.config.folder / file).stat().st_size
        return ObjectOutcome(item, FetchStatus.FETCHED, file=file, size=size)

    def _retrieve(self, study: PacsStudy, wanted: Mapping[str, PacsObject]) -> dict[str, ItemError]:
        """Write the objects that have no file; return the troubles of those that still have none."""
        missing = {uid: item for uid, item in wanted.items() if not self._path(study, uid).exists()}
        troubles: dict[str, ItemError] = {}
        for _ in range(_ATTEMPTS):
            if missing:
                troubles = self._receive(study, missing)
                # one by one: a series may fail for one object's sake
                missing = {uid: missing[uid]._replace(series_size=None) for uid in troubles}
        return troubles

    def _receive(self, study: PacsStudy, missing: Mapping[str, PacsObject]) -> dict[str, ItemError]:
        """Ask once; return the troubles of the objects that did not arrive whole."""
        troubles = dict.fromkeys(missing, _NOT_SENT)
        try:
            for uid, data in self.client.retrieve(study, tuple(missing.values())):
                if uid in troubles:
                    try:
                        write_object(self._path(study, uid), data, uid)
                        del troubles[uid]
                    except ItemError as error:
                        troubles[uid] = error
        except ItemError as error:
            troubles |= {uid: error for uid, trouble in troubles.items() if trouble is _NOT_SENT}
        except OSError as error:
            raise OutputError.of(self.config.folder, error) from error
        return troubles

    def _path(self, study: PacsStudy, uid: str) -> Path:
        return self.config.folder / file_of(study.uid, uid)


def _expected_size(item: PacsObject) -> int:
    """Bytes of uncompressed pixels, as far as the PACS says."""
    return (item.rows or 0) * (item.columns or 0) * (item.frames or 1) * (item.bits_allocated or _BITS) // 8
