"""``python -m tests.sources.containers.fuzz``: mutated containers through the source that opens them.

Each must be listed, headed and opened without an error but `ItemError`, under distinct names that are valid Unicode.
The first bytes of a member are those of its content. What Python's zipfile or tarfile reads whole of a sound member is
equal to what we read.
"""

import argparse
import io
import random
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fuzzing import report
from tests.sources.containers.made import COMPRESS, put, tarred, zipped

from bsbatch.errors import ItemError
from bsbatch.records import ObjectRef
from bsbatch.sources.containers.source import ContainerSource
from bsbatch.sources.single_file import FileSource

REPEAT = [sys.executable, "-m", "tests.sources.containers.fuzz", "--file"]
"""Command that shows a finding again, without its path."""
_HEAD = 8192
_DICOM = bytes(128) + b"DICM" + bytes(range(256)) * 33
_MEMBERS = [
    ("A/IM1", _DICOM),
    ("ä" * 60 + "/IM2", _DICOM[:300][::-1]),
    ("A/IM1", b"again"),
    ("empty", b""),
    ("DICOMDIR", b"x"),
]
_NUMBERS = b"\0\0", b"\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0\0\0\0\0", b"\xff" * 8, b"PK", b"..", b"/", b"7777777"


def originals() -> list[bytes]:
    """Return containers of every kind; the first byte chooses the suffix that the file gets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal names
        zips = [zipped(_MEMBERS), zipped(_MEMBERS, zipfile.ZIP_STORED)]
    tars = [tarred(_MEMBERS, form).rstrip(b"\0") + bytes(1024) for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
    packed = [compress(tars[0]) for compress in COMPRESS.values()]
    single = [compress(_DICOM) for compress in COMPRESS.values()]
    groups = (b"\0", zips), (b"\1", tars), (b"\2", packed), (b"\3", single)
    return [suffix + data for suffix, containers in groups for data in containers]


def complaints(data: bytes) -> Iterator[str]:
    """Yield what is wrong with the reading of a container."""
    suffix = (".zip", ".tar", ".tar.gz", ".gz")[data[0] % 4] if data else ".zip"
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder) / f"x{suffix}", data[1:])
        source = ContainerSource(FileSource(path))
        try:
            yield from _complaints(source, list(source), data[1:])
        except Exception as error:  # what must not happen, and is reported
            yield f"raised {type(error).__name__}: {error}"


def _complaints(source: ContainerSource, refs: list[ObjectRef], data: bytes) -> Iterator[str]:
    names = [ref.source for ref in refs]
    if not names or len(set(names)) < len(names):
        yield "no rows, or rows of one name"
    "".join(names).encode()
    sound = [ref for ref in refs if ref.problem is None]
    judge = dict(_judge(data))
    for ref, head in zip(sound, source.heads(sound, _HEAD), strict=True):
        content = _content(source, ref)
        if content is None:
            continue
        if isinstance(head, bytes) and content[:_HEAD] != head:
            yield "the first bytes are others"
        expected = judge.get(ref.source.partition("!/")[2])
        if expected is not None and expected != content:
            yield "the content is not that of zipfile or tarfile"


def _content(source: ContainerSource, ref: ObjectRef) -> bytes | None:
    try:
        with source.open(ref) as stream:
            return stream.read()
    except ItemError:
        return None


def _judge(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of members that occur once, as far as Python reads them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            counts = Counter(info.filename for info in archive.infolist())
            for info in archive.infolist():
                if counts[info.filename] == 1 and info.file_size < 1 << 20:
                    yield info.filename, archive.read(info)
    except Exception:  # it raises nearly everything, and judges nothing then
        return


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change a container in a few places; its first byte, which chooses the suffix, seldom."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        at = draw.randrange(draw.random() > 0.01, len(changed)) if len(changed) > 1 else 0
        noise = draw.choice(_NUMBERS) if draw.random() < 0.5 else draw.randbytes(draw.choice((1, 1, 2, 4, 16)))
        how = draw.randrange(6)
        if how == 0:
            del changed[at:]
        elif how == 1:
            changed[at:at] = noise
        elif how == 2:
            del changed[at : at + len(noise)]
        elif how == 3:
            begin = draw.randrange(len(changed)) if changed else 0
            changed[at:at] = changed[begin : begin + draw.choice((30, 46, 512, 1024))]
        else:
            changed[at : at + len(noise)] = noise
        if not changed:
            changed = bytearray(data)
    return bytes(changed)


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield mutated containers, the same for a seed."""
    draw, containers = random.Random(seed), originals()
    for _ in range(count):
        yield mutate(draw.choice(containers), draw)


def main() -> int:
    """Return 1 if there is a complaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the containers that were complained about")
    parser.add_argument("--file", type=Path, help="check this file, without a mutation")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    findings = 0
    drawn = [options.file.read_bytes()] if options.file else mutants(options.count, options.seed)
    for number, data in enumerate(drawn):
        found = list(complaints(data))
        findings += len(found)
        sys.stdout.writelines(f"{number}: {complaint}\n" for complaint in found)
        if found and options.keep is not None:
            report(put(options.keep / f"containers-{options.seed}-{number}.bin", data), REPEAT)
    sys.stdout.write(f"{findings} complaints\n")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
