"""Audio of a call that is not ours: what a channel says, and what the other side says, without touching the call.

A snoop channel (POST /channels/{id}/snoop) listens to any channel, also to one that stands in Queue() or talks to an
agent, and gives 20 ms each 20 ms whatever the phones send. Each track is a snoop, bridged with an ExternalMedia
channel. A snoop ends by itself with the channel that it listens to; the rest is ours to remove.

The other side is heard at its own channel, and a new one is found after a transfer. What a channel hears (`spy=out`)
would follow by itself, but Debian's Asterisk 22.10 went silent there after about every second change of the party
(docs/taps.md). So `out` serves only while
there is not exactly one other side: in a queue, in a conference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from connector.asterisk.ari import Ari, AriError, AriNotFound, ExternalMedia
from connector.asterisk.ids import Kind
from connector.dialects.base import Track
from connector.media.control import Address

log = structlog.get_logger()

START_DEADLINE_S = 2.0
"""From the answer of POST snoop or externalMedia to its StasisStart; up to 200 ms on 16."""


class TapFailed(Exception):
    """Asterisk did not give the tap.

    Attributes:
        gone: The channel that was to be tapped does not exist any more.
    """

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


class Ear(NamedTuple):
    """Where a snoop listens: `in` is what the channel says, `out` what it hears (ARI's `spy`)."""

    channel_id: str
    spy: str


class _Leg:
    """A track in Asterisk."""

    def __init__(self, track: Track, new_id: Callable[[str], str]) -> None:
        self.track = track
        self.media_id = new_id(Kind.EXTERNAL_MEDIA)
        self.bridge_id = new_id(Kind.BRIDGE)
        self.ear: Ear | None = None
        self.snoop_id = ""


class Tap:
    """What a tap is in Asterisk. `open`, `keep`, then `close`, whatever happened between.

    Args:
        channel_id: Uniqueid of the channel to listen to.
        speaker: Whose channel it is.
        tracks: One source of audio each, in this order.
        ari: Of its PBX.
        rtp_host: Where Asterisk's RTP is, if not where it says.
        new_id: Makes an id of a kind.
        whisper: Who hears what is sent to the speaker's track: nobody, the speaker (`out`), or `both` sides.

    Attributes:
        ended: Resolves when the tapped channel is gone, or Asterisk ended a channel of the tap; says which.
    """

    def __init__(
        self,
        channel_id: str,
        tracks: Sequence[Track],
        *,
        speaker: Track,
        ari: Ari,
        rtp_host: str,
        new_id: Callable[[str], str],
        whisper: str = "none",
    ) -> None:
        self.channel_id = channel_id
        self.audible = whisper == "both"
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._speaker = speaker
        self._ari = ari
        self._rtp_host = rtp_host
        self._new_id = new_id
        self._whisper = whisper
        self._legs = [_Leg(track, new_id) for track in tracks]
        self._channels = {leg.media_id for leg in self._legs}
        self._starting: dict[str, asyncio.Event] = {}
        self._moved = asyncio.Event()
        self._stopping = False

    # -- what it has in Asterisk, and what is told of it ------------------------------------------------------------

    @property
    def channel_ids(self) -> Collection[str]:
        """Its channels, of whose events it is to be told."""
        return self._channels

    @property
    def object_ids(self) -> set[str]:
        """Its channels and bridges."""
        return {*self._channels, *(leg.bridge_id for leg in self._legs)}

    def on_started(self, channel_id: str) -> None:
        """StasisStart of a channel of the tap."""
        if (starting := self._starting.get(channel_id)) is not None:
            starting.set()

    def on_left(self, channel_id: str) -> None:
        """StasisEnd of a channel of the tap, or a resync that finds it no more."""
        self._channels.discard(channel_id)
        for leg in self._legs:
            if channel_id == leg.media_id:
                self._end("Asterisk ended the media channel")
            elif channel_id == leg.snoop_id:
                # It ends with what it listens to.
                leg.snoop_id, leg.ear = "", None
                if leg.track is self._speaker:
                    self._end("the tapped channel is gone")
                self._moved.set()

    def on_moved(self) -> None:
        """The other side of the tapped channel may be another one now."""
        self._moved.set()

    def on_gone(self) -> None:
        """The tapped channel is gone."""
        self._end("the tapped channel is gone")

    def _end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self, hosts: Mapping[Track, str], attach: Callable[[Track, Address], None]) -> None:
        """Makes it.

        Args:
            hosts: Our `address:port` for the RTP of each track.
            attach: Told where Asterisk sends each track's audio from, before it does.

        Raises:
            TapFailed: Asterisk refused. `close` removes what was made.
        """
        other = Ear(self.channel_id, "out")
        if any(leg.track is not self._speaker for leg in self._legs):
            (other,) = await _all(self._other_side())
        await _all(*(self._open_leg(leg, other, hosts[leg.track], attach) for leg in self._legs))

    async def keep(self) -> None:
        """Follows the call until `stop`. Not to be cancelled: a step under way would leave its channel behind."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            if self._stopping:
                return
            try:
                other = await self._other_side()
                for leg in self._legs:
                    if leg.track is not self._speaker and leg.ear != other:
                        await self._listen(leg, other)
            except AriNotFound:
                await self._look()
            except (AriError, TapFailed) as error:
                log.warning("tap_not_moved", error=str(error))

    def stop(self) -> None:
        """Ends `keep` after the step that is under way; each has its deadline."""
        self._stopping = True
        self._moved.set()

    async def close(self) -> None:
        """Removes all that is left of it; the tapped call notices nothing."""
        results = await asyncio.gather(
            *(self._ari.hangup(channel_id, missing_ok=True) for channel_id in self._channels),
            *(self._ari.delete_bridge(leg.bridge_id, missing_ok=True) for leg in self._legs),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, AriError):
                # The sweep after the next connect finds it by its name.
                log.warning("left_behind", error=str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _open_leg(self, leg: _Leg, other: Ear, host: str, attach: Callable[[Track, Address], None]) -> None:
        # None of these is cancelled: it would create its object after that had been cleared away.
        started = self._starting[leg.media_id] = asyncio.Event()
        media, _ = await _all(
            self._ari.external_media(leg.media_id, external_host=host, format="ulaw"),
            self._ari.create_bridge(leg.bridge_id, name=leg.bridge_id),
        )
        assert isinstance(media, ExternalMedia)
        attach(leg.track, Address(self._rtp_host or media.local_host, media.local_port))
        await _started(started)
        ear = Ear(self.channel_id, "in") if leg.track is self._speaker else other
        await _all(self._listen(leg, ear), self._ari.add_channel(leg.bridge_id, [leg.media_id]))

    async def _listen(self, leg: _Leg, ear: Ear) -> None:
        """Puts a snoop of this ear in the place of the one that is there."""
        snoop_id = self._new_id(Kind.SNOOP)
        started = self._starting[snoop_id] = asyncio.Event()
        before, leg.snoop_id, leg.ear = leg.snoop_id, snoop_id, ear
        self._channels.add(snoop_id)
        try:
            whisper = self._whisper if leg.track is self._speaker else "none"
            await self._ari.snoop(ear.channel_id, snoop_id, spy=ear.spy, whisper=whisper)
            await _started(started)
            if before:
                await self._ari.hangup(before, missing_ok=True)
            await self._ari.add_channel(leg.bridge_id, [snoop_id])
        except (AriError, TapFailed):
            leg.ear = None
            raise
        finally:
            del self._starting[snoop_id]

    async def _other_side(self) -> Ear:
        for bridge in await self._ari.bridges():
            if self.channel_id in bridge.channels:
                others = [each for each in bridge.channels if each != self.channel_id]
                if len(others) == 1:
                    return Ear(others[0], "in")
        return Ear(self.channel_id, "out")

    async def _look(self) -> None:
        """What was to be listened to is gone: the tapped channel, or the other side, which is looked for once more."""
        try:
            await self._ari.channel(self.channel_id)
        except AriNotFound:
            self._end("the tapped channel is gone")
        except AriError as error:
            log.warning("tap_not_moved", error=str(error))
        else:
            self._moved.set()


async def _started(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            await event.wait()
    except TimeoutError:
        raise TapFailed(f"no StasisStart within {START_DEADLINE_S:g} s") from None


async def _all(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """Waits for every step, then tells the first failure."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, AriNotFound):
            raise TapFailed("the channel that was to be tapped is gone", gone=True)
        if isinstance(result, AriError):
            raise TapFailed(str(result))
        if isinstance(result, BaseException):
            raise result
    return results
