import gzip
import random
from collections.abc import Callable
from io import SEEK_END
from urllib.parse import quote
from zipfile import ZIP_DEFLATED

import pytest
from tests.sources.faults import Fault, Proxy, Rule, after, always, everywhere, first
from tests.sources.storages import zip_of
from tests.stores import BUCKET, GOOGLE, S3, Service, send

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.reasons import Reason, Stage
from bsbatch.records import ObjectRef
from bsbatch.sources import object_store
from bsbatch.sources.object_store import ObjectStoreSource

pytest_plugins = ["tests.store_fixtures"]

HEAD = 8192
AWKWARD = ["A", "a b/c", "a%20b", "a+b", "a-b", "a/b.dcm", "a0", "a#b?c&d=e", "tail ", "ä/ö", "日本/語", "\U0001f9b4"]
MANY = [f"{number:04}" for number in range(1100)]
Start = Callable[[Service], str]


@pytest.fixture
def many(faulty: Proxy, start_store: Start) -> ObjectStoreSource:
    """More objects than a page of a listing has, stored once."""
    if not names(ObjectStoreSource(f"{S3.address}/many")):
        fill(S3, "many", dict.fromkeys(MANY, bytes(9000)))
    faulty.seen.clear()
    return ObjectStoreSource(f"{S3.address}/many")


def fill(service: Service, prefix: str, objects: dict[str, bytes]) -> ObjectStoreSource:
    """Store objects below a prefix and return the source of that."""
    service.put_all({f"{prefix}/{key}": data for key, data in objects.items()})
    return ObjectStoreSource(f"{service.address}/{prefix}")


def put_raw(start: Start, key: str, data: bytes = b"raw") -> None:
    """Store an object in moto under a key that obstore refuses."""
    send("PUT", f"{start(S3)}/{BUCKET}/{quote(key)}", data)


def names(source: ObjectStoreSource) -> list[str]:
    return [ref.source for ref in source]


def outcome(head: bytes | ItemError) -> bytes | str:
    return head if isinstance(head, bytes) else head.reason


def opened(source: ObjectStoreSource, ref: ObjectRef) -> bytes:
    with source.open(ref) as stream:
        return stream.read()


def test_awkward_keys_come_in_their_order_and_are_read(service: Service, prefix: str) -> None:
    objects = {name: name.encode() * 5000 for name in AWKWARD}
    source = fill(service, prefix, objects)
    refs = list(source)

    assert {ref.source: ref.size for ref in refs} == {name: len(data) for name, data in objects.items()}
    assert [ref.source for ref in refs] == sorted(objects) or service.scheme == "az"  # Azurite sorts by UTF-16
    assert source.heads(refs, HEAD) == [objects[ref.source][:HEAD] for ref in refs]
    assert [opened(source, ref) for ref in refs] == [objects[ref.source] for ref in refs]


def test_the_prefix_ends_at_a_slash(service: Service, prefix: str) -> None:
    fill(service, f"{prefix}-longer", {"no": b"1"})

    assert names(fill(service, prefix, {"yes": b"1"})) == ["yes"]
    assert names(ObjectStoreSource(f"{service.address}/{prefix}/")) == ["yes"]


def test_an_empty_object_is_listed_and_read_without_a_request(faulty: Proxy, prefix: str) -> None:
    source = fill(S3, prefix, {"empty": b"", "full": b"1"})
    refs = list(source)
    faulty.seen.clear()

    assert source.heads(refs[:1], HEAD) == [b""]
    assert opened(source, refs[0]) == b""
    assert faulty.seen == []


def test_markers_of_folders_are_no_objects(faulty: Proxy, start_store: Start, prefix: str) -> None:
    for marker in ("", "a/", "a/b/", "real/"):
        put_raw(start_store, f"{prefix}/{marker}", b"")

    assert names(fill(S3, prefix, {"a/b/c": b"1", "real": b"2", "real!": b"3"})) == ["a/b/c", "real", "real!"]


def test_equal_content_has_an_equal_version_and_other_content_another(service: Service, prefix: str) -> None:
    (before,) = fill(service, prefix, {"x": b"1" * 10})
    (again,) = ObjectStoreSource(f"{service.address}/{prefix}")
    (later,) = fill(service, prefix, {"x": b"2" * 10})

    assert again == before
    assert later.version != before.version


def test_an_object_that_was_replaced_since_it_was_listed_fails_alone(service: Service, prefix: str) -> None:
    source = fill(service, prefix, {"x": b"1" * 10, "y": b"1"})
    x, y = source
    fill(service, prefix, {"x": b"2" * 10})

    with pytest.raises(ItemError, match="replaced"):
        source.open(x)
    assert opened(source, y) == b"1"


def test_an_object_that_was_deleted_since_it_was_listed_fails_alone(faulty: Proxy, prefix: str) -> None:
    source = fill(S3, prefix, {"x": b"1" * 10, "y": b"1"})
    refs = list(source)
    S3.connect().delete(f"{prefix}/x")

    assert [outcome(head) for head in source.heads(refs, HEAD)] == [Reason.READ_ERROR, b"1"]
    with pytest.raises(ItemError, match="deleted"):
        source.open(refs[0])


