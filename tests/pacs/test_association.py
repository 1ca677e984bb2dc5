import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.dicom.pixels import READABLE_SYNTAXES
from bsbatch.errors import UsageError
from bsbatch.pacs.association import COMMON_CLASSES, FIND, GET, MOST_CLASSES, Peer, check_ae_title, contexts_of
from bsbatch.pacs.receiver import Target

TITLES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=16
)
HOSTS = st.sampled_from(["pacs", "pacs.example.org", "10.0.0.7", "[::1]"])


@given(TITLES.filter(str.strip), HOSTS, st.integers(0, 65535))
def test_an_address_is_read_as_it_is_written(title: str, host: str, port: int) -> None:
    peer = Peer.parse(f"{title}@{host}:{port}")
    assert peer == (title.strip(), host.strip("[]"), port)


@given(st.text() | st.from_regex(r".{0,20}@.{0,9}:\d{0,6}"))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        peer = Peer.parse(text)
    except UsageError:
        return
    assert text.endswith(f":{peer.port}") or re.fullmatch(r".*:0+\d*", text)
    assert 1 <= len(peer.aet) <= 16
    assert peer.host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PACS",
        "PACS@host",
        "PACS@host:",
        "@host:104",
        "PACS@host:65536",
        "PACS@host:\u0660",
        "A" * 17 + "@host:104",
        "PACS@::1:104",
    ],
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        Peer.parse(text)


@pytest.mark.parametrize("title", ["", "   ", "A\\B", "ä", "A\n", "A" * 17])
def test_what_is_no_ae_title_is_a_usage_error(title: str) -> None:
    with pytest.raises(UsageError, match="AE title"):
        check_ae_title(title)


def test_every_syntax_that_is_read_has_a_context_of_its_own_and_an_association_has_room_for_them() -> None:
    assert len(COMMON_CLASSES) <= MOST_CLASSES
    contexts = contexts_of(COMMON_CLASSES, (FIND, GET))
    assert len(contexts) <= 128
    pairs = {(str(context.abstract_syntax), tuple(map(str, context.transfer_syntax))) for context in contexts}
    assert {(kind, (syntax,)) for kind in COMMON_CLASSES for syntax in READABLE_SYNTAXES} <= pairs


@given(TITLES.filter(str.strip), st.integers(0, 65535))
def test_a_receiver_is_read_as_it_is_written(title: str, port: int) -> None:
    assert Target.parse(f"{title}:{port}") == (title.strip(), port)


@pytest.mark.parametrize("text", ["", "AET", "AET:", ":104", "AET:65536", "AET:-1", "A" * 17 + ":104"])
def test_what_is_no_receiver_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        Target.parse(text)
