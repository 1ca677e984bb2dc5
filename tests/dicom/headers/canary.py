"""``python -m tests.dicom.headers.canary``: no value of a patient gets into what a run writes, whatever lengths claim.

Sound objects name a patient who does not exist in every attribute that may name one. The lengths of one or two elements
are changed, so that values swallow their neighbours, and the command line screens the objects: twice in three with the
keys of ``--pseudonymise``. Tables are decoded, all other files and the terminal are searched as they are.
"""

import argparse
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.dicom.headers.test_fast import full
from tests.dicom.objects import encode, item
from tests.end_to_end.tables import bsbatch

from bsbatch.cli.exits import DONE, TOO_MANY_FAILED

CANARY, BIRTH = "CANARY", "19330717"
"""In every value that may name the patient, and the patient's birth date."""
SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    RLELossless,
)
NUMBER = "1.2.3.4.1000000"
"""UID that each object has a number of its own in place of."""
_BATCH = 1000
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})


class Length(NamedTuple):
    """A length field of a file."""

    offset: int
    form: str
    """Of `struct`."""
    value: int
    """Offset of the value of its element."""


def originals() -> list[tuple[bytes, UID]]:
    """Sound files of every encoding, whose sequences are of defined and of undefined length."""
    named = {
        keyword: f"{CANARY} {keyword}"
        for keyword in (
            *("InstitutionName", "InstitutionAddress", "StudyDescription"),
            *("InstitutionalDepartmentName", "PatientID", "OtherPatientIDs"),
            *("AdditionalPatientHistory", "PatientComments", "PatientAddress", "ProtocolName", "DeviceSerialNumber"),
            *("ImageComments", "RequestedProcedureDescription", "AdmissionID", "StudyComments", "RequestingService"),
        )
    }
    named |= dict.fromkeys(("AccessionNumber", "StationName", "StudyID", "EthnicGroup", "Occupation"), f"{CANARY} 12")
    people = dict.fromkeys(
        ("PatientName", "ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"), f"{CANARY}^{CANARY}"
    )
    dates = {"PatientBirthDate": BIRTH, "PatientBirthTime": "123456", "StudyDate": BIRTH, "ContentDate": BIRTH}
    uids = dict.fromkeys(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), NUMBER)
    table = item(LUTDescriptor=[256, 0, 16], ModalityLUTType="US", LUTData=struct.pack("<256H", *range(256)))
    others = [item(PatientID=f"{CANARY} 2", PatientName=f"{CANARY}^B")]
    return [
        (
            encode(
                full(
                    undefined=is_open,
                    **named,
                    **people,
                    **dates,
                    **uids,
                    OtherPatientIDsSequence=others,
                    ModalityLUTSequence=[table],
                ),
                syntax,
            ),
            syntax,
        )
        for syntax in SYNTAXES
        for is_open in (False, True)
    ]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield files with one or two wrong lengths, the same for a seed."""
    draw, files = random.Random(seed), originals()
    for number in range(count):
        data, syntax = draw.choice(files)
        lead, body = open_numbered(data, syntax, number)
        for _ in range(draw.choice((1, 1, 2))):
            body = _with_wrong_length(body, syntax, draw)
        yield lead + (deflated(body) if syntax.is_deflated else body)


def leaks(count: int, seed: int, folder: Path, *, has_report: bool = True) -> Iterator[str]:
    """Screen mutated files in archives of 1000 and yield the outputs in which a canary is.

    Parameters
    ----------
    count, seed
        Number of files, and the seed of their changes.
    folder
        An empty folder.
    has_report
        Make the HTML page, too, which takes some seconds.
    """
    files = list(mutants(count, seed))
    for start in range(0, count, _BATCH):
        archive, out = folder / f"archive-{start}", folder / f"out-{start}"
        archive.mkdir()
        for number, data in enumerate(files[start : start + _BATCH], start):
            (archive / f"{number:06}").write_bytes(data)
        yield from _screen(archive, out, is_pseudonymous=start // _BATCH % 3 != 1, has_report=has_report)


def _screen(archive: Path, out: Path, *, is_pseudonymous: bool, has_report: bool) -> Iterator[str]:
    key = out.with_suffix(".key")
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    options = ("--backend", "fake", "--max-error-rate", "1", *(("--pseudonymise", key) if is_pseudonymous else ()))
    commands: list[tuple[str | Path, ...]] = [
        ("run", archive, "--dry-run"),
        ("run", archive, "--out", out, *options),
        ("select", out, "--to", out / "cohort.csv"),
        ("worklist", out, "--to", out / "worklist.html", "--rank", "uncertainty"),
    ]
    for command in [*commands, ("report", out)] if has_report else commands:
        done = bsbatch(*command)
        if done.returncode not in {DONE, TOO_MANY_FAILED}:
            yield f"{command[0]} ended with {done.returncode}: {done.stderr}"
        if _has_canary(done.stdout + done.stderr):
            yield f"the terminal of {command[0]}"
    yield from lines_with_canary(out)


def lines_with_canary(out: Path) -> Iterator[str]:
    """Yield the rows of tables, decoded, and the other files of a folder in which the patient is named."""
    for path in filter(Path.is_file, out.rglob("*")):
        rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else [path.read_bytes().decode("latin-1")]
        yield from (f"{path.name}: {row}" for row in rows if _has_canary(str(row)))


def _has_canary(text: str) -> bool:
    return CANARY in text.upper() or BIRTH in text


def open_numbered(data: bytes, syntax: UID, number: int) -> tuple[bytes, bytes]:
    """Divide a file into all before its data set, and the data set, inflated and with UIDs of its own."""
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    body = zlib.decompress(data[start:], -zlib.MAX_WBITS) if syntax.is_deflated else data[start:]
    own = NUMBER[: -len(str(number))] + str(number)
    return data[:start], body.replace(NUMBER.encode(), own.encode())


def deflated(body: bytes) -> bytes:
    """Deflate a data set, PS3.5 section A.5."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def _with_wrong_length(body: bytes, syntax: UID, draw: random.Random) -> bytes:
    """Change the length of an element: up to the end of a later one as a rule, else to any number."""
    found = list(_lengths(body, syntax))
    index = draw.randrange(len(found) - 1)
    length = found[index]
    later = found[min(index + draw.choice((1, 1, 2, 3, 5, 8, 20)), len(found) - 1)]
    end = later.offset - (6 if later.form[-1] == "H" or not syntax.is_implicit_VR else 4)
    wrong = draw.choice([end - length.value] * 4 + [draw.randrange(200), draw.choice((0, 0xFFFE, 0xFFFFFFFF, 1 << 20))])
    size = struct.calcsize(length.form)
    new = struct.pack(length.form, max(0, wrong) & ((1 << 8 * size) - 1))
    return body[: length.offset] + new + body[length.offset + size :]


def _lengths(body: bytes, syntax: UID) -> Iterator[Length]:
    """Find the length fields of a data set, those in sequences as well."""
    order = "<" if syntax.is_little_endian else ">"
    position = 0
    while position <= len(body) - 8:
        tag = struct.unpack_from(order + "HH", body, position)
        vr, value, form = body[position + 4 : position + 6], position + 8, "I"
        if not syntax.is_implicit_VR and tag[0] != 0xFFFE:
            value, form = (position + 12, "I") if vr in _LONG else (position + 8, "H")
        length = Length(value - struct.calcsize(form), order + form, value)
        yield length
        (count,) = struct.unpack_from(length.form, body, length.offset)
        is_nested = (
            tag[0] == 0xFFFE or vr == b"SQ" or struct.unpack_from(order + "HH", body + bytes(4), value)[0] == 0xFFFE
        )
        position = value if is_nested or count > len(body) else value + count


def main() -> int:
    """Return 1 if a canary was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = list(leaks(options.count, options.seed, Path(folder)))
    sys.stdout.writelines(f"{leak}\n" for leak in found)
    sys.stdout.write(f"{options.count} objects, {len(found)} leaks\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
