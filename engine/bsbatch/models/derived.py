"""Files derived from a model's graph: made once, stored beside the model or in the cache.

The cache is used if the model's folder is read-only, and for the model that comes with bsbatch. The manifest lists the
file with its SHA-256 under ``derived``. It is no part of the model, so the model and the runs made with it stay the
same. A file that is missing, damaged, or of another graph or maker is made again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bsbatch.errors import ModelError
from bsbatch.host.files import cache_folder, lock_folder, replace_file, replace_text
from bsbatch.models.directory import GRAPH, MANIFEST, Derived, Manifest, Model, manifest_text, read_manifest, sha256_of


@dataclass(frozen=True, slots=True)
class Derivation:
    """A file to make from a graph, and the function that makes it."""

    name: str
    """File name."""
    maker: str
    """Package and version that make the file; another maker makes it again."""
    make: Callable[[Path, Path], None]
    """Takes the path of the graph and the path to write to; raises `ModelError`."""


@dataclass(frozen=True, slots=True)
class DerivedFile:
    """A file that a manifest lists, not checked yet."""

    path: Path
    entry: Derived


def find_derived_files(model: Model, name: str) -> list[DerivedFile]:
    """Return the listed files of a name, by any maker and of any graph; the model's folder before the cache."""
    folders = [model.folder, *_all_cache_folders(model)]
    manifests = [(folder, _manifest_in(folder)) for folder in folders]
    return [
        DerivedFile(folder / name, manifest.derived[name])
        for folder, manifest in manifests
        if manifest is not None and name in manifest.derived
    ]


def find_intact_file(model: Model, name: str) -> Path | None:
    """Return the path of a file that was made from this graph and is unchanged; None if there is none."""
    for file in find_derived_files(model, name):
        if file.entry.source == model.manifest.files[GRAPH] and _has_sha256(file.path, file.entry.sha256):
            return file.path
    return None


def derive_file(model: Model, derivation: Derivation) -> Path:
    """Return the path of a derived file. Make the file unless it exists and is intact.

    Raises
    ------
    ModelError
        The file cannot be made from this graph, or no folder can be written to.
    """
    beside = [] if model.is_bundled else [model.folder]
    folders = [*beside, *_cache_folders(model, derivation)]
    for folder in folders:
        if _is_intact(folder, model, derivation):
            return folder / derivation.name
    refusals = []
    for folder in folders:
        try:
            return _make(folder, model, derivation)
        except OSError as error:
            refusals.append(f"{folder} ({error.strerror or error})")
    raise ModelError(
        f"{derivation.name}, which {derivation.maker} makes from the model, cannot be stored: cannot write to "
        f"{' nor to '.join(refusals)}. Grant access, or set XDG_CACHE_HOME to a folder with free space"
    )


def _cache_folders(model: Model, derivation: Derivation) -> list[Path]:
    try:
        return [cache_folder() / "models" / f"{model.manifest.files[GRAPH]}-{derivation.maker.replace(' ', '-')}"]
    except OSError:  # no home folder: only the model's folder remains
        return []


def _all_cache_folders(model: Model) -> list[Path]:
    try:
        return sorted((cache_folder() / "models").glob(f"{model.manifest.files[GRAPH]}-*"))
    except OSError:  # no home folder
        return []


def _make(folder: Path, model: Model, derivation: Derivation) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / derivation.name
    with lock_folder(folder):
        if _is_intact(folder, model, derivation):  # another run made it meanwhile
            return path
        with replace_file(path) as aside:
            aside.write_bytes(b"")  # a folder that cannot be written to fails before the work
            derivation.make(model.graph, aside)
            entry = Derived(sha256_of(aside), model.manifest.files[GRAPH], derivation.maker)
        manifest = _manifest_in(folder) or model.manifest
        extended = replace(manifest, derived={**manifest.derived, derivation.name: entry})
        replace_text(folder / MANIFEST, manifest_text(extended))
    return path


def _is_intact(folder: Path, model: Model, derivation: Derivation) -> bool:
    manifest = _manifest_in(folder)
    entry = manifest.derived.get(derivation.name) if manifest is not None else None
    if entry is None or (entry.source, entry.maker) != (model.manifest.files[GRAPH], derivation.maker):
        return False
    return _has_sha256(folder / derivation.name, entry.sha256)


def _has_sha256(path: Path, expected: str) -> bool:
    try:
        return sha256_of(path) == expected
    except OSError:  # missing or not readable: it is made again
        return False


def _manifest_in(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except ModelError:  # a cache folder without a manifest yet
        return None