def test_requests_are_one_for_a_thousand_objects_and_one_for_each_head_and_each_candidate(
    faulty: Proxy, many: ObjectStoreSource
) -> None:
    faulty.seen.clear()
    refs = list(many)
    assert (len(refs), faulty.count(listings=True), faulty.count()) == (1100, 2, 0)

    many.heads(refs, HEAD)
    assert {request.range for request in faulty.seen if request.key} == {"bytes=0-8191"}
    assert (faulty.count(listings=True), faulty.count()) == (2, 1100)

    opened(many, refs[0])
    assert (faulty.count(listings=True), faulty.count()) == (2, 1101)


@pytest.mark.parametrize("bad", ["b//x", "b/../x", "b/./x", "b/q/../../x"])
def test_a_key_that_cannot_be_addressed_costs_no_more_than_its_folder(
    faulty: Proxy, start_store: Start, prefix: str, bad: str
) -> None:
    put_raw(start_store, f"{prefix}/{bad}")
    good = ["a", "b-/y", "b/s/u", "b/y", "b0", "c/x"]
    refs = list(fill(S3, prefix, dict.fromkeys(good, b"1")))
    (problem,) = (ref for ref in refs if ref.problem is not None)

    assert [ref.source for ref in refs if ref.problem is None] == good
    assert f"{bad}/".startswith(problem.source)
    assert problem.problem is not None
    assert (problem.problem.stage, problem.problem.reason) == (Stage.LIST, Reason.READ_ERROR)


def test_keys_that_cannot_be_addressed_among_thousands_lose_and_repeat_none_and_cost_few_requests(
    faulty: Proxy, start_store: Start, prefix: str
) -> None:
    for bad in ("m/050//x", "m/060/n/../x", "y//x"):
        put_raw(start_store, f"{prefix}/{bad}")
    good = [f"{folder}/{number:03}/1" for folder in "amz" for number in range(350)]
    source = fill(S3, prefix, dict.fromkeys(good, b"1"))
    faulty.seen.clear()

    assert names(source) == sorted([*good, "m/050/", "m/060/n/", "y/"])
    assert faulty.count(listings=True) < 200


