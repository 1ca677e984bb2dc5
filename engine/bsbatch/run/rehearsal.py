"""``--dry-run``: plan from headers, without a model, and write nothing."""

import time

from bsbatch.config import RunConfig
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import run_in_background
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import Intake
from bsbatch.reasons import Status
from bsbatch.records import Unit
from bsbatch.run.report import Ending, Report, Reporter, note_bugs
from bsbatch.run.setup import MAX_UNIT, open_source
from bsbatch.store.catalog import Catalog
from bsbatch.store.flow import Flow
from bsbatch.store.tables import OK
from bsbatch.telemetry import Telemetry


def rehearse(config: RunConfig, reporter: Reporter) -> Report:
    """Plan without a model and write nothing."""
    started = time.monotonic()
    source, flow = open_source(config), Flow()
    threads = config.effort.threads or usable_cpus()
    with Isolation() as isolation:
        intake = Intake(source, config.selection, Catalog(), Telemetry(), isolation, threads, holds_all=True)
        reporter.start(run_in_background(lambda: sum(1 for _ in source)), 0)
        for unit in intake.units(MAX_UNIT, config.limit):
            _count_unit(flow, unit)
            reporter.advance(len(unit.settled) + sum(len(exam.scans) for exam in unit.exams), 0, 0)
    flow.seen, flow.pending = intake.seen, intake.seen - flow.objects.total()
    note_bugs(flow, reporter)
    return Report(Ending.PLANNED, flow, time.monotonic() - started, 0, None)


def _count_unit(flow: Flow, unit: Unit) -> None:
    """Count the objects and examinations of a unit by the outcome that their headers predict."""
    for item in unit.settled:
        flow.count_object(item.verdict.status, item.verdict.reason)
    for exam in unit.exams:
        reason = exam.defect.reason if exam.defect is not None else None
        flow.count_examination(Status.FAILED if reason else OK, reason)
        for _ in exam.scans:
            flow.count_object(Status.FAILED if reason else Status.USED, reason)
