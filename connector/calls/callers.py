"""What is done to calls: hang up, transfer, pick up, priority, withdraw; listening in at the supervisor's phone."""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import Callable

import msgspec

from connector.acd.model import Call, Track
from connector.asterisk.ari import AriError, AriNotFound
from connector.asterisk.ari_models import DialplanCEP
from connector.calls.desk import Desk
from connector.calls.outcome import NotPossible, Outcome, Result
from connector.events import (
    CallOutcome,
    Event,
    LegChanged,
    LegEnded,
    Outcome as Exit,
    QueuesSnapshot,
    SpyChanged,
)

SUPERVISE = "connector-supervise"
"""Context of asterisk-conf/connector-extensions.conf that the supervisor's phone enters."""
TRANSFER = "connector-transfer"
"""Context that callers are transferred to; the customer fills it."""
QUEUES = "connector-queue"
"""Context whose extensions are the names of queues."""
RING_S = 30
"""The supervisor's phone rings for so long."""
LOOK_S = 0.05
MOVE_S = 2.0
"""For a channel to have moved after Asterisk's consent."""
SETTLE_S = 0.3
"""After which a channel that was sent to no extension is gone."""


class Mode(enum.StrEnum):
    """What a supervisor does in a conversation; the extension of `SUPERVISE` that does it."""

    LISTEN = "listen"
    WHISPER = "whisper"
    BARGE = "barge"
    TAKE_OVER = "take"


