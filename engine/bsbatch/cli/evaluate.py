"""``bsbatch evaluate``: compare the results of a run with labels."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal
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

_WHAT, _HOW = "What to evaluate", "How to evaluate"


def evaluate(
    results: Annotated[
        Path,
        typer.Argument(help="Output folder of bsbatch run, or its results folder.", show_default=False),
    ],
    *,
    labels: Annotated[
        Path,
        typer.Option(
            help="CSV with study_uid and label; see docs/evaluation.md.", show_default=False, rich_help_panel=_WHAT
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report.", show_default=False, rich_help_panel=_WHAT)],
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of lesion masks, for heat maps.", show_default=False, rich_help_panel=_WHAT),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the labels that forms subgroups; repeatable.", show_default=False, rich_help_panel=_WHAT
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Results of another model on the same examinations.", show_default=False, rich_help_panel=_WHAT
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only studies of this split.", show_default=False, rich_help_panel=_WHAT)
    ] = None,
    centre: Annotated[
        str | None, typer.Option(help="Only studies of this centre.", show_default=False, rich_help_panel=_WHAT)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Smallest score that counts as positive.", show_default="the run's", rich_help_panel=_HOW),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(help="Sensitivity that one operating point must reach.", rich_help_panel=_HOW)
    ] = SENSITIVITY,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Prevalence to which the sample is re-weighted.", show_default="the sample's", rich_help_panel=_HOW
        ),
    ] = None,
    width: Annotated[
        float, typer.Option(help="Wanted width of intervals, to plan the number of examinations.", rich_help_panel=_HOW)
    ] = WIDTH,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", rich_help_panel=_HOW)] = RESAMPLES,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", rich_help_panel=_HOW)] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No tables; errors only.", rich_help_panel=_HOW)] = False,
) -> None:
    """Compare the scores of a run with labels: ROC AUC, sensitivity, specificity and more, with 95 % intervals.

    Writes metrics.json, scores.parquet, unmatched.csv and figures.
    Exit codes: 0 done, 2 usage (labels or results cannot be used), 4 cannot write.
    """
    config = EvaluationConfig(
        results,
        labels,
        out,
        Restriction(split, centre),
        DecisionSettings(threshold, sensitivity, prevalence, width),
        Resampling(resamples, seed),
        masks,
        tuple(by or ()),
        compare,
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
