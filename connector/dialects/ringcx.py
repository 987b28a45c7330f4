"""RingCX (RingCentral Engage Voice) call streaming over WebSocket: JSON with mu-law in base64; the server only listens.

Perspectives: Participant is the agent, Conference is everybody else.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

from connector.dialects.base import (
    BotMessage,
    Dialect,
    DialectOptions,
    Rejected,
    StopReason,
    StreamStart,
    Track,
    Upgrade,
    WireMessage,
)
from connector.dialects.wire import Json, base64, hashed, read_object, text, unknown_event, with_query

_PERSPECTIVES = {Track.CALLER: "Conference", Track.AGENT: "Participant"}


class RingcxOptions(DialectOptions):
    """RingCX call streaming over WebSocket."""

    name: Literal["ringcx"] = "ringcx"
    account_id: str = ""
    subaccount_id: str = ""
    rc_account_id: str = ""
    product_type: Literal["Queue", "Campaign", "Manual"] = "Queue"
    product_id: int = 0
    """Number of the queue or campaign at RingCX."""
    sequence: Literal["socket", "perspective"] = "socket"
    """What sequenceId counts over; RingCX does not say."""

    @property
    def mixes(self) -> bool:
        """By `perspective`."""
        return True


class Ringcx(Dialect):
    """One agent session. Parameters `sessionId` and `agentId` are told as numbers where they are some."""

    options_type = RingcxOptions
    mode = "listen"

    def __init__(self, start: StreamStart, options: RingcxOptions) -> None:
        self._start = start
        self._sequences = dict.fromkeys(Track, 0)
        self._per_track = options.sequence == "perspective"
        self._began_s = 0.0
        self._length_ms = 0
        self._facts: Json = {
            "callId": hashed(start.call_id),
            "sessionId": _number(start.fact("sessionId"), 1),
            "ani": start.fact("from"),
            "dnis": start.fact("to"),
            "accountId": options.account_id,
            "subaccountId": options.subaccount_id,
            "rcAccountId": options.rc_account_id,
            "agentId": _number(start.fact("agentId") or start.fact("agent"), 0),
            "productType": options.product_type,
            "productId": _number(start.fact("productId"), options.product_id),
        }

    def upgrade(self, request: Upgrade, *, unix_s: float, nonce: str) -> Upgrade:
        """Adds who calls whom to the query, as the server may want to choose by it."""
        self._began_s = unix_s
        return Upgrade(with_query(request.url, **self._facts), request.headers, request.subprotocols)

    def opened(self) -> list[WireMessage]:
        """`Connected` and `Start`."""
        # RingCentral's own samples read the content type under either name.
        kind = {"contentType": "audio/x-mulaw", "audioContentType": "audio/x-mulaw", "sampleRateHertz": 8000}
        return [
            text({"event": "Connected", "protocol": "AgentSession", "version": "1.0.0"}),
            text({"event": "Start", "metadata": {**self._facts, **kind}}),
        ]

    def audio(self, payload: bytes, timestamp_ms: int, track: Track = Track.CALLER) -> WireMessage | None:
        """`Media`."""
        self._length_ms = max(self._length_ms, timestamp_ms + 20)
        counted = track if self._per_track else Track.CALLER
        self._sequences[counted] += 1
        return text(
            {
                "event": "Media",
                "perspective": _PERSPECTIVES[track],
                "sequenceId": str(self._sequences[counted]),
                "media": base64(payload),
            }
        )

    def closing(self, reason: StopReason) -> list[WireMessage]:
        """`Stop`, one for each perspective."""
        ended = datetime.datetime.fromtimestamp(round(self._began_s + self._length_ms / 1000), datetime.UTC)
        metadata = {"duration": self._length_ms // 1000, "end_time": ended.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return [
            text({"event": "Stop", "perspective": _PERSPECTIVES[track], "metadata": metadata})
            for track in self._start.tracks
        ]

    def decode(self, message: WireMessage) -> Sequence[BotMessage]:
        """The server has nothing to say; what it says is counted."""
        parsed = read_object(message)
        return (parsed if isinstance(parsed, Rejected) else unknown_event(parsed.get("event")),)


def _number(value: str, otherwise: int) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else otherwise
