"""The control channel between the control process and a media worker: typed messages on a Unix socket.

One message is one JSON object on a line of its own. The control process opens streams, attaches them to an
ExternalMedia channel once Asterisk has told where that listens, and closes them; the worker answers with what
became of each. A worker that loses its control channel ends: nobody is left who could close its streams.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from connector.dialects.base import StopReason, Track
from connector.dialects.commands import Command, Notice
from connector.media.quality import Quality
from connector.media.recorder import Recorded, RecordTo
from connector.media.voice import VoiceOptions
from connector.net.reach import ANYWHERE, Reach

MAX_LINE_BYTES = 1 << 20
"""Bound of one control message; a stream with the largest allowed parameters stays far below."""


class EndCause(enum.StrEnum):
    """Why a stream ended or never opened. A closed set: it is a metric label."""

    CALLER_HUNG_UP = "caller_hung_up"
    CALL_MOVED = "call_moved"
    """Somebody else took the call out of Stasis: a transfer or an AMI Redirect."""
    CALL_ENDED = "call_ended"
    """The call that was tapped is over."""
    STOPPED = "stopped"
    """Whoever ordered the tap ended it."""
    BOT_CLOSED = "bot_closed"
    BOT_DNS = "bot_dns"
    """The bot's name could not be resolved."""
    BOT_REFUSED = "bot_refused"
    """There was no TCP connection, or it broke during the handshake."""
    BOT_TLS = "bot_tls"
    """TLS failed, for example because the certificate is not trusted."""
    BOT_REJECTED = "bot_rejected"
    """The server answered the upgrade with another status than 101: 3xx, 4xx, or what is no HTTP."""
    BOT_UNAVAILABLE = "bot_unavailable"
    """The server answered the upgrade with 5xx."""
    BOT_FORBIDDEN = "bot_forbidden"
    """The address may not be connected to, or the secret for it is missing."""
    BOT_CIRCUIT_OPEN = "bot_circuit_open"
    """The bot was not dialled, because it did not answer the calls before."""
    BOT_TIMEOUT = "bot_timeout"
    """The server accepted the connection and did not finish the handshake in time."""
    BOT_HUNG_UP = "bot_hung_up"
    """The bot, or a user of the API, ended the call."""
    HANDED_OVER = "handed_over"
    """The bot, or a user of the API, sent the call elsewhere."""
    BOT_LOST = "bot_lost"
    """The connection broke without a WebSocket close, or a ping was not answered."""
    BOT_FAILED = "bot_failed"
    """The bot said in its protocol that it cannot go on."""
    SESSION_LIMIT = "session_limit"
    SHUTDOWN = "shutdown"
    WORKER_LOST = "worker_lost"
    """The media worker ended, and was not back in time."""
    WORKER_FULL = "worker_full"
    """Every media worker has as many streams as it may have, or as it can carry."""
    ASTERISK_ERROR = "asterisk_error"
    """Asterisk refused or lost a channel or bridge that the stream needs."""


class StreamOutcome(enum.StrEnum):
    """What a cause means to whoever is responsible. A closed set: it is a metric label."""

    COMPLETED = "completed"
    """The conversation was over."""
    HANDED_OVER = "handed_over"
    """The call went on elsewhere: to an agent, or by a transfer."""
    STOPPED = "stopped"
    """The connector or its users ended it: by an order, at the limit of a session, at shutdown."""
    FAILED = "failed"
    """It should have gone on, or should have begun."""


_OUTCOMES = {
    EndCause.CALLER_HUNG_UP: StreamOutcome.COMPLETED,
    EndCause.CALL_ENDED: StreamOutcome.COMPLETED,
    EndCause.BOT_CLOSED: StreamOutcome.COMPLETED,
    EndCause.BOT_HUNG_UP: StreamOutcome.COMPLETED,
    EndCause.HANDED_OVER: StreamOutcome.HANDED_OVER,
    EndCause.CALL_MOVED: StreamOutcome.HANDED_OVER,
    EndCause.STOPPED: StreamOutcome.STOPPED,
    EndCause.SESSION_LIMIT: StreamOutcome.STOPPED,
    EndCause.SHUTDOWN: StreamOutcome.STOPPED,
}


def outcome_of(cause: EndCause) -> StreamOutcome:
    """Every cause that is not known to be well is a failure."""
    return _OUTCOMES.get(cause, StreamOutcome.FAILED)


