"""``bsbatch info``: versions, and the backends and decoders that work on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal


def info(
    *,
    model: Annotated[
        Path | None, typer.Option(help="Only what --backend auto chose for this model.", show_default="every model")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show versions, the backends that work here, why others do not, and which one --backend auto chose."""
    from bsbatch.cli.installation import inspect, show
    from bsbatch.run.backend_rates import list_choices

    installation = inspect(list_choices(_model_id_of(model) if model is not None else None))
    if as_json:
        typer.echo(json.dumps(asdict(installation), indent=2))
    else:
        show(Terminal(), installation)


def _model_id_of(folder: Path) -> str:
    from bsbatch.models.directory import Model, read_manifest, resolve_folder

    directory = resolve_folder(folder)
    return Model(directory, read_manifest(directory)).model_id
