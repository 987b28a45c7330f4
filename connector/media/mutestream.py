"""A stream without a bot: the tracks of a call that is listened to only to be recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from connector.audio.wire import WIRES
from connector.dialects.base import Track
from connector.dialects.commands import Notice
from connector.media.carrier import Carrier
from connector.media.control import EndCause, OpenStream, StreamEnded, StreamOpened, StreamStats
from connector.media.rtp import RtpReject
from connector.media.side import Side


class MuteStream:
    """To the worker it is as a `Stream`.

    Args:
        request: What the control process asked for; it has no address of a bot.
    """

    def __init__(self, request: OpenStream) -> None:
        self.stream_id = request.stream_id
        self.wire = WIRES[request.audio]
        self.bot_hears = self.bot_says = self.wire.heard
        self.carrier: Carrier | None = None
        self._sides = {track: Side(self, track) for track in request.tracks}
        self.gauge = self._sides[request.tracks[0]].gauge
        self._stats = StreamStats()
        self._close: asyncio.Future[EndCause] = asyncio.get_running_loop().create_future()

    @property
    def legs(self) -> dict[Track, Side]:
        """Where the audio of each track comes in."""
        return dict(self._sides)

    @property
    def counted(self) -> StreamStats:
        """The counters as `stats` last gave them."""
        return self._stats

    def stats(self) -> StreamStats:
        """The counters as they stand."""
        self._stats = StreamStats()
        for side in self._sides.values():
            side.add_to(self._stats)
        return self._stats

    async def run(self, opened: Callable[[StreamOpened], None]) -> StreamEnded:
        """Lasts until it is closed."""
        opened(StreamOpened(self.stream_id, 0.0))
        return StreamEnded(self.stream_id, await self._close, "", self.stats())

    def close(self, cause: EndCause) -> None:
        """Ends `run` with this cause; the first one counts."""
        if not self._close.done():
            self._close.set_result(cause)

    def attach(self, now_s: float) -> None:
        """Nobody is to be told that audio follows."""

    def hear(self, payload: bytes, timestamp_ms: int, track: Track | None = None) -> None:
        """Nobody hears it."""

    def rejected_rtp(self, cause: RtpReject, payload_type: int = -1) -> None:
        """A datagram that is not used."""

    def dtmf(self, digit: str) -> None:
        """Nobody is told."""

    def notify(self, notice: Notice) -> None:
        """Nobody is told."""
