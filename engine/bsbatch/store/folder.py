"""The output folder: its lock, its checks, ``run.json`` and the names of image files."""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from types import UnionType
from typing import Any

from bsbatch.config import is_url
from bsbatch.errors import ConfigMismatchError, OutputError, UsageError
from bsbatch.host.files import read_plain, refuse_file, replace_file
from bsbatch.store.catalog import check_configuration
from bsbatch.store.parts import foreign_files_in, parts_in
from bsbatch.store.tables import OBJECTS, RESULTS

RUN_FILE = "run.json"
PATIENT_KEY = "patient.key"
"""File with the key of the column ``patient_key``. The key is needed to test a guess at a Patient ID."""
_KEY_BYTES, _LONGEST_KEY = 32, 1 << 16
_LARGEST_RUN_FILE = 1 << 24
_TOKEN = ".workers"
"""File that shows to workers on other machines that they see the folder."""
MERGED = "merged"
"""Field of ``run.json`` with the runs that a folder was merged from."""
PAGE = "report.html"
"""File of ``bsbatch report``."""
OVERLAYS, SCANS = "overlays", "scans"
_SHAPES: dict[str, type | UnionType] = {
    **dict.fromkeys(("archive", "status", "config_hash"), str),
    **dict.fromkeys(("config", "counts", "stages", "cluster", "versions", "machine"), dict),
    "model": dict | None,
}
"""Types of the fields of ``run.json`` that others than people read."""
_SCAN = re.compile(r"[0-9a-f]{32}\.jpg")
_OVERLAY = re.compile(r"[0-9a-f]{32}\.(png|webp)")
_SHEET = re.compile(r"sheet-\d{4,}\.(png|webp)")


def open_output(out: Path, archive: Path | None) -> Path:
    """Create the folder and check that it can be written to.

    Parameters
    ----------
    out
        The output folder.
    archive
        Path of the archive; None if it is elsewhere.

    Raises
    ------
    UsageError
        The folder is a file, cannot be written to, lies in the archive, or holds the archive among its results.
    """
    if archive is not None:
        _check_apart(out, archive)
    refuse_file(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}. Choose another --out or grant access") from error
    return out


def _check_apart(out: Path, archive: Path) -> None:
    for name in (RESULTS, OBJECTS, OVERLAYS, SCANS):
        if archive.resolve().is_relative_to((out / name).resolve()):
            raise UsageError(
                f"the archive {archive} lies in {out / name}, where the run writes: name the archive itself"
            )
    if out.resolve().is_relative_to(archive.resolve()):
        raise UsageError(f"{out} lies in the archive: choose an --out outside, or the results would be read as input")


def open_patient_key(out: Path) -> bytes:
    """Return the key of the column ``patient_key``, which stays in the folder; it is made if the folder has no rows.

    Raises
    ------
    UsageError
        The key is missing beside rows made with it, or cannot be read.
    """
    path = out / PATIENT_KEY
    try:
        if not path.exists():
            if parts_in(out / RESULTS):
                raise UsageError(f"{path} is missing: put it back, or choose another --out")
            write_patient_key(out, secrets.token_hex(_KEY_BYTES).encode())
        return read_plain(path, _LONGEST_KEY)
    except OSError as error:
        raise UsageError(f"cannot use {path}: {error.strerror}. Grant access to it") from error


def write_patient_key(out: Path, key: bytes) -> None:
    """Write the key of the column ``patient_key``, for this user alone.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    with replace_file(out / PATIENT_KEY) as aside:
        aside.touch(0o600)
        aside.write_bytes(key)


@contextmanager
def lock_output(out: Path) -> Iterator[None]:
    """Lock an output folder for one run; the lock ends with its process.

    Raises
    ------
    UsageError
        Another run holds the lock.
    """
    try:
        # not blocked by a pipe of that name
        descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write to {out / '.lock'}: {error.strerror}. Grant access or remove it") from error
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is writing to {out}: wait for it, or choose another --out") from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def shared_token(out: Path) -> Iterator[str]:
    """Lay a random token into the folder, as long as the block lasts.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    token, path = secrets.token_hex(), out / _TOKEN
    try:
        with replace_file(path) as aside:
            aside.write_text(token, encoding="ascii")
    except OSError as error:
        raise OutputError.of(out, error) from error
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def holds_token(out: Path, token: str | None) -> bool:
    """Return True if the folder holds the token of `shared_token`."""
    try:
        return read_plain(out / _TOKEN, _LONGEST_KEY).decode("ascii") == token
    except (OSError, ValueError):
        return False