class CallerActs:
    """Acts on calls of one PBX.

    Args:
        desk: Sends and confirms.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def hang_up(self, uniqueid: str) -> Result:
        """Ends a channel."""

        def told(event: Event) -> bool:
            return isinstance(event, LegEnded) and event.uniqueid == uniqueid

        return await self._desk.act(lambda: self._desk.ari.hangup(uniqueid), told, "hung up")

    async def transfer(self, uniqueid: str, *, exten: str, context: str) -> Result:
        """Moves a channel elsewhere in the dialplan, out of a queue or a conversation.

        Args:
            uniqueid: Of the channel.
            exten: Where to.
            context: Of the extension.
        """
        track = self._track(uniqueid)
        try:
            before = (await self._desk.ari.channel(uniqueid)).dialplan
        except AriError as error:
            raise NotPossible(f"The channel cannot be read: {error}.", "Look again.") from None
        moved = await self._desk.manager(
            "Redirect",
            None,
            f"transferred to {exten}",
            Channel=track.leg.channel,
            Context=context,
            Exten=exten,
            Priority="1",
        )
        if moved.outcome is Outcome.UNKNOWN:
            return moved
        return await self._until_elsewhere(uniqueid, before, moved)

    async def _until_elsewhere(self, uniqueid: str, before: DialplanCEP, moved: Result) -> Result:
        """No event tells of a step in the dialplan that is not into a queue: the channel is asked where it stands.

        Asterisk takes any extension, and ends the channel where there is none.
        """
        for _ in range(int(MOVE_S / LOOK_S)):
            try:
                place = (await self._desk.ari.channel(uniqueid)).dialplan
                if place != before:
                    await asyncio.sleep(SETTLE_S)
                    await self._desk.ari.channel(uniqueid)
                    return Result(outcome=Outcome.DONE, detail=moved.detail, took_s=moved.took_s)
            except AriNotFound:
                detail = f"{moved.detail}, and ended right after: is there such an extension in {TRANSFER}?"
                return Result(outcome=Outcome.UNKNOWN, detail=detail, took_s=moved.took_s)
            except AriError as error:
                return Result(outcome=Outcome.UNKNOWN, detail=f"{error}", took_s=moved.took_s)
            await asyncio.sleep(LOOK_S)
        return Result(outcome=Outcome.UNKNOWN, detail="The caller has not moved yet.", took_s=moved.took_s)

    async def withdraw(self, queue: str, uniqueid: str, reason: str) -> Result:
        """Has a waiting caller leave the queue and go on in the dialplan behind Queue()."""
        track = self._waiting(queue, uniqueid)

        def told(event: Event) -> bool:
            return isinstance(event, CallOutcome) and (event.queue, event.uniqueid, event.outcome) == (
                queue,
                uniqueid,
                Exit.WITHDRAWN,
            )

        fields = {"WithdrawInfo": reason} if reason else {}
        result = await self._desk.manager(
            "QueueWithdrawCaller",
            told,
            f"withdrawn from {queue}",
            Queue=queue,
            Caller=track.leg.channel,
            **fields,
        )
        stay = self._desk.state.waiting(uniqueid)
        if result.outcome is Outcome.UNKNOWN and stay is not None and stay.ringing:
            # app_queue looks for it between two rounds of ringing, not within one (16.28 and 22.10).
            return Result(
                outcome=Outcome.SENT,
                detail=f"The caller leaves {queue} when the phones that ring now have stopped, unless one answers.",
                took_s=result.took_s,
            )
        return result

    async def priority(self, queue: str, uniqueid: str, priority: int) -> Result:
        """Changes a waiting caller's priority; the queue sorts anew when it next looks.

        No event tells of it, so the list of the queues is read.
        """
        track = self._waiting(queue, uniqueid)

        def told(event: Event) -> bool:
            if not isinstance(event, QueuesSnapshot):
                return False
            found = (caller for each in event.queues if each.params.name == queue for caller in each.callers)
            return any(caller.uniqueid == uniqueid and caller.priority == priority for caller in found)

        async def send() -> None:
            await self._desk.ami.action(
                "QueueChangePriorityCaller", Queue=queue, Caller=track.leg.channel, Priority=str(priority)
            )
            await self._desk.ami.request_list("QueueStatus")

        return await self._desk.act(send, told, f"priority {priority} in {queue}")

    # -- at the supervisor's phone --------------------------------------------------------------------------------

    async def pick_up(self, queue: str, uniqueid: str, phone: str) -> Result:
        """Rings the supervisor's phone and connects it with a waiting caller, who goes on waiting until then."""
        track = self._waiting(queue, uniqueid)
        ringing = await self._ring(
            phone,
            "hold",
            track,
            lambda own: lambda event: isinstance(event, LegChanged) and event.uniqueid == own and event.state == "up",
            f"{phone} has answered",
            about=f"caller of {queue}",
        )
        if ringing.outcome is not Outcome.DONE:
            return ringing
        own = ringing.uniqueid
        try:
            self._waiting(queue, uniqueid)

            def told(event: Event) -> bool:
                return isinstance(event, LegChanged) and event.uniqueid in (own, uniqueid)

            # Not Bridge() at the supervisor's side: it takes the caller away, and app_queue says nothing of it.
            for name, value in (("CONNECTOR_TARGET", self._track(own).leg.channel), ("CONNECTOR_QUEUE", queue)):
                await self._desk.manager("Setvar", None, "", Channel=track.leg.channel, Variable=name, Value=value)
            result = await self._desk.manager(
                "Redirect",
                told,
                f"picked up at {phone}",
                Channel=track.leg.channel,
                Context=SUPERVISE,
                Exten="caller",
                Priority="1",
            )
        except NotPossible:
            await self._desk.act(lambda: self._desk.ari.hangup(own, missing_ok=True), None, "")
            raise
        return msgspec.structs.replace(result, took_s=round(ringing.took_s + result.took_s, 3), uniqueid=own)

    async def supervise(self, mode: Mode, uniqueid: str, phone: str, about: str) -> Result:
        """Rings the supervisor's phone, and lets it into a conversation when it answers.

        Args:
            mode: What the supervisor does there.
            uniqueid: The agent's channel; to take over, the caller's.
            phone: Interface of the supervisor.
            about: For the display of the phone.
        """
        track = self._track(uniqueid)

        def told_of(spyer: str) -> Callable[[Event], bool]:
            if mode is Mode.TAKE_OVER:
                return lambda event: isinstance(event, LegChanged) and event.uniqueid == uniqueid
            return lambda event: (
                isinstance(event, SpyChanged) and event.started and event.spyer == spyer and event.spied == uniqueid
            )

        return await self._ring(phone, mode.value, track, told_of, f"{mode} at {phone}", about=about)

    async def _ring(
        self,
        phone: str,
        exten: str,
        target: Track,
        told_of: Callable[[str], Callable[[Event], bool]],
        done: str,
        *,
        about: str = "",
    ) -> Result:
        if not phone:
            raise NotPossible(
                "Your account has no phone.", "An administrator sets it: connector user, or /api/v1/accounts."
            )
        # No name of ours: after a restart the sweep must leave this call alone, a caller may be in it.
        spyer = f"supervise-{uuid.uuid4().hex}"
        told = told_of(spyer)
        over: list[str] = []

        def either(event: Event) -> bool:
            if isinstance(event, LegEnded) and event.uniqueid == spyer:
                over.append(spyer)
                return True
            return told(event)

        result = await self._desk.act(
            lambda: self._desk.ari.originate(
                spyer,
                endpoint=phone,
                context=SUPERVISE,
                exten=exten,
                caller_id=f'"{plain(about)}" <{exten}>',
                timeout_s=RING_S,
                variables={"CONNECTOR_TARGET": target.leg.channel},
            ),
            either,
            done,
            confirm_s=RING_S + 5.0,
        )
        if over:
            raise NotPossible(f"{phone} did not answer, or the call to be supervised has ended.", "Try again.")
        return Result(outcome=result.outcome, detail=result.detail, took_s=result.took_s, uniqueid=spyer)

    # -- what there is --------------------------------------------------------------------------------------------

    def caller_of(self, call: Call) -> str:
        """Uniqueid of the caller's channel in a call with an agent of a queue, else of its first one."""
        for visit in reversed(call.visits):
            if visit.talking and visit.uniqueid in call.legs:
                return visit.uniqueid
        if call.legs:
            return next(iter(call.legs))
        raise NotPossible("The call has ended.")

    def agent_leg(self, agent: str) -> str:
        """Uniqueid of the channel at which an agent talks.

        Raises:
            NotPossible: They do not talk.
        """
        known = self._desk.state.agents.get(agent)
        legs = self._desk.state.legs
        for uniqueid in known.legs if known is not None else ():
            if uniqueid in legs and legs[uniqueid].leg.state == "up":
                return uniqueid
        raise NotPossible(f"{agent} is in no conversation.", "Wait for one.")

    def _track(self, uniqueid: str) -> Track:
        track = self._desk.state.legs.get(uniqueid)
        if track is None:
            raise NotPossible("There is no such channel any more.", "Look again.")
        return track

    def _waiting(self, queue: str, uniqueid: str) -> Track:
        if self._desk.state.where.get(uniqueid) != queue:
            raise NotPossible(f"The caller does not wait in {queue} any more.", "Look again.")
        return self._track(uniqueid)


def plain(text: str) -> str:
    """Text that cannot end a quoted name."""
    return "".join(each for each in text if each.isprintable() and each not in '"\\<>')[:60]
