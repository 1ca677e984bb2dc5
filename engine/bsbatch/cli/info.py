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
        Path | None,
        typer.Option(help="This model, and what --backend auto chose for it.", show_default="every model"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show versions, the backends that work here, why others do not, and which one --backend auto chose."""
    from bsbatch.cli.installation import describe_model, inspect, show
    from bsbatch.run.backend_rates import list_choices

    known = describe_model(model) if model is not None else None
    installation = inspect(list_choices(known.model_id if known is not None else None), known)
    if as_json:
        typer.echo(json.dumps(asdict(installation), indent=2))
    else:
        show(Terminal(), installation)
