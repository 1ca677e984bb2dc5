"""``bsbatch merge``: finished runs over disjoint parts of an archive become one folder, read as that of a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsbatch.errors import ConfigMismatchError, OutputError, UsageError
from bsbatch.host.files import move_folder, refuse_file
from bsbatch.notice import NOTICE
from bsbatch.run.report import Ending
from bsbatch.run.run_file import differing_settings
from bsbatch.store.flow import Flow
from bsbatch.store.folder import (
    MERGED,
    OVERLAYS,
    RUN_FILE,
    clear_output,
    lock_output,
    open_output,
    open_patient_key,
    read_run_file,
    write_patient_key,
    write_run_file,
)
from bsbatch.store.merging import Member, TableCopier, find_common, find_split_studies
from bsbatch.store.reconcile import reconcile
from bsbatch.store.tables import SCHEMA_VERSION

_FEWEST = 2
_FACTS = ("archive", "counts", "seconds", "stages", "versions", "machine", "cluster", MERGED)
"""Facts of each run that the merged ``run.json`` has."""
_NEEDED = {"archive", "config", "config_hash", "counts"}
_COMMON = ("config_hash", "model", "schema_version")


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of a merge."""

    flow: Flow
    split: int
    """Studies with objects in several of the runs; their rows failed."""
    has_overlays: bool
    """True if one of the runs has overlays, which stay in its folder."""


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Merge finished runs over disjoint parts of an archive.

    The merged folder is written aside and renamed. A killed merge leaves ``.OUT.partial``; the same call begins anew.

    Parameters
    ----------
    folders
        Output folders of at least two runs.
    out
        The merged folder; it is empty or does not exist.

    Raises
    ------
    UsageError
        The runs cannot be merged, or not into this folder.
    OutputError
        A table cannot be read or does not add up, or the folder cannot be written to.
    """
    out = out.absolute()
    _check_folders(folders, out)
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(lock_output(folder))
        runs = [_read_finished(folder) for folder in folders]
        for folder, run in zip(folders[1:], runs[1:], strict=True):
            _check_alike(folder, run, folders[0], runs[0])
        key = _common_key(folders, runs[0])
        for folder, run in zip(folders, runs, strict=True):
            _check_counts(folder, run)
        archive, prefixes = find_common([run["archive"] for run in runs])
        members = tuple(map(Member, folders, prefixes))
        split = find_split_studies(members)
        aside = open_output(out.with_name(f".{out.name}.partial"), None)
        locks.enter_context(lock_output(aside))
        clear_output(aside)
        copier = TableCopier(aside, runs[0]["config_hash"], split)
        copier.copy(members)
        flow = _reconcile(aside, runs, copier.repeated)
        _finish(aside, out, _content(runs, archive, flow), key)
    return Merged(flow, len(split), any((folder / OVERLAYS).is_dir() for folder in folders))


def _check_folders(folders: Sequence[Path], out: Path) -> None:
    if len(folders) < _FEWEST:
        raise UsageError(f"name at least {_FEWEST} folders to merge")
    found = Counter(folder.resolve() for folder in folders)
    for folder in folders:
        if not (folder / RUN_FILE).is_file():
            raise UsageError(f"{folder} holds no run: name the folder that was given to --out")
        if found[folder.resolve()] > 1:
            raise UsageError(f"{folder} is given twice: name each folder once")
        if out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{out} lies in {folder}, which is merged: choose another --out")
    refuse_file(out)
    try:
        is_free = not out.exists() or not any(out.iterdir())
    except OSError as error:
        raise UsageError(f"cannot read {out}: {error.strerror}. Choose another --out") from error
    if not is_free:
        raise UsageError(f"{out} is not empty: name a new folder for --out, or empty it first")


def _read_finished(folder: Path) -> dict[str, Any]:
    run = read_run_file(folder)
    if run.get("status") != Ending.COMPLETE:
        raise UsageError(
            f"the run in {folder} is not finished ({run.get('status', 'its run.json cannot be read')}): give its "
            "command again, without --limit, until it says complete"
        )
    if run.get("schema_version") != SCHEMA_VERSION or not run.keys() >= _NEEDED or "seen" not in run["counts"]:
        raise UsageError(f"the tables in {folder} are those of another version of bsbatch: screen again with --fresh")
    return run


def _check_alike(folder: Path, run: Mapping[str, Any], first_folder: Path, first: Mapping[str, Any]) -> None:
    if run["config_hash"] != first["config_hash"]:
        found = ", ".join(f"{name} {one} and {other}" for name, one, other in differing_settings(first, run))
        raise ConfigMismatchError(
            f"{first_folder} and {folder} hold results of different configurations "
            f"({found or 'model, key of --pseudonymise or a list of studies differ'}): screen one of them again with "
            "the settings of the other"
        )


def _common_key(folders: Sequence[Path], run: Mapping[str, Any]) -> bytes | None:
    """Return the key of the column ``patient_key``; None if that of ``--pseudonymise`` was used, of which there is one.

    Raises
    ------
    UsageError
        The runs have different ones.
    """
    if run["config"].get("pseudonymised"):
        return None
    keys = [open_patient_key(folder) for folder in folders]
    for folder, key in zip(folders, keys, strict=True):
        if key != keys[0]:
            raise UsageError(
                f"{folders[0]} and {folder} have different patient.key, so a patient of both would count as two: copy "
                "that of one folder into the other, and screen there again with --fresh (docs/cluster.md)"
            )
    return keys[0]


def _check_counts(folder: Path, run: Mapping[str, Any]) -> None:
    flow = reconcile(folder, run["counts"]["seen"], is_complete=True).as_dict()
    if any(flow[name] != run["counts"].get(name) for name in ("objects", "examinations")):
        raise OutputError(
            f"the tables in {folder} have other counts than its run.json: give the command of that run again"
        )


def _reconcile(aside: Path, runs: Sequence[Mapping[str, Any]], repeated: int) -> Flow:
    """Count the merged rows, and compare them with those of the runs."""
    flow = reconcile(aside, sum(run["counts"]["seen"] for run in runs), is_complete=True)
    objects, examinations = (
        sum(sum(run["counts"][name].values()) for run in runs) for name in ("objects", "examinations")
    )
    if (flow.objects.total(), flow.examinations.total()) != (objects, examinations - repeated):
        raise OutputError(f"the merged tables in {aside} do not add up: keep them for a bug report")
    return flow


def _content(runs: Sequence[Mapping[str, Any]], archive: str, flow: Flow) -> dict[str, object]:
    """Content of the merged ``run.json``; settings that decide no row are null where the runs differ."""
    first = runs[0]
    return {
        "version": 1,
        "notice": NOTICE,
        "status": str(Ending.COMPLETE),
        "archive": archive,
        **{name: first.get(name) for name in _COMMON},
        "config": {
            name: value if all(run["config"].get(name) == value for run in runs) else None
            for name, value in first["config"].items()
        },
        "counts": flow.as_dict(),
        MERGED: [{name: run[name] for name in _FACTS if name in run} for run in runs],
    }


def _finish(aside: Path, out: Path, content: Mapping[str, object], key: bytes | None) -> None:
    try:
        if key is not None:
            write_patient_key(aside, key)
        write_run_file(aside, content)
        move_folder(aside, out)
    except OSError as error:
        raise OutputError.of(out, error) from error
