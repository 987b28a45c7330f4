"""What is done to agents: pause, queues, penalty, log-out, message."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from connector.acd.model import Agent
from connector.calls.confirm import Told
from connector.calls.desk import Desk
from connector.calls.outcome import NotPossible, Outcome, Result
from connector.events import Event, Member, MemberChanged, MemberRemoved
from connector.streams.chime import NoChime, chime
from connector.streams.taps import TapRefused, Taps

LOGGED_OUT = "logged out by a supervisor"
"""Reason of the pause of a static member, which cannot be removed for good: a reload brings it back."""


@dataclass(frozen=True, slots=True)
class Membership:
    """An agent's place in a queue."""

    queue: str
    member: Member


class AgentActs:
    """Acts on agents of one PBX.

    Args:
        desk: Sends and confirms.
        taps: For what is played to agents; None where nothing is.
    """

    def __init__(self, desk: Desk, taps: Taps | None = None) -> None:
        self._desk = desk
        self._taps = taps

    def memberships(self, agent: Agent, queues: Collection[str] | None) -> list[Membership]:
        """Where an agent is a member.

        Args:
            agent: Who.
            queues: Only of these; None for all.
        """
        found = []
        for queue, interface in sorted(agent.members):
            known = self._desk.state.queues.get(queue)
            member = known.members.get(interface) if known is not None else None
            if member is not None and (queues is None or queue in queues):
                found.append(Membership(queue, member))
        return found

    async def pause(self, places: Sequence[Membership], *, paused: bool, reason: str = "") -> Result:
        """Pauses or unpauses an agent in queues.

        Args:
            places: Where.
            paused: Or not.
            reason: As shown on the page.
        """

        def is_so(member: Member) -> bool:
            return member.paused is paused and (not paused or member.pause_reason == reason)

        results = []
        for place in places:
            if _is_so(self._desk, place, is_so):
                results.append(Result(outcome=Outcome.DONE, detail=f"{place.queue}: it was so already."))
                continue
            results.append(
                await self._desk.manager(
                    "QueuePause",
                    _member_is(place, is_so),
                    f"{'paused' if paused else 'unpaused'} in {place.queue}",
                    Queue=place.queue,
                    Interface=place.member.interface,
                    Paused="true" if paused else "false",
                    **({"Reason": reason} if reason else {}),
                )
            )
        return together(results)

    async def add(self, queue: str, interface: str, *, name: str, penalty: int, state_interface: str = "") -> Result:
        """Adds a member to a queue.

        Args:
            queue: Its name.
            interface: What the queue dials.
            name: Member name.
            penalty: Of app_queue.
            state_interface: Device whose state counts, if another.
        """
        known = self._desk.state.queues.get(queue)
        if known is not None and interface in known.members:
            raise NotPossible(f"{interface} is a member of {queue} already.")

        def told(event: Event) -> bool:
            return isinstance(event, MemberChanged) and (event.queue, event.member.interface) == (queue, interface)

        fields = {"MemberName": name} if name else {}
        if state_interface:
            fields["StateInterface"] = state_interface
        return await self._desk.manager(
            "QueueAdd", told, f"added to {queue}", Queue=queue, Interface=interface, Penalty=str(penalty), **fields
        )

    async def remove(self, places: Sequence[Membership]) -> Result:
        """Removes an agent from queues. A static member comes back at the next reload of app_queue."""
        return together([await self._remove(place) for place in places])

    async def _remove(self, place: Membership) -> Result:
        def told(event: Event) -> bool:
            return isinstance(event, MemberRemoved) and (event.queue, event.interface) == (
                place.queue,
                place.member.interface,
            )

        return await self._desk.manager(
            "QueueRemove",
            told,
            f"removed from {place.queue}",
            Queue=place.queue,
            Interface=place.member.interface,
        )

    async def penalty(self, place: Membership, penalty: int) -> Result:
        """Sets app_queue's penalty."""
        if place.member.penalty == penalty:
            return Result(outcome=Outcome.DONE, detail="It was so already.")
        told = _member_is(place, lambda member: member.penalty == penalty)
        return await self._desk.manager(
            "QueuePenalty",
            told,
            f"penalty {penalty} in {place.queue}",
            Queue=place.queue,
            Interface=place.member.interface,
            Penalty=str(penalty),
        )

    async def log_out(self, places: Sequence[Membership]) -> Result:
        """Takes an agent out of queues: dynamic memberships end, static ones are paused."""
        results = []
        for place in places:
            if place.member.membership == "dynamic":
                results.append(await self._remove(place))
            else:
                results.append(await self.pause([place], paused=True, reason=LOGGED_OUT))
        return together(results)

    async def message(self, interface: str, text: str, *, sender: str) -> Result:
        """Sends a text to a phone, as SIP MESSAGE.

        Args:
            interface: Such as PJSIP/anna.
            text: What.
            sender: URI that it comes from.
        """
        technology, _, resource = interface.partition("/")
        return await self._desk.act(
            lambda: self._desk.ari.send_message(technology, resource, sender=sender, text=text),
            None,
            f"sent to {interface}; phones do not say whether it was read",
        )

    async def chime(self, uniqueid: str) -> Result:
        """Plays a chime to an agent in a conversation; the caller does not hear it.

        Args:
            uniqueid: Of the agent's channel.
        """
        if self._taps is None:
            raise NotPossible("Nothing is played to agents here.")
        began = self._desk.monotonic()
        try:
            await chime(self._taps, uniqueid)
        except (NoChime, TapRefused) as error:
            raise NotPossible(f"It was not played: {error}.", "Try again later.") from None
        took_s = round(self._desk.monotonic() - began, 3)
        return Result(outcome=Outcome.DONE, detail="played to the agent alone", took_s=took_s)


def together(results: Sequence[Result]) -> Result:
    """Several as one: as good as the worst of them."""
    if not results:
        raise NotPossible("There is nothing to do: no such membership.", "Look again.")
    worst = max(results, key=lambda result: list(Outcome).index(result.outcome))
    return Result(
        outcome=worst.outcome,
        detail="; ".join(result.detail for result in results if result.detail),
        took_s=round(sum(result.took_s for result in results), 3),
    )


def _member_is(place: Membership, wanted: Callable[[Member], bool]) -> Told:
    def told(event: Event) -> bool:
        return (
            isinstance(event, MemberChanged)
            and (event.queue, event.member.interface) == (place.queue, place.member.interface)
            and wanted(event.member)
        )

    return told


def _is_so(desk: Desk, place: Membership, wanted: Callable[[Member], bool]) -> bool:
    queue = desk.state.queues.get(place.queue)
    member = queue.members.get(place.member.interface) if queue is not None else None
    return member is not None and wanted(member)
