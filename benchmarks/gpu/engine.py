"""A step of `make gpu`: compiles the engine of the model, and compares it with float32, where TensorRT is."""

from collections.abc import Iterator

from benchmarks.gpu.machine import require_gpu
from benchmarks.gpu.step import NotHereError, Setup, run_step
from benchmarks.results import Line

from bsbatch.cuda.library import available_flavour
from bsbatch_build.export.compile_tensorrt import CompileSettings, compile_model


class _Silent:
    """A listener that shows nothing."""

    def on_examination(self, activity: str) -> None:
        """Do nothing."""

    def on_phase_start(self, phase: str, steps: int) -> None:
        """Do nothing."""

    def on_step(self, phase: str, step: int) -> bool:
        """Go on."""
        return phase is not None and step is not None

    def on_phase_end(self, phase: str) -> None:
        """Do nothing."""


def measure(setup: Setup) -> Iterator[Line]:
    """Yield each engine that the GPU runs, with its largest difference from float32."""
    require_gpu()
    if available_flavour() is None:
        raise NotHereError("TensorRT is not installed; the network in torch stands in for its engine")
    compiled = compile_model(CompileSettings(setup.model_folder), _Silent())
    for engine in compiled.engines:
        difference = compiled.differences.get(engine.key.name)
        yield {
            "engine": engine.key.name,
            "largest difference": "unknown" if difference is None else f"{difference:.1e}",
        }


if __name__ == "__main__":
    run_step(measure)
