"""What each person does, over all queues and devices: derived from members, channels and conversations.

The first of these that holds is the state:

| state       | when                                                                                              |
|-------------|---------------------------------------------------------------------------------------------------|
| on_call     | a channel of theirs is up, or a caller of a queue talks to them, and neither is on hold           |
| on_hold     | all they have is on hold                                                                          |
| on_call     | a device is in use or busy (on_hold if it says so), though no channel is known                    |
| ringing     | a queue rings them, or a device or channel of theirs rings                                        |
| unavailable | a member of no queue, or no device can be reached                                                 |
| paused      | paused in all their queues                                                                        |
| wrap_up     | the wrap-up after their last conversation is not over                                             |
| available   | else                                                                                              |
"""

from __future__ import annotations

from collections.abc import Iterator

from connector.acd.clock import at_time
from connector.acd.directory import device_of, device_of_channel
from connector.acd.history import finish
from connector.acd.model import Agent, PbxState, Track, Visit
from connector.events import AgentChanged, DeviceState, Member, WrapUpEnded
from connector.records import AgentInterval, AgentState, Derived

BUSY = frozenset({DeviceState.IN_USE, DeviceState.BUSY, DeviceState.RING_IN_USE, DeviceState.ON_HOLD})
OUT_OF_REACH = frozenset({DeviceState.UNAVAILABLE, DeviceState.INVALID})
ON_THE_PHONE = frozenset({AgentState.ON_CALL, AgentState.ON_HOLD})

CLOCK_SET_BACK_S = 60.0
"""Events overtake each other by far less."""

WRAP_UP_MAX_S = 3600.0
"""As the settings allow; more is left only when the clock was set back."""

RUNNING_MAX_S = 86_400.0
"""A phone that has been off for longer is not worth writing again and again."""

NAMES_MAX = 20_000
"""Names of members that are remembered; the oldest goes first."""

EARLIER_CALL_S = 2.0
"""LastCall is in whole seconds; what differs by more is another call than the one we know of."""


def agent_at(state: PbxState, interface: str) -> Agent | None:
    """Whose interface it is."""
    return state.agents.get(state.agent_of.get(device_of(interface), ""))


def agent_named(state: PbxState, queue: str, name: str) -> str:
    """Id of whom queue_log names; the name itself where nobody of that name was ever seen."""
    known = state.queues.get(queue)
    for member in known.members.values() if known is not None else ():
        if member.name == name:
            return state.directory.agent_id(member)
    return state.names.get(name, name)


def _note_name(state: PbxState, member: Member, agent_id: str) -> None:
    if state.names.get(member.name) != agent_id:
        state.names.pop(member.name, None)
        state.names[member.name] = agent_id
        if len(state.names) > NAMES_MAX:
            del state.names[next(iter(state.names))]


def agent_name(state: PbxState, interface: str) -> str:
    """Id of whose interface it is; the interface itself where that is not known."""
    return state.agent_of.get(device_of(interface), interface)


# -- memberships --------------------------------------------------------------------------------------------------


def member_set(state: PbxState, queue: str, old: Member | None, new: Member, at: float, changes: list[Derived]) -> None:
    """A member is there or has changed. Call it when the queue has it."""
    key = (queue, new.interface)
    agent_id = state.directory.agent_id(new)
    _note_name(state, new, agent_id)
    if old is not None and (other := state.directory.agent_id(old)) != agent_id:
        _leave(state, other, key, at, changes)
    agent = state.agents.get(agent_id)
    if agent is None:
        agent = _new_agent(state, agent_id, new, at)
    if key not in agent.members:
        agent.members[key] = None
        for device in (device_of(new.interface), device_of(new.state_interface)):
            if device and state.agent_of.get(device) != agent_id:
                state.agent_of[device] = agent_id
                _take_legs(state, agent, device)
    refresh(state, agent, at, changes)


def member_gone(state: PbxState, queue: str, old: Member, at: float, changes: list[Derived]) -> None:
    """A member is no more. Call it when the queue has it no longer."""
    _leave(state, state.directory.agent_id(old), (queue, old.interface), at, changes)


