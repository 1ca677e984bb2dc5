import json
from pathlib import Path

import pytest
from tests.pacs.conftest import CT_SLICES, encode_ct
from tests.pacs.orthanc import Orthanc, listening_addresses, start_orthanc

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def test_the_server_listens_on_loopback_only(orthanc: Orthanc) -> None:
    addresses = listening_addresses(orthanc.process.pid)
    assert addresses
    assert addresses <= LOOPBACK


def test_it_holds_phantoms_and_ct(orthanc: Orthanc) -> None:
    def number(modality: str) -> int:
        found = json.loads(orthanc.rest(f"dicom-web/instances?Modality={modality}"))
        return len(found)

    assert number("CT") >= CT_SLICES
    assert number("NM") >= 8


def test_whole_objects_are_counted_and_queries_are_not(orthanc: Orthanc) -> None:
    orthanc.forget()
    (study, *_) = json.loads(orthanc.rest("dicom-web/studies?ModalitiesInStudy=NM"))
    json.loads(orthanc.rest("dicom-web/instances?Modality=NM&includefield=NumberOfFrames"))
    assert not orthanc.read_whole()
    uid = study["0020000D"]["Value"][0]
    orthanc.rest(f"dicom-web/studies/{uid}")
    assert orthanc.read_whole()
    assert f"GET /dicom-web/studies/{uid}" in orthanc.http_requests()


def test_it_ends_with_its_context_and_objects_can_be_deleted(tmp_path: Path) -> None:
    with start_orthanc(tmp_path) as server:
        stored = server.load([encode_ct(1), encode_ct(2), b"no DICOM"])
        assert len(stored) == 2
        server.delete(min(stored))
        assert len(json.loads(server.rest("instances"))) == 1
    assert server.process.returncode is not None
    with pytest.raises(OSError, match="refused"):
        server.rest("system")
