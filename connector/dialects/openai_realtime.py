"""Speech to speech straight with a model: OpenAI's Realtime API over WebSocket, JSON text with audio in base64.

Event names as in OpenAI's "Realtime API reference", the generally available generation; the audio events of the beta
are understood too. The server notices when the caller speaks; what he has not heard is then cut from the model's
memory (`conversation.item.truncate`), or the model would believe that it had been said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import SecretStr

from connector.audio.formats import AudioFormat, Encoding
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMessage,
    Dialect,
    DialectOptions,
    RejectCause,
    Rejected,
    StreamStart,
    Track,
    Upgrade,
    WireMessage,
)
from connector.dialects.commands import (
    Event,
    Failed,
    FunctionCall,
    FunctionResult,
    HangUp,
    Notice,
    Transfer,
    Transferred,
    TransferState,
)
from connector.dialects.wire import (
    Json,
    WholeSamples,
    bad_shape,
    base64,
    member,
    read_audio,
    read_object,
    scalar,
    short,
    short_headers,
    text,
    unknown_event,
    with_query,
)

TRANSFER, HANG_UP = "transfer_call", "hang_up"
MAX_ITEMS = 64
"""Utterances of the model that are remembered for a truncation; older ones have been played long ago."""
_SILENT = frozenset(
    {
        "session.created",
        "conversation.created",
        "conversation.item.created",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "conversation.item.input_audio_transcription.delta",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.speech_stopped",
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_audio.done",
        "response.audio.done",
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.function_call_arguments.delta",
        "rate_limits.updated",
    }
)
"""Told by the server in the course of things; nothing follows from them."""
_TRANSCRIPTS = {
    "response.output_audio_transcript.done": "bot",
    "response.audio_transcript.done": "bot",
    "conversation.item.input_audio_transcription.completed": "caller",
}
_WIRE_FORMAT: dict[str, Json] = {
    "pcmu": {"type": "audio/pcmu"},
    "pcma": {"type": "audio/pcma"},
    "l16": {"type": "audio/pcm", "rate": 24000},
}


class OpenaiRealtimeOptions(DialectOptions):
    """OpenAI's Realtime API, or a server that speaks like it."""

    name: Literal["openai-realtime"] = "openai-realtime"
    api_key: SecretStr = SecretStr("")
    """Sent as `Authorization: Bearer`; empty: the headers of the profile are enough."""
    model: str = ""
    """Added to the URL's query where it names none, for example gpt-realtime."""
    encoding: Literal["pcmu", "pcma", "l16"] = "pcmu"
    """Both ways: mu-law or A-law at 8 kHz, or 16 bit linear at 24 kHz."""
    voice: str = ""
    """Empty: the server's default."""
    instructions: str = ""
    """What the model is to be and do; `{name}` stands for the parameter of that name. Empty: the server's default."""
    greeting: str = ""
    """What the model is told to say first; empty: it waits for the caller."""
    turn_detection: Literal["server_vad", "semantic_vad"] = "server_vad"
    """How the server tells that the caller has spoken."""
    transfer_targets: tuple[str, ...] = ()
    """Where the model may hand the caller over to, as a function that it can call; empty: it may not."""
    hang_up: bool = True
    """Whether the model may end the call, as a function that it can call."""
    dtmf: bool = True
    """Whether digits of the caller are told to the model, as text."""

    @property
    def to_bot(self) -> AudioFormat:
        """8 kHz G.711 or 24 kHz linear."""
        encoding = Encoding(self.encoding)
        return AudioFormat(encoding, 24000 if encoding is Encoding.L16 else 8000)


