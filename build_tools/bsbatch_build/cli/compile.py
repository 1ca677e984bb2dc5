"""``bsbatch-build compile``: what a GPU runs, made of a model directory."""

from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from bsbatch.cuda.library import Flavour
from bsbatch.errors import UsageError
from bsbatch.host.interruption import Interruption, handle_interrupts
from bsbatch.registry import load

_INSTALL = 'no engine: neither TensorRT (pip install "bsbatch[tensorrt]") nor TensorRT-RTX ("bsbatch[rtx]") is here'


def compile_(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    flavour: Annotated[
        Flavour | None,
        typer.Option(
            help="tensorrt, for the GPU that is here, or rtx, ahead of time.", show_default="what is installed"
        ),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="With rtx: sm_89,sm_120 ...", show_default="all that it knows")
    ] = None,
    batch: Annotated[str, typer.Option(help="Largest batch of each profile, ascending.")] = "1,32,64",
) -> None:
    """Rewrite a model for float16, hold it against float32, and compile engines of TensorRT or TensorRT-RTX.

    What is there already and of this model, library and GPU stays. Without either library the float16 graph is made.
    Exit codes: 0 done, 2 float16 cannot hold the model or the library cannot compile it.
    """
    architectures = tuple(arch.split(",")) if arch is not None else ()
    settings = load("bsbatch_build.export.compile_tensorrt:CompileSettings")(
        model, flavour, architectures, _numbers(batch)
    )
    console = Console(stderr=True)
    with handle_interrupts(lambda: console.print("stopping")) as interruption, _Bars(console, interruption) as bars:
        made = load("bsbatch_build.export.compile_tensorrt:compile_model")(settings, bars)
    _show(Console(emoji=False), made)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--batch {text} is no list of numbers such as 1,32,64") from error


class _Bars:
    """A bar for the examinations, then one for each phase that the library is in."""

    def __init__(self, console: Console, interruption: Interruption) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._interruption = interruption
        self._examinations: TaskID | None = None
        self._phases: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def examined(self, what: str) -> None:
        """Move the bar of the examinations."""
        if self._examinations is None:
            self._examinations = self._progress.add_task(what, total=load("bsbatch_build.export.precision:STEPS"))
        self._progress.update(self._examinations, advance=1, description=what)
        if self._interruption.is_requested:
            raise KeyboardInterrupt

    def started(self, phase: str, steps: int) -> None:
        """Show a bar."""
        self.finished(phase)
        self._phases[phase] = self._progress.add_task(phase, total=steps)

    def stepped(self, phase: str, step: int) -> bool:
        """Move a bar; False where somebody asked to stop."""
        if phase in self._phases:
            self._progress.update(self._phases[phase], completed=step + 1)
        return not self._interruption.is_requested

    def finished(self, phase: str) -> None:
        """Take a bar away."""
        if phase in self._phases:
            self._progress.remove_task(self._phases.pop(phase))


def _show(console: Console, made: Any) -> None:
    rounding = made.graph.rounding
    engines = [f"{engine.path} ({engine.path.stat().st_size / 2**20:.0f} MiB)" for engine in made.engines]
    maps = [] if rounding.cam_difference is None else [f"{rounding.cam_difference:.1e} of a map's largest value"]
    lines = (
        f"model       {made.model.folder}",
        f"id          {made.model.model_id}",
        f"fp16 graph  {made.graph.path}",
        f"largest     {rounding.largest:,.1f} of 65,504 at {rounding.tensor}",
        f"difference  {rounding.difference:.1e} to fp32, on {rounding.examinations} golden examinations",
        *(f"maps        {line}" for line in maps),
        *(f"engine      {line}" for line in engines or [_INSTALL]),
        "Research use only. Not a medical device.",
    )
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
