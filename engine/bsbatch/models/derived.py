"""A file that is made of a model's graph once and kept: beside it, or in the cache where its folder is read-only.

Nothing is written beside the model that comes with bsbatch. The manifest names the file with its SHA-256, under
``derived``: it is no part of the model, so the model and the runs made with it stay what they are. A file that is
missing, damaged, or of another graph or maker is made again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bsbatch.errors import ModelError
from bsbatch.host.files import cache_folder, lock_folder, replace_file, replace_text
from bsbatch.models.directory import GRAPH, MANIFEST, Derived, Manifest, Model, manifest_text, read_manifest, sha256_of


@dataclass(frozen=True, slots=True)
class Derivation:
    """How to make a file of a graph."""

    name: str
    """What the file is called."""
    maker: str
    """Package and version that make it; another one makes it anew."""
    make: Callable[[Path, Path], None]
    """Told the graph and the file to fill; raises `ModelError`."""


@dataclass(frozen=True, slots=True)
class DerivedFile:
    """A file that a manifest names; nobody has looked at it."""

    path: Path
    entry: Derived


def find_derived_files(model: Model, name: str) -> list[DerivedFile]:
    """What was kept under a name, whoever made it, of this graph or another; the model's folder before the cache."""
    folders = [model.folder, *_all_in_cache(model)]
    manifests = [(folder, _manifest_in(folder)) for folder in folders]
    return [
        DerivedFile(folder / name, manifest.derived[name])
        for folder, manifest in manifests
        if manifest is not None and name in manifest.derived
    ]


def find_intact_file(model: Model, name: str) -> Path | None:
    """A file that was made of this graph and is as it was made; None where there is none."""
    for file in find_derived_files(model, name):
        if file.entry.source == model.manifest.files[GRAPH] and _has_sha256(file.path, file.entry.sha256):
            return file.path
    return None


def derive_file(model: Model, derivation: Derivation) -> Path:
    """Where the file lies, after it was made if need be.

    Raises
    ------
    ModelError
        It cannot be made of this graph, or there is no place to keep it.
    """
    beside = [] if model.is_bundled else [model.folder]
    folders = [*beside, *_in_cache(model, derivation)]
    for folder in folders:
        if _is_kept(folder, model, derivation):
            return folder / derivation.name
    refusals = []
    for folder in folders:
        try:
            return _made(folder, model, derivation)
        except OSError as error:
            refusals.append(f"{folder} ({error.strerror or error})")
    raise ModelError(
        f"there is no place for {derivation.name}, which {derivation.maker} makes of the model: cannot write to "
        f"{' nor to '.join(refusals)}. Grant access, or set XDG_CACHE_HOME to a folder with room"
    )


def _in_cache(model: Model, derivation: Derivation) -> list[Path]:
    try:
        return [cache_folder() / "models" / f"{model.manifest.files[GRAPH]}-{derivation.maker.replace(' ', '-')}"]
    except OSError:  # no home: the model's folder is the only place
        return []


def _all_in_cache(model: Model) -> list[Path]:
    try:
        return sorted((cache_folder() / "models").glob(f"{model.manifest.files[GRAPH]}-*"))
    except OSError:  # no home
        return []


def _made(folder: Path, model: Model, derivation: Derivation) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / derivation.name
    with lock_folder(folder):
        if _is_kept(folder, model, derivation):  # another run made it meanwhile
            return path
        with replace_file(path) as aside:
            aside.write_bytes(b"")  # a folder that cannot be written to fails before the work
            derivation.make(model.graph, aside)
            entry = Derived(sha256_of(aside), model.manifest.files[GRAPH], derivation.maker)
        manifest = _manifest_in(folder) or model.manifest
        named = replace(manifest, derived={**manifest.derived, derivation.name: entry})
        replace_text(folder / MANIFEST, manifest_text(named))
    return path


def _is_kept(folder: Path, model: Model, derivation: Derivation) -> bool:
    manifest = _manifest_in(folder)
    entry = manifest.derived.get(derivation.name) if manifest is not None else None
    if entry is None or (entry.source, entry.maker) != (model.manifest.files[GRAPH], derivation.maker):
        return False
    return _has_sha256(folder / derivation.name, entry.sha256)


def _has_sha256(path: Path, expected: str) -> bool:
    try:
        return sha256_of(path) == expected
    except OSError:  # gone, or not for this user: made again
        return False


def _manifest_in(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except ModelError:  # a cache folder that is still empty
        return None
