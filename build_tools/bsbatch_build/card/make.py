"""Makes a model card: ``card.json`` and ``card.md``."""

from dataclasses import dataclass
from pathlib import Path

from bsbatch.errors import UsageError
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model
from bsbatch_build.card.content import Content, content_of
from bsbatch_build.card.markdown import markdown_of
from bsbatch_build.card.metrics import read_evaluation
from bsbatch_build.files import write_json, write_text

JSON, MARKDOWN = "card.json", "card.md"


@dataclass(frozen=True, slots=True)
class CardSettings:
    """The card to make."""

    folder: Path
    """Model directory."""
    evaluation: Path | None = None
    """``metrics.json`` of a run of this model, or the folder it lies in."""
    out: Path | None = None
    """Folder for the card; the model directory where None, whose manifest does not list it."""


@dataclass(frozen=True, slots=True)
class MadeCard:
    """A card that was written."""

    out: Path
    content: Content


def make_card(settings: CardSettings) -> MadeCard:
    """Write a model card; one that is there is replaced.

    Raises
    ------
    ModelError
        The model directory cannot be used.
    UsageError
        The evaluation cannot be read or belongs to another model, or the folder cannot be made.
    OutputError
        The folder cannot be written to.
    """
    model = Model.load(settings.folder, preprocess.VERSION)
    evaluation = read_evaluation(settings.evaluation, model.model_id) if settings.evaluation is not None else None
    content = content_of(model, evaluation)
    out = settings.out if settings.out is not None else model.folder
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be made ({error.strerror}): name a folder where you may write") from error
    write_json(out / JSON, content)
    write_text(out / MARKDOWN, markdown_of(content))
    return MadeCard(out, content)
