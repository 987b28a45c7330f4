"""Genesys AudioHook, protocol version 2, in the part of Genesys Cloud: JSON text for control, audio as binary messages.

A monitor listens (external, internal or both as stereo), a bot speaks. We open and close; the server answers. Field
names as in Genesys' "AudioHook protocol reference".
"""

from __future__ import annotations

import base64 as b64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator

from connector.audio.formats import AudioFormat, Encoding
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    BotReply,
    Dialect,
    DialectOptions,
    RejectCause,
    Rejected,
    StopReason,
    StreamStart,
    Track,
    Upgrade,
    WireMessage,
)
from connector.dialects.commands import Ended, Event, Failed, Pause, Transfer
from connector.dialects.wire import (
    Json,
    WholeSamples,
    bad_shape,
    hashed_uuid,
    member,
    read_object,
    scalar,
    short,
    short_json,
    text,
    unknown_event,
)

NULL_UUID = "00000000-0000-0000-0000-000000000000"
PING_S = 5.0
SIGNATURE_LIFE_S = 10
_COVERED = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
_CHANNELS = {Track.CALLER: "external", Track.AGENT: "internal"}
_CLOSE_REASONS = {StopReason.BOT_ENDED: "disconnect", StopReason.ERROR: "error", StopReason.SHUTDOWN: "error"}


class AudiohookOptions(DialectOptions):
    """Genesys AudioHook: monitor and bot."""

    name: Literal["audiohook"] = "audiohook"
    encoding: Literal["PCMU", "L16"] = "PCMU"
    """What is offered and expected, at 8 kHz."""
    organization_id: str = ""
    """UUID of the organisation; empty: one of ours."""
    api_key: SecretStr = SecretStr("")
    """X-API-KEY."""
    client_secret: SecretStr = SecretStr("")
    """Signs the upgrade request, in base64 as Genesys Cloud has it; empty: no signature."""

    @field_validator("client_secret")
    @classmethod
    def _base64(cls, value: SecretStr) -> SecretStr:
        try:
            b64.b64decode(value.get_secret_value(), validate=True)
        except binascii.Error:
            raise ValueError("must be base64, as Genesys Cloud has it") from None
        return value

    @property
    def to_bot(self) -> AudioFormat:
        """8 kHz."""
        return AudioFormat(Encoding.PCMU if self.encoding == "PCMU" else Encoding.L16)

    @property
    def mixes(self) -> bool:
        """As stereo."""
        return True


