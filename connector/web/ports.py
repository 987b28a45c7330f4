"""What the HTTP side needs of the rest of the connector; `app` hands in what does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from connector.acd.model import PbxState
from connector.records import AuditRecord, CallRecord, StreamRecord
from connector.store.queries import AgentQuarter, QueueQuarter
from connector.store.within import Within
from connector.web.rest.people import Person
from connector.web.rest.shapes import ProbeResult


class Live(Protocol):
    """The live state. It is read between two events and never changed."""

    def states(self) -> Mapping[str, PbxState]:
        """By name of the PBX; always the same objects."""
        ...


class Figures(Protocol):
    """The figures of one PBX; `acd.figures.Figures` is one."""

    def view_queue(self, state: PbxState, name: str, now: float) -> dict[str, Any]:
        """What `web.rest.figures.QueueFigures` describes."""
        ...

    def trend(self, name: str, now: float) -> dict[str, list[int]]:
        """What `web.rest.figures.QueueTrend` describes."""
        ...

    def view_agent(
        self, state: PbxState, agent_id: str, now: float, *, counts: Callable[[str], bool] | None = None
    ) -> dict[str, Any]:
        """What `web.rest.figures.AgentFigures` describes; `counts`: only what came of these queues."""
        ...


class History(Protocol):
    """What is kept; `store.queries.History` is one. Each raises what the database raises while it is away."""

    async def calls(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        queue: str = "",
        agent: str = "",
        number: str = "",
        outcome: str = "",
        direction: str = "",
        before: tuple[float, str] | None = None,
        limit: int = 100,
        within: Within | None = None,
    ) -> list[CallRecord]:
        """Calls by (ended_at, key), the latest first."""
        ...

    async def call(self, pbx: str, linkedid: str) -> CallRecord | None:
        """One call with its timeline."""
        ...

    async def queue_quarters(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        name: str = "",
        after: tuple[int, str, str] | None = None,
        limit: int = 1_000,
        within: Within | None = None,
    ) -> list[QueueQuarter]:
        """Quarters of an hour by (starts_at, pbx, queue)."""
        ...

    async def agent_quarters(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        name: str = "",
        after: tuple[int, str, str] | None = None,
        limit: int = 1_000,
        within: Within | None = None,
    ) -> list[AgentQuarter]:
        """Quarters of an hour by (starts_at, pbx, agent)."""
        ...

    async def streams(
        self,
        *,
        since: float,
        until: float,
        pbx: str = "",
        profile: str = "",
        queue: str = "",
        cause: str = "",
        before: tuple[float, str] | None = None,
        limit: int = 100,
        within: Within | None = None,
    ) -> list[StreamRecord]:
        """Streams by (ended_at, key), the latest first."""
        ...

    async def audit(
        self,
        *,
        since: float,
        until: float,
        actor: str = "",
        action: str = "",
        before: tuple[float, str] | None = None,
        limit: int = 100,
    ) -> list[AuditRecord]:
        """Deeds by (at, key), the latest first."""
        ...


class Conflict(Exception):
    """A change contradicts what is there; the message is a sentence that names it."""


class Directory(Protocol):
    """The people and what they use. Each id and each interface is there once."""

    async def people(self) -> Sequence[Person]:
        """All, by id."""
        ...

    async def add(self, person: Person) -> None:
        """Adds one; raises `Conflict`."""
        ...

    async def replace(self, person: Person) -> None:
        """Changes one; raises `Conflict`, and KeyError if there is none of that id."""
        ...

    async def remove(self, person: str) -> None:
        """Removes one; raises `Conflict`, and KeyError if there is none of that id."""
        ...


class Probes(Protocol):
    """Tests of connections, each on a connection of its own."""

    async def ami(self, pbx: str) -> ProbeResult:
        """Logs in to the manager interface and off again."""
        ...

    async def ari(self, pbx: str) -> ProbeResult:
        """Asks ARI for its version and our application."""
        ...

    async def sip_websocket(self, pbx: str) -> ProbeResult:
        """Opens the SIP WebSocket of browser phones and closes it."""
        ...
