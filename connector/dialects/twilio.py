"""Twilio Media Streams, the bidirectional kind (<Connect><Stream>): JSON text with mu-law in base64.

The messages are those of Twilio's page "Media Streams - WebSocket Messages"; numbers are strings there, except in
mediaFormat. A bot written for Twilio connects unchanged.
"""

from __future__ import annotations

import binascii
import hashlib

import msgspec

from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    RejectCause,
    Rejected,
    StreamStart,
    WireMessage,
)

NAME = "twilio"
_MAX_DETAIL = 200
_LEARN_FROM = 16
"""Shorter payloads say too little: their text may stand elsewhere in a message too."""


class _Media(msgspec.Struct):
    payload: str


class _Mark(msgspec.Struct):
    name: str


class _Message(msgspec.Struct, rename="camel"):
    event: str
    stream_sid: str | None = None
    media: _Media | None = None
    mark: _Mark | None = None


class _AnyMessage(msgspec.Struct):
    event: str


class Twilio:
    """One stream of Twilio's protocol.

    Args:
        start: What the bot is told. Its ids become sids by hash, so all messages of a call agree and nothing of the
            PBX is given away.
    """

    def __init__(self, start: StreamStart) -> None:
        self._stream_sid = sid("MZ", start.stream_id)
        self._call_sid = sid("CA", start.call_id)
        self._account_sid = sid("AC", "asterisk-connector")
        self._parameters = dict(start.parameters)
        self._sequence = 0
        self._chunk = 0
        self._decoder = msgspec.json.Decoder(_Message)
        self._media_tail = f'"}},"streamSid":"{self._stream_sid}"}}'
        self._learned: tuple[str, str] | None = None

    def opened(self) -> list[WireMessage]:
        """`connected` and `start`."""
        start = {
            "streamSid": self._stream_sid,
            "accountSid": self._account_sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "customParameters": self._parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        return [
            _text({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            self._numbered("start", "start", start),
        ]

    def audio(self, payload: bytes, timestamp_ms: int) -> WireMessage:
        """`media`. Put together by hand: it is sent 50 times a second for each call, and all of it is known ASCII."""
        self._sequence += 1
        self._chunk += 1
        encoded = binascii.b2a_base64(payload, newline=False).decode("ascii")
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{timestamp_ms}","payload":"{encoded}{self._media_tail}'
        )

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`."""
        return self._numbered("dtmf", "dtmf", {"track": "inbound_track", "digit": digit})

    def mark_played(self, name: str) -> WireMessage | None:
        """`mark`, with the name that the bot chose."""
        return self._numbered("mark", "mark", {"name": name})

    def closing(self) -> list[WireMessage]:
        """`stop`."""
        return [self._numbered("stop", "stop", {"accountSid": self._account_sid, "callSid": self._call_sid})]

    def decode(self, message: WireMessage) -> BotMessage:
        """Reads `media`, `mark` or `clear`; anything else is a protocol error at Twilio, here it is counted.

        A message without streamSid is taken: the socket has one stream, and many bots leave it out.
        """
        if self._learned is not None and isinstance(message, str) and (audio := self._as_learned(message)) is not None:
            return audio
        if not isinstance(message, str):
            return Rejected(RejectCause.NOT_TEXT, f"binary message of {len(message)} bytes")
        try:
            parsed = self._decoder.decode(message)
        except msgspec.ValidationError as error:
            return _unfit(message, error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return Rejected(RejectCause.NOT_JSON, str(error)[:_MAX_DETAIL])
        if parsed.event not in ("media", "mark", "clear"):
            return _unknown_event(parsed.event)
        if parsed.stream_sid is not None and parsed.stream_sid != self._stream_sid:
            return Rejected(RejectCause.WRONG_STREAM, f"streamSid {parsed.stream_sid[:64]!r}")
        if parsed.event == "clear":
            return BotClear()
        if parsed.event == "mark":
            if parsed.mark is None:
                return Rejected(RejectCause.BAD_SHAPE, "mark without its object 'mark'")
            return BotMark(parsed.mark.name)
        if parsed.media is None:
            return Rejected(RejectCause.BAD_SHAPE, "media without its object 'media'")
        payload = parsed.media.payload
        try:
            audio = BotAudio(binascii.a2b_base64(payload, strict_mode=True))
        except ValueError as error:  # binascii.Error, and ValueError for what is not ASCII
            return Rejected(RejectCause.BAD_BASE64, str(error)[:_MAX_DETAIL])
        if len(payload) >= _LEARN_FROM and message.count(payload) == 1:
            head, tail = message.split(payload)
            self._learned = head, tail
        return audio

    def _as_learned(self, message: str) -> BotAudio | None:
        """The audio of a message that is the last one but for its base64; None for any other.

        Nothing but base64 stands between the two parts, so it is the same JSON with another payload. A bot that
        numbers its messages is read by the general way each time.
        """
        assert self._learned is not None
        head, tail = self._learned
        if not (message.startswith(head) and message.endswith(tail)):
            return None
        try:
            return BotAudio(binascii.a2b_base64(message[len(head) : len(message) - len(tail)], strict_mode=True))
        except ValueError:
            return None

    def _numbered(self, event: str, key: str, value: object) -> str:
        self._sequence += 1
        return _text({"event": event, "sequenceNumber": str(self._sequence), key: value, "streamSid": self._stream_sid})


def sid(prefix: str, ours: str) -> str:
    """A Twilio id of ours: two letters and 32 hex digits, the same for the same input."""
    return prefix + hashlib.sha256(ours.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _unfit(message: str, error: msgspec.ValidationError) -> Rejected:
    """Valid so far as it was read, but not of our shape: perhaps an event that we do not know."""
    try:
        event = msgspec.json.decode(message, type=_AnyMessage).event
    except msgspec.ValidationError:
        return Rejected(RejectCause.BAD_SHAPE, str(error)[:_MAX_DETAIL])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as malformed:
        return Rejected(RejectCause.NOT_JSON, str(malformed)[:_MAX_DETAIL])
    if event in ("media", "mark", "clear"):
        return Rejected(RejectCause.BAD_SHAPE, str(error)[:_MAX_DETAIL])
    return _unknown_event(event)


def _unknown_event(event: str) -> Rejected:
    return Rejected(RejectCause.UNKNOWN_EVENT, f"event {event[:64]!r}")


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
