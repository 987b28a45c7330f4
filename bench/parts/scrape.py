"""What one scrape of the metrics costs, for the benchmark of the event path."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client.exposition import generate_latest

from connector.app import Connector
from connector.events import (
    AgentCompleted,
    CallOutcome,
    Member,
    Outcome,
    QueueParams,
    QueueSnapshot,
    QueuesSnapshot,
    TalkEnded,
)

SCRAPE_QUEUES, SCRAPE_MEMBERS, SCRAPES = 200, 2_000, 7


def scrape(connector: Connector) -> dict[str, Any]:
    """CPU of `/metrics` with all that a day fills; each time something has happened in every queue since the last."""
    link = connector._links["main"]
    queues = [f"queue {number}" for number in range(SCRAPE_QUEUES)]
    members = [f"PJSIP/agent{number}" for number in range(SCRAPE_MEMBERS)]
    each = SCRAPE_MEMBERS // SCRAPE_QUEUES
    snapshots = tuple(
        QueueSnapshot(
            params=QueueParams(
                name=name, strategy="", max_callers=0, service_level_s=0, weight=0, completed=0, abandoned=0, hold_s=0,
                talk_s=0,
            ),
            members=tuple(Member(interface=one, name=one) for one in members[number * each : (number + 1) * each]),
            callers=(),
        )
        for number, name in enumerate(queues)
    )  # fmt: skip
    link.tell(QueuesSnapshot(pbx="main", at=time.time(), queues=snapshots))

    def happens(number: int) -> None:
        for queue, name in enumerate(queues):
            for outcome in Outcome:
                uniqueid, agent, now = f"{number}-{queue}-{outcome}", members[queue * each], time.time()
                link.state.outcomes.setdefault(name, {})[outcome] = number
                for event in (
                    CallOutcome(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, outcome=outcome, wait_s=9, agent=agent
                    ),
                    TalkEnded(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, agent=agent, talk_s=9, hold_s=1,
                        transferred=False,
                    ),
                    AgentCompleted(
                        pbx="main", at=now, queue=name, uniqueid=uniqueid, interface=agent, member=agent, hold_s=1,
                        talk_s=9, reason="agent",
                    ),
                ):  # fmt: skip
                    connector._bus.publish(event)

    used: list[float] = []
    text = b""
    for number in range(SCRAPES):
        happens(number)
        started = time.process_time()
        text = generate_latest(connector._registry)
        used.append(time.process_time() - started)
    return {
        "scrape_cpu_ms": round(sorted(used)[len(used) // 2] * 1000, 1),
        "scrape_cpu_max_ms": round(max(used) * 1000, 1),
        "scrape_samples": sum(not line.startswith(b"#") for line in text.splitlines()),
    }
