"""What several protocols share: JSON read without trust, base64, ids by hash, frames gathered to longer messages."""

from __future__ import annotations

import binascii
import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from connector.dialects.base import MAX_DETAIL, BotAudio, RejectCause, Rejected, WireMessage
from connector.dialects.commands import MAX_DATA_BYTES, MAX_DIGITS, MAX_HEADERS, MAX_TEXT

MAX_NAME = 512
"""Longest name of a mark; what a bot sends comes back to it."""

Json = dict[str, Any]

DIGITS = frozenset("0123456789ABCDabcd*#wW")


def text(value: object) -> str:
    """A message as JSON text."""
    return msgspec.json.encode(value).decode()


def read_object(message: WireMessage) -> Json | Rejected:
    """A text message as a JSON object."""
    if not isinstance(message, str):
        return Rejected(RejectCause.NOT_TEXT, f"binary message of {len(message)} bytes")
    try:
        value = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return Rejected(RejectCause.NOT_JSON, str(error)[:MAX_DETAIL])
    if not isinstance(value, dict):
        return Rejected(RejectCause.BAD_SHAPE, "the message is no JSON object")
    return value


def scalar(value: Json, *names: str) -> str | None:
    """The first of these members that there is, as text: bots write `streamSid`, `stream_sid`, 1 and "1" alike."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str):
            return found
        if isinstance(found, int | float) and not isinstance(found, bool):
            return str(found)
    return None


def member(value: Json, name: str) -> Json:
    """An object inside an object; empty where there is none."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def read_audio(payload: object, about: str = "media without its payload") -> BotAudio | Rejected:
    """Audio in base64."""
    if not isinstance(payload, str):
        return Rejected(RejectCause.BAD_SHAPE, about)
    try:
        return BotAudio(binascii.a2b_base64(payload, strict_mode=True))
    except ValueError as error:  # binascii.Error, and ValueError for what is not ASCII
        return Rejected(RejectCause.BAD_BASE64, str(error)[:MAX_DETAIL])


def base64(payload: bytes) -> str:
    """Audio as base64."""
    return binascii.b2a_base64(payload, newline=False).decode("ascii")


def unknown_event(event: object) -> Rejected:
    """For an event that the protocol does not have."""
    shown = event[:64] if isinstance(event, str) else type(event).__name__
    return Rejected(RejectCause.UNKNOWN_EVENT, f"event {shown!r}")


def bad_shape(detail: str) -> Rejected:
    """For an event that lacks what it needs."""
    return Rejected(RejectCause.BAD_SHAPE, detail[:MAX_DETAIL])


def short(value: object) -> str:
    """Text of a bot, cut to what a command may hold; anything else is empty."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def short_headers(value: object) -> dict[str, str]:
    """Headers of a bot: those that are text, a bounded number of them."""
    if not isinstance(value, Mapping):
        return {}
    pairs = [(name, held) for name, held in value.items() if isinstance(name, str) and isinstance(held, str)]
    return {name[:128]: held[:MAX_TEXT] for name, held in pairs[:MAX_HEADERS]}


def short_json(value: object) -> str:
    """Data of a bot as JSON text; empty braces where it is longer than a command may hold."""
    encoded = msgspec.json.encode(value)
    return encoded.decode() if len(encoded) <= MAX_DATA_BYTES else "{}"


def read_digits(value: object) -> str | None:
    """Digits to be pressed, or None where it is something else."""
    digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(digits, str) or not 0 < len(digits) <= MAX_DIGITS or not DIGITS.issuperset(digits):
        return None
    return digits


def hashed(ours: str) -> str:
    """32 hex digits of an id of ours, always the same for the same id, which tell nothing of the PBX."""
    return hashlib.sha256(ours.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def hashed_uuid(ours: str) -> str:
    """An id of ours as a UUID (RFC 9562 version 8: its content is the maker's own business)."""
    raw = bytearray.fromhex(hashed(ours))
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


class VendorIds(NamedTuple):
    """What a bot knows its stream by, in the vendor's form."""

    account: str
    call: str
    stream: str


class WholeSamples:
    """16 bit audio of a peer that may cut it anywhere, even through a sample."""

    def __init__(self) -> None:
        self._odd = b""

    def add(self, payload: bytes) -> bytes:
        """What is there in whole samples; half of one waits for its other half."""
        if not self._odd and not len(payload) % 2:
            return payload
        payload = self._odd + payload
        whole = len(payload) - len(payload) % 2
        self._odd = payload[whole:]
        return payload[:whole]

    @property
    def whole(self) -> bool:
        """Whether no half of a sample waits."""
        return not self._odd

    def clear(self) -> None:
        """The next audio begins with a whole sample."""
        self._odd = b""


def with_query(url: str, **pairs: object) -> str:
    """A URL with these pairs in its query, where it has no such name yet; what else it has stays as it is."""
    parts = urlsplit(url)
    there = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    more = urlencode({name: value for name, value in pairs.items() if name not in there})
    query = "&".join(each for each in (parts.query, more) if each)
    return urlunsplit(parts._replace(query=query))


class Gather:
    """Frames of 20 ms made into messages of another length: some protocols want 100 ms in each.

    Args:
        size_bytes: Of one message.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._waiting = bytearray()
        self._since_ms = 0

    def add(self, payload: bytes, timestamp_ms: int) -> tuple[bytes, int] | None:
        """A frame.

        Returns:
            A whole message and the time of its beginning, once there is enough. No more than one: frames are shorter.
        """
        if not self._waiting:
            self._since_ms = timestamp_ms
        self._waiting += payload
        if len(self._waiting) < self._size_bytes:
            return None
        whole = bytes(self._waiting[: self._size_bytes])
        del self._waiting[: self._size_bytes]
        since_ms, self._since_ms = self._since_ms, timestamp_ms
        return whole, since_ms

    def rest(self) -> tuple[bytes, int] | None:
        """What waits, at the end; None if nothing does."""
        if not self._waiting:
            return None
        rest = bytes(self._waiting)
        self._waiting.clear()
        return rest, self._since_ms
