"""Keys of pseudonyms."""

from pathlib import Path

import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch, results


def test_a_key_is_random_private_and_works(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)
    first, second = tmp_path / "first.key", tmp_path / "second.key"

    made = [bsbatch("key", path) for path in (first, second)]
    run = bsbatch("run", tmp_path / "archive", "--backend", "fake", "--out", tmp_path / "out", "--pseudonymise", first)

    assert [done.returncode for done in (*made, run)] == [0, 0, 0]
    assert first.stat().st_mode & 0o777 == 0o600
    assert len(first.read_text(encoding="ascii").strip()) == 64
    assert first.read_text(encoding="ascii") != second.read_text(encoding="ascii")
    assert results(tmp_path / "out")[0]["study_uid"].startswith("2.25.")


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key of somebody", encoding="ascii")

    done = bsbatch("key", tmp_path / "key")

    assert done.returncode == 2
    assert "a key is never replaced" in done.stderr
    assert (tmp_path / "key").read_text(encoding="ascii") == "a key of somebody"


@pytest.mark.parametrize("content", [b"", b"short", b"15 bytes long..", b"   15 bytes long..\n\n"])
def test_a_short_key_is_refused_with_the_command_that_makes_one(content: bytes, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)
    (tmp_path / "key").write_bytes(content)
    options = "--backend", "fake", "--out", tmp_path / "out", "--pseudonymise", tmp_path / "key"

    done = bsbatch("run", tmp_path / "archive", *options)

    assert done.returncode == 2
    assert f"has {len(content.strip())} bytes, fewer than 16: bsbatch key FILE makes one" in done.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = bsbatch("key", tmp_path / "nowhere" / "key")

    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
