"""``bsbatch evaluate``: compare the results of a run with labels."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.joins import show_join
from bsbatch.cli.label_options import (
    DryJoinOption,
    JoinOption,
    LabelOption,
    NegativeOption,
    PositiveOption,
    SheetOption,
)
from bsbatch.cli.terminal import Terminal
from bsbatch.cohort.settings import LabelOptions
from bsbatch.errors import UsageError
from bsbatch.evaluation.settings import (
    RESAMPLES,
    SENSITIVITY,
    WIDTH,
    DecisionSettings,
    EvaluationConfig,
    Resampling,
    Restriction,
    require_packages,
)
from bsbatch.host.files import refuse_file

_what = partial(typer.Option, show_default=False, rich_help_panel="What to evaluate")
_how = partial(typer.Option, rich_help_panel="How to evaluate")


def evaluate(
    results: Annotated[
        Path,
        typer.Argument(help="Output folder of bsbatch run, or its results folder.", show_default=False),
    ],
    *,
    labels: Annotated[
        Path,
        _what(
            help="CSV with study_uid and label, or any table with --join; see docs/cohort.md.",
        ),
    ],
    out: Annotated[
        Path | None,
        _what(help="Folder for the report. Needed but for --dry-run."),
    ] = None,
    join: JoinOption = None,
    label: LabelOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    sheet: SheetOption = None,
    dry_run: DryJoinOption = False,
    masks: Annotated[
        Path | None,
        _what(help="Folder of lesion masks, for heat maps."),
    ] = None,
    by: Annotated[
        list[str] | None,
        _what(
            help="Columns of the labels that form subgroups, separated by commas.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        _what(help="Results of another model on the same examinations."),
    ] = None,
    split: Annotated[str | None, _what(help="Only studies of this split.")] = None,
    centre: Annotated[str | None, _what(help="Only studies of this centre.")] = None,
    threshold: Annotated[
        float | None,
        _how(help="Smallest score that counts as positive.", show_default="the run's"),
    ] = None,
    sensitivity: Annotated[float, _how(help="Sensitivity that one operating point must reach.")] = SENSITIVITY,
    prevalence: Annotated[
        float | None,
        _how(help="Prevalence to which the sample is re-weighted.", show_default="the sample's"),
    ] = None,
    width: Annotated[float, _how(help="Wanted width of intervals, to plan the number of examinations.")] = WIDTH,
    resamples: Annotated[int, _how(help="Bootstrap resamples.")] = RESAMPLES,
    seed: Annotated[int, _how(help="Seed of the bootstrap.")] = 0,
    quiet: Annotated[bool, _how("--quiet", help="No tables; errors only.")] = False,
) -> None:
    """Compare the scores of a run with labels: ROC AUC, sensitivity, specificity and more, with 95 % intervals.

    Writes metrics.json, scores.parquet, unmatched.csv and figures.
    Exit codes: 0 done, 2 usage (labels or results cannot be used), 4 cannot write.
    """
    table = LabelOptions(join, label, positive or (), negative or (), sheet).table(labels)
    columns = tuple(name.strip() for names in by or () for name in names.split(","))
    if dry_run:
        show_join(Terminal(), results, table, columns)
        return
    if out is None:
        raise UsageError("name a folder for the report: --out FOLDER (or --dry-run to only show the join)")
    config = EvaluationConfig(
        results,
        labels,
        out,
        Restriction(split, centre),
        DecisionSettings(threshold, sensitivity, prevalence, width),
        Resampling(resamples, seed),
        masks,
        columns,
        compare,
        table,
    )
    require_packages()
    refuse_file(out)
    from bsbatch.cli.scorecard import show
    from bsbatch.evaluation.evaluate import evaluate as evaluate_run
    from bsbatch.evaluation.report_files import write_report

    evaluation = evaluate_run(config)
    write_report(evaluation)
    if not quiet:
        show(Terminal(), evaluation)
