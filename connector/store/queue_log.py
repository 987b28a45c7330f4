"""What Asterisk's queue_log says of calls, as records: app_queue's own account, written whether anybody listens or not.

Lines are `time|callid|queue|agent|event|data...`, seconds without fractions (Asterisk 16.28 and 22.10, app_queue.c and
logger.c). It tells less than the events: no legs, no caller name, no holds; a redirect is an ABANDON, and a caller whom
a queue refused (JOINEMPTY, FULL) is not in it at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from connector.events import Outcome
from connector.records import CallRecord, Direction, QueueVisit, TimelineEntry

FIELDS_MIN: Final = 5
CALLS_MAX: Final = 200_000
"""Calls held at a time; beyond it those that ended before the gap go, then the oldest, which is counted."""

ENDS: Final = {
    "ABANDON": Outcome.ABANDONED,
    "EXITWITHTIMEOUT": Outcome.TIMED_OUT,
    "EXITWITHKEY": Outcome.KEY_EXIT,
    "EXITEMPTY": Outcome.LEFT_EMPTY,
    "WITHDRAW": Outcome.WITHDRAWN,
}
"""Events that end the waiting without an answer."""
COMPLETED: Final = ("COMPLETECALLER", "COMPLETEAGENT")
TRANSFERRED: Final = {"BLINDTRANSFER": "transfer_blind", "ATTENDEDTRANSFER": "transfer_attended"}
"""Events of an agent who passed the caller on, with the timeline's word."""
EVENTS: Final = frozenset(
    {"ENTERQUEUE", "CONNECT", "AGENTDUMP", "DID", "SYSCOMPAT", "QUEUESTART", "CONFIGRELOAD"}
    | {"ADDMEMBER", "REMOVEMEMBER", "PAUSE", "UNPAUSE", "PAUSEALL", "UNPAUSEALL", "PENALTY", "RINGINUSE"}
    | {*ENDS, *COMPLETED, *TRANSFERRED, "RINGNOANSWER", "RINGCANCELED"}
)
"""By which the event is found where a member's name holds a `|`, which app_queue writes as it is."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line. `agent` is the member's name, NONE where none is concerned; `callid` the caller's uniqueid or NONE."""

    at: float
    callid: str
    queue: str
    agent: str
    event: str
    data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was read.

    Attributes:
        calls: Calls that are over, in order of their end.
        running: Calls that are not, as far as they have come.
        given_up: Calls that were too many to hold.
    """

    calls: tuple[CallRecord, ...]
    running: tuple[CallRecord, ...]
    given_up: int = 0


def parse_line(line: str) -> LogLine | None:
    """Reads a line of the file; None for one that is none."""
    parts = line.rstrip("\r\n").split("|")
    if len(parts) < FIELDS_MIN or not parts[0].isdecimal():
        return None
    where = 4
    if parts[4] not in EVENTS:
        where = next((index for index in range(5, len(parts)) if parts[index] in EVENTS), 4)
    return LogLine(
        at=float(parts[0]),
        callid=parts[1],
        queue=parts[2],
        agent="|".join(parts[3:where]),
        event=parts[where],
        data=tuple(parts[where + 1 :]),
    )


@dataclass(slots=True)
class _Visit:
    queue: str
    joined_at: float
    position: int
    ended_at: float = 0.0
    outcome: Outcome | None = None
    agent: str = ""
    ring_s: float = 0.0
    talk_s: float = 0.0
    rang_in_vain: int = 0
    transferred: bool = False
    talking: bool = False


@dataclass(slots=True)
class _Call:
    uniqueid: str
    number: str = ""
    visits: list[_Visit] = field(default_factory=list)
    timeline: list[TimelineEntry] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    at: float = 0.0
    open: bool = True


class Reader:
    """Makes calls of lines, given in order.

    Args:
        pbx: Name of the PBX in the settings.
        since: Begin of the gap, seconds since the epoch.
        agent_of: The agent's id of a queue and member name.
        linkedid_of: The linkedid of a caller's uniqueid, where it is known; else they are the same.
    """

    def __init__(
        self,
        pbx: str,
        *,
        since: float,
        agent_of: Callable[[str, str], str],
        linkedid_of: Callable[[str], str],
    ) -> None:
        self._pbx = pbx
        self._since = since
        self._agent_of = agent_of
        self._linkedid_of = linkedid_of
        self._calls: dict[str, _Call] = {}
        self._last_at = 0.0
        self._given_up = 0

    def read(self, lines: Iterable[LogLine]) -> None:
        """Takes lines."""
        for line in lines:
            if line.event == "QUEUESTART":
                self._restarted()
            elif line.callid != "NONE":
                self._take(line)
            self._last_at = max(self._last_at, line.at)

    def result(self, until: float) -> Recovered:
        """Calls of which any part lies between the begin of the gap and `until`."""
        wanted = [call for call in self._calls.values() if _began(call) <= until and self._concerns(call)]
        done = sorted((call for call in wanted if not call.open), key=lambda call: call.at)
        return Recovered(
            calls=tuple(self._record(call) for call in done),
            running=tuple(self._record(call) for call in wanted if call.open),
            given_up=self._given_up,
        )

    def _take(self, line: LogLine) -> None:
        call = self._calls.get(line.callid)
        if line.event == "ENTERQUEUE":
            if call is None:
                call = self._calls[line.callid] = _Call(line.callid)
                if len(self._calls) > CALLS_MAX:
                    self._make_room()
            self._enter(call, line)
            return
        if call is None or not call.visits:
            return  # it entered before what was read begins
        visit = call.visits[-1]
        call.at = line.at
        if line.event in ENDS:
            visit.outcome, visit.ended_at = ENDS[line.event], line.at
            self._note(call, line.at, "left", visit.outcome.value)
            call.open = False
        elif line.event == "RINGNOANSWER":
            visit.rang_in_vain += 1
            agent = self._agent_of(line.queue, line.agent)
            self._note(call, line.at - _number(line.data, 0) / 1000, "rang", agent)
            self._note(call, line.at, "rang_in_vain", agent)
        elif line.event == "CONNECT":
            visit.agent, visit.talking = self._agent_of(line.queue, line.agent), True
            visit.ring_s = _number(line.data, 2)
            call.members.update(line.data[1:2])
            visit.outcome, visit.ended_at = Outcome.ANSWERED, line.at
            self._note(call, line.at, "answered", visit.agent)
        elif line.event in COMPLETED or line.event in TRANSFERRED:
            # All of them end in hold time, talk time, position.
            visit.talk_s, visit.talking = max(_number(line.data, -2), 0.0), False
            visit.transferred = line.event in TRANSFERRED
            if line.event in TRANSFERRED:
                to = line.data[0] if line.event == "BLINDTRANSFER" and line.data else ""
                self._note(call, line.at, TRANSFERRED[line.event], to)
            self._note(call, line.at, "completed", visit.agent)
            call.open = False

    def _enter(self, call: _Call, line: LogLine) -> None:
        # Data: url, caller id, position.
        call.number = call.number or (line.data[1] if len(line.data) > 1 else "")
        call.visits.append(_Visit(line.queue, line.at, int(_number(line.data, 2))))
        call.at, call.open = line.at, True
        self._note(call, line.at, "joined", line.queue)

    def _restarted(self) -> None:
        """Asterisk started: whoever was in it is gone, at the latest with its last line."""
        for call in self._calls.values():
            if call.open:
                call.open, call.at = False, self._last_at
                visit = call.visits[-1]
                if visit.outcome is None:
                    visit.outcome, visit.ended_at = Outcome.UNKNOWN, self._last_at
                elif visit.talking:
                    visit.talk_s = max(0.0, self._last_at - visit.ended_at)
                visit.talking = False

    def _concerns(self, call: _Call) -> bool:
        return call.open or call.at >= self._since

    def _make_room(self) -> None:
        self._calls = {key: call for key, call in self._calls.items() if self._concerns(call)}
        while len(self._calls) > CALLS_MAX:
            del self._calls[next(iter(self._calls))]
            self._given_up += 1

    @staticmethod
    def _note(call: _Call, at: float, what: str, detail: str) -> None:
        """In the words of `acd.history`."""
        call.timeline.append(TimelineEntry(at=at, what=what, detail=detail))

    def _record(self, call: _Call) -> CallRecord:
        answered = [visit.ended_at for visit in call.visits if visit.outcome is Outcome.ANSWERED]
        return CallRecord(
            pbx=self._pbx,
            at=call.at,
            linkedid=self._linkedid_of(call.uniqueid),
            started_at=_began(call),
            direction=Direction.UNKNOWN,
            number=call.number,
            name="",
            dialled="",
            answered_at=min(answered, default=None),
            visits=tuple(_visit(call.uniqueid, visit) for visit in call.visits if visit.outcome is not None),
            timeline=tuple(call.timeline),
            legs=1 + len(call.members),
            recovered=True,
        )


def _began(call: _Call) -> float:
    return call.visits[0].joined_at


def _visit(uniqueid: str, visit: _Visit) -> QueueVisit:
    return QueueVisit(
        queue=visit.queue,
        uniqueid=uniqueid,
        joined_at=visit.joined_at,
        ended_at=visit.ended_at,
        outcome=visit.outcome or Outcome.UNKNOWN,
        position=visit.position,
        wait_s=max(0.0, visit.ended_at - visit.joined_at),
        agent=visit.agent,
        ring_s=visit.ring_s,
        talk_s=visit.talk_s,
        rang_in_vain=visit.rang_in_vain,
        transferred=visit.transferred,
    )


def _number(data: tuple[str, ...], index: int) -> float:
    try:
        return float(data[index])
    except (IndexError, ValueError):
        return 0.0
