"""Acts on agents and callers: who may, on whom, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connector.access.rights import Right
from connector.access.sight import Sight
from connector.acd.model import Agent, Call as LiveCall, PbxState
from connector.calls.acts import Acts
from connector.calls.agents import Membership
from connector.calls.callers import QUEUES, TRANSFER, Mode
from connector.calls.outcome import Denied, NotPossible, Result
from connector.web.rest.endpoint import Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Interface, Name, Text
from connector.web.rest.live import no_pbx
from connector.web.rest.problems import Refused, not_found
from connector.web.scope import queues_of, reaches_call, sees_agent, sees_call

Priority = Annotated[int, Meta(ge=0, le=1_000)]
Penalty = Annotated[int, Meta(ge=0, le=1_000)]
Exten = Annotated[str, Meta(pattern=r"^[0-9A-Za-z*#+_.-]{1,64}$")]
Confirm = Annotated[bool, Meta(description="Must be true: it cannot be undone, or somebody hears it.")]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pbx: Name


class AgentBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent, by id; in one queue, or in all in scope where none is named."""

    agent: Name
    queue: Text = ""


class PauseBody(AgentBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause."""

    reason: Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class AddBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new member: an agent's interface, which is named where the agent has several."""

    queue: Name
    agent: Name
    interface: Interface | None = None
    penalty: Penalty = 0


class PenaltyBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A penalty."""

    queue: Name
    agent: Name
    penalty: Penalty


class LogOutBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is taken out of all queues in scope."""

    agent: Name
    confirm: Confirm = False


class MessageBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text to an agent's phone."""

    agent: Name
    text: Annotated[str, Meta(min_length=1, max_length=1_000)]


class HangUpBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel that ends."""

    uniqueid: Name
    confirm: Confirm = False


class TransferBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel that goes to an extension of the context connector-transfer, or to a queue in scope; one of both."""

    uniqueid: Name
    exten: Exten | None = None
    queue: Name | None = None


class WaitingBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A waiting caller."""

    queue: Name
    uniqueid: Name


class PriorityBody(WaitingBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A waiting caller's priority; higher is earlier."""

    priority: Priority


class WithdrawBody(WaitingBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A waiting caller who leaves the queue for what the dialplan has behind it."""

    reason: Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    confirm: Confirm = False


class SuperviseBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent in a conversation."""

    agent: Name


class TakeOverBody(SuperviseBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent whose conversation ends for them."""

    confirm: Confirm = False


class ActionsApi:
    """Does them, within the scope of who asks.

    Args:
        acts: By PBX.
    """

    def __init__(self, acts: Mapping[str, Acts]) -> None:
        self._acts = acts

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""

        def act(
            name: str, summary: str, right: Right, body: type[_Body], handle: Callable[[Any], Awaitable[Result]]
        ) -> Endpoint:
            deed = Deed(
                f"act.{name}",
                lambda call: getattr(call.body, "agent", None) or call.body.uniqueid,
                pbx=lambda call: call.body.pbx,
                detail=lambda call: _detail(call.body),
                result=lambda result: "ok" if result.outcome == "done" else str(result.outcome),
            )

            async def handled(call: Call[Nothing, Nothing, Any]) -> Result:
                try:
                    return await handle(call)
                except Denied as error:
                    raise Refused(502, "refused-by-asterisk", str(error), remedy=error.remedy) from None
                except NotPossible as error:
                    raise Refused(409, "not-possible", str(error), remedy=error.remedy) from None

            return Endpoint("POST", f"/actions/{name}", name.replace("-", "_"), summary, "actions", handled, Result,
                            body=body, right=right, problems=(404, 409, 502), deed=deed)  # fmt: skip

        return [
            act("pause", "Pause an agent", Right.PAUSE, PauseBody, self._pause),
            act("unpause", "End an agent's pause", Right.PAUSE, AgentBody, self._unpause),
            act("add-member", "Add an agent to a queue", Right.MEMBERS, AddBody, self._add),
            act("remove-member", "Remove an agent from a queue, or from all in scope", Right.MEMBERS, AgentBody,
                self._remove),
            act("set-penalty", "Set an agent's penalty in a queue", Right.MEMBERS, PenaltyBody, self._penalty),
            act("force-logout", "Take an agent out of all queues in scope", Right.FORCE_LOGOUT, LogOutBody,
                self._log_out),
            act("message", "Send a text to an agent's phone", Right.MESSAGE, MessageBody, self._message),
            act("chime", "Play a chime to an agent in a conversation, which the caller does not hear", Right.MESSAGE,
                SuperviseBody, self._chime),
            act("hang-up", "End a channel of a call", Right.HANG_UP, HangUpBody, self._hang_up),
            act("transfer", "Transfer a caller", Right.TRANSFER, TransferBody, self._transfer),
            act("pick-up", "Take a waiting caller at one's own phone", Right.TRANSFER, WaitingBody, self._pick_up),
            act("set-priority", "Set a waiting caller's priority", Right.PRIORITY, PriorityBody, self._priority),
            act("withdraw", "Have a waiting caller leave the queue", Right.WITHDRAW, WithdrawBody, self._withdraw),
            act("listen", "Hear a conversation at one's own phone", Right.LISTEN, SuperviseBody,
                lambda call: self._supervise(call, Mode.LISTEN)),
            act("whisper", "Speak to an agent alone", Right.WHISPER, SuperviseBody,
                lambda call: self._supervise(call, Mode.WHISPER)),
            act("barge", "Speak to both", Right.BARGE, SuperviseBody, lambda call: self._supervise(call, Mode.BARGE)),
            act("take-over", "Take an agent's caller", Right.TAKE_OVER, TakeOverBody, self._take_over),
        ]  # fmt: skip

    # -- agents ---------------------------------------------------------------------------------------------------

    async def _pause(self, call: Call[Nothing, Nothing, PauseBody]) -> Result:
        acts, places = self._places(call.sight, call.body)
        return await acts.agents.pause(places, paused=True, reason=call.body.reason)

    async def _unpause(self, call: Call[Nothing, Nothing, AgentBody]) -> Result:
        acts, places = self._places(call.sight, call.body)
        return await acts.agents.pause(places, paused=False)

    async def _remove(self, call: Call[Nothing, Nothing, AgentBody]) -> Result:
        acts, places = self._places(call.sight, call.body)
        return await acts.agents.remove(places)

    async def _penalty(self, call: Call[Nothing, Nothing, PenaltyBody]) -> Result:
        body = call.body
        acts, places = self._places(call.sight, AgentBody(pbx=body.pbx, agent=body.agent, queue=body.queue))
        return await acts.agents.penalty(places[0], body.penalty)

    async def _log_out(self, call: Call[Nothing, Nothing, LogOutBody]) -> Result:
        _confirmed(call.body.confirm, f"{call.body.agent} gets no more calls.")
        acts, places = self._places(call.sight, AgentBody(pbx=call.body.pbx, agent=call.body.agent))
        return await acts.agents.log_out(places)

    async def _add(self, call: Call[Nothing, Nothing, AddBody]) -> Result:
        body, sight = call.body, call.sight
        acts = self._of(body.pbx)
        state = acts.state
        if body.queue not in state.queues or not sight.queue(state.pbx, body.queue):
            raise _no_queue(state, body.queue)
        agent, person = state.agents.get(body.agent), state.directory.people.get(body.agent)
        # Who serves only foreign queues is not ours to call away; who serves none is free.
        serves = queues_of(agent) if agent is not None else set()
        teams = person.teams if person is not None else ()
        if (agent is None and person is None) or (serves and not sight.agent(state.pbx, serves, teams)):
            raise _no_agent(state, body.agent)
        own = {*(person.interfaces if person is not None else ()), *(i for _, i in (agent.members if agent else ()))}
        if not own and "/" in body.agent:
            own = {body.agent}
        interface = body.interface or (next(iter(own)) if len(own) == 1 else None)
        if interface is None or interface not in own:
            raise Refused(
                409,
                "not-possible",
                f"{body.agent} has the interfaces {', '.join(sorted(own)) or 'none'}.",
                remedy="Name one of them as interface.",
            )
        name = person.name if person is not None else agent.name if agent is not None else ""
        return await acts.agents.add(body.queue, interface, name=name, penalty=body.penalty)

    async def _message(self, call: Call[Nothing, Nothing, MessageBody]) -> Result:
        acts, agent = self._agent(call.sight, call.body.pbx, call.body.agent)
        interfaces = {interface for _, interface in agent.members}
        person = acts.state.directory.people.get(agent.id)
        phones = sorted(
            each for each in {*interfaces, *(person.interfaces if person else ())} if each.startswith("PJSIP/")
        )
        if not phones:
            raise NotPossible(f"{agent.id} has no phone that takes texts.", "It needs a PJSIP interface.")
        return await acts.agents.message(phones[0], call.body.text, sender="sip:supervisor@connector.invalid")

    async def _chime(self, call: Call[Nothing, Nothing, SuperviseBody]) -> Result:
        acts, uniqueid, _ = self.conversation(call.sight, call.body.pbx, call.body.agent)
        return await acts.agents.chime(uniqueid)

    # -- callers --------------------------------------------------------------------------------------------------

    async def _hang_up(self, call: Call[Nothing, Nothing, HangUpBody]) -> Result:
        acts = self._reached(call.sight, call.body.pbx, call.body.uniqueid)
        _confirmed(call.body.confirm, "The call ends.")
        return await acts.callers.hang_up(call.body.uniqueid)

    async def _transfer(self, call: Call[Nothing, Nothing, TransferBody]) -> Result:
        body = call.body
        acts = self._reached(call.sight, body.pbx, body.uniqueid)
        if (body.exten is None) == (body.queue is None):
            raise Refused(409, "not-possible", "A transfer goes to an extension or to a queue.", remedy="Name one.")
        if body.queue is not None:
            if body.queue not in acts.state.queues or not call.sight.queue(body.pbx, body.queue):
                raise _no_queue(acts.state, body.queue)
            return await acts.callers.transfer(body.uniqueid, exten=body.queue, context=QUEUES)
        return await acts.callers.transfer(body.uniqueid, exten=body.exten or "", context=TRANSFER)

    async def _pick_up(self, call: Call[Nothing, Nothing, WaitingBody]) -> Result:
        acts = self._queued(call.sight, call.body)
        return await acts.callers.pick_up(call.body.queue, call.body.uniqueid, call.who.known.phone)

    async def _priority(self, call: Call[Nothing, Nothing, PriorityBody]) -> Result:
        acts = self._queued(call.sight, call.body)
        return await acts.callers.priority(call.body.queue, call.body.uniqueid, call.body.priority)

    async def _withdraw(self, call: Call[Nothing, Nothing, WithdrawBody]) -> Result:
        acts = self._queued(call.sight, call.body)
        _confirmed(call.body.confirm, "The caller loses their place.")
        return await acts.callers.withdraw(call.body.queue, call.body.uniqueid, call.body.reason)

    # -- in a conversation ----------------------------------------------------------------------------------------

    async def _supervise(self, call: Call[Nothing, Nothing, SuperviseBody], mode: Mode) -> Result:
        acts, uniqueid, _ = self.conversation(call.sight, call.body.pbx, call.body.agent)
        return await acts.callers.supervise(mode, uniqueid, call.who.known.phone, f"{mode} {call.body.agent}")

    async def _take_over(self, call: Call[Nothing, Nothing, TakeOverBody]) -> Result:
        acts, _, talk = self.conversation(call.sight, call.body.pbx, call.body.agent)
        _confirmed(call.body.confirm, f"{call.body.agent} loses the caller.")
        caller = acts.callers.caller_of(talk)
        return await acts.callers.supervise(Mode.TAKE_OVER, caller, call.who.known.phone, f"from {call.body.agent}")

    def conversation(self, sight: Sight, pbx: str, name: str) -> tuple[Acts, str, LiveCall]:
        """The conversation of an agent that somebody may be in: the agent's channel and the call.

        Raises:
            Refused: It is out of scope.
            NotPossible: There is none.
        """
        acts, agent = self._agent(sight, pbx, name)
        uniqueid = acts.callers.agent_leg(agent.id)
        call = acts.state.calls.get(acts.state.legs[uniqueid].leg.linkedid)
        if call is None or not reaches_call(sight, acts.state, call):
            raise NotPossible(f"{name} is in no conversation of yours.", "Wait for one.")
        return acts, uniqueid, call

    def caller(self, sight: Sight, pbx: str, linkedid: str) -> str:
        """Uniqueid of the caller's channel in a call that somebody may be in, whoever has the caller.

        Raises:
            Refused: It is out of scope.
            NotPossible: It has ended.
        """
        acts = self._of(pbx)
        call = acts.state.calls.get(linkedid)
        if call is None or not sees_call(sight, acts.state, call):
            raise not_found(f"{pbx} has no call {linkedid!r}.", "See /api/v1/calls for those there are.")
        uniqueid = acts.callers.caller_of(call)
        self._reached(sight, pbx, uniqueid)
        return uniqueid

    def reaches(self, sight: Sight, pbx: str, uniqueid: str) -> bool:
        """Whether somebody may still be in the call of a channel."""
        try:
            self._reached(sight, pbx, uniqueid)
        except Refused:
            return False
        return True

    # -- within scope ---------------------------------------------------------------------------------------------

    def _of(self, pbx: str) -> Acts:
        acts = self._acts.get(pbx)
        if acts is None:
            raise no_pbx(pbx, self._acts)
        return acts

    def _agent(self, sight: Sight, pbx: str, name: str) -> tuple[Acts, Agent]:
        acts = self._of(pbx)
        agent = acts.state.agents.get(name)
        if agent is None or not sees_agent(sight, acts.state, agent):
            raise _no_agent(acts.state, name)
        return acts, agent

    def _places(self, sight: Sight, body: AgentBody) -> tuple[Acts, list[Membership]]:
        """Where an agent is a member and the one who asks may act; at least one."""
        acts, agent = self._agent(sight, body.pbx, body.agent)
        state = acts.state
        person = state.directory.people.get(agent.id)
        whole = sight.owns_agent(state.pbx, queues_of(agent), person.teams if person is not None else ())
        queues = {queue for queue in queues_of(agent) if whole or sight.queue(state.pbx, queue)}
        if body.queue:
            if body.queue not in queues:
                raise _no_queue(state, body.queue)
            queues = {body.queue}
        return acts, acts.agents.memberships(agent, queues)

    def _queued(self, sight: Sight, body: WaitingBody) -> Acts:
        acts = self._of(body.pbx)
        if body.queue not in acts.state.queues or not sight.queue(body.pbx, body.queue):
            raise _no_queue(acts.state, body.queue)
        return acts

    def _reached(self, sight: Sight, pbx: str, uniqueid: str) -> Acts:
        acts = self._of(pbx)
        track = acts.state.legs.get(uniqueid)
        call = acts.state.calls.get(track.leg.linkedid) if track is not None else None
        if call is None or not sees_call(sight, acts.state, call):
            raise not_found(f"{pbx} has no channel {uniqueid!r}.", "See /api/v1/calls for those there are.")
        if not reaches_call(sight, acts.state, call):
            raise Refused(
                403, "out-of-scope", "The call is in a queue of somebody else now.", remedy="Ask who has that queue."
            )
        return acts


def _confirmed(confirm: bool, harm: str) -> None:
    if not confirm:
        raise Refused(409, "confirmation-needed", harm, remedy="Send it again with confirm: true.")


def _no_queue(state: PbxState, queue: str) -> Refused:
    return not_found(f"{state.pbx} has no queue {queue!r} here.", "See /api/v1/queues for those it has.")


def _no_agent(state: PbxState, agent: str) -> Refused:
    return not_found(f"{state.pbx} has no agent {agent!r}.", "See /api/v1/agents for those it has.")


def _detail(body: _Body) -> str:
    """What of a request the audit keeps beside its target; not the text of a message."""
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value not in ("", None, False)}
    return ", ".join(
        f"{name} {value}" for name, value in fields.items() if name not in ("pbx", "agent", "text", "confirm")
    )
