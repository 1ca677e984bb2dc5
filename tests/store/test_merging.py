"""Names of merged archives, and studies that reach across the borders of runs."""

from pathlib import Path

import pytest
from tests.dicom.objects import ref, scan

from bsbatch.dicom.pairing import examine
from bsbatch.errors import OutputError, UsageError
from bsbatch.identity import DigestSet, study_key
from bsbatch.imaging.quality import Flag
from bsbatch.pipeline.choosing import NOT_SELECTED
from bsbatch.records import Outcome, Prediction, Quality, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.merging import Member, TableCopier, find_common, find_split_studies
from bsbatch.store.parts import read_table
from bsbatch.store.reconcile import add_up
from bsbatch.store.tables import Provenance, Row

QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (Flag.UNLIKE_TRAINING,), "00")
HASHES = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("archives", "common", "prefixes"),
    [
        (("/archive/2019", "/archive/2020"), "/archive", ("2019/", "2020/")),
        (("/archive/201", "/archive/2019"), "/archive", ("201/", "2019/")),
        (("/archive", "/archive/2020/b"), "/archive", ("", "2020/b/")),
        (("/archive", "/archive"), "/archive", ("", "")),
        (("/data1/a", "/data2"), "/", ("data1/a/", "data2/")),
        (("/", "/data"), "/", ("", "data/")),
        (("s3://scans/a", "s3://scans/b/"), "s3://scans", ("a/", "b/")),
        (("s3://scans", "s3://scans/b"), "s3://scans", ("", "b/")),
        (("s3://one/a", "s3://two/a"), "", ("s3://one/a/", "s3://two/a/")),
        (("s3://one/a", "/one/a"), "", ("s3://one/a/", "/one/a/")),
        (HASHES, "", tuple(f"{name}/" for name in HASHES)),
        (("", HASHES[0]), "", ("", f"{HASHES[0]}/")),
    ],
)
def test_sources_are_relative_to_the_folder_that_the_archives_share(
    archives: tuple[str, ...], common: str, prefixes: tuple[str, ...]
) -> None:
    assert find_common(archives) == (common, prefixes)


def test_an_archive_that_is_a_file_counts_as_its_folder(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(b"")

    assert find_common([str(tmp_path / "a.zip"), str(tmp_path / "b.zip")]) == (str(tmp_path), ("", ""))


def commit(out: Path, *outcomes: Outcome, left_out: str = "", config_hash: str = "hash") -> Member:
    """Write a run of some examinations, and of an object that it left out."""
    settled = [
        SettledObject(ref(name), scan("A", name, study_uid=f"1.{name}").header, NOT_SELECTED) for name in left_out
    ]
    writer = ParquetSink(out, Provenance(config_hash, "model", 0.5))
    writer.commit(UnitOutcome(outcomes, tuple(settled)))
    writer.finish()
    return Member(out, f"{out.name}/")


def scored(views: str, name: str, study: str) -> Prediction:
    return Prediction(examine((scan(views, name, study_uid=f"1.{study}"),)), QUALITY, 0.9, logit=2.0, distance=1.0)


def merged(out: Path, *members: Member) -> list[Row]:
    """Rows of the merged ``results``, sorted by source."""
    copier = TableCopier(out, "hash", find_split_studies(members))
    out.mkdir()
    copier.copy(members)
    table = read_table(out / "results")
    assert table is not None
    rows: list[Row] = table.to_pylist()
    return sorted(rows, key=lambda row: str(row["source_anterior"]))


def test_a_study_of_two_runs_fails_and_an_examination_of_both_has_one_row(tmp_path: Path) -> None:
    one = commit(tmp_path / "one", scored("AP", "x", "1"), scored("AP", "y", "2"))
    two = commit(tmp_path / "two", scored("AP", "x", "1"), scored("AP", "z", "3"))

    rows = merged(tmp_path / "out", one, two)

    assert [(row["source_anterior"], row["reason"], row["p_metastasis"], row["logit"]) for row in rows] == [
        ("one/x", "split_study", None, None),
        ("one/y", None, pytest.approx(0.9), 2.0),
        ("two/z", None, pytest.approx(0.9), 2.0),
    ]
    assert (rows[0]["status"], rows[0]["predicted"], rows[0]["qc_flags"]) == ("failed", None, None)
    flow = add_up(tmp_path / "out")
    assert flow.objects == {"failed": 2, "used": 2}
    assert (flow.positive, flow.unlike) == (2, 2)


def test_a_study_that_all_runs_left_out_is_not_split(tmp_path: Path) -> None:
    members = [commit(tmp_path / name, left_out="ab") for name in ("one", "two")]
    assert len(find_split_studies(members)) == 0

    other = commit(tmp_path / "other", scored("AP", "c", "b"))

    split = find_split_studies([*members, other])
    assert (len(split), study_key("1.b", None, "") in split) == (1, True)


def test_objects_of_two_runs_are_refused_with_their_number(tmp_path: Path) -> None:
    members = [commit(tmp_path / name, scored("AP", "x", "1"), left_out="yz") for name in ("one", "two")]

    with pytest.raises(UsageError, match="3 objects have rows in several"):
        find_split_studies([Member(member.out, "") for member in members])


def test_a_part_of_another_configuration_is_refused(tmp_path: Path) -> None:
    member = commit(tmp_path / "one", scored("AP", "x", "1"), config_hash="other")

    with pytest.raises(OutputError, match="another configuration"):
        TableCopier(tmp_path, "hash", DigestSet()).copy([member])
