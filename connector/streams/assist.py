"""Agent assist: a server listens while an agent talks to a caller from a queue, from the answer to the end.

It listens at the agent's channel, so the agent to whom a call is passed on begins a session of its own, and the one who
passed it on has ended theirs. While the caller waits nobody listens.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from connector.config_profiles import Mode
from connector.dialects.base import Track
from connector.events import AgentConnected
from connector.streams.book import ProfileBook
from connector.streams.match import CallFacts, fits
from connector.streams.tapcall import TapOrder
from connector.streams.taps import TapRefused, Taps

log = structlog.get_logger()


class Assist:
    """Has every assist profile that fits listen to the conversations of queues. For the bus.

    Args:
        pbx: Name of the PBX.
        book: The profiles.
        taps: Of the PBX.
        direction: Of the call of a channel.
        number: Of the caller on a channel; empty if unknown.
    """

    takes = (AgentConnected,)

    def __init__(
        self,
        *,
        pbx: str,
        book: ProfileBook,
        taps: Taps,
        direction: Callable[[str], str],
        number: Callable[[str], str],
    ) -> None:
        self._pbx = pbx
        self._book = book
        self._taps = taps
        self._direction = direction
        self._number = number

    def on_event(self, event: object) -> None:
        """An agent answered."""
        if not isinstance(event, AgentConnected) or event.pbx != self._pbx or not event.leg:
            return
        facts = CallFacts(
            pbx=self._pbx,
            call_id=f"{self._pbx}:{event.uniqueid}",
            queue=event.queue,
            direction=self._direction(event.uniqueid),
        )
        for name, profile in sorted(self._book.profiles.items()):
            if profile.mode is Mode.ASSIST and fits(name, profile, facts):
                self._listen(name, event)

    def _listen(self, profile: str, event: AgentConnected) -> None:
        order = TapOrder(
            channel_id=event.leg,
            profile=profile,
            tracks=(Track.AGENT, Track.CALLER),
            speaker=Track.AGENT,
            parameters={
                "queue": event.queue,
                "agent": event.member,
                "from": self._number(event.uniqueid),
                "callerChannel": event.uniqueid,
            },
        )
        try:
            self._taps.start(order)
        except TapRefused as refused:
            log.warning("assist_refused", pbx=self._pbx, profile=profile, refusal=refused.refusal.value)
