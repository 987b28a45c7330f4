"""Our own protocol, version 1: audio as binary messages, everything else as JSON text; every feature of the bridge.

For bots that are written for the connector. docs/dialects/raw.md tells the story of the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BeforeValidator, model_validator

from connector.audio.formats import AudioFormat, Encoding
from connector.config_types import whole
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
    Upgrade,
    WireMessage,
)
from connector.dialects.commands import (
    Ended,
    Event,
    Failed,
    HangUp,
    Hold,
    Mute,
    Notice,
    Pause,
    Quality,
    Reconnected,
    SendDigits,
    Transfer,
    Transferred,
)
from connector.dialects.raw_messages import (
    SUBPROTOCOL,
    VERSION,
    AudioShape,
    ClearedMessage,
    ClearRequest,
    DtmfMessage,
    DtmfRequest,
    EndRequest,
    ErrorRequest,
    EventRequest,
    FromBot,
    HangUpRequest,
    HoldMessage,
    MarkMessage,
    MarkRequest,
    MuteRequest,
    PauseRequest,
    QualityMessage,
    ReconnectedMessage,
    StartMessage,
    StopMessage,
    ToBot,
    TransferMessage,
    TransferRequest,
)
from connector.dialects.wire import (
    MAX_NAME,
    Gather,
    WholeSamples,
    read_digits,
    short,
    short_headers,
    short_json,
    unknown_event,
)


class RawOptions(DialectOptions):
    """The connector's own protocol: binary audio, JSON for the rest."""

    name: Literal["raw"] = "raw"
    encoding: Literal["l16", "pcmu", "pcma", "opus"] = "l16"
    """Of the binary messages, both ways: 16 bit linear little-endian, mu-law, A-law, or one Opus packet in each, for
    which the extra `opus` has to be installed."""
    rate_hz: Annotated[Literal[8000, 16000, 24000, 48000], BeforeValidator(whole)] = 16000
    """Samples a second, both ways; mu-law and A-law have 8000 alone. With Opus, what the encoder is given."""
    message_ms: Annotated[Literal[20, 40, 60, 80, 100], BeforeValidator(whole)] = 20
    """How much audio one message to the bot holds; the bot may send any length."""

    @property
    def to_bot(self) -> AudioFormat:
        """As set; G.711 at 8 kHz whatever is set."""
        encoding = Encoding(self.encoding)
        return AudioFormat(encoding, self.rate_hz if encoding in (Encoding.L16, Encoding.OPUS) else 8000)

    @model_validator(mode="after")
    def _one_packet_a_message(self) -> Self:
        if self.encoding == "opus" and self.message_ms != 20:
            raise ValueError("a message holds one Opus packet: with encoding 'opus' message_ms has to be 20")
        return self

    @property
    def mixes(self) -> bool:
        """By the track byte."""
        return True


class _AnyMessage(msgspec.Struct):
    type: str


_decoder: msgspec.json.Decoder[FromBot] = msgspec.json.Decoder(FromBot)
_any = msgspec.json.Decoder(_AnyMessage)
_KNOWN = frozenset(each.__struct_config__.tag for each in FromBot.__args__)


_FRAME = AudioTemplate((Field.BYTES,), binary=True)