class Audiohook(Dialect):
    """One session. A stream without a call is a connection probe: the server is asked whether it would take one.

    Args:
        start: What the server is told.
        options: Settings.
    """

    options_type = AudiohookOptions
    mode = "either"
    heartbeat_s = PING_S

    def __init__(self, start: StreamStart, options: AudiohookOptions) -> None:
        self._start = start
        self._options = options
        self._id = hashed_uuid(start.stream_id)
        self._conversation_id = hashed_uuid(start.call_id) if start.call_id else NULL_UUID
        self._organization_id = options.organization_id or hashed_uuid("asterisk-connector")
        self._channels = [_CHANNELS[track] for track in start.tracks]
        self._sample_bytes = 1 if options.encoding == "PCMU" else 2
        self._samples = WholeSamples() if options.encoding == "L16" else None
        self._seq = 0
        self._server_seq = 0
        self._position_ms = 0
        self._paused = False
        self._paused_at_ms = 0
        self._no_media = False
        self._waits_for_pong = False
        self._halves: dict[Track, tuple[int, bytes]] = {}
        self._spoken = 0
        self._played = 0
        self.ready = False

    # -- to the server -----------------------------------------------------------------------------------------

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Adds the headers of the session and, with a client secret, their signature."""
        headers = {
            **request.headers,
            "Audiohook-Organization-Id": self._organization_id,
            "Audiohook-Session-Id": self._id,
            "Audiohook-Correlation-Id": self._conversation_id,
            "X-API-KEY": self._options.api_key.get_secret_value(),
        }
        secret = self._options.client_secret.get_secret_value()
        if secret:
            headers |= signature(request.url, headers, b64.b64decode(secret), created_s=int(unix_s), nonce=nonce)
        return Upgrade(request.url, headers, request.subprotocols)

    def connected(self) -> list[WireMessage]:
        """`open`."""
        fact = self._start.fact
        probe = not self._start.call_id
        parameters: Json = {
            "organizationId": self._organization_id,
            "conversationId": self._conversation_id,
            "participant": {
                "id": NULL_UUID if probe else hashed_uuid(f"participant {self._start.call_id}"),
                "ani": fact("from"),
                "aniName": fact("fromName"),
                "dnis": fact("to"),
            },
            "media": []
            if probe
            else [{"type": "audio", "format": self._options.encoding, "channels": self._channels, "rate": 8000}],
        }
        if fact("language"):
            parameters["language"] = fact("language")
        if self._start.two_way and not probe:
            parameters["inputVariables"] = self._start.custom()
        return [self._message("open", parameters)]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """A binary message; of two tracks as stereo, external left, internal right."""
        if not self.ready or self._paused or self._no_media:
            return None
        if len(self._channels) == 1:
            self._position_ms = timestamp_ms + 20
            return payload
        other = next(each for each in Track if each is not track)
        waiting = self._halves.pop(other, None)
        if waiting is None or len(waiting[1]) != len(payload):
            # The newest of each: what found no partner within 20 ms is behind, and would shift the channels.
            self._halves[track] = (timestamp_ms, payload)
            return None
        self._position_ms = timestamp_ms + 20
        left, right = (payload, waiting[1]) if track is self._start.tracks[0] else (waiting[1], payload)
        return _interleave(left, right, self._sample_bytes)

    def dtmf(self, digit: str) -> WireMessage | None:
        """`dtmf`, for bots."""
        return self._message("dtmf", {"digit": digit}) if self._start.two_way and self.ready else None

    def mark_played(self, name: str) -> WireMessage | None:
        """`playback_completed`, once the last audio that came has been played."""
        self._played += 1
        return self._message("playback_completed", {}) if self._played == self._spoken else None

    def heartbeat(self) -> Sequence[BotMessage]:
        """`ping`; a server that left the last one unanswered has gone."""
        if not self.ready:
            return ()
        if self._waits_for_pong:
            error = self._message("error", {"code": 408, "message": "no pong within 5 s"})
            return (BotReply((error,)), Failed("408", "no pong within 5 s", fatal=True))
        self._waits_for_pong = True
        return (BotReply((self._message("ping", {}),)),)

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """`close`; `closed` is waited for."""
        self.done = False
        return [self._message("close", {"reason": _CLOSE_REASONS.get(reason, "end")})]

    # -- from the server ---------------------------------------------------------------------------------------

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """Binary is audio, text is control."""
        if not isinstance(message, str):
            return self._audio(message)
        parsed = read_object(message)
        if isinstance(parsed, Rejected):
            return (parsed,)
        seq = parsed.get("seq")
        if isinstance(seq, int) and 0 <= seq < 1 << 53:
            self._server_seq = seq
        # The id is not looked at: the socket has one session, and servers are known to answer with ids of their own.
        return self._meaning(parsed.get("type"), member(parsed, "parameters"))

    def _audio(self, message: bytes) -> Sequence[BotMessage]:
        if not self._start.two_way or not self.ready:
            return (Rejected(RejectCause.OUT_OF_TURN, "audio of a server that may not speak now"),)
        payload = self._samples.add(message) if self._samples is not None else message
        started = self._spoken == self._played
        self._spoken += 1
        audio = (BotAudio(payload), BotMark(str(self._spoken)))
        return (BotReply((self._message("playback_started", {}),)), *audio) if started else audio

    def _meaning(self, kind: object, parameters: Json) -> Sequence[BotMessage]:
        match kind:
            case "opened":
                return self._opened(parameters)
            case "closed":
                self.done = True
                variables = member(parameters, "outputVariables")
                return (Event("closed", short_json(variables)),) if variables else ()
            case "pong":
                self._waits_for_pong = False
                return ()
            case "pause":
                return self._pause(paused=True)
            case "resume":
                return self._pause(paused=False)
            case "event":
                return self._events(parameters)
            case "disconnect":
                return _disconnect(parameters)
            case "reconnect":
                return (Event("reconnect", short_json(parameters)),)
            case "updated":
                return ()
            case "error":
                return (Failed(scalar(parameters, "code") or "", short(parameters.get("message"))),)
            case _:
                return (unknown_event(kind),)

    def _opened(self, parameters: Json) -> Sequence[BotMessage]:
        if self.ready:
            return (Rejected(RejectCause.OUT_OF_TURN, "opened twice"),)
        media = parameters.get("media")
        chosen = media[0] if isinstance(media, list) and media else None
        if isinstance(chosen, dict):
            shape = (chosen.get("format"), chosen.get("channels"), chosen.get("rate"))
            if shape != (self._options.encoding, self._channels, 8000):
                return (Failed("415", f"the server chose media that was not offered: {str(shape)[:100]}", fatal=True),)
        self._no_media = chosen is None
        self._paused = parameters.get("startPaused") is True
        self.ready = True
        return (Pause(True),) if self._paused else ()

    def _pause(self, *, paused: bool) -> Sequence[BotMessage]:
        if paused == self._paused:
            return ()
        self._paused = paused
        if paused:
            self._paused_at_ms = self._position_ms
            return (BotReply((self._message("paused", {}),)), Pause(True))
        # What was said meanwhile is not sent later; the position goes on from where it was.
        resumed = {"start": _duration(self._paused_at_ms), "discarded": _duration(0)}
        return (BotReply((self._message("resumed", resumed),)), Pause(False))

    def _events(self, parameters: Json) -> Sequence[BotMessage]:
        entities = parameters.get("entities")
        if not isinstance(entities, list):
            return (bad_shape("event without entities"),)
        said: list[BotMessage] = []
        for entity in entities[:16]:
            kind = scalar(entity, "type") if isinstance(entity, dict) else None
            if kind == "barge_in":
                if self._samples is not None:
                    self._samples.clear()
                said.append(BotClear())
            elif kind is None:
                said.append(bad_shape("an entity without a type"))
            else:
                said.append(Event(kind[:64], short_json(entity.get("data"))))
        return said

    def _message(self, kind: str, parameters: Json) -> str:
        self._seq += 1
        return text(
            {
                "version": "2",
                "type": kind,
                "seq": self._seq,
                "serverseq": self._server_seq,
                "id": self._id,
                "position": _duration(self._position_ms),
                "parameters": parameters,
            }
        )


def signature(
    url: str, headers: dict[str, str], key: bytes, *, created_s: int, nonce: str, life_s: int = SIGNATURE_LIFE_S
) -> dict[str, str]:
    """Headers Signature and Signature-Input of an upgrade request, as Genesys Cloud signs (HTTP Message Signatures).

    Args:
        url: Of the server.
        headers: Of the request, with those that are covered.
        key: The client secret.
        created_s: Unix time.
        nonce: Random text.
        life_s: How long the signature holds.
    """
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in headers.items()}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    values = {"@request-target": target, "@authority": parts.netloc.rpartition("@")[2].lower(), **lower}
    covered = " ".join(f'"{name}"' for name in _COVERED)
    parameters = (
        f'({covered});keyid="{lower["x-api-key"]}";nonce="{nonce}";alg="hmac-sha256"'
        f";created={created_s};expires={created_s + life_s}"
    )
    lines = [f'"{name}": {values[name]}' for name in _COVERED]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    signed = b64.b64encode(hmac.new(key, base.encode(), hashlib.sha256).digest()).decode()
    return {"Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{signed}:"}


def _disconnect(parameters: Json) -> Sequence[BotMessage]:
    reason = short(parameters.get("reason"))
    variables = member(parameters, "outputVariables")
    if reason in ("error", "unauthorized"):
        return (Failed(reason, short(parameters.get("info")), fatal=True),)
    ended = Ended(reason, short_json(variables) if variables else "")
    target = variables.get("transfer_to")
    if variables.get("action") == "transfer" and isinstance(target, str) and target:
        return (Transfer(short(target), reason, short(variables.get("summary"))), ended)
    return (ended,)


def _duration(ms: int) -> str:
    """ISO 8601, as in PT1.5S."""
    return f"PT{ms / 1000:.3f}".rstrip("0").rstrip(".") + "S"


def _interleave(left: bytes, right: bytes, sample_bytes: int) -> bytes:
    stereo = bytearray(2 * len(left))
    for byte in range(sample_bytes):
        stereo[byte :: 2 * sample_bytes] = left[byte::sample_bytes]
        stereo[sample_bytes + byte :: 2 * sample_bytes] = right[byte::sample_bytes]
    return bytes(stereo)
