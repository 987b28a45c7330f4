"""What the terminal shows, as rows of text: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connector.events import LinkState, Outcome
from connector.records import AgentState
from connector.web.push.messages import AgentItem, CallerItem, Item, LinkItem, QueueItem

Row = tuple[str, tuple[str, ...]]
"""Key, and the text of each column."""

QUEUE_COLUMNS = ("queue", "waiting", "longest", "free", "members", "paused", "answered", "abandoned", "other")
AGENT_COLUMNS = ("agent", "state", "for", "reason", "queues")
CALLER_COLUMNS = ("queue", "#", "caller", "waiting")

_ORDER = {state: number for number, state in enumerate(AgentState)}


@dataclass(frozen=True, slots=True)
class View:
    """The whole screen.

    Attributes:
        queues: Those where somebody waits first, the longest wait on top.
        agents: By state and name.
        callers: The longest wait first.
        stale: A sentence for each thing that makes what is shown old; empty if it is live.
    """

    queues: list[Row]
    agents: list[Row]
    callers: list[Row]
    stale: list[str]


def view(items: Iterable[Item], now: float, *, broken: str, broken_s: float, search: str = "") -> View:
    """Makes the screen.

    Args:
        items: What is known.
        now: By the connector's clock.
        broken: Why there is no connection, or empty.
        broken_s: For how long.
        search: Part of names to be shown, upper or lower case.
    """
    part = search.casefold()
    queues: list[QueueItem] = []
    agents: list[AgentItem] = []
    callers: list[CallerItem] = []
    links: list[LinkItem] = []
    for item in items:
        match item:
            case QueueItem() if part in item.queue.casefold():
                queues.append(item)
            case AgentItem() if part in f"{item.agent} {item.name}".casefold():
                agents.append(item)
            case CallerItem() if part in f"{item.queue} {item.number} {item.name}".casefold():
                callers.append(item)
            case LinkItem():
                links.append(item)
    many = len({link.pbx for link in links} | {queue.pbx for queue in queues}) > 1
    queues.sort(key=lambda queue: (_waiting_since(queue, now), queue.pbx, queue.queue))
    agents.sort(key=lambda agent: (_ORDER[agent.state], agent.name.casefold(), agent.id))
    callers.sort(key=lambda caller: (caller.joined_at, caller.id))
    return View(
        queues=[(queue.id, _queue_row(queue, now, many)) for queue in queues],
        agents=[(agent.id, _agent_row(agent, now, many)) for agent in agents],
        callers=[(caller.id, _caller_row(caller, now, many)) for caller in callers],
        stale=_stale(links, queues, now, broken, broken_s),
    )


def duration(seconds: float) -> str:
    """Seconds for people: 0:07, 12:30, 3:05:00."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def clean(text: str) -> str:
    """Text from outside without what would steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _waiting_since(queue: QueueItem, now: float) -> float:
    return now if queue.waiting_since is None else queue.waiting_since


def _named(pbx: str, name: str, many: bool) -> str:
    return clean(f"{pbx}/{name}" if many else name)


def _queue_row(queue: QueueItem, now: float, many: bool) -> tuple[str, ...]:
    counts: Mapping[Outcome, int] = queue.outcomes
    answered, abandoned = counts.get(Outcome.ANSWERED, 0), counts.get(Outcome.ABANDONED, 0)
    return (
        _named(queue.pbx, queue.queue, many),
        str(queue.waiting),
        "" if queue.waiting_since is None else duration(now - queue.waiting_since),
        str(queue.members_free),
        str(queue.members),
        str(queue.members_paused),
        str(answered),
        str(abandoned),
        str(sum(counts.values()) - answered - abandoned),
    )


def _agent_row(agent: AgentItem, now: float, many: bool) -> tuple[str, ...]:
    return (
        _named(agent.pbx, agent.name or agent.agent, many),
        agent.state.value.replace("_", " "),
        duration(now - agent.since) if agent.since else "",
        clean(agent.reason),
        clean(", ".join(agent.queues)),
    )


def _caller_row(caller: CallerItem, now: float, many: bool) -> tuple[str, ...]:
    who = " ".join(filter(None, (caller.number, caller.name))) or "unknown"
    return (
        _named(caller.pbx, caller.queue, many),
        str(caller.position),
        clean(who),
        duration(now - caller.joined_at),
    )


def _stale(links: list[LinkItem], queues: list[QueueItem], now: float, broken: str, broken_s: float) -> list[str]:
    if broken:
        return [f"no connection for {duration(broken_s)}: {clean(broken)}"]
    sentences = [
        f"{link.pbx}: {link.link.upper()} is {link.state} for {duration(now - link.since)}: {clean(link.detail)}"
        for link in sorted(links, key=lambda each: each.id)
        if link.state is not LinkState.UP
    ]
    if not sentences:
        reading = sorted({queue.pbx for queue in queues if not queue.current})
        sentences = [f"{pbx}: the queues are being read anew" for pbx in reading]
    return sentences
