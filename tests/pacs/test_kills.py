from pathlib import Path

from tests.pacs.kills import differences, fill
from tests.pacs.orthanc import start_orthanc


def test_a_killed_fetch_goes_on_and_ends_with_the_same_mirror(tmp_path: Path) -> None:
    with start_orthanc(tmp_path / "orthanc") as server:
        fill(server, 40)
        assert differences(server, tmp_path / "mirrors", 3, seed=4) == []