def rebuild(state: PbxState, at: float, changes: list[Derived]) -> None:
    """After a snapshot or a change of the directory: memberships and owners afresh, what people do stays."""
    wanted: dict[str, list[tuple[str, Member]]] = {person: [] for person in state.directory.people}
    for name, queue in state.queues.items():
        for member in queue.members.values():
            wanted.setdefault(state.directory.agent_id(member), []).append((name, member))
    # Who is a member no more keeps channels and conversations until they end, unless the devices are another's now.
    gone = {agent_id: agent for agent_id, agent in state.agents.items() if agent_id not in wanted}
    state.agent_of = {device: owner for device, owner in state.agent_of.items() if owner in gone}
    for person in state.directory.people.values():
        state.agent_of.update((device_of(interface), person.id) for interface in person.interfaces)
    new: list[Agent] = []
    for known in state.agents.values():
        known.legs = {}
    for agent_id, members in wanted.items():
        agent = state.agents.get(agent_id)
        if agent is None:
            agent = _new_agent(state, agent_id, members[0][1] if members else None, at)
        if not agent.members and not state.queues_current:
            agent.since = at  # till now nobody knew
            new.append(agent)
        if agent_id in state.directory.people:
            agent.name = state.directory.people[agent_id].name
        agent.members = {(queue, member.interface): None for queue, member in members}
        for _, member in members:
            _note_name(state, member, agent_id)
            for device in (device_of(member.interface), device_of(member.state_interface)):
                if device:
                    state.agent_of[device] = agent_id
        _earlier_call(state, agent, members, at)
    for track in state.legs.values():
        track.agent = ""
        own_leg(state, track)
    for visit in state.talks.values():
        _give_talk(state, visit)
    for agent in gone.values():
        agent.members = {}
    for agent in list(state.agents.values()):
        refresh(state, agent, at, changes)
    for agent in new:
        _since_before(state, agent, at)


def _new_agent(state: PbxState, agent_id: str, member: Member | None, at: float) -> Agent:
    person = state.directory.people.get(agent_id)
    name = person.name if person is not None else member.name if member is not None else agent_id
    agent = state.agents[agent_id] = Agent(id=agent_id, name=name, state=AgentState.UNAVAILABLE, since=at)
    return agent


def _since_before(state: PbxState, agent: Agent, at: float) -> None:
    """Who is paused when first seen has been so since Asterisk's LastPause."""
    if agent.state is AgentState.PAUSED:
        paused_at = max(state.queues[queue].members[interface].paused_at for queue, interface in agent.members)
        if 0 < paused_at < at:
            agent.since = paused_at


def _earlier_call(state: PbxState, agent: Agent, members: list[tuple[str, Member]], at: float) -> None:
    """A conversation of which we heard nothing may still be wrapped up."""
    if agent.wrapping is not None:
        return
    for queue, member in members:
        until = member.last_call_at + wrap_up_s(state, queue, member)
        if until > max(at, agent.wrap_until) and member.last_call_at > agent.completed[1] + EARLIER_CALL_S:
            agent.wrap_until = until
            at_time(state, until, "wrap_up", agent.id)


def _give_talk(state: PbxState, visit: Visit) -> None:
    agent = agent_at(state, visit.interface)
    if agent is not None and visit.agent != agent.id:
        former = state.agents.get(visit.agent)
        if former is not None:
            former.talks.pop(visit.uniqueid, None)
        visit.agent = agent.id
        agent.talks[visit.uniqueid] = visit


def _leave(state: PbxState, agent_id: str, key: tuple[str, str], at: float, changes: list[Derived]) -> None:
    agent = state.agents.get(agent_id)
    if agent is not None and key in agent.members:
        del agent.members[key]
        refresh(state, agent, at, changes)


def _drop_if_gone(state: PbxState, agent: Agent, at: float, changes: list[Derived]) -> None:
    """Forgets who is a member of nothing, in no directory, and on no call."""
    if agent.talks or agent.legs or agent.id in state.directory.people or agent.id not in state.agents:
        return
    if agent.wrapping is not None:
        end_wrap_up(state, agent, at, changes)
    _tell_interval(state, agent, at, changes)
    del state.agents[agent.id]
    for device in [device for device, owner in state.agent_of.items() if owner == agent.id]:
        del state.agent_of[device]
    changes.append(AgentChanged(pbx=state.pbx, at=at, agent=agent.id, state="", reason="", linkedid=""))


