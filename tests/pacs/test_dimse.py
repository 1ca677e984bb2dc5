"""The client for DIMSE against a real Orthanc."""

import json
import logging
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from tests.archives import NM, PATIENT_NAME, Scan
from tests.pacs.conftest import STUDY_DATE, encode_ct, encode_scan
from tests.pacs.orthanc import Orthanc, free_ports, start_orthanc

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.pacs import association as association_module
from bsbatch.pacs.association import FIND, GET, MOVE, Line, Peer
from bsbatch.pacs.candidates import decline
from bsbatch.pacs.dimse import DimseClient
from bsbatch.pacs.pace import Hours, SteadyPace
from bsbatch.pacs.protocol import PacsObject, PacsStudy, StudyFilter
from bsbatch.pacs.receiver import Target
from bsbatch.pacs.settings import Access

ALL = StudyFilter()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association_module, "_BACK_OFF", (0.05, 0.1))


def client(address: str, target: Target | None = None, access: Access | None = None) -> DimseClient:
    move_to = None if target is None else f"{target.aet}:{target.port}"
    return DimseClient(address, replace(access or Access(), move_to=move_to), SteadyPace())


def known_target(server: Orthanc, aet: str = "RECEIVER") -> Target:
    (port,) = free_ports(1)
    server.introduce(aet, port)
    return Target(aet, port)


def candidates(pacs: DimseClient, wanted: StudyFilter = ALL) -> list[tuple[PacsStudy, list[PacsObject]]]:
    studies = list(pacs.studies(wanted))
    return [(study, [item for item in pacs.objects(study) if decline(item) is None]) for study in studies]


def fetched(pacs: DimseClient) -> tuple[dict[str, bytes], set[str]]:
    """The objects that arrived, and the UIDs of those that did not, asked for once more and one by one."""
    arrived: dict[str, bytes] = {}
    asked: set[str] = set()
    for study, objects in candidates(pacs):
        asked |= {item.sop_uid for item in objects}
        for again in (False, True):
            items = [item for item in objects if item.sop_uid not in arrived]
            with suppress(ItemError):
                for uid, data in pacs.retrieve(
                    study, [one._replace(series_size=None) for one in items] if again else items
                ):
                    assert uid not in arrived
                    arrived[uid] = data
    return arrived, asked - arrived.keys()


def uids_of(server: Orthanc, modality: str) -> set[str]:
    found = json.loads(
        server.rest(
            "tools/find", json.dumps({"Level": "Series", "Expand": True, "Query": {"Modality": modality}}).encode()
        )
    )
    return {
        json.loads(server.rest(f"instances/{instance}"))["MainDicomTags"]["SOPInstanceUID"]
        for series in found
        for instance in series["Instances"]
    }


@pytest.fixture(scope="module")
def by_get(orthanc: Orthanc) -> tuple[dict[str, bytes], set[str]]:
    with client(orthanc.dimse) as pacs:
        return fetched(pacs)


def test_get_brings_the_objects_as_they_are_stored(orthanc: Orthanc, by_get: tuple[dict[str, bytes], set[str]]) -> None:
    arrived, _ = by_get
    assert len(arrived) > 10
    for uid, data in arrived.items():
        (found,) = json.loads(orthanc.rest("tools/lookup", uid.encode()))
        stored = pydicom.dcmread(BytesIO(orthanc.rest(f"instances/{found['ID']}/file")))
        sent = pydicom.dcmread(BytesIO(data))
        assert sent.SOPInstanceUID == uid
        assert sent == stored
        assert sent.file_meta.TransferSyntaxUID == stored.file_meta.TransferSyntaxUID


def test_move_brings_the_same_as_get(orthanc: Orthanc, by_get: tuple[dict[str, bytes], set[str]]) -> None:
    with client(orthanc.dimse, known_target(orthanc)) as pacs:
        assert fetched(pacs) == by_get


def test_an_object_that_the_pacs_cannot_send_fails_alone(
    orthanc: Orthanc, by_get: tuple[dict[str, bytes], set[str]]
) -> None:
    _, missing = by_get
    for uid in missing:
        (found,) = json.loads(orthanc.rest("tools/lookup", uid.encode()))
        assert "SOPClassUID" not in pydicom.dcmread(BytesIO(orthanc.rest(f"instances/{found['ID']}/file")))


