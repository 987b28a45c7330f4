"""RingCX call streaming over gRPC (v1beta2): protobuf messages on one client stream; the server only listens.

A dialog is a call with one agent, a segment is what one participant says: the agent, or the contact, which is everybody
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from connector.dialects.base import (
    BotMessage,
    Dialect,
    DialectOptions,
    StopReason,
    StreamStart,
    Track,
    WireMessage,
)
from connector.dialects.commands import Hold, Notice
from connector.dialects.ringcx_events import ENUMS, stream_event
from connector.dialects.wire import Gather, hashed, unknown_event

CHUNK_MS = 100
"""Of audio in a message, as RingCX sends it."""
_BYTES_PER_MS = 8
_PARTICIPANTS = {Track.CALLER: "CONTACT", Track.AGENT: "AGENT"}


class RingcxGrpcOptions(DialectOptions):
    """RingCX call streaming over gRPC."""

    name: Literal["ringcx-grpc"] = "ringcx-grpc"
    account_id: str = ""
    subaccount_id: str = ""
    rc_account_id: str = ""
    product_type: Literal["QUEUE", "CAMPAIGN", "IVR"] = "QUEUE"
    product_id: str = ""
    """Of the queue or campaign at RingCX; empty: the queue's name."""

    @property
    def mixes(self) -> bool:
        """By segment."""
        return True


class RingcxGrpc(Dialect):
    """One dialog.

    Raises:
        ValueError: protobuf is not installed.
    """

    options_type = RingcxGrpcOptions
    mode = "listen"

    def __init__(self, start: StreamStart, options: RingcxGrpcOptions) -> None:
        self._start = start
        self._options = options
        self._event = stream_event()
        self._session_id = hashed(start.stream_id)
        self._segments = {track: hashed(f"{start.stream_id} {track.value}") for track in start.tracks}
        self._gathers = {track: Gather(CHUNK_MS * _BYTES_PER_MS) for track in start.tracks}
        self._sequences = dict.fromkeys(start.tracks, 0)

    def opened(self) -> list[WireMessage]:
        """DialogInit, and SegmentStart of each participant."""
        options, start = self._options, self._start
        dialog: dict[str, Any] = {
            "id": hashed(start.call_id),
            "type": "OUTBOUND" if start.fact("direction") == "outbound" else "INBOUND",
            "attributes": start.custom(),
        }
        told = (("ani", "from"), ("dnis", "to"), ("language", "language"))
        dialog |= {field: start.fact(fact) for field, fact in told if start.fact(fact)}
        account = {
            "id": options.account_id,
            "sub_account_id": options.subaccount_id,
            "rc_account_id": options.rc_account_id,
        }
        return [
            self._message(dialog_init={"account": account, "dialog": dialog}),
            *(self._message(segment_start=self._segment(track)) for track in start.tracks),
        ]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """SegmentMedia, once there are 100 ms."""
        whole = self._gathers[track].add(payload, timestamp_ms)
        return None if whole is None else self._media(track, whole[0])

    def notify(self, notice: Notice) -> list[WireMessage]:
        """SegmentInfo `hold` and `unhold` of the contact."""
        if not isinstance(notice, Hold):
            return []
        event = "hold" if notice.held else "unhold"
        return [
            self._message(segment_info={"segment_id": segment, "event": event})
            for track, segment in self._segments.items()
            if track is Track.CALLER
        ]

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """What waits, and SegmentStop of each participant."""
        messages: list[WireMessage] = []
        for track, segment in self._segments.items():
            if (rest := self._gathers[track].rest()) is not None:
                messages.append(self._media(track, rest[0]))
            messages.append(self._message(segment_stop={"segment_id": segment}))
        return messages

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """The server has nothing to say."""
        return (unknown_event(None),)

    def _segment(self, track: Track) -> dict[str, Any]:
        start, options = self._start, self._options
        name = start.fact("agent") if track is Track.AGENT else start.fact("fromName")
        ids = {Track.AGENT: start.fact("agent"), Track.CALLER: start.fact("from")}
        participant = {"id": ids[track] or self._segments[track], "type": _PARTICIPANTS[track]}
        return {
            "segment_id": self._segments[track],
            "product": {"id": options.product_id or start.fact("queue"), "type": options.product_type},
            "participant": participant | ({"name": name} if name else {}),
            "audio_format": {"codec": "PCMU", "rate": 8000, "ptime": CHUNK_MS},
        }

    def _media(self, track: Track, payload: bytes) -> bytes:
        self._sequences[track] += 1
        content = {"payload": payload, "seq": self._sequences[track], "duration": len(payload) // _BYTES_PER_MS}
        return self._message(segment_media={"segment_id": self._segments[track], "audio_content": content})

    def _message(self, **event: Any) -> bytes:
        raw: bytes = self._event(session_id=self._session_id, **_numbered(event)).SerializeToString(deterministic=True)
        return raw


def _numbered(value: Any, name: str = "") -> Any:
    """Names of enum values as their numbers; what people wrote stays as it is."""
    if isinstance(value, dict):
        if name == "attributes":
            return value
        return {key: _numbered(each, key) for key, each in value.items()}
    if name in ("type", "codec"):
        return next(names.index(value) for names in ENUMS.values() if value in names)
    return value
