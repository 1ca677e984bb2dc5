"""DICOMweb servers that page, filter, answer and fail otherwise than Orthanc, and the way into them."""

import base64
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.end_to_end.tables import bsbatch, bsbatch_process
from tests.pacs.scripted import Parameters, Reply, Scripted, as_json, make_certificate, serve
from tests.pacs.test_troubles import FIRST, SCANS, SECOND, THIRD

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.pacs import http
from bsbatch.pacs.access import CREDENTIALS, PASSPHRASE
from bsbatch.pacs.dicomweb import DicomWebClient
from bsbatch.pacs.pace import SteadyPace
from bsbatch.pacs.protocol import PacsObject, PacsStudy, StudyFilter
from bsbatch.pacs.settings import Access

SECRET = "s3cret-word"


class Unhurried(SteadyPace):
    """A pace whose pauses are over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def pause(self, duration: float) -> None:
        self.pauses.append(duration)


def client_of(server: Scripted, access: Access | None = None, pace: SteadyPace | None = None) -> DicomWebClient:
    return DicomWebClient(server.address, access or Access(), pace or Unhurried())


def study(number: int, **values: str) -> dict[str, object]:
    tags = {"patient": "00100020", "date": "00080020", "modality": "00080061", "accession": "00080050"}
    fields = {tags[name]: {"vr": "LO", "Value": [value]} for name, value in values.items()}
    return {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}, **fields}


def studies_of(answer: Callable[[str, Parameters], Reply], wanted: StudyFilter | None = None) -> list[str]:
    with serve(answer) as server, client_of(server) as client:
        return [found.uid for found in client.studies(wanted or StudyFilter())]


def paged(number: int, most: int = 10**6) -> Callable[[str, Parameters], Reply]:
    """A server with so many studies, and with pages of at most ``most``."""
    found = [study(at) for at in range(number)]

    def answer(_path: str, query: Parameters) -> Reply:
        offset = int(query["offset"])
        return as_json(*found[offset : offset + min(int(query["limit"]), most)])

    return answer


@pytest.mark.parametrize("number", [0, 1, 199, 200, 201, 450])
@pytest.mark.parametrize("most", [100, 10**6])
def test_all_pages_are_read(number: int, most: int) -> None:
    assert studies_of(paged(number, most)) == [f"1.2.{at}" for at in range(number)]


def test_a_server_that_ignores_limit_and_offset_is_asked_once() -> None:
    assert len(studies_of(lambda _path, _query: as_json(*(study(at) for at in range(450))))) == 450


def test_a_server_that_ignores_the_offset_alone_is_an_error_and_no_loss() -> None:
    with pytest.raises(SourceError, match="ignores the offset"):
        studies_of(lambda _path, query: as_json(*(study(at) for at in range(int(query["limit"])))))


def test_no_answer_and_an_empty_one_are_no_studies() -> None:
    assert studies_of(lambda _path, _query: Reply(204)) == []
    assert studies_of(lambda _path, _query: Reply(body=b"[]", kind="application/json")) == []


def test_a_server_that_ignores_filters_is_filtered_here() -> None:
    found = [
        study(1, patient="P1", date="20260105", modality="NM"),
        study(2, patient="P2", date="20260105", modality="NM"),
        study(3, patient="P1", date="20251231", modality="NM"),
        study(4, patient="P1", date="20260201", modality="NM"),
        study(5, patient="P1", date="20260105", modality="CT"),
        study(6, patient="P1 "),  # it returns neither date nor modality
        {"broken": 1},
    ]
    wanted = StudyFilter("20260101-20260131", patient="P1")

    assert studies_of(lambda _path, _query: as_json(*found), wanted) == ["1.2.1", "1.2.6"]


def test_values_are_escaped_in_addresses() -> None:
    with serve(lambda _path, _query: as_json()) as server, client_of(server) as client:
        list(client.studies(StudyFilter(accession="A&B=/ü #1")))
        client.objects(PacsStudy("1.2/../3"))

    (_, query, _), (path, _, _) = server.requests
    assert query["AccessionNumber"] == "A&B=/ü #1"
    assert path == "studies/1.2%2F..%2F3/series"


def test_series_of_other_modalities_are_not_looked_at() -> None:
    series = [({"Value": ["NM"]}, "1"), ({"Value": ["CT"]}, "2"), ({}, "3")]
    listed = [{"0020000E": {"Value": [uid]}, "00080060": modality} for modality, uid in series]

    def answer(path: str, _query: Parameters) -> Reply:
        return as_json(*listed) if path.endswith("series") else as_json({"00080018": {"Value": ["9"]}})

    with serve(answer) as server, client_of(server) as client:
        found = client.objects(PacsStudy("1.2"))

    assert [item.series_uid for item in found] == ["1", "3"]
    assert [path for path, _, _ in server.requests][1:] == [f"studies/1.2/series/{uid}/instances" for uid in ("1", "3")]


def multipart(*bodies: bytes, end: bytes = b"--x--") -> Reply:
    parts = [b"--x\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies]
    return Reply(body=b"".join(parts) + end, kind='multipart/related; type="application/dicom"; boundary="x"')


def retrieve(answer: Callable[[str, Parameters], Reply], size: int | None = None) -> tuple[dict[str, bytes], list[str]]:
    """What came before an error, and the paths that were asked for."""
    objects = [PacsObject("1.2.3", uid, series_size=size) for uid in SCANS]
    came: dict[str, bytes] = {}
    with serve(answer) as server, client_of(server) as client:
        try:
            came |= client.retrieve(PacsStudy("1.2"), objects)
        except ItemError:
            came |= {"error": b""}
        return came, [path.removeprefix("studies/1.2/series/1.2.3") for path, _, _ in server.requests]


def test_a_whole_series_is_one_request_and_a_part_of_one_is_not() -> None:
    came, asked = retrieve(lambda _path, _query: multipart(*SCANS.values()), size=3)
    assert (came, asked) == (SCANS, [""])

    came, asked = retrieve(lambda path, _query: multipart(SCANS[path.split("/")[-1]]), size=4)
    assert (came, asked) == (SCANS, [f"/instances/{uid}" for uid in SCANS])


def test_an_object_that_is_not_multipart_is_read_as_well() -> None:
    def answer(path: str, _query: Parameters) -> Reply:
        return Reply(body=SCANS[path.rsplit("/", maxsplit=1)[-1]], kind="application/dicom")

    assert retrieve(answer)[0] == SCANS


@pytest.mark.parametrize(
    "failure",
    [
        Reply(500),
        Reply(404),
        Reply(body=b"<html>", kind="text/html"),
        multipart(SCANS[SECOND], end=b""),
        Reply(body=multipart(SCANS[SECOND]).body[:99999], kind=multipart().kind, claims=10**7),
        Reply(body=b"", kind=multipart().kind),
    ],
)
def test_one_object_that_fails_does_not_stop_the_others(failure: Reply) -> None:
    def answer(path: str, _query: Parameters) -> Reply:
        uid = path.rsplit("/", maxsplit=1)[-1]
        return failure if uid == SECOND else multipart(SCANS[uid])

    came, asked = retrieve(answer)

    assert came.keys() - {SECOND} == {FIRST, THIRD, "error"}
    assert len(asked) == 3


def test_pixels_are_asked_for_as_they_are_stored_and_without_gzip() -> None:
    with serve(lambda _path, _query: multipart(SCANS[FIRST])) as server, client_of(server) as client:
        list(client.retrieve(PacsStudy("1"), [PacsObject("2", FIRST)]))

    headers = server.requests[0][2]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401), "check --credentials"),
        (Reply(403), "check --credentials"),
        (Reply(302, headers={"Location": "http://elsewhere.example/"}), "has moved"),
        (Reply(404), "Check the address"),
        (Reply(body=b"  <!DOCTYPE html>", kind="text/html"), "page"),
        (Reply(body=b'{"no": "list"}'), "something else"),
        (Reply(body=b"[" * 10**5), "something else"),
    ],
)
def test_a_server_that_cannot_be_used_says_what_to_do(reply: Reply, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        studies_of(lambda _path, _query: reply)


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    replies = [Reply(503, headers={"Retry-After": "7"}), Reply(429), Reply(503, headers={"Retry-After": "99999"})]
    replies.append(as_json(study(1)))
    pace = Unhurried()

    with serve(lambda _path, _query: replies.pop(0)) as server, client_of(server, pace=pace) as client:
        assert [found.uid for found in client.studies(StudyFilter())] == ["1.2.1"]

    assert pace.pauses[0] == 7
    assert 0 < pace.pauses[1] < 3
    assert pace.pauses[2:] == [900]


def test_a_server_that_stays_busy_stops_the_command() -> None:
    with pytest.raises(SourceError, match="busy"):
        studies_of(lambda _path, _query: Reply(503))


def test_nothing_at_the_address_is_an_error_without_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lambda _path, _query: as_json()) as server:
        port = server.port
    (tmp_path / "list").write_text("PATIENT-77\n")

    done = bsbatch_process(
        "fetch", f"dicomweb:http://127.0.0.1:{port}/dicom-web", tmp_path / "m", "--patients", tmp_path / "list"
    )

    assert done.returncode == 4
    assert "does not answer" in done.stderr
    assert "PATIENT-77" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("secret", "sent"),
    [
        (f"user:{SECRET}", "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()),
        (f"Bearer {SECRET}\n", f"Bearer {SECRET}"),
    ],
)
def test_credentials_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, sent: str
) -> None:
    (tmp_path / "secret").write_text(secret)
    with serve(lambda _path, _query: as_json()) as server:
        with client_of(server, Access(credentials=tmp_path / "secret")) as client:
            list(client.studies(StudyFilter()))
        monkeypatch.setenv(CREDENTIALS, secret)
        with client_of(server) as client:
            list(client.studies(StudyFilter()))

    assert [headers["Authorization"] for _, _, headers in server.requests] == [sent, sent]


@pytest.mark.parametrize("secret", ["s3cret", "Bearer", "Bearer s3 cret", "a b:s3cret", "user:s3cret\nsecond"])
def test_what_is_no_credentials_is_refused_without_being_shown(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, secret)
    with pytest.raises(UsageError, match="credentials are one line") as refused:
        DicomWebClient("http://pacs.example/dicom-web", Access(), SteadyPace())
    assert "s3" not in str(refused.value)


def test_no_secret_is_shown_if_access_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS, f"user:{SECRET}")
    with serve(lambda _path, _query: Reply(401, body=SECRET.encode())) as server:
        done = bsbatch("fetch", f"dicomweb:{server.address}", tmp_path / "m")

    assert done.returncode == 4
    assert "refuses access" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_certificate_of_the_server_is_checked_and_ours_is_shown(tmp_path: Path) -> None:
    theirs, ours = make_certificate(tmp_path, "server"), make_certificate(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs)
    context.load_verify_locations(ours)
    context.verify_mode = ssl.CERT_REQUIRED
    with serve(lambda _path, _query: as_json(study(1)), context) as server:
        with client_of(server, Access(certificate=ours, authority=theirs)) as client:
            assert [found.uid for found in client.studies(StudyFilter())] == ["1.2.1"]
        with (
            client_of(server) as client,
            pytest.raises(SourceError, match=r"cannot be trusted .*check the address, --ca"),
        ):
            list(client.studies(StudyFilter()))


def test_a_key_with_a_passphrase_never_waits_for_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sealed = make_certificate(tmp_path, "client"), tmp_path / "sealed.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", plain, "-aes256", "-passout", f"pass:{SECRET}", "-out", sealed], check=True
    )
    sealed.write_bytes(sealed.read_bytes() + (tmp_path / "client.crt").read_bytes())

    with pytest.raises(UsageError, match=PASSPHRASE):
        DicomWebClient("https://pacs.example", Access(certificate=sealed), SteadyPace())
    monkeypatch.setenv(PASSPHRASE, SECRET)
    DicomWebClient("https://pacs.example", Access(certificate=sealed), SteadyPace())


@pytest.mark.parametrize(
    "address", ["pacs.example", "ftp://pacs.example", "https://", "https://user:word@pacs.example/", "http://[::1", ""]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        DicomWebClient(address, Access(), SteadyPace())


def test_retries_write_no_address_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with serve(lambda _path, _query: Reply(503)) as server:
        pass
    with client_of(server) as client, pytest.raises(SourceError):
        list(client.studies(StudyFilter(patient="PATIENT-77")))
    assert not caplog.records


def test_answers_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_JSON_BYTES", 1000)
    with pytest.raises(SourceError):
        studies_of(lambda _path, _query: Reply(body=json.dumps([study(at) for at in range(100)]).encode()))


def listing(path: str, _query: Parameters) -> Reply:
    """A server with ten studies of one object each."""
    if "instances/" in path:
        return multipart(SCANS[FIRST])
    if path == "studies":
        return as_json(*(study(number) for number in range(10)))
    return as_json({"0020000E": {"Value": ["1"]}, "00080060": {"Value": ["NM"]}, "00080018": {"Value": [FIRST]}})


def test_an_object_that_fails_is_exit_code_3(tmp_path: Path) -> None:
    def answer(path: str, query: Parameters) -> Reply:
        return Reply(500) if "instances/" in path else listing(path, query)

    with serve(answer) as server:
        done = bsbatch("fetch", f"dicomweb:{server.address}", tmp_path / "m")

    assert done.returncode == 3
    assert "refused 10" in " ".join(done.stdout.split())
    assert "the same command asks for it again" in done.stdout


def test_an_interruption_ends_pauses_and_keeps_what_was_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with serve(listing) as server:
        command = ["fetch", f"dicomweb:{server.address}", str(folder), "--rate", "0.02"]
        process = subprocess.Popen([sys.executable, "-m", "bsbatch", *command], stderr=subprocess.PIPE, text=True)
        while not list(folder.glob("objects/*/*.dcm")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "The same command goes on" in errors
    assert len(list(folder.glob("objects/*/*.dcm"))) == 1
