"""Writes a model card: ``card.json`` and ``card.md``."""

from dataclasses import dataclass
from pathlib import Path

from bsbatch.errors import UsageError
from bsbatch.host.files import refuse_file
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model
from bsbatch_build.card.content import Content, content_of
from bsbatch_build.card.markdown import markdown_of
from bsbatch_build.card.metrics import read_metrics
from bsbatch_build.files import write_json, write_text

JSON, MARKDOWN = "card.json", "card.md"


@dataclass(frozen=True, slots=True)
class CardSettings:
    """Model, evaluation and folder of a card."""

    folder: Path
    """Model directory."""
    evaluation: Path | None = None
    """``metrics.json`` of a run of this model, or its folder."""
    out: Path | None = None
    """Folder for the card; None for the model directory, whose manifest does not list it."""


@dataclass(frozen=True, slots=True)
class MadeCard:
    """A written card."""

    out: Path
    content: Content

    def summary(self) -> list[str]:
        """Lines for the terminal: files, answered items of each checklist, notices."""
        lines = [f"card        {self.out / MARKDOWN}", f"            {self.out / JSON}"]
        for checklist in self.content["checklists"]:
            counts = ", ".join(f"{count} {status}" for status, count in checklist["counts"].items())
            lines.append(f"{checklist['title']:<14}{counts}")
        if self.content["evaluation"] is None:
            lines.append("No metrics: give the report of bsbatch evaluate as --evaluation.")
        return [*lines, *self.content["notices"]]


def make_card(settings: CardSettings) -> MadeCard:
    """Write a model card, replacing an earlier one.

    Raises
    ------
    ModelError
        The model directory cannot be used.
    UsageError
        The evaluation cannot be read or belongs to another model, or the folder cannot be made.
    OutputError
        The files cannot be written.
    """
    model = Model.load(settings.folder, preprocess.VERSION)
    metrics = read_metrics(settings.evaluation, model.model_id) if settings.evaluation is not None else None
    content = content_of(model, metrics)
    out = settings.out if settings.out is not None else model.folder
    refuse_file(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be made ({error.strerror}): name a folder where you may write") from error
    write_json(out / JSON, content)
    write_text(out / MARKDOWN, markdown_of(content))
    return MadeCard(out, content)
