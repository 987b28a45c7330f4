"""Campaigns: servers that listen to calls with a tag, from when both sides are connected to the end.

The tag is the channel variable CONNECTOR_CAMPAIGN, given at origination or in the dialplan, at any channel of the call.
They listen at the customer's channel, so a transfer within the house changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from connector.asterisk.ari import Ari, AriError
from connector.config_profiles import Mode
from connector.events import CallEnded, LegChanged
from connector.streams.book import ProfileBook
from connector.streams.facts import campaign_of
from connector.streams.listeners import Calls, Listeners
from connector.streams.match import CallFacts, fits

log = structlog.get_logger()


class Campaigns:
    """Has every campaign profile that fits listen. For the bus.

    Args:
        pbx: Name of the PBX.
        book: The profiles.
        listeners: Do it.
        ari: Knows tags, and who is in a bridge with whom.
        calls: What is known of calls.
        begin: Owns tasks.
    """

    takes = (LegChanged, CallEnded)

    def __init__(
        self,
        *,
        pbx: str,
        book: ProfileBook,
        listeners: Listeners,
        ari: Ari,
        calls: Calls,
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._pbx = pbx
        self._book = book
        self._listeners = listeners
        self._ari = ari
        self._calls = calls
        self._begin = begin
        self._looking: dict[str, bool] = {}
        """Calls that are looked at, by linkedid; whether something happened since."""
        self._decided: set[str] = set()
        """Calls whose sides have been connected, as long as they go on."""

    def on_event(self, event: object) -> None:
        """The sides of a call may be connected now."""
        match event:
            case CallEnded(pbx=self._pbx):
                self._decided.discard(event.linkedid)
            case LegChanged(pbx=self._pbx, state="up") if event.linkedid not in self._decided and self._wanted:
                if event.linkedid in self._looking:
                    self._looking[event.linkedid] = True
                elif len(self._calls.legs_of(event.linkedid)) >= 2:
                    self._looking[event.linkedid] = True
                    self._begin(self._look(event.linkedid))

    @property
    def _wanted(self) -> bool:
        return any(profile.mode is Mode.CAMPAIGN and profile.enabled for profile in self._book.profiles.values())

    async def _look(self, linkedid: str) -> None:
        try:
            while self._looking[linkedid]:
                self._looking[linkedid] = False
                legs = self._calls.legs_of(linkedid)
                for bridge in await self._ari.bridges():
                    connected = [each for each in legs if each in bridge.channels]
                    if len(connected) >= 2:
                        self._decided.add(linkedid)
                        await self._connected(linkedid, connected)
                        return
        except AriError as error:
            log.warning("campaign_unknown", pbx=self._pbx, call_id=f"{self._pbx}:{linkedid}", error=str(error))
        finally:
            del self._looking[linkedid]
            if not self._calls.legs_of(linkedid):
                self._decided.discard(linkedid)

    async def _connected(self, linkedid: str, legs: list[str]) -> None:
        tag = await campaign_of(self._ari, legs)
        if not tag:
            return
        customer = next((each for each in legs if not self._calls.is_house(each)), legs[-1])
        facts = CallFacts(
            pbx=self._pbx,
            call_id=f"{self._pbx}:{linkedid}",
            campaign=tag,
            queue=self._calls.queue_of(customer),
            direction=self._calls.direction(customer),
        )
        served = next((self._calls.agent_of(each) for each in legs if each != customer), "")
        parameters = {"campaign": tag, **({"agent": served} if served else {})}
        for name, profile in sorted(self._book.profiles.items()):
            if profile.mode is Mode.CAMPAIGN and fits(name, profile, facts):
                self._listeners.try_to_start(customer, name, parameters, at_agent=False)