_STOP_REASONS = {
    EndCause.CALLER_HUNG_UP: StopReason.CALLER_HUNG_UP,
    EndCause.CALL_MOVED: StopReason.TRANSFERRED,
    EndCause.HANDED_OVER: StopReason.TRANSFERRED,
    EndCause.BOT_HUNG_UP: StopReason.BOT_ENDED,
    EndCause.BOT_CLOSED: StopReason.BOT_ENDED,
    EndCause.SESSION_LIMIT: StopReason.SESSION_LIMIT,
    EndCause.SHUTDOWN: StopReason.SHUTDOWN,
}


def stop_reason(cause: EndCause) -> StopReason:
    """What the bot is told of a cause: there are more of them than it needs to know."""
    return _STOP_REASONS.get(cause, StopReason.ERROR)


class Address(msgspec.Struct, frozen=True, tag="address"):
    """A UDP address as numbers: the worker never resolves names."""

    host: str
    port: int


class AudioSocketPeer(msgspec.Struct, frozen=True, tag="audiosocket"):
    """A TCP connection that Asterisk opens to us, by the UUID that it sends first: 32 hex digits."""

    uuid: str


class WebSocketPeer(msgspec.Struct, frozen=True, tag="websocket"):
    """A channel of chan_websocket: ws:// or wss:// with the id of its connection, which is a secret.

    Attributes:
        url: Where Asterisk awaits us.
        tls_ca_file: CA that vouches for it; empty: the system's.
    """

    url: str
    tls_ca_file: str = ""


Remote = Address | AudioSocketPeer | WebSocketPeer
"""Where Asterisk has a stream's audio."""


# -- control process -> worker ---------------------------------------------------------------------------------


class OpenStream(msgspec.Struct, frozen=True, tag="open"):
    """Dial the bot. Answered by StreamOpened, or by StreamEnded with the cause.

    Attributes:
        stream_id: Unique for the life of the worker.
        pbx: For the log.
        call_id: The call it belongs to, unique over all PBXs; goes to the bot through the dialect.
        url: ws:// or wss://; empty: there is no bot, the audio is only recorded.
        dialect: Name of the wire protocol.
        dialect_options: Its settings as `DialectOptions.plain` gives them; may hold secrets, so never logged.
        tracks: Whose audio the bot gets.
        two_way: Whether the bot may speak.
        parameters: Custom parameters for the bot.
        headers: Extra HTTP headers of the upgrade request; may hold secrets, so never logged.
        connect_timeout_ms: Bound of DNS, TCP, TLS and upgrade together.
        playout_max_ms: How much bot audio may wait; what comes beyond is dropped and counted.
        prebuffer_ms: How long the first audio after silence waits, to ride out the bot's jitter.
        max_message_bytes: Longer messages of the bot are refused and counted.
        reach: Where the connection may go.
        record: Where the stream is recorded; None: it is not.
        audio: How audio goes between Asterisk and us, a name of `connector.audio.wire`.
        reorder_max_ms: How long a packet of the caller may wait for one before it.
        conceal_loss: Whether the sound of packets that were lost is made up.
        drop_oldest: What gives way when too much audio of the bot waits.
        return_cleared: Whether marks are returned whose audio was cleared.
        send_silence: Whether Asterisk gets silence while the bot says nothing; else it gets no RTP.
        voice: What is done to the bot's voice.
    """

    stream_id: str
    pbx: str
    call_id: str
    url: str
    dialect: str
    parameters: dict[str, str]
    headers: dict[str, str]
    connect_timeout_ms: int
    playout_max_ms: int
    prebuffer_ms: int
    max_message_bytes: int
    audio: str = "rtp/ulaw"
    dialect_options: dict[str, Any] = {}
    tracks: tuple[Track, ...] = (Track.CALLER,)
    two_way: bool = True
    record: RecordTo | None = None
    reach: Reach = ANYWHERE
    reorder_max_ms: int = 0
    conceal_loss: bool = False
    drop_oldest: bool = False
    return_cleared: bool = True
    send_silence: bool = True
    voice: VoiceOptions = VoiceOptions()


class AttachMedia(msgspec.Struct, frozen=True, tag="attach"):
    """The ExternalMedia channel exists: exchange audio with it and tell the bot that the stream starts."""

    stream_id: str
    remote: Remote
    track: Track | None = None
    """Whose audio it is; None: of the stream's first track."""


class SendDtmf(msgspec.Struct, frozen=True, tag="dtmf"):
    """The caller pressed a digit."""

    stream_id: str
    digit: str


class Notify(msgspec.Struct, frozen=True, tag="notify"):
    """Tell the bot what it may want to know, if its dialect has a word for it."""

    stream_id: str
    notice: Notice


