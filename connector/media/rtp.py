"""RTP packets as values (RFC 3550 section 5.1): parsed with every check at the edge, built without padding or CSRCs."""

from __future__ import annotations

import enum
import struct

import msgspec

HEADER_BYTES = 12
MAX_DATAGRAM_BYTES = 2_048
"""Longer is no telephone audio: 200 ms of mu-law are 1,612 bytes."""
PT_PCMU = 0
"""RFC 3551 section 6."""

_HEADER = struct.Struct("!BBHII")
_WORD = struct.Struct("!HH")


class RtpReject(enum.StrEnum):
    """Why a datagram was not used. A closed set: it is a metric label."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    WRONG_VERSION = "wrong_version"
    RTCP = "rtcp"
    """Packet types 192 to 223 in the second byte (RFC 5761 section 4)."""
    TRUNCATED_CSRC = "truncated_csrc"
    TRUNCATED_EXTENSION = "truncated_extension"
    BAD_PADDING = "bad_padding"
    WRONG_PAYLOAD_TYPE = "wrong_payload_type"
    UNKNOWN_SOURCE = "unknown_source"
    """No stream exchanges audio with the address it came from."""


class RtpPacket(msgspec.Struct, frozen=True, gc=False):
    """One packet; CSRCs, header extension and padding are stripped.

    Attributes:
        payload_type: 0 to 127.
        sequence: uint16.
        timestamp: uint32, in samples.
        ssrc: uint32.
        payload: The audio; may be empty.
        marker: First packet after silence (RFC 3551 section 4.1).
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False


def parse(datagram: bytes, *, payload_type: int | None = PT_PCMU) -> RtpPacket | RtpReject:
    """Reads a datagram from the network. Never raises.

    Args:
        datagram: As received.
        payload_type: The only payload type taken; None takes all.

    Returns:
        The packet, or why it is none.
    """
    size = len(datagram)
    if size > MAX_DATAGRAM_BYTES:
        return RtpReject.TOO_LONG
    if size < 2:
        return RtpReject.TOO_SHORT
    first, second = datagram[0], datagram[1]
    if first >> 6 != 2:
        return RtpReject.WRONG_VERSION
    if 192 <= second <= 223:
        return RtpReject.RTCP
    if size < HEADER_BYTES:
        return RtpReject.TOO_SHORT
    if payload_type is not None and second & 0x7F != payload_type:
        return RtpReject.WRONG_PAYLOAD_TYPE
    _, _, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    start, end = HEADER_BYTES, size
    if first & 0x3F:  # padding, extension or CSRCs: none of them in what Asterisk sends
        start += 4 * (first & 0x0F)
        if start > end:
            return RtpReject.TRUNCATED_CSRC
        if first & 0x10:
            if start + _WORD.size > end:
                return RtpReject.TRUNCATED_EXTENSION
            _, words = _WORD.unpack_from(datagram, start)
            start += _WORD.size + 4 * words
            if start > end:
                return RtpReject.TRUNCATED_EXTENSION
        if first & 0x20:
            # The last byte counts the padding and itself (section 5.1), so it is at least 1 and behind the header.
            padding = datagram[-1] if end > start else 0
            if padding == 0 or padding > end - start:
                return RtpReject.BAD_PADDING
            end -= padding
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, datagram[start:end], bool(second & 0x80))


def build(packet: RtpPacket) -> bytes:
    """The packet as a datagram: version 2, no padding, no extension, no CSRCs."""
    marker_and_type = packet.payload_type | (0x80 if packet.marker else 0)
    return _HEADER.pack(0x80, marker_and_type, packet.sequence, packet.timestamp, packet.ssrc) + packet.payload


def uint16(value: int) -> int:
    """Wraps to a sequence number."""
    return value & 0xFFFF


def uint32(value: int) -> int:
    """Wraps to a timestamp."""
    return value & 0xFFFFFFFF


def int16(value: int) -> int:
    """The signed distance of two sequence numbers: -32,768 to 32,767 (RFC 1982 serial arithmetic)."""
    return ((value + 0x8000) & 0xFFFF) - 0x8000


def int32(value: int) -> int:
    """The signed distance of two timestamps."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class RtpSender:
    """Numbers the packets of one outgoing stream: sequence without a gap, timestamp by real time.

    Args:
        ssrc: uint32, random (RFC 3550 section 8).
        sequence: First sequence number, random (section 5.1).
        timestamp: First timestamp, random.
    """

    def __init__(self, *, ssrc: int, sequence: int, timestamp: int) -> None:
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._marker = True

    @property
    def state(self) -> tuple[int, int, int, bool]:
        """Next sequence number, next timestamp, SSRC, and whether the next packet is the first of all."""
        return self._sequence, self._timestamp, self._ssrc, self._marker

    @state.setter
    def state(self, state: tuple[int, int, int, bool]) -> None:
        self._sequence, self._timestamp, self._ssrc, self._marker = state

    def next(self, payload: bytes, skipped_samples: int = 0) -> bytes:
        """The next datagram.

        Args:
            payload: One frame; its length in bytes is its duration in samples.
            skipped_samples: Time that passed without a packet, because this process stood still. Only the
                timestamp tells it: a gap in the sequence would be read as loss.
        """
        timestamp = uint32(self._timestamp + skipped_samples)
        datagram = build(RtpPacket(PT_PCMU, self._sequence, timestamp, self._ssrc, payload, self._marker))
        self._marker = False
        self._sequence = uint16(self._sequence + 1)
        self._timestamp = uint32(timestamp + len(payload))
        return datagram