def test_no_ct_instance_is_asked_for(orthanc: Orthanc) -> None:
    ct = uids_of(orthanc, "CT")
    assert ct
    orthanc.forget()
    with client(orthanc.dimse) as pacs:
        listed = {item.sop_uid for study in pacs.studies(ALL) for item in pacs.objects(study)}
        fetched(pacs)
    assert orthanc.read_whole()
    assert not ct & orthanc.read_whole().keys()
    assert not ct & listed


def test_studies_are_searched_by_date_accession_and_patient(orthanc: Orthanc) -> None:
    def number(**wanted: str) -> int:
        return len(list(pacs.studies(StudyFilter(**wanted))))

    with client(orthanc.dimse) as pacs:
        assert number(dates=f"{STUDY_DATE}-{STUDY_DATE}") == 1
        assert number(dates="-19000101") == 0
        assert number(accession="ACC-0") == 1
        assert number(accession="ACC-1") == 0
        assert number(patient="SECRET-ID-4711") == 1
        assert 1 < number(dates="19000101-20200101") < number()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Orthanc]:
    """A server of three studies, that may be changed and stopped."""
    with start_orthanc(tmp_path / "orthanc") as server:
        server.load(encode_scan(Scan(study)) for study in range(3))
        yield server


def test_an_object_that_vanished_is_missing_and_the_rest_arrives(small: Orthanc) -> None:
    small.load(encode_scan(Scan(0, instance=number)) for number in (2, 3))
    with client(small.dimse) as pacs:
        (study, objects), *_ = [found for found in candidates(pacs) if len(found[1]) == 3]
        small.delete(objects[1].sop_uid)
        arrived: set[str] = set()
        try:
            arrived.update(uid for uid, _ in pacs.retrieve(study, objects))
        except ItemError:
            missing = [item._replace(series_size=None) for item in objects if item.sop_uid not in arrived]
            with pytest.raises(ItemError, match="status"):
                arrived.update(uid for uid, _ in pacs.retrieve(study, missing))
    assert arrived == {objects[0].sop_uid, objects[2].sop_uid}


@pytest.mark.parametrize("moves", [False, True])
def test_a_pacs_that_stops_ends_the_retrieval_and_one_that_is_back_goes_on(
    tmp_path: Path, small: Orthanc, moves: bool
) -> None:
    target = known_target(small) if moves else None
    with client(small.dimse, target) as pacs:
        (study, objects), *others = candidates(pacs)
        assert dict(pacs.retrieve(study, objects))
        small.stop()
        with pytest.raises(SourceError, match=r"cannot be reached; check host"):
            dict(pacs.retrieve(*others[0]))
        with pytest.raises(SourceError, match=r"cannot be reached; check host"):
            pacs.objects(study)
        ports = {"HttpPort": small.http_port, "DicomPort": small.dicom_port}
        with start_orthanc(tmp_path / "orthanc", None, **ports) as again:
            if target is not None:
                again.introduce(*target)
            assert len(dict(pacs.retrieve(*others[0]))) == 1


def test_an_association_that_the_pacs_ended_while_idle_is_opened_again(tmp_path: Path) -> None:
    with start_orthanc(tmp_path, DicomScpTimeout=1) as server:
        server.load([encode_scan(Scan(0))])
        with client(server.dimse) as pacs:
            first = list(pacs.studies(ALL))
            threading.Event().wait(2.5)
            assert list(pacs.studies(ALL)) == first


def test_a_pacs_that_reports_the_end_of_a_move_too_early_is_waited_for(tmp_path: Path) -> None:
    with start_orthanc(tmp_path, SynchronousCMove=False) as server:
        server.load(encode_scan(Scan(study)) for study in range(3))
        with client(server.dimse, known_target(server)) as pacs:
            arrived, missing = fetched(pacs)
    assert len(arrived) == 3
    assert not missing


def test_a_move_to_a_receiver_that_the_pacs_does_not_know_says_what_to_enter(small: Orthanc) -> None:
    (port,) = free_ports(1)
    with client(small.dimse, Target("NOBODY", port)) as pacs:
        found = candidates(pacs)
        with pytest.raises(ItemError, match=f"know NOBODY.*port {port}"):
            dict(pacs.retrieve(*found[0]))


