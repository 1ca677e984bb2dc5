from pathlib import Path

import pytest
from tests.pacs.kills import differences, fill
from tests.pacs.orthanc import start_orthanc


@pytest.mark.parametrize("kind", ["dicomweb", "dimse"])
def test_a_killed_fetch_goes_on_and_ends_with_the_same_mirror(tmp_path: Path, kind: str) -> None:
    with start_orthanc(tmp_path / "orthanc") as server:
        fill(server, 40)
        source = f"{kind}:{server.dimse if kind == 'dimse' else server.dicomweb}"
        assert differences(server, source, tmp_path / "mirrors", 3, seed=4) == []
