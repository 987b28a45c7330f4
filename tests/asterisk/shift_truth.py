"""What queue_log tells of a shift, read by itself: nothing here is shared with the product."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDS = {
    "CONNECT": "answered",
    "ABANDON": "abandoned",
    "EXITWITHTIMEOUT": "timed_out",
    "EXITWITHKEY": "key_exit",
    "EXITEMPTY": "left_empty",
    "WITHDRAW": "withdrawn",
}
REFUSALS = {"FULL": "full", "JOINEMPTY": "join_empty"}
TALK_ENDS = ("COMPLETECALLER", "COMPLETEAGENT", "BLINDTRANSFER", "ATTENDEDTRANSFER")
MEMBER = re.compile(r"^member => ([^,\n]+)(?:,[^,\n]*(?:,([^\n]+))?)?$", re.MULTILINE)

Of = Counter[tuple[str, str]]
"""By queue and interface."""


@dataclass
class Account:
    """What happened in a shift.

    Attributes:
        outcomes: By queue and outcome.
        paths: What each caller went through, by uniqueid: queue and outcome in order.
        answered: Calls by queue and interface.
        rang: Phones that rang in vain.
        talks: Conversations that ended.
        talk_s: Their seconds.
        transfers: Those that ended in one.
        wait_s: Seconds of waiting by queue and outcome, of the answered and the abandoned.
    """

    outcomes: Of = field(default_factory=Counter)
    paths: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    answered: Of = field(default_factory=Counter)
    rang: Of = field(default_factory=Counter)
    talks: Of = field(default_factory=Counter)
    talk_s: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    transfers: Of = field(default_factory=Counter)
    wait_s: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))


def interfaces_of(queues_conf: str, **more: str) -> dict[str, str]:
    """Interface by member name, as queues.conf has them; `more` are those that come and go."""
    found = {name or interface: interface for interface, name in MEMBER.findall(queues_conf)}
    return {**found, **more}


def of_queue_log(text: str, interface_of: dict[str, str]) -> Account:
    """Of the lines of the file; REFUSED and REDIRECTED are what the shift's dialplan adds."""
    account = Account()
    waited: dict[str, tuple[str, str, int]] = {}
    for line in text.splitlines():
        _, caller, queue, member, event, *data = line.split("|")
        who = queue, interface_of.get(member, member)
        path = account.paths[caller] if event in (*ENDS, "REFUSED", "REDIRECTED") else []
        if event == "REFUSED":
            path.append((queue, REFUSALS[data[0]]))
        elif event == "REDIRECTED":
            assert path[-1] == (queue, "abandoned"), line
            path[-1] = queue, "redirected"
            account.wait_s[queue, "abandoned"] -= waited[caller][2]
        elif event in ENDS:
            path.append((queue, ENDS[event]))
            if event in ("CONNECT", "ABANDON"):
                waited[caller] = queue, ENDS[event], int(data[0] if event == "CONNECT" else data[2])
                account.wait_s[queue, ENDS[event]] += waited[caller][2]
            account.answered[who] += event == "CONNECT"
        elif event == "RINGNOANSWER":
            account.rang[who] += 1
        elif event in TALK_ENDS:
            account.talks[who] += 1
            account.talk_s[who] += int(data[-2])
            account.transfers[who] += event.endswith("TRANSFER")
    for path in account.paths.values():
        account.outcomes.update(path)
    return account


@dataclass(frozen=True)
class Pause:
    """A stretch in which somebody was paused in all queues, in whole seconds."""

    interface: str
    reason: str
    begin: int
    end: int


def pauses_of(text: str, interface_of: dict[str, str]) -> list[Pause]:
    """Pauses that began and ended in the shift."""
    found, open_ones = [], dict[str, tuple[int, str]]()
    for line in text.splitlines():
        at, _, _, member, event, *data = line.split("|")
        if event == "PAUSE":
            open_ones.setdefault(member, (int(at), data[0] if data else ""))
        elif event == "UNPAUSE" and member in open_ones:
            begin, reason = open_ones.pop(member)
            found.append(Pause(interface_of[member], reason, begin, int(at)))
    return found


class Kept:
    """The connector's history, read from its SQLite file beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError:  # no tables yet
            return []
        finally:
            connection.close()

    def account(self, interface_of: Mapping[str, str] | None = None) -> Account:
        """The same of what is kept; `interface_of` where a name stands for somebody."""
        account, names = Account(), interface_of or {}
        visits = self.rows(
            "SELECT uniqueid, queue, outcome, agent, talk_s, transferred, wait_s FROM visits ORDER BY joined_at, seq"
        )
        for uniqueid, queue, outcome, agent, talk_s, transferred, wait_s in visits:
            account.paths[uniqueid].append((queue, outcome))
            account.outcomes[queue, outcome] += 1
            if outcome in ("answered", "abandoned"):
                account.wait_s[queue, outcome] += wait_s
            if outcome == "answered":
                who = queue, names.get(agent, agent)
                account.answered[who] += 1
                account.talks[who] += 1
                account.talk_s[who] += talk_s
                account.transfers[who] += transferred
        # Whose phone rang in vain stands in the timeline, for which queue in the attempt under way.
        for call_key, agent, at in self.rows("SELECT call_key, detail, at FROM timeline WHERE what = 'rang_in_vain'"):
            attempts = self.rows(
                f"SELECT queue, joined_at FROM visits WHERE call_key = '{call_key}' ORDER BY joined_at"
            )
            queue = next((queue for queue, joined_at in reversed(attempts) if joined_at <= at), attempts[0][0])
            account.rang[queue, names.get(agent, agent)] += 1
        return account