# -- channels -----------------------------------------------------------------------------------------------------


def own_leg(state: PbxState, track: Track) -> Agent | None:
    """Gives a channel to the person whose device it is; None if nobody's."""
    agent = state.agents.get(state.agent_of.get(device_of_channel(track.leg.channel), ""))
    if agent is not None:
        track.agent = agent.id
        agent.legs[track.leg.uniqueid] = None
    return agent


def leg_gone(state: PbxState, track: Track, at: float, changes: list[Derived]) -> None:
    """A channel of somebody's device ended."""
    agent = state.agents.get(track.agent)
    if agent is not None:
        agent.legs.pop(track.leg.uniqueid, None)
        refresh(state, agent, at, changes)


def _take_legs(state: PbxState, agent: Agent, device: str) -> None:
    for uniqueid, track in state.legs.items():
        if not track.agent and device_of_channel(track.leg.channel) == device:
            track.agent = agent.id
            agent.legs[uniqueid] = None


# -- wrap-up ------------------------------------------------------------------------------------------------------


def wrap_up_s(state: PbxState, queue: str, member: Member | None) -> float:
    """How long a member is left alone after a call: its own time if it has one (as app_queue), else the queue's."""
    if member is not None and member.wrapup_seconds > 0:
        return float(member.wrapup_seconds)
    return state.wrap_up_s.get(queue, state.default_wrap_up_s)


def begin_wrap_up(state: PbxState, agent: Agent, visit: Visit, at: float, changes: list[Derived]) -> None:
    """A conversation of theirs is over."""
    agent.completed = (visit.uniqueid, at)
    if agent.wrapping is not None:
        end_wrap_up(state, agent, at, changes)
    queue = state.queues.get(visit.queue)
    seconds = wrap_up_s(state, visit.queue, queue.members.get(visit.interface) if queue is not None else None)
    if seconds > 0:
        agent.wrapping, agent.wrap_until, visit.wraps = visit, at + seconds, True
        at_time(state, agent.wrap_until, "wrap_up", agent.id)


def end_wrap_up(state: PbxState, agent: Agent, at: float, changes: list[Derived]) -> None:
    """The wrap-up is over, by itself or by something else."""
    visit, agent.wrapping, agent.wrap_until = agent.wrapping, None, 0.0
    if visit is None or visit.completed_at is None:
        return
    visit.wraps = False
    visit.wrap_up_s = max(0.0, round(at - visit.completed_at, 6))
    changes.append(
        WrapUpEnded(
            pbx=state.pbx,
            at=at,
            queue=visit.queue,
            uniqueid=visit.uniqueid,
            agent=agent.id,
            wrap_up_s=visit.wrap_up_s,
        )
    )
    finish(state, visit.call, changes)


def wrap_up_due(state: PbxState, agent_id: str, now: float, changes: list[Derived]) -> None:
    """A deadline of `begin_wrap_up` has come."""
    agent = state.agents.get(agent_id)
    if agent is not None and 0 < agent.wrap_until <= now:
        until = agent.wrap_until
        end_wrap_up(state, agent, until, changes)
        refresh(state, agent, until, changes)


# -- the state ----------------------------------------------------------------------------------------------------


def refresh(state: PbxState, agent: Agent, at: float, changes: list[Derived]) -> None:
    """Derives the state anew, and tells if it is another. Who has nothing left is forgotten."""
    _derive(state, agent, at, changes)
    if not agent.members:
        _drop_if_gone(state, agent, at, changes)


