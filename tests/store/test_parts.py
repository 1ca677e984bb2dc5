import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bsbatch.errors import OutputError
from bsbatch.store.parts import (
    all_rows,
    keep_rows,
    metadata_of,
    number_of,
    parts_in,
    read_rows,
    read_table,
    remove_leftovers,
    write_part,
)


def table(*names: str) -> pa.Table:
    return pa.table({"name": list(names), "length": [len(name) for name in names]}).replace_schema_metadata(
        {"bsbatch.config_hash": "abc"}
    )


def test_parts_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        write_part(tmp_path, number, table(str(number)))
    (tmp_path / ".part-000001.parquet").touch()
    (tmp_path / "notes.parquet").touch()

    assert [number_of(part) for part in parts_in(tmp_path)] == [0, 2, 10]
    assert parts_in(tmp_path / "absent") == []
    assert [row["name"] for row in all_rows(tmp_path, ["name"])] == ["0", "2", "10"]


def test_a_part_replaces_the_earlier_one_of_its_number_and_leaves_no_other_file(tmp_path: Path) -> None:
    write_part(tmp_path, 3, table("old"))
    write_part(tmp_path, 3, table("new"))

    assert [path.name for path in tmp_path.iterdir()] == ["part-000003.parquet"]
    assert read_rows(tmp_path / "part-000003.parquet", ["name"]) == [{"name": "new"}]


def test_rows_are_removed_and_the_metadata_stay(tmp_path: Path) -> None:
    write_part(tmp_path, 0, table("a", "bb", "ccc"))
    (part,) = parts_in(tmp_path)

    keep_rows(part, lambda row: row["length"] != 2, ["length"])

    assert pq.read_table(part).to_pydict() == {"name": ["a", "ccc"], "length": [1, 3]}
    assert metadata_of(part)["bsbatch.config_hash"] == "abc"


def test_a_part_without_rows_is_deleted(tmp_path: Path) -> None:
    write_part(tmp_path, 0, table("a"))
    keep_rows(tmp_path / "part-000000.parquet", lambda _: False, ["name"])
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_keeps_all_its_rows_is_not_written_again(tmp_path: Path) -> None:
    write_part(tmp_path, 0, table("a"))
    (part,) = parts_in(tmp_path)
    before = part.stat().st_mtime_ns
    keep_rows(part, lambda _: True, ["name"])
    assert part.stat().st_mtime_ns == before


def test_unfinished_parts_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    write_part(tmp_path, 0, table("a"))
    (tmp_path / ".part-000001.parquet.partial").write_bytes(b"half")
    (tmp_path / ".part-000002.parquet").write_bytes(b"half, of an earlier version")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000.parquet"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PAR1nonsensePAR1"])
def test_the_error_names_a_part_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-000000.parquet").write_bytes(content)
    with pytest.raises(OutputError, match=r"part-000000.parquet cannot be read: delete it"):
        list(all_rows(tmp_path, ["name"]))


def test_reading_starts_no_thread_that_could_hang_the_exit(tmp_path: Path) -> None:
    write_part(tmp_path, 0, table("a"))
    read = f"list(all_rows(Path({str(tmp_path)!r}), ['name']))"
    program = "import os; from pathlib import Path; from bsbatch.store.parts import all_rows; "
    count = "print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run([sys.executable, "-c", f"{program}{count}; {read}; {count}"], capture_output=True, check=True)
    before, after = done.stdout.split()
    assert before == after


def test_a_table_is_all_of_its_parts_and_none_without_one(tmp_path: Path) -> None:
    assert read_table(tmp_path) is None
    for number, names in enumerate((("a", "bb"), ("ccc",))):
        write_part(tmp_path, number, table(*names))
    found = read_table(tmp_path)
    assert found is not None
    assert found.to_pydict() == {"name": ["a", "bb", "ccc"], "length": [1, 2, 3]}
