"""Twilio Media Streams: JSON text with mu-law in base64, two-way (<Connect><Stream>) or listening (<Start><Stream>).

The messages are those of Twilio's page "Media Streams - WebSocket Messages"; numbers are strings there, except in
mediaFormat. A bot written for Twilio connects unchanged.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Literal

import msgspec

from connector.dialects.base import (
    MAX_DETAIL,
    AudioPattern,
    AudioTemplate,
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    Dialect,
    DialectOptions,
    Field,
    RejectCause,
    Rejected,
    StopReason,
    StreamStart,
    Track,
    WireMessage,
)
from connector.dialects.wire import VendorIds, hashed, text, unknown_event

_LEARN_FROM = 16
"""Shorter payloads say too little: their text may stand elsewhere in a message too."""
_TRACKS = {Track.CALLER: "inbound", Track.AGENT: "outbound"}


class TwilioOptions(DialectOptions):
    """Twilio Media Streams."""

    name: Literal["twilio"] = "twilio"
    account_sid: str = ""
    """The accountSid that the bot is told; empty: one of ours, the same for all calls."""

    both_tracks: bool = False
    """Listening to a call: both sides on one stream, as Twilio's `both_tracks`; else each side has a stream."""

    @property
    def mixes(self) -> bool:
        """By `track`, if wanted."""
        return self.both_tracks


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