def test_a_pacs_that_names_the_receiver_as_the_problem_ends_the_command() -> None:
    def no_such_target(event: evt.Event) -> Iterator[tuple[None, None]]:
        yield None, None

    (port,) = free_ports(1)
    with (
        peer_of([FIND, MOVE], [(evt.EVT_C_MOVE, no_such_target)]) as address,
        client(address, Target("NOBODY", port)) as pacs,
        pytest.raises(SourceError, match=r"0xa801.*know NOBODY"),
    ):
        dict(pacs.retrieve(PacsStudy("1.2"), [PacsObject("1.2.3", "1.2.3.4")]))


def test_a_port_in_use_cannot_be_that_of_the_receiver(small: Orthanc) -> None:
    with client(small.dimse, Target("RECEIVER", small.dicom_port)) as pacs:
        found = candidates(pacs)
        with pytest.raises(SourceError, match=r"cannot listen at port \d+ .*--move-to"):
            dict(pacs.retrieve(*found[0]))


def test_the_receiver_listens_only_where_the_pacs_reaches_it(small: Orthanc) -> None:
    target = known_target(small)
    with client(small.dimse, target) as pacs:
        found = candidates(pacs)
        dict(pacs.retrieve(*found[0]))
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = {line[1] for line in lines if line[3] == "0A"}
        assert [address for address in listening if address.endswith(f":{target.port:04X}")] == [
            f"0100007F:{target.port:04X}"
        ]


def test_the_receiver_refuses_what_nobody_asked_for(small: Orthanc) -> None:
    target = known_target(small)
    with client(small.dimse, target) as pacs:
        found = candidates(pacs)
        assert len(dict(pacs.retrieve(*found[0]))) == 1
        sender = AE("SOMEBODY")
        sender.add_requested_context(NM)
        line = sender.associate("127.0.0.1", target.port, ae_title=target.aet)
        assert line.is_established
        status = line.send_c_store(pydicom.dcmread(BytesIO(encode_scan(Scan(9)))))
        line.release()
        assert status.Status == 0x0124
        assert len(dict(pacs.retrieve(*found[1]))) == 1


def test_another_ae_title_than_that_of_the_pacs_is_named_in_the_error(tmp_path: Path) -> None:
    with start_orthanc(tmp_path, DicomCheckCalledAet=True) as server:
        address = server.dimse.replace("ORTHANC", "OTHER")
        with client(address) as pacs, pytest.raises(SourceError, match="not the AE title OTHER"):
            list(pacs.studies(ALL))


def test_an_unknown_calling_ae_title_is_named_in_the_error(tmp_path: Path) -> None:
    nobody = dict.fromkeys(("DicomAlwaysAllowFind", "DicomAlwaysAllowGet", "DicomAlwaysAllowMove"), False)
    nobody |= {"DicomAlwaysAllowEcho": False, "DicomAlwaysAllowStore": False}
    with (
        start_orthanc(tmp_path, None, **nobody) as server,
        client(server.dimse, access=Access(aet="STRANGER")) as pacs,
        pytest.raises(SourceError, match=r"STRANGER.*--aet"),
    ):
        list(pacs.studies(ALL))


def test_nobody_at_the_port_is_an_error_at_once() -> None:
    (port,) = free_ports(1)
    with client(f"PACS@127.0.0.1:{port}") as pacs, pytest.raises(SourceError, match="cannot be reached"):
        list(pacs.studies(ALL))


def test_an_unknown_host_is_an_error() -> None:
    with client("PACS@no.such.host.invalid:104") as pacs, pytest.raises(SourceError, match="not known here"):
        list(pacs.studies(ALL))


def test_values_outside_ascii_are_searched_for(small: Orthanc) -> None:
    dataset = pydicom.dcmread(BytesIO(encode_scan(Scan(7))))
    dataset.SpecificCharacterSet, dataset.PatientID = "ISO_IR 100", "MÜLLER-7"
    buffer = BytesIO()
    dataset.save_as(buffer)
    small.load([buffer.getvalue()])
    with client(small.dimse) as pacs:
        assert len(list(pacs.studies(StudyFilter(patient="MÜLLER-7")))) == 1


def test_no_association_is_kept_while_hours_are_waited_for(small: Orthanc) -> None:
    moments = iter([datetime(2026, 3, 1, 21), datetime(2026, 3, 1, 7), datetime(2026, 3, 1, 20)])
    open_lines: list[int] = []

    def sleep(_: float) -> None:
        small.rest("system")
        time.sleep(0.2)
        open_lines.append(small.count("Association Received") - small.count("Association Release"))

    pace = SteadyPace(hours=Hours.parse("20:00-06:00"), sleep=sleep, local_time=lambda: next(moments))
    with DimseClient(small.dimse, Access(), pace) as pacs:
        list(pacs.studies(ALL))
        list(pacs.studies(ALL))
    assert open_lines == [0]


