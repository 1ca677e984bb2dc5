"""Peak memory of ``bsbatch run`` by the size of the archive: ``python -m benchmarks.memory [small] [large]``.

The archive resembles a PACS export, the objects of a study together: two-frame objects, views in separate files, copies
and CT slices. All are tiny copies of a few objects with other UIDs. With the fake backend, only the memory of bsbatch
itself can grow. The goal is a ratio of at most 1.10 between the two sizes. ``--scattered`` puts the views of a study at
the two ends of the archive, the worst case: each view waits for its partner.
"""

import json
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from pydicom.dataset import FileDataset
from pydicom.uid import UID
from tests.archives import Scan, ct_slice, dataset_of

GOAL = 1.10
PLACEHOLDER = b"700000000000"
_MEASURED = """
import atexit, bsbatch.cli
status = lambda: next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
atexit.register(lambda: print(status()))
bsbatch.cli.main()
"""
"""A command that prints its peak at its end, kB."""


def main() -> None:
    """Measure both sizes; print one line for each, and their ratio."""
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    sizes = [int(number) for number in numbers] or [500, 50_000]
    peaks = [measure(size, is_scattered="--scattered" in sys.argv) for size in sizes]
    ratio = peaks[-1] / peaks[0]
    print(f"ratio {ratio:.3f} (goal <= {GOAL:.2f}: {'met' if ratio <= GOAL else 'missed'})")


def measure(studies: int, *, is_scattered: bool) -> float:
    """Measure the peak resident memory in MiB of a run over ``studies`` studies, and check its counts."""
    with tempfile.TemporaryDirectory() as folder:
        archive, out = Path(folder) / "archive", Path(folder) / "out"
        write_tiny(archive, studies, is_scattered=is_scattered)
        peak = peak_of(["run", str(archive), "--backend", "fake", "--out", str(out), "--quiet"])
        counts = json.loads((out / "run.json").read_text(encoding="utf-8"))["counts"]
        assert counts["seen"] == sum(counts["objects"].values())
        assert counts["examinations"] == {"ok": studies}
    print(f"{studies} studies, {counts['seen']} files: peak {peak:.1f} MiB", flush=True)
    return peak


def write_tiny(archive: Path, studies: int, *, is_scattered: bool) -> None:
    """Write studies with a CT slice each; every second one is a two-frame object, the others two views and a copy."""
    both, anterior, posterior = (
        with_placeholder(dataset_of(Scan(0, views, rows=32, columns=16)), number)
        for number, views in enumerate(("AP", "A", "P"))
    )
    other = with_placeholder(ct_slice(0), 9)
    last = "z" if is_scattered else ""
    for study in range(studies):
        objects = {"d": other}
        objects |= {"a": both} if study % 2 else {"a": anterior, "b": anterior, f"{last}c": posterior}
        for name, data in objects.items():
            path = archive / name[:-1] / f"{study // 500:04d}" / f"{study:06d}-{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.replace(PLACEHOLDER, b"%012d" % study))


def with_placeholder(dataset: FileDataset, instance: int) -> bytes:
    """Encode an object whose UIDs contain the placeholder, to be replaced in the bytes."""
    number = PLACEHOLDER.decode()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"2.25.1{number}", f"2.25.2{number}"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.3{instance}{number}")
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def peak_of(arguments: list[str]) -> float:
    """Return the peak memory in MiB of a command of ``bsbatch``; ``ru_maxrss`` would be this process's, if more."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit("the command failed")
    return int(done.stdout.split()[-2]) / 1024


if __name__ == "__main__":
    main()