class Twilio(Dialect):
    """One stream of Twilio's protocol.

    Args:
        start: What the bot is told. Its ids become sids by hash, so all messages of a call agree and nothing of the
            PBX is given away.
        options: Settings.
    """

    options_type = TwilioOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: TwilioOptions) -> None:
        self._account_sid, self._call_sid, self._stream_sid = vendor_ids(options, start.call_id, start.stream_id)
        self._parameters = dict(start.parameters)
        self._tracks = [_TRACKS[track] for track in start.tracks]
        self._two_way = start.two_way
        self._sequence = 0
        self._chunks = dict.fromkeys(Track, 0)
        self._decoder = msgspec.json.Decoder(_Message)
        self._media_tail = f'"}},"streamSid":"{self._stream_sid}"}}'
        self._only = start.tracks[0]
        self._pieces = (
            b'{"event":"media","sequenceNumber":"',
            Field.COUNTER_A,
            b'","media":{"track":"' + self._tracks[0].encode() + b'","chunk":"',
            Field.COUNTER_B,
            b'","timestamp":"',
            Field.STAMP_MS,
            b'","payload":"',
            Field.BASE64,
            self._media_tail.encode(),
        )
        self._learned: tuple[str, str] | None = None
        self._pattern: AudioPattern | None = None

    def opened(self) -> list[WireMessage]:
        """`connected` and `start`."""
        start = {
            "streamSid": self._stream_sid,
            "accountSid": self._account_sid,
            "callSid": self._call_sid,
            "tracks": self._tracks,
            "customParameters": self._parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        return [
            text({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            self._numbered("start", "start", start),
        ]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`media`. Put together by hand: it is sent 50 times a second for each call, and all of it is known ASCII."""
        self._sequence += 1
        self._chunks[track] += 1
        encoded = binascii.b2a_base64(payload, newline=False).decode("ascii")
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"{_TRACKS[track]}",'
            f'"chunk":"{self._chunks[track]}","timestamp":"{timestamp_ms}","payload":"{encoded}{self._media_tail}'
        )

    def template(self) -> AudioTemplate | None:
        """`media` of a stream with one track."""
        if len(self._tracks) > 1:
            return None
        return AudioTemplate(self._pieces, counters=(self._sequence + 1, self._chunks[self._only] + 1))

    def sent(self, messages: int) -> None:
        """Counts them."""
        self._sequence += messages
        self._chunks[self._only] += messages

    def pattern(self) -> AudioPattern | None:
        """`media` as the bot wrote it last."""
        return self._pattern

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`, which Twilio has for two-way streams alone."""
        if not self._two_way:
            return None
        return self._numbered("dtmf", "dtmf", {"track": "inbound_track", "digit": digit})

    def mark_played(self, name: str) -> WireMessage | None:
        """`mark`, with the name that the bot chose."""
        return self._numbered("mark", "mark", {"name": name})

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """`stop`."""
        return [self._numbered("stop", "stop", {"accountSid": self._account_sid, "callSid": self._call_sid})]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads `media`, `mark` or `clear`; anything else is a protocol error at Twilio, here it is counted.

        A message without streamSid is taken: the socket has one stream, and many bots leave it out.
        """
        if not isinstance(message, str):
            return (Rejected(RejectCause.NOT_TEXT, f"binary message of {len(message)} bytes"),)
        if self._learned is not None and (audio := self._as_learned(message)) is not None:
            return (audio,)
        return (self._read(message),)

    def _read(self, message: str) -> BotMessage:
        try:
            parsed = self._decoder.decode(message)
        except msgspec.ValidationError as error:
            return _unfit(message, error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return Rejected(RejectCause.NOT_JSON, str(error)[:MAX_DETAIL])
        if parsed.event not in ("media", "mark", "clear"):
            return unknown_event(parsed.event)
        if parsed.stream_sid is not None and parsed.stream_sid != self._stream_sid:
            return Rejected(RejectCause.WRONG_STREAM, f"streamSid {parsed.stream_sid[:64]!r}")
        if not self._two_way:
            return Rejected(RejectCause.OUT_OF_TURN, f"{parsed.event} on a stream that only listens")
        if parsed.event == "clear":
            return BotClear()
        if parsed.event == "mark":
            if parsed.mark is None:
                return Rejected(RejectCause.BAD_SHAPE, "mark without its object 'mark'")
            return BotMark(parsed.mark.name)
        if parsed.media is None:
            return Rejected(RejectCause.BAD_SHAPE, "media without its object 'media'")
        return self._audio(message, parsed.media.payload)

    def _audio(self, message: str, payload: str) -> BotMessage:
        try:
            audio = BotAudio(binascii.a2b_base64(payload, strict_mode=True))
        except ValueError as error:  # binascii.Error, and ValueError for what is not ASCII
            return Rejected(RejectCause.BAD_BASE64, str(error)[:MAX_DETAIL])
        if len(payload) >= _LEARN_FROM and message.count(payload) == 1:
            head, tail = message.split(payload)
            self._learned = head, tail
            self._pattern = AudioPattern(head.encode(), tail.encode())
        return audio

    def _as_learned(self, message: str) -> BotAudio | None:
        """The audio of a message that is the last one but for its base64; None for any other.

        Nothing but base64 stands between the two parts, so it is the same JSON with another payload. A bot that
        numbers its messages is read by the general way each time.
        """
        assert self._learned is not None
        head, tail = self._learned
        if len(message) < len(head) + len(tail) or not (message.startswith(head) and message.endswith(tail)):
            return None
        try:
            return BotAudio(binascii.a2b_base64(message[len(head) : len(message) - len(tail)], strict_mode=True))
        except ValueError:
            return None

    def _numbered(self, event: str, key: str, value: object) -> str:
        self._sequence += 1
        return text({"event": event, "sequenceNumber": str(self._sequence), key: value, "streamSid": self._stream_sid})


def vendor_ids(options: TwilioOptions, call_id: str, stream_id: str) -> VendorIds:
    """Sids of a stream."""
    account = options.account_sid or sid("AC", "asterisk-connector")
    return VendorIds(account, sid("CA", call_id), sid("MZ", stream_id))


def sid(prefix: str, ours: str) -> str:
    """A Twilio id of ours: two letters and 32 hex digits, the same for the same input."""
    return prefix + hashed(ours)


def _unfit(message: str, error: msgspec.ValidationError) -> Rejected:
    """Valid so far as it was read, but not of our shape: perhaps an event that we do not know."""
    try:
        event = msgspec.json.decode(message, type=_AnyMessage).event
    except msgspec.ValidationError:
        return Rejected(RejectCause.BAD_SHAPE, str(error)[:MAX_DETAIL])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as malformed:
        return Rejected(RejectCause.NOT_JSON, str(malformed)[:MAX_DETAIL])
    if event in ("media", "mark", "clear"):
        return Rejected(RejectCause.BAD_SHAPE, str(error)[:MAX_DETAIL])
    return unknown_event(event)
