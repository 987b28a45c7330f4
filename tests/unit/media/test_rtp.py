import struct

from hypothesis import example, given, strategies as st

from connector.media.rtp import (
    MAX_DATAGRAM_BYTES,
    RtpPacket,
    RtpReject,
    RtpSender,
    build,
    int16,
    int32,
    parse,
    uint16,
    uint32,
)

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127).filter(lambda pt: not 64 <= pt <= 95),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=500),
    marker=st.booleans(),
)
PACKET = RtpPacket(0, 7, 160, 99, b"\xff" * 160)
PLAIN = build(PACKET)


@given(st.binary(max_size=MAX_DATAGRAM_BYTES + 50))
@example(b"")
@example(b"\x80")
@example(b"\xbf\x00" + bytes(10))
def test_anything_is_a_packet_or_a_cause(datagram: bytes) -> None:
    assert isinstance(parse(datagram), RtpPacket | RtpReject)


@given(packets)
def test_round_trip(packet: RtpPacket) -> None:
    assert parse(build(packet), payload_type=None) == packet


@given(packets, st.integers(0, 15), st.none() | st.integers(0, 20), st.integers(0, 255))
def test_csrcs_extension_and_padding_are_stripped(
    packet: RtpPacket, csrcs: int, words: int | None, padding: int
) -> None:
    datagram = bytearray(build(packet))
    datagram[0] |= csrcs | (0x10 if words is not None else 0) | (0x20 if padding else 0)
    extra = bytes(4 * csrcs) + (struct.pack("!HH", 0xBEDE, words) + bytes(4 * words) if words is not None else b"")
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    whole = bytes(datagram[:12]) + extra + bytes(datagram[12:]) + tail
    assert parse(whole, payload_type=None) == packet


def with_first(first: int, body: bytes = b"") -> bytes:
    return bytes([first]) + PLAIN[1:12] + body


def test_each_cause() -> None:
    assert parse(PLAIN[:11]) is RtpReject.TOO_SHORT
    assert parse(b"\x80") is RtpReject.TOO_SHORT
    assert parse(PLAIN + bytes(MAX_DATAGRAM_BYTES)) is RtpReject.TOO_LONG
    assert parse(with_first(0x40)) is RtpReject.WRONG_VERSION
    assert parse(with_first(0xC0)) is RtpReject.WRONG_VERSION
    assert parse(b"\x80\xc8\x00\x06" + bytes(24)) is RtpReject.RTCP
    assert parse(with_first(0x82, bytes(7))) is RtpReject.TRUNCATED_CSRC
    assert parse(with_first(0x90, bytes(3))) is RtpReject.TRUNCATED_EXTENSION
    assert parse(with_first(0x90, b"\xbe\xde\x00\x02" + bytes(7))) is RtpReject.TRUNCATED_EXTENSION
    assert parse(with_first(0xA0, b"\x00")) is RtpReject.BAD_PADDING
    assert parse(with_first(0xA0, b"\x01\x03")) is RtpReject.BAD_PADDING
    assert parse(with_first(0xA0)) is RtpReject.BAD_PADDING
    assert parse(build(RtpPacket(8, 1, 1, 1, b"x"))) is RtpReject.WRONG_PAYLOAD_TYPE


@given(st.integers(0, 0xFFFF), st.integers(-0x8000, 0x7FFF))
def test_sequence_distance_survives_the_wrap(sequence: int, step: int) -> None:
    assert int16(uint16(sequence + step) - sequence) == step


@given(st.integers(0, 0xFFFFFFFF), st.integers(-0x80000000, 0x7FFFFFFF))
def test_timestamp_distance_survives_the_wrap(timestamp: int, step: int) -> None:
    assert int32(uint32(timestamp + step) - timestamp) == step


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_sender_has_no_gap_in_sequence_and_keeps_real_time(skips: list[int]) -> None:
    sender = RtpSender(ssrc=1, sequence=0xFFF0, timestamp=0xFFFFFF00)
    expected = 0xFFFFFF00
    for index, skipped in enumerate(skips):
        packet = parse(sender.next(bytes(160), skipped * 160))
        assert isinstance(packet, RtpPacket)
        expected = uint32(expected + skipped * 160)
        assert (packet.sequence, packet.timestamp) == (uint16(0xFFF0 + index), expected)
        assert packet.marker is (index == 0)
        expected = uint32(expected + 160)