def _derive(state: PbxState, agent: Agent, at: float, changes: list[Derived]) -> None:
    new, reason, linkedid = _evaluate(state, agent, at)
    if new is agent.state and not linkedid and (new in ON_THE_PHONE or new is AgentState.RINGING):
        linkedid = agent.linkedid  # the channel is gone, the device's word is under way
    if new is agent.state and reason == agent.reason and linkedid == agent.linkedid:
        return
    if agent.wrapping is not None and (
        new in (AgentState.PAUSED, AgentState.UNAVAILABLE)
        or (new in ON_THE_PHONE and agent.state in (AgentState.WRAP_UP, AgentState.RINGING))
    ):
        end_wrap_up(state, agent, at, changes)
    at = _tell_interval(state, agent, at, changes)
    agent.state, agent.reason, agent.linkedid, agent.since = new, reason, linkedid, at
    changes.append(
        AgentChanged(pbx=state.pbx, at=at, agent=agent.id, state=new.value, reason=reason, linkedid=linkedid)
    )


def _tell_interval(state: PbxState, agent: Agent, at: float, changes: list[Derived]) -> float:
    if at <= agent.since:
        # Events that overtook each other, or a clock that was set back: then there is no telling how long it was.
        return agent.since if at > agent.since - CLOCK_SET_BACK_S else at
    changes.append(
        AgentInterval(
            pbx=state.pbx,
            at=at,
            agent=agent.id,
            state=agent.state,
            reason=agent.reason,
            started_at=agent.since,
            linkedid=agent.linkedid,
        )
    )
    return at


def running(state: PbxState, now: float) -> Iterator[AgentInterval]:
    """What everybody does now, as if it ended; what it is once it has ended replaces it. Old states are left out."""
    for agent in state.agents.values():
        if now - RUNNING_MAX_S < agent.since < now:
            yield AgentInterval(
                pbx=state.pbx,
                at=now,
                agent=agent.id,
                state=agent.state,
                reason=agent.reason,
                started_at=agent.since,
                linkedid=agent.linkedid,
            )


def _evaluate(state: PbxState, agent: Agent, at: float) -> tuple[AgentState, str, str]:
    active, held, rings = _channels(state, agent)
    if active is not None:
        return AgentState.ON_CALL, "", active
    if held is not None:
        return AgentState.ON_HOLD, "", held
    devices: set[DeviceState] = set()
    paused = bool(agent.members)
    reason, paused_at = "", -1.0
    for queue, interface in agent.members:
        member = state.queues[queue].members[interface]
        devices.add(member.device)
        if not member.paused:
            paused = False
        elif member.paused_at > paused_at:
            reason, paused_at = member.pause_reason, member.paused_at
    if devices & BUSY:
        return (AgentState.ON_HOLD if devices & BUSY == {DeviceState.ON_HOLD} else AgentState.ON_CALL), "", ""
    if agent.ringing or rings is not None or DeviceState.RINGING in devices:
        return AgentState.RINGING, "", rings or _caller_of(state, agent)
    if devices <= OUT_OF_REACH:
        return AgentState.UNAVAILABLE, "", ""
    if paused:
        return AgentState.PAUSED, reason, ""
    if at < agent.wrap_until <= at + WRAP_UP_MAX_S:
        call = agent.wrapping.call if agent.wrapping is not None else None
        return AgentState.WRAP_UP, "", call.linkedid if call is not None else ""
    return AgentState.AVAILABLE, "", ""


def _channels(state: PbxState, agent: Agent) -> tuple[str | None, str | None, str | None]:
    """Linkedids of what is active, held, and ringing; None where nothing is."""
    active = held = rings = None
    for visit in agent.talks.values():
        if visit.hung_up_at is None:
            linkedid = visit.call.linkedid if visit.call is not None else ""
            if visit.held_since is None:
                active = linkedid
            else:
                held = linkedid
    for uniqueid in agent.legs:
        track = state.legs[uniqueid]
        leg = track.leg
        if leg.state == "up":
            if track.held_since is None:
                active = active or leg.linkedid
            else:
                held = held or leg.linkedid
        elif leg.state == "ringing":
            rings = leg.linkedid
    return active, held, rings


def _caller_of(state: PbxState, agent: Agent) -> str:
    for uniqueid in agent.ringing:
        track = state.legs.get(uniqueid)
        if track is not None:
            return track.leg.linkedid
    return ""
