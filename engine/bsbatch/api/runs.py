"""Screen an archive from Python, and read what a run has written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bsbatch.api.choices import choice_of
from bsbatch.cohort.examined import read_examined
from bsbatch.cohort.joining import join
from bsbatch.cohort.labelled import beside
from bsbatch.cohort.selecting import Pick, Selecting, select
from bsbatch.cohort.settings import MOST_LISTED, Join, LabelTable, Rank, Worklist
from bsbatch.cohort.worklist import write_worklist
from bsbatch.config import BackendName, CamMode, Effort, RunConfig, Selection, StudyChoice
from bsbatch.errors import UsageError
from bsbatch.evaluation.settings import require_packages
from bsbatch.models.directory import Model
from bsbatch.requirements import require
from bsbatch.run.report import Reporter, SilentReporter
from bsbatch.run.screen import screen as screen_archive
from bsbatch.store.flow import Flow
from bsbatch.store.folder import RUN_FILE, read_run_file
from bsbatch.store.parts import read_table
from bsbatch.store.reconcile import add_up
from bsbatch.store.tables import OBJECTS, RESULTS, to_table

if TYPE_CHECKING:
    from bsbatch.evaluation.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Run:
    """A run: what lies in its output folder. Everything is read when it is asked for."""

    out: Path

    @property
    def results(self) -> pa.Table:
        """One row for each examination, scored or failed; the columns are those of docs/tables.md."""
        return self._read(RESULTS)

    @property
    def objects(self) -> pa.Table:
        """One row for each file: used, failed or skipped, and why."""
        return self._read(OBJECTS)

    @property
    def flow(self) -> Flow:
        """Counts of files and examinations by status and reason."""
        return add_up(self.out)

    @property
    def info(self) -> dict[str, Any]:
        """``run.json``: configuration, model, versions, counts, seconds and rates by stage."""
        return read_run_file(self.out)

    def to_pandas(self) -> Any:
        """Return `results` as a ``pandas.DataFrame``.

        Raises
        ------
        MissingPackageError
            pandas is not installed.
        """
        require("pandas", extra="pandas")
        return self.results.to_pandas()

    def join(
        self,
        labels: Path | str,
        *,
        by: str = "accession",
        label: str = "label",
        positive: Sequence[str] = ("1",),
        negative: Sequence[str] = ("0",),
        sheet: str | None = None,
    ) -> pa.Table:
        """Return `results` beside the columns of a table of labels, for the examinations that have a label.

        The column ``is_positive`` is the label. Columns whose name `results` has, too, get ``_of_table`` behind it.

        Parameters
        ----------
        labels
            ``.csv``, ``.xlsx`` or ``.parquet``.
        by
            ``"study"``, ``"accession"`` or ``"patient+date"``, as for ``bsbatch evaluate --join``.
        label, positive, negative
            Column with the label, and its values.
        sheet
            Sheet of a workbook.

        Raises
        ------
        UsageError
            The table cannot be read, or lacks a column.
        """
        settings = LabelTable(Path(labels), Join.parse(by), label, tuple(positive), tuple(negative), sheet)
        return beside(self.results, join(settings, read_examined(self.out)))

    def worklist(self, to: Path | str, *, limit: int = MOST_LISTED, rank: Rank | str = Rank.SCORE) -> int:
        """Write a worklist as ``bsbatch worklist`` does; return the number of its examinations.

        Parameters
        ----------
        to
            File to write: ``.xlsx``, ``.html`` or ``.csv``.
        limit
            Largest number of examinations.
        rank
            ``"score"`` or ``"uncertainty"``. The command ranks by disagreement with labels, too.

        Raises
        ------
        UsageError
            There is nothing to list, or it cannot be written there.
        """
        return write_worklist(self.out, Path(to), Worklist(choice_of(Rank, rank, "rank"), limit))

    def select(
        self,
        where: str | None = None,
        *,
        one_per_study: bool = False,
        per_patient: Pick | str | None = None,
        sample: int | None = None,
        seed: int = 0,
        stratify: str | None = None,
    ) -> pa.Table:
        """Return a cohort as ``bsbatch select`` writes it: rows of `results`, and why each was chosen among several.

        Parameters
        ----------
        where
            Expression in DuckDB's SQL over the columns of `results`.
        one_per_study
            Keep the best of the repeats of a study.
        per_patient
            ``"latest"`` or ``"first"`` keeps one examination of each patient.
        sample, seed, stratify
            Number of examinations to draw, the seed, and the column whose values keep their shares.

        Raises
        ------
        UsageError
            The settings cannot be used.
        """
        pick = None if per_patient is None else choice_of(Pick, per_patient, "per_patient")
        return select(self.results, Selecting(where, one_per_study, pick, sample, seed, stratify)).table

    def compare(self, other: "Run | Path | str", labels: Path | str | None = None) -> "Agreement":
        """Compare this run with another one over the same examinations, as ``bsbatch compare`` does.

        Parameters
        ----------
        other
            The other run, or its output folder.
        labels
            CSV with ``study_uid`` and ``label``; None compares without.

        Raises
        ------
        MissingPackageError
            A package of the extra ``evaluate`` is not installed.
        UsageError
            Results or labels cannot be used, or the runs share too few scored examinations.
        """
        require_packages()
        from bsbatch.evaluation.agreement import compare_runs  # noqa: PLC0415 - scipy is of an extra

        folder = other.out if isinstance(other, Run) else Path(other)
        return compare_runs(self.out, folder, None if labels is None else Path(labels))

    def _read(self, table: str) -> pa.Table:
        found = read_table(self.out / table)
        return to_table(table, [], "") if found is None else found


def screen(
    archive: Path | str,
    *,
    model: Model | Path | str,
    out: Path | str,
    backend: BackendName | str = BackendName.AUTO,
    threshold: float | None = None,
    cam: CamMode | str = CamMode.NONE,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    studies: StudyChoice = StudyChoice(),  # noqa: B008 - frozen
    identify: bool = False,
    effort: Effort = Effort(),  # noqa: B008 - frozen
    limit: int | None = None,
    keyfile: Path | str | None = None,
    fresh: bool = False,
    reporter: Reporter = SilentReporter(),  # noqa: B008 - without a state
) -> Run:
    """Screen an archive as ``bsbatch run`` does. Research use only, not for clinical use.

    A run that was stopped goes on with the same call. In the main thread, the first Ctrl-C ends it between two units of
    work. It changes settings of this process: malloc keeps freed memory, and Python's warnings are off meanwhile.

    Parameters
    ----------
    archive
        Folder with DICOM files, subfolders, too; or a bucket: ``s3://``, ``gs://`` or ``az://``.
    model
        Model directory, or ``"demo"``.
    out
        Folder for the two tables.
    backend
        Inference engine; by default the fastest that works on this machine.
    threshold
        Smallest ``p_metastasis`` that is predicted positive, in [0, 1]; None for the model's.
    cam
        Examinations that get a heat map (Grad-CAM): ``"none"``, ``"positive"`` or ``"all"``.
    selection
        Rules for usable examinations.
    studies
        Studies that are scored; the others have the reason ``not_selected``.
    identify
        Write Patient ID, Accession Number and more into the results.
    effort
        Use of the machine; changes no result.
    limit
        Largest number of examinations to process.
    keyfile
        Key of pseudonyms for UIDs and paths, at least 16 bytes; None keeps them.
    fresh
        Delete the tables in ``out`` first.
    reporter
        Is given the progress and what the user should read.

    Raises
    ------
    UsageError
        The run cannot start with these settings.
    RunError
        The run stopped. Committed rows stay, and the same call continues it.
    """
    config = RunConfig(
        archive,
        out=Path(out),
        model=model.folder if isinstance(model, Model) else Path(model),
        backend=choice_of(BackendName, backend, "backend"),
        threshold=threshold,
        selection=selection,
        studies=studies,
        is_identified=identify,
        effort=effort,
        cam=choice_of(CamMode, cam, "cam"),
        limit=limit,
        keyfile=None if keyfile is None else Path(keyfile),
        fresh=fresh,
    )
    screen_archive(config, reporter)
    return Run(Path(out))


def open_results(out: Path | str) -> Run:
    """Open the output folder of a run, finished or not.

    Raises
    ------
    UsageError
        The folder holds no run.
    """
    folder = Path(out)
    if not (folder / RUN_FILE).is_file():
        raise UsageError(f"{folder} holds no run: name the folder that was given to --out")
    return Run(folder)
