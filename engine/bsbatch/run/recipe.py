"""The recipe of a worker: everything that it needs to execute units, in this process or on another machine."""

from dataclasses import dataclass
from pathlib import Path

import bsbatch
from bsbatch.backends.keras_cams import KerasCams
from bsbatch.backends.registry import load_backend
from bsbatch.config import CamEngine, CamMode, Effort, OverlayFormat, OverlayStyle
from bsbatch.errors import ModelError
from bsbatch.imaging.gradcam import Explainer
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DEMO, Model
from bsbatch.protocols import Backend
from bsbatch.store.tables import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """A model by its folder and its hashes."""

    folder: Path
    """Absolute path, or ``demo``."""
    files: tuple[tuple[str, str], ...]
    """File names, and their SHA-256."""

    @classmethod
    def of(cls, model: Model) -> "ModelRecipe":
        """Describe a model; the one that comes with bsbatch is found on any machine."""
        folder = Path(DEMO) if model.is_bundled else model.folder.absolute()
        return cls(folder, tuple(sorted(model.manifest.files.items())))

    def load(self) -> Model:
        """Load the model.

        Raises
        ------
        ModelError
            It cannot be loaded, or is another one.
        """
        model = Model.load(self.folder, VERSION)
        if ModelRecipe.of(model).files != self.files:
            raise ModelError(f"the model {self.folder} is another one than the run's: copy the run's model there")
        return model


@dataclass(frozen=True, slots=True)
class MapRecipe:
    """The heat maps of a run."""

    mode: CamMode
    engine: CamEngine
    overlays: OverlayFormat
    """Format of the drawings; `OverlayFormat.NONE` without."""
    style: OverlayStyle


@dataclass(frozen=True, slots=True)
class WorkerRecipe:
    """Describes a worker. Pickled it has about a kilobyte."""

    archive: Path | str
    """Absolute path, or URL."""
    out: Path
    """Absolute path of the output folder; a worker writes overlays into it, and nothing else."""
    model: ModelRecipe | None
    backend: str
    """Name of the backend, never ``auto``: that is resolved once."""
    precision: str
    effort: Effort
    maps: MapRecipe
    threshold: float
    is_calibrated: bool

    @property
    def explainer(self) -> Explainer:
        """Makes the heat maps that the run was asked for."""
        return Explainer(self.maps.mode, self.threshold, self.maps.overlays is not OverlayFormat.NONE)

    def backend_of(self, model: Model | None) -> Backend:
        """Construct the backend, with heat maps if the run needs them; it is not entered."""
        construct = load_backend(self.backend)
        if self.maps.engine is CamEngine.KERAS:
            return KerasCams(construct(model, self.effort), model, self.effort, self.explainer.wants)
        return construct(model, self.effort, with_cams=self.maps.mode is not CamMode.NONE)


def versions() -> dict[str, str]:
    """Versions that must be the same on all machines of a run, by their names."""
    return {"bsbatch": bsbatch.__version__, "preprocessing": str(VERSION), "schema": str(SCHEMA_VERSION)}
