"""Agent assist: a server listens while an agent talks to a caller from a queue, from the answer to the end.

It listens at the agent's channel. The one to whom a call is passed on begins a session of their own, whether the
transfer was blind or announced; the one who passed it on has ended theirs. While the caller waits nobody listens.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from connector.asterisk.ari import Ari, AriError
from connector.config_profiles import Mode
from connector.events import AgentConnected, CallerJoined, LegChanged, LegEnded
from connector.streams.book import ProfileBook
from connector.streams.listeners import Calls, Listeners
from connector.streams.match import CallFacts, fits

log = structlog.get_logger()


@dataclass(slots=True)
class _Talk:
    """A caller whose conversation is listened to.

    Attributes:
        queue: That it came from.
        leg: Uniqueid of the channel that the caller talks to.
        looking: Somebody looks whom they talk to.
        again: Something happened since.
    """

    queue: str
    leg: str
    looking: bool = False
    again: bool = False


class Assist:
    """Has every assist profile that fits listen to the conversations of queues. For the bus.

    Args:
        pbx: Name of the PBX.
        book: The profiles.
        listeners: Do it.
        ari: Knows who is in a bridge with whom.
        calls: What is known of calls.
        begin: Owns tasks.
    """

    takes = (AgentConnected, CallerJoined, LegChanged, LegEnded)

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
        self._talks: dict[str, _Talk] = {}
        """By uniqueid of the caller."""

    def on_event(self, event: object) -> None:
        """An agent answered, or the caller may talk to another one now."""
        match event:
            case AgentConnected(pbx=self._pbx, leg=leg) if leg:
                self._talks[event.uniqueid] = _Talk(event.queue, leg)
                self._listen(event.uniqueid, event.queue, leg, event.member)
            case CallerJoined(pbx=self._pbx):  # whoever answers there is told of by the queue
                self._talks.pop(event.caller.uniqueid, None)
            case LegEnded(pbx=self._pbx):
                self._talks.pop(event.uniqueid, None)
            case LegChanged(pbx=self._pbx, state="up"):
                for caller, talk in list(self._talks.items()):
                    if self._calls.linkedid_of(caller) == event.linkedid:
                        self._look(caller, talk)

    def _look(self, caller: str, talk: _Talk) -> None:
        if talk.looking:
            talk.again = True
        else:
            talk.looking = True
            self._begin(self._find(caller, talk))

    async def _find(self, caller: str, talk: _Talk) -> None:
        """Finds out whom a caller talks to now."""
        try:
            talk.again = True
            while talk.again:
                talk.again = False
                for bridge in await self._ari.bridges():
                    others = [each for each in bridge.channels if each != caller]
                    if caller in bridge.channels and len(others) == 1 and others[0] != talk.leg:
                        talk.leg = others[0]
                        if self._talks.get(caller) is talk:
                            self._listen(caller, talk.queue, talk.leg, "")
        except AriError as error:
            log.warning("transfer_not_followed", pbx=self._pbx, call_id=f"{self._pbx}:{caller}", error=str(error))
        finally:
            talk.looking = False

    def _listen(self, caller: str, queue: str, leg: str, member: str) -> None:
        facts = CallFacts(
            pbx=self._pbx,
            call_id=f"{self._pbx}:{caller}",
            queue=queue,
            direction=self._calls.direction(caller),
        )
        agent = member or self._calls.who_at(leg)
        parameters = {"queue": queue, "agent": agent, "from": self._calls.number_of(caller), "callerChannel": caller}
        for name, profile in sorted(self._book.profiles.items()):
            if profile.mode is Mode.ASSIST and fits(name, profile, facts):
                self._listeners.try_to_start(leg, name, parameters, at_agent=True)
