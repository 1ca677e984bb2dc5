from .api.runs import Run as Run
from .api.runs import open_results as open_results
from .api.runs import screen as screen
from .api.scoring import Score as Score
from .api.scoring import open_model as open_model
from .api.scoring import score as score
from .config import BackendName as BackendName
from .config import CamMode as CamMode
from .config import Effort as Effort
from .config import Selection as Selection
from .config import StudyChoice as StudyChoice
from .config import TracerRule as TracerRule
from .errors import BsbatchError as BsbatchError
from .errors import ItemError as ItemError
from .errors import ModelError as ModelError
from .errors import RunError as RunError
from .errors import UsageError as UsageError
from .models.directory import Model as Model
from .run.report import Reporter as Reporter
from .run.report import SilentReporter as SilentReporter

__all__: list[str]
__version__: str
