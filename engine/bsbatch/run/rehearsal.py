"""``--dry-run``: plan from headers, without a model, and write nothing."""

import time

from bsbatch.config import RunConfig
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import in_background
from bsbatch.pipeline.intake import Intake
from bsbatch.run.report import Ending, Report, Reporter
from bsbatch.run.setup import MAX_UNIT, open_source
from bsbatch.store.catalog import Catalog
from bsbatch.store.flow import Flow
from bsbatch.telemetry import Telemetry


def rehearse(config: RunConfig, reporter: Reporter) -> Report:
    """Plan without a model and write nothing."""
    started = time.monotonic()
    source, flow = open_source(config), Flow()
    threads = config.effort.threads or usable_cpus()
    intake = Intake(source, config.selection, Catalog(), None, Telemetry(), threads)
    reporter.start(in_background(lambda: sum(1 for _ in source)), 0)
    for unit in intake.units(MAX_UNIT, config.limit):
        flow.add_plan(unit)
        reporter.advance(len(unit.settled) + sum(len(exam.scans) for exam in unit.exams), 0, 0)
    flow.seen, flow.pending = intake.seen, intake.seen - flow.objects.total()
    return Report(Ending.PLANNED, flow, time.monotonic() - started, 0, None)
