"""Zip files against zipfile and pydicom, and against the same objects as plain files; all sides in this process."""

import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from benchmarks.clutter import write_clutter
from benchmarks.equality import DifferentResultsError, assert_same_arrays, assert_same_verdicts
from benchmarks.intake import expected_verdicts, open_archive, rate, rate_intake
from benchmarks.kit import write_archive
from benchmarks.pairing import Pair, measure_pairs
from benchmarks.peers.zips import zip_heads, zip_modalities
from benchmarks.results import Outcome, Row, Target, line_of
from benchmarks.setup import Setup

from bsbatch.bench.stages import list_verdicts, load_images, time_skim
from bsbatch.dicom.headers.read import HEAD
from bsbatch.errors import ItemError
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.protocols import Source
from bsbatch.records import ObjectRef
from bsbatch.sources.address import open_source

_SKIM, _PLAIN = Target(10.0, "x", True), Target(0.8, "x", True)
_METHODS = {
    "stored": (zipfile.ZIP_STORED, Target(3.0, "x", True)),
    "deflated": (zipfile.ZIP_DEFLATED, Target(1.7, "x", True)),
}
_THREADS = 2


def containers(setup: Setup) -> Outcome:
    """Heads and verdicts of members that are no bone scans; arrays of scans in a stored zip."""
    keep_freed_memory()
    folder, sizes = setup.runs / "containers", setup.sizes
    write_clutter(folder / "clutter", sizes.skim_files)
    zips = {name: _pack(folder / "clutter", folder / f"{name}.zip", method) for name, (method, _) in _METHODS.items()}
    heads = {name: _compare_heads(path, 3 * sizes.rounds) for name, path in zips.items()}
    skim = _compare_skim(zips["deflated"], sizes.rounds)
    write_archive(folder / "scans", sizes.intake_scans)
    whole = _compare_intake(folder / "scans", _pack(folder / "scans", folder / "scans.zip", zipfile.ZIP_STORED), setup)
    rows = [
        Row("zip skim against zipfile + dcmread(stop_before_pixels=True), two threads", _SKIM, _ratios(skim)),
        *(
            Row(f"first 8 KiB of members, {name}, against zipfile", _METHODS[name][1], _ratios(pairs))
            for name, pairs in heads.items()
        ),
        Row("whole intake from a stored zip against plain files", _PLAIN, _ratios(whole)),
    ]
    detail = [
        line_of("zipfile + pydicom, skim", skim),
        *(line_of(f"zipfile, heads, {name}", pairs) for name, pairs in heads.items()),
        line_of("plain files, whole intake", whole),
    ]
    note = f"{sizes.skim_files} objects without scans, {sizes.intake_scans} scans; written at once, in the page cache."
    return Outcome("containers", rows, detail, [note])


def _pack(folder: Path, target: Path, method: int) -> Path:
    """Pack a folder; the zip is written at once, as plain files are.

    zipfile writes 8 KiB at a time. To copy pages of the cache that were written so takes the kernel twice as long.
    """
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    target.write_bytes(packed.getvalue())
    return target


def _compare_heads(path: Path, rounds: int) -> list[Pair]:
    """Both sides have listed the members before."""
    source = open_source(path)
    refs = list(source)
    with zipfile.ZipFile(path) as archive:
        if [*_heads(source, refs)] != [*zip_heads(archive, HEAD)]:
            raise DifferentResultsError("the first bytes of a member differ")
        ours = partial(rate, lambda: sum(1 for _ in _heads(source, refs)))
        return measure_pairs(ours, partial(rate, lambda: sum(1 for _ in zip_heads(archive, HEAD))), rounds)


def _heads(source: Source, refs: list[ObjectRef]) -> Iterator[bytes | ItemError]:
    """Yield the first bytes of each member, in batches as a run reads them."""
    for start in range(0, len(refs), source.heads_at_once):
        yield from source.heads(refs[start : start + source.heads_at_once], HEAD)


def _compare_skim(path: Path, rounds: int) -> list[Pair]:
    with zipfile.ZipFile(path) as archive, open_archive(path, _THREADS) as opened, time_skim(opened) as take:
        read = zip_modalities(archive, _THREADS)
        assert_same_verdicts(
            list_verdicts(opened), expected_verdicts({f"{path.name}!/{name}": read[name] for name in read})
        )
        theirs = partial(rate, lambda: len(zip_modalities(archive, _THREADS)))
        return measure_pairs(partial(rate, lambda: take().items), theirs, rounds)


def _compare_intake(plain: Path, packed: Path, setup: Setup) -> list[Pair]:
    with open_archive(plain, _THREADS) as one, open_archive(packed, _THREADS) as other:
        number = setup.sizes.intake_scans
        assert_same_arrays(list(load_images(one, number)), list(load_images(other, number)))
    return measure_pairs(rate_intake(packed, _THREADS), rate_intake(plain, _THREADS), 3 * setup.sizes.rounds)


def _ratios(pairs: Iterable[Pair]) -> list[float]:
    return [pair.ratio for pair in pairs]
