"""``--dry-run``: plan from headers, and write nothing."""

import time

from bsbatch.config import RunConfig
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import run_in_background
from bsbatch.host.workers import Isolation
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch.pipeline.intake import Intake
from bsbatch.pseudonyms import PatientKeys, Pseudonymiser
from bsbatch.reasons import Status
from bsbatch.records import Unit
from bsbatch.run.forecast import find_rate
from bsbatch.run.report import Ending, Report, Reporter, note_bugs
from bsbatch.run.setup import MAX_UNIT, choose_studies, open_source
from bsbatch.sources.listing import list_once
from bsbatch.store.catalog import Catalog
from bsbatch.store.flow import Flow
from bsbatch.store.tables import OK
from bsbatch.telemetry import Telemetry


def rehearse(config: RunConfig, reporter: Reporter) -> Report:
    """Plan without scoring and write nothing; a model decides which measured rate applies.

    Raises
    ------
    UsageError
        The archive is empty, or the model cannot be used.
    """
    started = time.monotonic()
    flow, threads, keys = Flow(), config.effort.threads or usable_cpus(), PatientKeys.random()
    pseudonymiser = Pseudonymiser.from_file(config.keyfile) if config.keyfile is not None else None
    choosing = choose_studies(config.studies, keys, pseudonymiser)
    with list_once(open_source(config)) as source, Isolation() as isolation:
        intake = Intake(
            source,
            config.selection,
            Catalog(),
            Telemetry(),
            isolation,
            threads,
            keys,
            pseudonymiser,
            choosing=choosing,
            holds_all=True,
        )
        reporter.start(run_in_background(source.count), 0)
        for unit in intake.units(MAX_UNIT, config.limit):
            _count_unit(flow, unit)
            reporter.advance(len(unit.settled) + sum(len(exam.scans) for exam in unit.exams), 0, 0)
    flow.seen, flow.pending = intake.seen, intake.seen - flow.objects.total()
    note_bugs(flow, reporter)
    model_id = Model.load(config.model, VERSION).model_id if config.model is not None else None
    rate = find_rate(model_id, config.backend, config.effort)
    return Report(Ending.PLANNED, flow, time.monotonic() - started, 0, None, rate)


def _count_unit(flow: Flow, unit: Unit) -> None:
    """Count the objects and examinations of a unit by the outcome that their headers predict."""
    for item in unit.settled:
        flow.count_object(item.verdict.status, item.verdict.reason)
    for exam in unit.exams:
        reason = exam.defect.reason if exam.defect is not None else None
        flow.count_examination(Status.FAILED if reason else OK, reason)
        for _ in exam.scans:
            flow.count_object(Status.FAILED if reason else Status.USED, reason)