def test_a_store_that_begins_each_listing_at_its_first_key_is_listed_to_its_end(
    start_store: Start, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    GOOGLE.use(start_store(GOOGLE), monkeypatch)
    keys = ["a/1", "m/050//x", "m/060/1", "m/070//x", "z/1"]

    assert names(fill(GOOGLE, prefix, dict.fromkeys(keys, b"1"))) == ["a/1", "m/050/", "m/060/1", "m/070/", "z/1"]


def test_a_bucket_whose_top_has_a_key_that_cannot_be_addressed_is_listed_behind_it(
    faulty: Proxy, start_store: Start, prefix: str
) -> None:
    put_raw(start_store, f"{prefix}/./x")

    assert names(fill(S3, prefix, {"a/b": b"1", "c": b"1"})) == ["/", "a/b", "c"]


@pytest.mark.parametrize("name", ["x.zip", "no-suffix", "x.dcm.gz", "x.iso"])
def test_a_container_in_a_bucket_is_not_opened_and_says_what_helps(faulty: Proxy, prefix: str, name: str) -> None:
    dicom = bytes(128) + b"DICM" + bytes(1000)
    contents = {"x.dcm.gz": gzip.compress(dicom), "x.iso": bytes(40000)}
    source = fill(S3, prefix, {name: contents.get(name, zip_of({"a": dicom}, ZIP_DEFLATED))})
    (head,) = source.heads(list(source), HEAD)

    assert isinstance(head, ItemError)
    assert head.reason == Reason.CONTAINER_NOT_OPENED
    assert "copy it into a folder" in head.message


ROWS = [
    (always(403, "AccessDenied", ".*/x"), Reason.PERMISSION_DENIED, "permission"),
    (always(403, "InvalidObjectState", ".*/x"), Reason.READ_ERROR, "restore"),
    (always(404, "NoSuchKey", ".*/x"), Reason.READ_ERROR, "deleted"),
    (always(500, "InternalError", ".*/x"), Reason.READ_ERROR, "run again"),
    (always(None, key=".*/x"), Reason.READ_ERROR, "run again"),
    (lambda request: Fault(bytes_sent=100) if str(request.key).endswith("/x") else None, Reason.READ_ERROR, "again"),
]


@pytest.mark.parametrize(("rule", "reason", "words"), ROWS, ids=["403", "archived", "404", "500", "broken", "cut"])
def test_one_object_that_cannot_be_read_is_one_row(
    faulty: Proxy, prefix: str, rule: Rule, reason: Reason, words: str
) -> None:
    source = fill(S3, prefix, {name: bytes(9000) for name in "wxyz"})
    refs = list(source)
    faulty.rule = rule
    heads = source.heads(refs, HEAD)

    assert [outcome(head) for head in heads] == [bytes(HEAD), reason, bytes(HEAD), bytes(HEAD)]
    with pytest.raises(ItemError, match=words) as caught:
        source.open(refs[1])
    assert caught.value.reason == reason
    assert prefix not in caught.value.message


STOPS = [
    (always(503, "SlowDown"), "fewer requests"),
    (always(429, "TooManyRequests"), "fewer requests"),
    (everywhere(403, "InvalidAccessKeyId"), "credentials"),
    (everywhere(400, "ExpiredToken"), "credentials"),
    (everywhere(404, "NoSuchBucket"), "no such bucket"),
    (everywhere(500, "InternalError"), "network"),
    (everywhere(None), "network"),
]


@pytest.mark.parametrize(("rule", "words"), STOPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_store_that_cannot_be_read_stops_the_run_and_nothing_secret_is_said(
    faulty: Proxy, prefix: str, rule: Rule, words: str
) -> None:
    source = fill(S3, prefix, {"patient": bytes(9000)})
    refs = list(source)
    faulty.rule = rule

    for attempt in (lambda: source.heads(refs, HEAD), lambda: source.open(refs[0])):
        with pytest.raises(SourceError, match=words) as caught:
            attempt()
        assert "run the same command" in str(caught.value)
        assert not any(secret in str(caught.value) for secret in ("nobody", "nothing", "secret", "patient"))
        assert caught.value.__suppress_context__


def test_throttling_stops_the_run_even_if_another_object_is_gone(faulty: Proxy, prefix: str) -> None:
    source = fill(S3, prefix, {"x": b"1", "y": b"1"})
    refs = list(source)
    S3.connect().delete(f"{prefix}/x")
    faulty.rule = always(503, "SlowDown", ".*/y")

    with pytest.raises(SourceError, match="fewer requests"):
        source.heads(refs, HEAD)


@pytest.mark.parametrize("fault", [Fault(503, "SlowDown"), Fault(429), Fault(500), Fault(None), Fault(bytes_sent=100)])
def test_a_short_disturbance_is_not_noticed(faulty: Proxy, many: ObjectStoreSource, fault: Fault) -> None:
    faulty.rule = after(1, first(1, fault))
    refs = list(many)
    assert [ref.source for ref in refs] == MANY
    faulty.rule = first(2, fault)
    assert many.heads(refs[:1], HEAD) == [bytes(HEAD)]
    faulty.rule = first(2, fault)
    assert opened(many, refs[0]) == bytes(9000)


def test_a_listing_that_breaks_off_stops_the_run_and_can_be_repeated(faulty: Proxy, many: ObjectStoreSource) -> None:
    faulty.rule = after(1, everywhere(None))
    refs = iter(many)
    assert [next(refs).source for _ in range(900)] == MANY[:900]
    with pytest.raises(SourceError, match="network"):
        list(refs)

    faulty.rule = lambda _: None
    assert names(many) == MANY


def test_a_large_object_is_read_in_parts(faulty: Proxy, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_WHOLE", 1000)
    monkeypatch.setattr(object_store, "_PART", 512)
    luck = random.Random(1)
    data = luck.randbytes(20000)
    source = fill(S3, prefix, {"x": data})
    (ref,) = source
    faulty.seen.clear()
    with source.open(ref) as stream:
        assert stream.read(100) == data[:100]
        assert [request.range for request in faulty.seen] == ["bytes=0-511"]
        for _ in range(50):
            start, count = luck.randrange(21000), luck.randrange(3000)
            stream.seek(start)
            assert stream.read(count) == data[start : start + count]
        assert stream.seek(-10, SEEK_END) == 19990
        assert stream.read() == data[-10:]


def test_a_large_object_that_is_replaced_between_two_parts_fails(
    faulty: Proxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_WHOLE", 1000)
    monkeypatch.setattr(object_store, "_PART", 512)
    source = fill(S3, prefix, {"x": bytes(2000)})
    (ref,) = source
    with source.open(ref) as stream:
        stream.read(10)
        fill(S3, prefix, {"x": bytes([1]) * 2000})
        stream.seek(1000)
        with pytest.raises(ItemError, match="replaced"):
            stream.read(10)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://no-such-bucket/x", "no such bucket"),
        (f"s3://{BUCKET}/a/../b", "prefix"),
        (f"s3://{BUCKET}/a//b", "prefix"),
        ("s3://", "no bucket"),
        ("az:///x", "no bucket"),
    ],
)
def test_an_address_that_cannot_be_listed_is_refused(faulty: Proxy, address: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ObjectStoreSource(address)


def test_credentials_that_are_refused_are_named_before_a_run_begins(faulty: Proxy) -> None:
    faulty.rule = everywhere(403, "InvalidAccessKeyId")

    with pytest.raises(UsageError, match=r"InvalidAccessKeyId.*credentials"):
        ObjectStoreSource(S3.address)