class Raw(Dialect):
    """One stream of our own protocol."""

    options_type = RawOptions
    mode = "either"

    def __init__(self, start: StreamStart, options: RawOptions) -> None:
        self._start = start
        self._options = options
        self._seq = 0
        self._muted = False
        self._paused = False
        self._gathers: dict[Track, Gather] = {}
        self._plain = options.message_ms == 20 and len(start.tracks) == 1
        self._linear = options.to_bot.encoding is Encoding.L16
        self._packets = options.to_bot.encoding is Encoding.OPUS
        self._samples = WholeSamples()
        unit_bytes = 2 if self._linear else 1
        self._pattern = AudioPattern(b"", b"", base64=False, binary=True, unit_bytes=unit_bytes)
        if options.message_ms != 20:
            bytes_ = options.to_bot.frame_bytes * options.message_ms // options.to_bot.frame_ms
            self._gathers = {track: Gather(bytes_) for track in start.tracks}

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Offers our subprotocol."""
        return Upgrade(request.url, request.headers, (*request.subprotocols, SUBPROTOCOL))

    def opened(self) -> list[WireMessage]:
        """`start`."""
        audio = AudioShape(
            encoding=self._options.encoding,
            rate_hz=self._options.to_bot.rate_hz,
            message_ms=self._options.message_ms,
            track_byte=len(self._start.tracks) > 1,
        )
        return [
            self._message(
                StartMessage,
                version=VERSION,
                stream=self._start.stream_id,
                call=self._start.call_id,
                tracks=list(self._start.tracks),
                two_way=self._start.two_way,
                audio=audio,
                parameters=self._start.parameters,
            )
        ]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """A binary message."""
        if self._muted or self._paused:
            return None
        if self._plain:
            return payload
        gather = self._gathers.get(track)
        if gather is not None:
            whole = gather.add(payload, timestamp_ms)
            if whole is None:
                return None
            payload = whole[0]
        return self._tracked(payload, track)

    def template(self) -> AudioTemplate | None:
        """A frame as it is, where a message is no more than that."""
        return _FRAME if self._plain and not (self._packets or self._muted or self._paused) else None

    def pattern(self) -> AudioPattern | None:
        """Any binary message, as long as no sample is cut; where each is a packet, they are to be told apart."""
        return self._pattern if self._start.two_way and self._samples.whole and not self._packets else None

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`."""
        return self._message(DtmfMessage, digit=digit)

    def mark_played(self, name: str) -> WireMessage | None:
        """`mark`."""
        return self._message(MarkMessage, name=name)

    def cleared(self, played_ms: int) -> list[WireMessage]:
        """`cleared`."""
        return [self._message(ClearedMessage, played_ms=played_ms)]

    def notify(self, notice: Notice) -> list[WireMessage]:
        """`hold`, `transfer`, `quality` or `reconnected`."""
        match notice:
            case Hold(held):
                return [self._message(HoldMessage, held=held)]
            case Transferred(state, target, reason):
                return [self._message(TransferMessage, state=state.value, target=target, reason=reason)]
            case Quality(loss_percent, jitter_ms, mos):
                return [self._message(QualityMessage, loss_percent=loss_percent, jitter_ms=jitter_ms, mos=mos)]
            case Reconnected(gap_ms, attempt):
                return [self._message(ReconnectedMessage, gap_ms=gap_ms, attempt=attempt)]
            case _:
                return []

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """What audio still waits, then `stop`."""
        rest = [(track, gather.rest()) for track, gather in self._gathers.items()]
        tails: list[WireMessage] = [self._tracked(each[0], track) for track, each in rest if each is not None]
        return [*tails, self._message(StopMessage, reason=reason)]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Binary is audio, text is one of the requests above."""
        if isinstance(message, bytes):
            return (self._audio(message),)
        try:
            parsed = _decoder.decode(message)
        except msgspec.ValidationError as error:
            return (_unfit(message, error),)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return (Rejected(RejectCause.NOT_JSON, str(error)[:MAX_DETAIL]),)
        return (self._meaning(parsed),)

    def _audio(self, message: bytes) -> BotMessage:
        if not self._start.two_way:
            return Rejected(RejectCause.OUT_OF_TURN, "audio on a stream that only listens")
        return BotAudio(self._samples.add(message) if self._linear else message)

    def _meaning(self, request: FromBot) -> BotMessage:
        match request:
            case MarkRequest(name):
                return BotMark(name[:MAX_NAME])
            case ClearRequest():
                self._samples.clear()
                return BotClear()
            case DtmfRequest(digits):
                checked = read_digits(digits)
                return SendDigits(checked) if checked else Rejected(RejectCause.BAD_SHAPE, "dtmf with no usable digits")
            case TransferRequest(target, reason, summary, headers, blind):
                return Transfer(short(target), short(reason), short(summary), short_headers(headers), blind)
            case HangUpRequest(reason):
                return HangUp(short(reason))
            case MuteRequest(muted):
                self._muted = muted
                return Mute(muted)
            case PauseRequest(paused):
                self._paused = paused
                return Pause(paused)
            case EndRequest(reason, data):
                return Ended(short(reason), short_json(data))
            case ErrorRequest(about, code, fatal):
                return Failed(short(code), short(about), fatal)
            case EventRequest(name, data):
                return Event(short(name), short_json(data))

    def _tracked(self, payload: bytes, track: Track) -> bytes:
        tracks = self._start.tracks
        return payload if len(tracks) == 1 else bytes((tracks.index(track),)) + payload

    def _message(self, kind: Callable[..., ToBot], **members: Any) -> str:
        self._seq += 1
        return msgspec.json.encode(kind(seq=self._seq, **members)).decode()


def _unfit(message: str, error: msgspec.ValidationError) -> Rejected:
    try:
        name = _any.decode(message).type
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Rejected(RejectCause.BAD_SHAPE, str(error)[:MAX_DETAIL])
    return Rejected(RejectCause.BAD_SHAPE, str(error)[:MAX_DETAIL]) if name in _KNOWN else unknown_event(name)
