"""SIP messages as values."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connector.lab import sip

INVITE = (
    b"INVITE sip:agent1@127.0.0.1:4 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKx\r\n"
    b'f: "A" <sip:alice@127.0.0.1>;tag=abc\r\nTo: <sip:agent1@127.0.0.1>\r\ni: id1\r\nCSeq: 7 INVITE\r\n'
    b"Contact: <sip:asterisk@127.0.0.1:5>\r\n\r\n"
    b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0 101\r\na=sendonly\r\n"
)


def test_a_request_is_read_and_answered() -> None:
    invite = sip.decode(INVITE)
    assert invite is not None
    assert (invite.method, invite.status, invite.cseq) == ("INVITE", 0, (7, "INVITE"))
    assert sip.tag(invite.get("From")) == "abc"
    assert sip.uri(invite.get("From")) == "sip:alice@127.0.0.1"
    assert sip.media_address(invite.body) == ("127.0.0.1", 4000)
    assert sip.direction(invite.body) == "sendonly"
    answer = sip.decode(sip.response(invite, 200, "OK", to_tag="me", body=sip.sdp("127.0.0.1", 6, 1)).encode())
    assert answer is not None
    assert (answer.status, answer.method, sip.tag(answer.get("To"))) == (200, "", "me")
    assert answer.get("Via") == invite.get("via")
    assert sip.media_address(answer.body) == ("127.0.0.1", 6)
    assert int(answer.get("Content-Length")) == len(answer.body)


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\r\n\r\n", b"\xff\xfe", b"HELLO\r\n\r\n", b"SIP/2.0 x OK\r\nVia: a\r\nCall-ID: b\r\nCSeq: 1 A\r\n\r\n"],
)
def test_what_is_no_sip_is_none(datagram: bytes) -> None:
    assert sip.decode(datagram) is None


@given(st.binary(max_size=300))
def test_nothing_that_comes_raises(datagram: bytes) -> None:
    sip.decode(datagram)
    sip.decode(INVITE[:150] + datagram)


def test_port_0_and_no_sdp_mean_no_audio() -> None:
    assert sip.media_address("") is None
    for port in ("0", "x"):
        assert sip.media_address(f"c=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 0\r\n") is None
