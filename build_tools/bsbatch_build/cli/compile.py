"""``bsbatch-build compile``: make the float16 graph and the engines of a model for GPUs."""

from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from bsbatch.cli.terminal import Terminal
from bsbatch.cuda.engines import DEFAULT_LEVEL
from bsbatch.cuda.library import Flavour
from bsbatch.errors import UsageError
from bsbatch.host.interruption import Interruption, handle_interrupts
from bsbatch.notice import SENTENCE


def compile_(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    flavour: Annotated[
        Flavour | None,
        typer.Option(
            help="tensorrt, for the GPU of this machine, or rtx, ahead of time.", show_default="the installed one"
        ),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="With rtx: sm_89,sm_120 ...", show_default="all that it supports")
    ] = None,
    batch: Annotated[str, typer.Option(help="Largest batch of each profile, ascending, at most 127.")] = "1,16,32,64",
    level: Annotated[
        int, typer.Option(help="Optimisation level, 0 to 5: higher ones search longer for faster kernels.")
    ] = DEFAULT_LEVEL,
) -> None:
    """Rewrite a model for float16, compare it with float32, and compile engines of TensorRT or TensorRT-RTX.

    Existing files of the same model, library and GPU are reused. Without either library only the float16 graph is made.
    Where the GPU of an engine is, the engine is compared with float32 in each profile, before it is stored.
    Exit codes: 0 done, 2 float16 cannot hold the model, the library cannot compile it or its engine differs, 4 the GPU
    failed.
    """
    from bsbatch_build.export.compile_tensorrt import CompileSettings, compile_model
    from bsbatch_build.export.precision import STEPS

    architectures = tuple(arch.split(",")) if arch is not None else ()
    settings = CompileSettings(model, flavour, architectures, _parse_numbers(batch), level)
    console = Terminal(stderr=True)
    with (
        handle_interrupts(lambda: console.print("stopping")) as interruption,
        _Bars(console, interruption, STEPS) as bars,
    ):
        compiled = compile_model(settings, bars)
    lines = [*compiled.summary(), SENTENCE]
    Terminal().print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)


def _parse_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--batch {text} is no list of numbers such as 1,32,64") from error


class _Bars:
    """A progress bar for the examinations, then one for each running phase of the library."""

    def __init__(self, console: Terminal, interruption: Interruption, examinations: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._interruption = interruption
        self._examinations = examinations
        self._examination_bar: TaskID | None = None
        self._phases: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_examination(self, activity: str) -> None:
        """Advance the bar of the examinations."""
        if self._examination_bar is None:
            self._examination_bar = self._progress.add_task(activity, total=self._examinations)
        self._progress.update(self._examination_bar, advance=1, description=activity)
        if self._interruption.is_requested:
            raise KeyboardInterrupt

    def on_phase_start(self, phase: str, steps: int) -> None:
        """Show a bar."""
        self.on_phase_end(phase)
        self._phases[phase] = self._progress.add_task(phase, total=steps)

    def on_step(self, phase: str, step: int) -> bool:
        """Advance a bar; False if the user interrupted."""
        if phase in self._phases:
            self._progress.update(self._phases[phase], completed=step + 1)
        return not self._interruption.is_requested

    def on_phase_end(self, phase: str) -> None:
        """Remove a bar."""
        if phase in self._phases:
            self._progress.remove_task(self._phases.pop(phase))