class OpenaiRealtime(Dialect):
    """One session with a model."""

    options_type = OpenaiRealtimeOptions

    def __init__(self, start: StreamStart, options: OpenaiRealtimeOptions) -> None:
        self._start = start
        self._options = options
        shape = options.to_bot
        self._bytes_per_ms = shape.frame_bytes // shape.frame_ms
        self._samples = WholeSamples() if shape.encoding is Encoding.L16 else None
        self._given = 0  # bytes of audio that decode has given
        self._items: deque[tuple[str, int, int]] = deque(maxlen=MAX_ITEMS)  # id, first byte, byte behind the last
        self._transfer_call_id: str | None = None
        self.ready = False

    # -- to the server -----------------------------------------------------------------------------------------

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Adds the key and the model."""
        headers = dict(request.headers)
        key = self._options.api_key.get_secret_value()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        url = with_query(request.url, model=self._options.model) if self._options.model else request.url
        return Upgrade(url, headers, request.subprotocols)

    def connected(self) -> list[WireMessage]:
        """`session.update`; the server agrees with `session.updated`."""
        options = self._options
        wire_format = _WIRE_FORMAT[options.encoding]
        output: Json = {"format": wire_format}
        if options.voice:
            output["voice"] = options.voice
        detection = {"type": options.turn_detection, "create_response": True, "interrupt_response": True}
        session: Json = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {"input": {"format": wire_format, "turn_detection": detection}, "output": output},
            "tools": self._tools(),
        }
        if options.instructions:
            session["instructions"] = _filled(options.instructions, self._start.parameters)
        return [text({"type": "session.update", "session": session})]

    def opened(self) -> list[WireMessage]:
        """`response.create`, if the model is to speak first."""
        if not self._options.greeting:
            return []
        greeting = _filled(self._options.greeting, self._start.parameters)
        return [text({"type": "response.create", "response": {"instructions": greeting}})]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`input_audio_buffer.append`. Put together by hand: it is sent 50 times a second for each call."""
        if track is not self._start.tracks[0]:
            return None
        return f'{{"type":"input_audio_buffer.append","audio":"{base64(payload)}"}}'

    def dtmf(self, digit: str) -> WireMessage | None:
        """A message of the caller in words: the model has no other ear for digits. It answers once spoken to."""
        return self._item("user", f"(The caller pressed {digit} on the phone.)") if self._options.dtmf else None

    def cleared(self, played_ms: int) -> list[WireMessage]:
        """`conversation.item.truncate` for what was not heard."""
        played = played_ms * self._bytes_per_ms
        messages: list[WireMessage] = []
        for item_id, first, behind in self._items:
            if behind > played:
                heard_ms = max(0, played - first) // self._bytes_per_ms
                cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": heard_ms}
                messages.append(text({"type": "conversation.item.truncate", **cut}))
        self._items.clear()
        return messages

    def notify(self, notice: Notice) -> list[WireMessage]:
        """The outcome of a function, upon which the model speaks again."""
        match notice:
            case FunctionResult(call_id, output):
                return self._answer(call_id, output)
            case Transferred(TransferState.FAILED, _, reason) if self._transfer_call_id is not None:
                call_id, self._transfer_call_id = self._transfer_call_id, None
                return self._answer(call_id, text({"status": "failed", "reason": reason}))
            case _:
                return []

    # -- from the server ---------------------------------------------------------------------------------------

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Reads the events of the server."""
        parsed = read_object(message)
        if isinstance(parsed, Rejected):
            return (parsed,)
        kind = parsed.get("type")
        if kind in ("response.output_audio.delta", "response.audio.delta"):
            return (self._audio(parsed),)
        if not isinstance(kind, str):
            return (unknown_event(kind),)
        return () if kind in _SILENT else self._other(kind, parsed)

    def _other(self, kind: str, parsed: Json) -> Sequence[BotMessage]:
        match kind:
            case "session.updated":
                self.ready = True
                return ()
            case "input_audio_buffer.speech_started":
                if self._samples is not None:
                    self._samples.clear()
                return (BotClear(),)
            case "response.function_call_arguments.done":
                return (self._call(parsed),)
            case "response.done":
                return _response_done(member(parsed, "response"))
            case "error":
                error = member(parsed, "error")
                code = scalar(error, "code") or scalar(error, "type") or ""
                return (Failed(short(code), short(error.get("message")), fatal=not self.ready),)
            case _ if kind in _TRANSCRIPTS:
                said = {"speaker": _TRANSCRIPTS[kind], "text": short(parsed.get("transcript"))}
                return (Event("transcript", text(said)),)
            case _:
                return (unknown_event(kind),)

    def _audio(self, parsed: Json) -> BotMessage:
        audio = read_audio(parsed.get("delta"), "an audio delta without its audio")
        if not isinstance(audio, BotAudio):
            return audio
        if self._samples is not None:
            audio = BotAudio(self._samples.add(audio.payload))
        first, self._given = self._given, self._given + len(audio.payload)
        item_id = (scalar(parsed, "item_id") or "")[:128]
        if self._items and self._items[-1][0] == item_id:
            self._items[-1] = (item_id, self._items[-1][1], self._given)
        elif item_id:
            self._items.append((item_id, first, self._given))
        return audio

    def _call(self, parsed: Json) -> BotMessage:
        call_id, name = scalar(parsed, "call_id"), scalar(parsed, "name")
        arguments = parsed.get("arguments")
        if call_id is None or name is None or not isinstance(arguments, str):
            return bad_shape("a function call without call_id, name or arguments")
        if name not in (TRANSFER, HANG_UP):
            return FunctionCall(call_id[:128], name[:128], short(arguments))
        given = read_object(arguments)
        if isinstance(given, Rejected):
            return Rejected(RejectCause.BAD_SHAPE, f"arguments of {name}: {given.detail}"[:200])
        reason = short(given.get("reason"))
        if name == HANG_UP:
            return HangUp(reason)
        self._transfer_call_id = call_id[:128]
        headers = short_headers(given.get("headers"))
        return Transfer(short(given.get("target")), reason, short(given.get("summary")), headers)

    # -- parts -------------------------------------------------------------------------------------------------

    def _tools(self) -> list[Json]:
        tools: list[Json] = []
        words = {"type": "string"}
        if self._options.transfer_targets:
            targets = {"type": "string", "enum": list(self._options.transfer_targets)}
            about = "Hand the caller over to a person or a department. Say so before."
            tools.append(_function(TRANSFER, about, target=targets, reason=words, summary=words))
        if self._options.hang_up:
            about = "End the phone call, after both have said goodbye."
            tools.append(_function(HANG_UP, about, reason=words))
        return tools

    def _answer(self, call_id: str, output: str) -> list[WireMessage]:
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        created = text({"type": "conversation.item.create", "item": item})
        return [created, text({"type": "response.create"})]

    def _item(self, role: str, words: str) -> str:
        content = [{"type": "input_text", "text": words}]
        item = {"type": "message", "role": role, "content": content}
        return text({"type": "conversation.item.create", "item": item})


def _function(name: str, about: str, **properties: Json) -> Json:
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": [next(iter(properties))]}
    return {"type": "function", "name": name, "description": about, "parameters": parameters}


def _response_done(response: Json) -> Sequence[BotMessage]:
    if response.get("status") != "failed":
        return ()
    error = member(member(response, "status_details"), "error")
    code = scalar(error, "code") or scalar(error, "type") or "response_failed"
    return (Failed(short(code), short(error.get("message"))),)


def _filled(words: str, parameters: dict[str, str]) -> str:
    for name, value in parameters.items():
        words = words.replace(f"{{{name}}}", value)
    return words
