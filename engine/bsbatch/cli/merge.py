"""``bsbatch merge``: several finished runs become one folder."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal, printable
from bsbatch.notice import SENTENCE


def merge(
    folders: Annotated[
        list[Path], typer.Argument(help="Output folders of runs over disjoint parts of an archive.", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the merged tables, new or empty.", show_default=False)],
) -> None:
    """Merge finished runs of the same settings over disjoint parts of an archive into one folder.

    Every other command reads it as that of a run. A study with objects in several runs fails as split_study.
    Exit codes: 0 done, 2 usage (unfinished, other settings, objects in common), 4 cannot read or write.
    """
    from bsbatch.cli.summary import flow_table
    from bsbatch.run.merge import merge as merge_runs

    merged = merge_runs(folders, out)
    terminal = Terminal()
    terminal.print(flow_table(merged.flow))
    terminal.print(f"{len(folders)} runs merged: every row is accounted for.", highlight=False)
    if merged.split:
        studies = f"{merged.split} studies have" if merged.split > 1 else "1 study has"
        terminal.print(
            f"[yellow]{studies} objects in several of the runs: their rows failed as split_study. docs/cluster.md says "
            "how to screen them.[/]",
            highlight=False,
        )
    if merged.has_overlays:
        terminal.print("Overlays and scans stay in the folders of the runs.", highlight=False)
    shown = printable(str(out))
    terminal.print(f"Results: {shown}/results  {shown}/objects", highlight=False, markup=False, soft_wrap=True)
    terminal.print(SENTENCE, style="dim")