class StartRecording(msgspec.Struct, frozen=True, tag="start_recording"):
    """Record the stream from now on; nothing where it is recorded already. `Recorded` tells of the end."""

    stream_id: str
    to: RecordTo


class StopRecording(msgspec.Struct, frozen=True, tag="stop_recording"):
    """Record it no more."""

    stream_id: str


class PauseRecording(msgspec.Struct, frozen=True, tag="pause_recording"):
    """Leave what is said out of the recording, or no longer; nothing where there is none."""

    stream_id: str
    paused: bool


class CloseStream(msgspec.Struct, frozen=True, tag="close"):
    """Say goodbye to the bot and forget the stream. Answered by StreamEnded with this cause."""

    stream_id: str
    cause: EndCause


ToWorker = OpenStream | AttachMedia | SendDtmf | Notify | StartRecording | StopRecording | PauseRecording | CloseStream


# -- worker -> control process ---------------------------------------------------------------------------------


class StreamStats(msgspec.Struct):
    """Counters of one stream, since it opened. Packets and frames are 20 ms each."""

    packets_in: int = 0
    packets_out: int = 0
    packets_lost: int = 0
    """Sequence numbers of the caller's RTP that never came (RFC 3550 section 6.4.1, cumulative)."""
    packets_late: int = 0
    """Came after their place had been passed on, or twice."""
    silence_filled: int = 0
    """Frames of silence given to the bot where the caller sent nothing."""
    bot_messages: int = 0
    bot_rejected: int = 0
    bot_audio_bytes: int = 0
    playout_dropped_bytes: int = 0
    """Bot audio beyond the bound of the playout buffer."""
    underruns: int = 0
    """Times the playout buffer ran dry inside the bot's speech."""
    send_dropped: int = 0
    """Messages to the bot dropped because it did not read."""
    marks: int = 0
    clears: int = 0
    bot_commands: int = 0
    """What the bot asked for beyond audio, marks and clear."""


def add_stats(a: StreamStats, b: StreamStats) -> StreamStats:
    """What a stream carried in two workers, one after the other."""
    return StreamStats(*map(sum, zip(msgspec.structs.astuple(a), msgspec.structs.astuple(b), strict=True)))


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The first message of a worker: its socket is bound. `fast_path`: whether it has the compiled helper."""

    pid: int
    rtp: Address
    fast_path: bool


class StreamOpened(msgspec.Struct, frozen=True, tag="opened"):
    """The bot accepted the WebSocket, and what its protocol wants before audio."""

    stream_id: str
    connect_ms: float


class BotCommand(msgspec.Struct, frozen=True, tag="command"):
    """The bot asks for something. `Ended` and a fatal `Failed` are told too, though the worker acts on them itself."""

    stream_id: str
    command: Command


class StreamEnded(msgspec.Struct, frozen=True, tag="ended"):
    """The last message about a stream.

    Attributes:
        stream_id: The stream.
        cause: Why.
        detail: One sentence for the operator: status, close code, error.
        stats: What it carried.
        quality: How it sounded; None where audio never began.
        complaints: What was wrong with packets and messages, the first of each cause.
    """

    stream_id: str
    cause: EndCause
    detail: str
    stats: StreamStats
    quality: Quality | None = None
    complaints: dict[str, str] = {}


class WorkerStats(msgspec.Struct, frozen=True, tag="stats"):
    """Sent once a second: running totals since the worker started.

    Attributes:
        counters: Totals by name, see `connector.media.counters`.
        tick_late_ms: The largest lateness of a pacing tick in the last second.
        busy: Share of a core that the worker used since its last report, 0 to 1.
        streams: Live streams by id.
    """

    counters: dict[str, int]
    tick_late_ms: float
    busy: float
    streams: dict[str, StreamStats]


class StreamQualities(msgspec.Struct, frozen=True, tag="qualities"):
    """How some of the streams sound, by id; each is told once a second."""

    streams: dict[str, Quality]


FromWorker = Recorded | StreamQualities | WorkerReady | StreamOpened | BotCommand | StreamEnded | WorkerStats

_encoder = msgspec.json.Encoder()
_to_worker: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """One message as a line."""
    return _encoder.encode(message) + b"\n"


def decode_to_worker(line: bytes) -> ToWorker:
    """Reads a line in the worker.

    Raises:
        msgspec.ValidationError: The line is not one of the messages; both ends are ours, so that is a defect.
    """
    return _to_worker.decode(line)


def decode_from_worker(line: bytes) -> FromWorker:
    """Reads a line in the control process.

    Raises:
        msgspec.ValidationError: As for `decode_to_worker`.
    """
    return _from_worker.decode(line)
