"""Servers that listen to calls: begun and ended on any call that goes on, by whoever may, with one function each.

REST, the dialplan, AMI, vendors' interfaces and the profiles that match by themselves all come here. A profile listens
to a call once; what is asked for twice is there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from connector.config_profiles import Mode
from connector.dialects.base import Track
from connector.media.control import EndCause
from connector.streams.book import ProfileBook
from connector.streams.tapcall import TapCall, TapOrder
from connector.streams.taps import CallView, TapRefused, Taps

log = structlog.get_logger()

START_S = 10.0
"""Until a server has to listen: dialling it, and Asterisk's part."""


class Calls(CallView, Protocol):
    """What is known of calls; `asterisk.link.PbxLink` knows it."""

    def legs_of(self, linkedid: str) -> list[str]:
        """Uniqueids of the channels of a call, in order of appearance, without those of listeners."""
        ...

    def agent_of(self, uniqueid: str) -> str:
        """Id of the agent whose device a channel is; empty if nobody's."""
        ...

    def who_at(self, uniqueid: str) -> str:
        """Name of the agent at a channel; its device where it is nobody's; empty if there is no such channel."""
        ...

    def is_house(self, uniqueid: str) -> bool:
        """Whether a channel is one of a phone of the house."""
        ...

    def number_of(self, uniqueid: str) -> str:
        """Of the caller on a channel; empty if it is not known."""
        ...

    def queue_of(self, uniqueid: str) -> str:
        """The queue that a call is in or is answered from; empty if it is of none."""
        ...

    def direction(self, uniqueid: str) -> str:
        """Of the call of a channel: inbound, outbound, internal or unknown."""
        ...


class NotListening(Exception):
    """Nobody listens; the message is a sentence.

    Attributes:
        kind: unknown-profile, not-for-listening, unknown-channel, already-listening, no-room or failed.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Listeners:
    """Those of one PBX.

    Args:
        pbx: Its name.
        book: The profiles.
        taps: Do it.
        calls: What is known of calls.
    """

    def __init__(self, *, pbx: str, book: ProfileBook, taps: Taps, calls: Calls) -> None:
        self.pbx = pbx
        self._book = book
        self._taps = taps
        self._calls = calls

    def start(
        self, uniqueid: str, profile: str, parameters: Mapping[str, str] | None = None, *, at_agent: bool | None = None
    ) -> TapCall:
        """Has the server of a profile listen to a call; returns at once.

        Args:
            uniqueid: Of a channel of the call. An agent's: it ends with the agent's part of the call; any other: it
                stays over holds and transfers.
            profile: Name of one that listens, of whichever mode but `voicebot`.
            parameters: For the server, beside those of the profile and what is known of the call.
            at_agent: Whether the channel is that of the one who serves the caller; None: as the agents are known.

        Returns:
            The tap; `wait` tells when it listens, `stop` ends it.

        Raises:
            NotListening: With the kind.
        """
        settings = self._book.profiles.get(profile)
        if settings is None or not settings.enabled:
            raise NotListening("unknown-profile", f"There is no profile {profile!r} that is enabled.")
        if settings.mode is Mode.VOICEBOT:
            raise NotListening("not-for-listening", f"The profile {profile!r} is one of a bot that talks.")
        if settings.match.pbxs and self.pbx not in settings.match.pbxs:
            raise NotListening("not-for-listening", f"The profile {profile!r} is not for this PBX.")
        linkedid = self._calls.linkedid_of(uniqueid)
        if linkedid is None:
            raise NotListening("unknown-channel", f"{self.pbx} has no channel {uniqueid!r} now.")
        if any(tap.order.channel_id == uniqueid for tap in self.of(linkedid, profile)):
            raise NotListening("already-listening", f"{profile} listens to this channel already.")
        agent = self._calls.agent_of(uniqueid)
        served = bool(agent) if at_agent is None else at_agent
        known = {
            "from": self._calls.number_of(self._calls.caller_of(linkedid)),
            "queue": self._calls.queue_of(uniqueid),
            "agent": agent,
            "direction": self._calls.direction(uniqueid),
        }
        order = TapOrder(
            channel_id=uniqueid,
            profile=profile,
            tracks=(Track.AGENT, Track.CALLER) if served else (Track.CALLER, Track.AGENT),
            speaker=Track.AGENT if served else Track.CALLER,
            parameters={**{name: value for name, value in known.items() if value}, **(parameters or {})},
        )
        try:
            return self._taps.start(order)
        except TapRefused as refused:
            raise NotListening("no-room", f"There is no room for another listener: {refused}.") from None

    async def wait(self, tap: TapCall) -> None:
        """Until the server listens.

        Raises:
            NotListening: It does not; nothing is left.
        """
        waits = [asyncio.create_task(event.wait()) for event in (tap.started, tap.over)]
        try:
            await asyncio.wait(waits, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if not tap.started.is_set():
            tap.stop()
            raise NotListening("failed", f"The server of {tap.order.profile} or the call was not there; see the log.")

    def try_to_start(
        self, uniqueid: str, profile: str, parameters: Mapping[str, str] | None = None, *, at_agent: bool | None = None
    ) -> TapCall | None:
        """As `start`, for those whom nobody waits for: what does not come about is logged."""
        try:
            return self.start(uniqueid, profile, parameters, at_agent=at_agent)
        except NotListening as error:
            if error.kind != "already-listening":
                log.warning("not_listening", pbx=self.pbx, profile=profile, kind=error.kind, detail=str(error))
            return None

    def stop(self, uniqueid: str, profile: str) -> int:
        """Ends a profile's listening to the call of a channel, at whichever of its channels; how many there were."""
        linkedid = self._calls.linkedid_of(uniqueid)
        found = [] if linkedid is None else self.of(linkedid, profile)
        for tap in found:
            tap.stop(EndCause.STOPPED)
        return len(found)

    def caller_of(self, linkedid: str) -> str:
        """Uniqueid of the caller's channel in a call that goes on; empty if there is no such call."""
        return self._calls.caller_of(linkedid)

    def is_agent(self, uniqueid: str) -> bool:
        """Whether a channel is one of an agent's device."""
        return bool(self._calls.agent_of(uniqueid))

    def all(self) -> list[TapCall]:
        """Who listens, by id; not those who only record."""
        taps = (tap for tap in self._taps.active.values() if isinstance(tap, TapCall))
        return sorted((tap for tap in taps if tap.order.profile and not tap.over.is_set()), key=lambda tap: tap.tap_id)

    def of(self, linkedid: str, profile: str = "") -> list[TapCall]:
        """Who listens to a call, or of them a profile."""
        return [
            tap
            for tap in self.all()
            if self._calls.linkedid_of(tap.order.channel_id) == linkedid and profile in ("", tap.order.profile)
        ]
