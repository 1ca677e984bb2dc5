"""``bsbatch info``: what is here, and what is not and why. Imports none of it."""

import json
import platform
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import bsbatch
from bsbatch.registry import BACKENDS, CODECS, Part, installed_version

_PACKAGES = (
    "numpy",
    "pydicom",
    "pyarrow",
    "opencv-python-headless",
    "onnxruntime",
    "MNN",
    "scikit-learn",
    "Jinja2",
    "vl-convert-python",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
)
_COMPILED = "[green]in use[/]"
_NOT_COMPILED = "[yellow]not here[/], numpy does its work: pip install bsbatch where there is a C compiler"
_ASKED = ("threads", "batch_size")


def info(
    *,
    model: Annotated[
        Path | None, typer.Option(help="Only what --backend auto takes for this model.", show_default="every model")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show versions, the backends that work here, why others do not, and which one --backend auto takes."""
    facts = _facts(
        import_module("bsbatch.run.backend_rates").list_choices(_graph_of(model) if model is not None else None)
    )
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        show_info(Console(), facts)


def _graph_of(folder: Path) -> str:
    model = import_module("bsbatch.models.directory")
    return str(model.read_manifest(model.resolve_folder(folder)).files[model.GRAPH][:16])


def _facts(choices: list[Any]) -> dict[str, Any]:
    machine, gpu = import_module("bsbatch.host.threads"), import_module("bsbatch.cuda.gpu")
    native = import_module("bsbatch.native.library")
    return {
        "bsbatch": bsbatch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": machine.processor(),
        "cpus": machine.usable_cpus(),
        "memory_gib": round(machine.usable_memory() / 2**30, 1),
        "compiled_part": native.open_library() is not None,
        "packages": {name: installed_version(name) for name in _PACKAGES} | gpu.versions(),
        "backends": availability(BACKENDS),
        "codecs": availability(CODECS),
        "auto": [asdict(choice) for choice in choices],
        "notice": "research use only, not for clinical use",
    }


def availability(parts: dict[str, Part]) -> dict[str, dict[str, Any]]:
    """For each part whether it works here, and what to do where it does not."""
    reasons = {name: part.why_not for name, part in parts.items()}
    return {name: {"works": reason is None, "why_not": reason} for name, reason in reasons.items()}


def show_info(console: Console, facts: dict[str, Any]) -> None:
    """Print the facts as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("bsbatch", "python", "system", "processor", "cpus", "memory_gib"):
        table.add_row(name, str(facts[name]))
    table.add_row("compiled part", _COMPILED if facts["compiled_part"] else _NOT_COMPILED)
    for name, version in facts["packages"].items():
        table.add_row(name, version or "[dim]not installed[/]")
    for kind in ("backends", "codecs"):
        table.add_row(f"[bold]{kind}[/]")
        for name, state in facts[kind].items():
            table.add_row(
                f"  {name}", "[green]works[/]" if state["works"] else f"[yellow]{escape(state['why_not'])}[/]"
            )
    _add_choices(table, facts["auto"])
    console.print(table)
    console.print("Research use only, not for clinical use.", style="dim")


def _add_choices(table: Table, choices: list[dict[str, Any]]) -> None:
    table.add_row("[bold]--backend auto[/]", "" if choices else "[dim]measured by the first run with a model[/]")
    for choice in choices:
        rates = ", ".join(f"{name} {rate:.2f}" for name, rate in choice["rates"].items())
        asked = [f"{name} {choice['situation'][name]}" for name in _ASKED if choice["situation"][name] is not None]
        words = [f"{rates} scans/s", *asked, choice["measured"]]
        table.add_row(f"  {choice['situation']['model_id']}", f"[green]{choice['backend']}[/] ({', '.join(words)})")