def test_no_answer_is_lost_between_many_queries(small: Orthanc) -> None:
    with client(small.dimse) as pacs:
        studies = list(pacs.studies(ALL))
        assert {len(pacs.objects(study)) for _ in range(80) for study in studies} == {1}


@contextmanager
def peer_of(contexts: list[str], handlers: list[evt.EventHandlerType], busy: int = 0) -> Iterator[str]:
    """A small DICOM server with manners that Orthanc lacks; at first it is busy for some associations."""
    entity = AE("PEER")
    for context in contexts:
        entity.add_supported_context(context)
    refused = iter(range(busy))

    def refuse(event: evt.Event) -> None:
        if next(refused, None) is not None:
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)  # transient, by the provider, local limit exceeded
            event.assoc.kill()

    (port,) = free_ports(1)
    server = entity.start_server(("127.0.0.1", port), False, None, [*handlers, (evt.EVT_REQUESTED, refuse)])
    assert server is not None
    try:
        yield f"PEER@127.0.0.1:{port}"
    finally:
        server.shutdown()


def answer_nothing(event: evt.Event) -> Iterator[tuple[int, None]]:
    yield 0x0000, None


def test_a_pacs_without_get_is_answered_with_the_way_by_move() -> None:
    with peer_of([FIND], [(evt.EVT_C_FIND, answer_nothing)]) as address, client(address) as pacs:
        assert not list(pacs.studies(ALL))
        with pytest.raises(SourceError, match=r"C-GET.*--move-to AET:PORT"):
            dict(pacs.retrieve(PacsStudy("1.2"), [PacsObject("1.2.3", "1.2.3.4")]))


def test_a_pacs_without_queries_is_an_error() -> None:
    with peer_of([GET], []) as address, client(address) as pacs, pytest.raises(SourceError, match="C-FIND"):
        list(pacs.studies(ALL))


def test_a_busy_pacs_is_asked_again() -> None:
    with peer_of([FIND], [(evt.EVT_C_FIND, answer_nothing)], busy=2) as address, client(address) as pacs:
        assert not list(pacs.studies(ALL))


def test_a_pacs_that_stays_busy_is_an_error() -> None:
    with (
        peer_of([FIND], [(evt.EVT_C_FIND, answer_nothing)], busy=99) as address,
        client(address) as pacs,
        pytest.raises(SourceError, match="no further association"),
    ):
        list(pacs.studies(ALL))