def clear_output(out: Path) -> None:
    """Delete the tables, the overlays and ``run.json``, nothing else.

    Raises
    ------
    UsageError
        A file cannot be deleted.
    """
    try:
        for table in (OBJECTS, RESULTS):
            for part in parts_in(out / table):
                part.unlink()
        for image in (*overlay_files(out), *scan_files(out)):
            image.unlink()
        (out / RUN_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot delete the tables in {out}: {error.strerror}. Choose another --out") from error


def check_output(out: Path, archives: Sequence[str], config_hash: str, differences: Callable[[], str]) -> None:
    """Raise an error if the folder holds results of another archive or configuration.

    Parameters
    ----------
    out
        The output folder.
    archives
        Names that ``run.json`` may give the archive: its absolute path, or a keyed hash of it; none if it was moved.
    config_hash
        Hash of the configuration.
    differences
        Returns those between the configuration and that of ``run.json``, in words; called if they matter.

    Raises
    ------
    ConfigMismatchError
        Results of two archives or configurations would be mixed.
    UsageError
        The folder holds merged runs, or a folder of parts holds a Parquet file that is no part.
    """
    run_file = read_run_file(out)
    if MERGED in run_file:
        raise UsageError(f"{out} holds merged runs: go on in their own folders, and merge them again into another one")
    for table in (OBJECTS, RESULTS):
        for path in foreign_files_in(out / table):
            raise UsageError(
                f"{path} was not written by bsbatch, but would be read as a part of the table: move it away"
            )
    check_configuration(out, config_hash, differences)
    earlier = run_file.get("archive")
    if archives and earlier is not None and earlier not in archives:
        named = f"the archive {earlier}" if is_url(earlier) or Path(str(earlier)).is_absolute() else "another archive"
        raise ConfigMismatchError(
            f"{out} holds the results of {named}: choose another --out, or add --archive-moved if this is the same "
            "archive under another path"
        )


def write_run_file(out: Path, content: Mapping[str, object]) -> None:
    """Write ``run.json`` whole. It only reports: resuming depends on the tables alone.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    try:
        with replace_file(out / RUN_FILE) as aside:
            aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError.of(out, error) from error


def read_run_file(out: Path) -> dict[str, Any]:
    """Return the content of ``run.json``, or an empty dictionary if it cannot be read or is none of ours."""
    try:
        content = json.loads(read_plain(out / RUN_FILE, _LARGEST_RUN_FILE))
    except (OSError, ValueError, RecursionError):  # missing or damaged: the tables decide
        return {}
    return content if isinstance(content, dict) and _is_of_a_run(content) else {}


def _is_of_a_run(content: Mapping[str, Any]) -> bool:
    if not all(isinstance(content[name], kind) for name, kind in _SHAPES.items() if name in content):
        return False
    training = (content.get("model") or {}).get("training")
    counts = [content.get("counts", {}).get(name, 0) for name in ("seen", "pending", "gone")]
    return isinstance(training, dict | None) and all(isinstance(count, int) for count in counts)


def has_old_page(out: Path) -> bool:
    """Return True if the page of ``bsbatch report`` is older than the tables."""
    try:
        page = (out / PAGE).stat().st_mtime_ns
        return any(page < (out / table).stat().st_mtime_ns for table in (RESULTS, OBJECTS))
    except OSError:  # there is no page
        return False


def overlay_files(out: Path) -> list[Path]:
    """Paths of the overlays and contact sheets in ``OUT/overlays``, without other files."""
    names = (_OVERLAY, _SHEET)
    return sorted(path for path in (out / OVERLAYS).glob("*") if any(name.fullmatch(path.name) for name in names))


def overlays_of(out: Path) -> dict[str, Path]:
    """Paths of the overlays by examination, without the contact sheets."""
    return {path.stem: path for path in overlay_files(out) if _OVERLAY.fullmatch(path.name)}


def scan_files(out: Path) -> list[Path]:
    """Paths of the scan images in ``OUT/scans``, without other files."""
    return sorted(path for path in (out / SCANS).glob("*") if _SCAN.fullmatch(path.name))
