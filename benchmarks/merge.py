"""Rate and peak memory of ``bsbatch merge`` by the number of rows: ``python -m benchmarks.merge [few] [many]``.

The inputs are two folders with made-up rows, of which one object in a hundred is a scan, in parts as a run writes them.
The goal is a ratio of at most 1.10 between the peaks, as for a run (`benchmarks.memory`). Digests of 8 bytes for each
object are the part that grows.
"""

import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.memory import GOAL, peak_of

from bsbatch.store.folder import write_patient_key, write_run_file
from bsbatch.store.parts import write_part
from bsbatch.store.reconcile import reconcile
from bsbatch.store.tables import OBJECTS, RESULTS, SCHEMA_VERSION, Row, to_table

_HASH = "0123456789abcdef"
_PART = 4096
"""Objects of a part, at most, in a run over an archive of other objects than scans."""
_SCANS = 100
"""One object among as many is a scan."""


def main() -> None:
    """Measure both sizes; print one line for each, and the ratio of their peaks."""
    few, many = [int(number) for number in sys.argv[1:]] or (500, 50_000)
    peaks = [measure(size) for size in (few, many)]
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} (goal <= {GOAL:.2f}: {'met' if ratio <= GOAL else 'missed'})")


def measure(objects: int) -> float:
    """Return the peak resident memory in MiB of a merge of ``objects`` rows in two folders; print it and the rate."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outs = [write_run(folder / f"out{number}", number, objects // 2) for number in (1, 2)]
        began, before = time.monotonic(), _processor_seconds()
        peak = peak_of(["merge", *map(str, outs), "--out", str(folder / "out")])
        seconds, used = time.monotonic() - began, _processor_seconds() - before
    print(f"{objects} objects: {seconds:.1f} s, of the processor {used:.1f} s, peak {peak:.1f} MiB", flush=True)
    return peak


def _processor_seconds() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_run(out: Path, number: int, objects: int) -> Path:
    """Write the folder of a finished run, with rows of objects that are not there."""
    for table in (OBJECTS, RESULTS):
        (out / table).mkdir(parents=True)
    write_patient_key(out, _HASH.encode())
    for part, first in enumerate(range(0, objects, _PART)):
        rows = [_object(number, index) for index in range(first, min(first + _PART, objects))]
        results = [_result(row) for row in rows if row["exam_id"] is not None]
        write_part(out / OBJECTS, part, to_table(OBJECTS, rows, _HASH))
        write_part(out / RESULTS, part, to_table(RESULTS, results, _HASH))
    content = {"status": "complete", "archive": f"/archive/{number}", "config_hash": _HASH, "config": {}}
    counts = reconcile(out, objects, is_complete=True).as_dict()
    write_run_file(out, content | {"model": None, "schema_version": SCHEMA_VERSION, "counts": counts})
    return out


def _object(number: int, index: int) -> Row:
    unique, is_scan = f"{number}{index:09d}", index % _SCANS == 0
    return {
        "source": f"{index // 500:06d}/{unique}.dcm",
        "size": 524_288,
        "version": f"17000000{unique}",
        "sop_uid": f"1.2.840.99999.3.{unique}",
        "sop_class": "1.2.840.10008.5.1.4.1.1.20" if is_scan else "1.2.840.10008.5.1.4.1.1.2",
        "modality": "NM" if is_scan else "CT",
        "patient_key": f"{index // 500:032x}",
        "study_uid": f"1.2.840.99999.1.{number}{index // 100:09d}",
        "series_uid": f"1.2.840.99999.2.{number}{index // 100:09d}",
        "manufacturer": "Nobody",
        "model_name": "Test camera",
        "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
        "acquisition_date": "20200102",
        "acquisition_time": f"{index % 86400:06d}",
        "status": "used" if is_scan else "skipped",
        "stage": None if is_scan else "header",
        "reason": None if is_scan else "modality_not_nm",
        "message": None if is_scan else "another modality than nuclear medicine",
        "exam_id": f"{number}{index:031x}" if is_scan else None,
    }


def _result(row: Row) -> Row:
    shared = ("exam_id", "patient_key", "study_uid", "series_uid", "manufacturer", "model_name", "acquisition_date")
    return {name: row[name] for name in shared} | {
        "status": "ok",
        "sop_uid_anterior": row["sop_uid"],
        "sop_uid_posterior": row["sop_uid"],
        "source_anterior": row["source"],
        "source_posterior": row["source"],
        "p_metastasis": 0.25,
        "predicted": 0,
        "threshold": 0.5,
        "qc_flags": [],
        "config_hash": _HASH,
    }


if __name__ == "__main__":
    main()