def test_a_query_whose_association_is_aborted_is_sent_again() -> None:
    aborts = iter([True])

    def abort_once(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        if next(aborts, False):
            event.assoc.abort()
            return
        study = Dataset()
        study.StudyInstanceUID, study.ModalitiesInStudy = "1.2.3", ["CT", "NM"]
        yield 0xFF00, study
        yield 0x0000, None

    with peer_of([FIND], [(evt.EVT_C_FIND, abort_once)]) as address, client(address) as pacs:
        assert [study.uid for study in pacs.studies(ALL)] == ["1.2.3"]


def test_a_query_that_is_always_aborted_ends_with_an_error() -> None:
    def abort(event: evt.Event) -> Iterator[tuple[int, None]]:
        event.assoc.abort()
        yield 0x0000, None

    with (
        peer_of([FIND], [(evt.EVT_C_FIND, abort)]) as address,
        client(address) as pacs,
        pytest.raises(SourceError, match="at every query"),
    ):
        list(pacs.studies(ALL))


def test_a_query_that_the_pacs_cannot_answer_shows_its_status_and_no_comment() -> None:
    def fail(event: evt.Event) -> Iterator[tuple[Dataset, None]]:
        status = Dataset()
        status.Status, status.ErrorComment = 0xA700, PATIENT_NAME
        yield status, None

    with peer_of([FIND], [(evt.EVT_C_FIND, fail)]) as address, client(address) as pacs:
        with pytest.raises(SourceError, match=r"0xa700.*--since") as caught:
            list(pacs.studies(ALL))
        assert PATIENT_NAME not in str(caught.value)
        with pytest.raises(ItemError, match="0xa700"):
            pacs.objects(PacsStudy("1.2"))


def test_studies_that_a_pacs_finds_against_the_query_are_left_out() -> None:
    def answer_all(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for number, (modality, accession) in enumerate([("NM", "A"), ("CT", "A"), ("NM", "B")]):
            study = Dataset()
            study.StudyInstanceUID, study.ModalitiesInStudy, study.AccessionNumber = f"1.{number}", modality, accession
            yield 0xFF00, study
        yield 0x0000, None

    with peer_of([FIND], [(evt.EVT_C_FIND, answer_all)]) as address, client(address) as pacs:
        assert [study.uid for study in pacs.studies(StudyFilter(accession="A"))] == ["1.0"]


@pytest.mark.parametrize(("lists", "warnings"), [([1, 2], 0), ([1, 1], 1)])
def test_a_series_with_fewer_objects_than_it_counts_is_listed_once_more_and_then_reported(
    caplog: pytest.LogCaptureFixture, lists: list[int], warnings: int
) -> None:
    listed = iter(lists)

    def answer(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        found = Dataset()
        if event.identifier.QueryRetrieveLevel == "SERIES":
            found.SeriesInstanceUID, found.Modality, found.NumberOfSeriesRelatedInstances = "1.2.3", "NM", 2
            yield 0xFF00, found
        else:
            for number in range(next(listed)):
                found.SOPInstanceUID = f"1.2.3.{number}"
                yield 0xFF00, found
        yield 0x0000, None

    with peer_of([FIND], [(evt.EVT_C_FIND, answer)]) as address, client(address) as pacs:
        assert len(pacs.objects(PacsStudy("1.2"))) == lists[-1]
    assert [record.getMessage() for record in caplog.records] == [
        "the PACS counts 2 objects in a series and lists 1"
    ] * warnings


def test_logs_of_pynetdicom_reach_no_handler(orthanc: Orthanc, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("pynetdicom.acse").setLevel(logging.DEBUG)
    try:
        with client(orthanc.dimse) as pacs:
            assert candidates(pacs, StudyFilter(patient="SECRET-ID-4711"))
            assert not [record for record in caplog.records if record.name.startswith("pynetdicom")]
    finally:
        logging.getLogger("pynetdicom.acse").setLevel(logging.NOTSET)


def test_a_line_for_other_classes_is_negotiated_anew(small: Orthanc) -> None:
    line = Line(Peer.parse(small.dimse), "BSBATCH")
    first = line.take(frozenset({NM}))
    assert line.take(frozenset({NM})) is first
    other: Association = line.take(frozenset({"1.2.840.10008.5.1.4.1.1.7.3"}))
    assert other is not first
    assert line.take(frozenset({NM})) is other
    line.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate that it signs itself, for both sides."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return folder


@pytest.mark.parametrize("moves", [False, True])
def test_tls_is_spoken_with_certificates_of_both_sides(tmp_path: Path, authority: Path, moves: bool) -> None:
    files = {
        "DicomTlsCertificate": str(authority / "certificate.pem"),
        "DicomTlsPrivateKey": str(authority / "key.pem"),
        "DicomTlsTrustedCertificates": str(authority / "certificate.pem"),
    }
    access = Access(certificate=authority / "both.pem", authority=authority / "certificate.pem")
    with start_orthanc(tmp_path, None, DicomTlsEnabled=True, **files) as server:
        server.load([encode_scan(Scan(0)), encode_ct(1)])
        target = known_target(server) if moves else None
        if target is not None:
            known = {"AET": target.aet, "Host": "127.0.0.1", "Port": target.port, "UseDicomTls": True}
            server.rest(f"modalities/{target.aet}", json.dumps(known).encode(), "PUT")
        with client(server.dimse, target, access=access) as pacs:
            arrived, missing = fetched(pacs)
        assert len(arrived) == 1
        assert not missing
        with client(server.dimse) as pacs, pytest.raises(SourceError):
            list(pacs.studies(ALL))
        stranger = Access(authority=Path(ssl.get_default_verify_paths().openssl_cafile))
        if stranger.authority is not None and stranger.authority.exists():
            with client(server.dimse, access=stranger) as pacs, pytest.raises(SourceError, match="with TLS"):
                list(pacs.studies(ALL))


def test_a_receiver_with_tls_needs_a_certificate_and_an_authority(authority: Path) -> None:
    with pytest.raises(UsageError, match="--certificate and --ca"):
        client("PACS@127.0.0.1:104", Target("RECEIVER", 11112), access=Access(authority=authority / "certificate.pem"))
