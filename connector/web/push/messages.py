"""Messages of the live connection, in both directions. Published as JSON Schema in docs/schemas."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from connector.web.happenings import AnyHappening
from connector.web.rest.shapes import AgentView, CallerView, LinkView, MemberView, QueueView, TrunkView
from connector.web.rest.stream_views import StreamView

_Names = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...], Meta(max_length=1000)]

# -- from the viewer --------------------------------------------------------------------------------------------


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a viewer was when its connection broke."""

    epoch: Annotated[str, Meta(max_length=64)]
    sequence: Annotated[int, Meta(ge=0)]


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="subscribe"):
    """The first message, and again whenever the viewer wants to see something else.

    Attributes:
        pbx: Only these PBXs; without it all.
        queues: Only these queues, with their members, callers and agents; without it all.
        agents: Only these agents (directory id or interface) and their memberships; without it all.
        meters: Streams come with their meters, once a second; without it only when something else of them changes.
        events: Also tells what happens, by these names; none by default.
        resume: Where the viewer was, with the same filter.
    """

    pbx: _Names | None = None
    queues: _Names | None = None
    agents: _Names | None = None
    meters: bool = False
    events: _Names = ()
    resume: Resume | None = None


# -- to the viewer ----------------------------------------------------------------------------------------------


class LinkItem(LinkView, frozen=True, kw_only=True, tag_field="kind", tag="link"):
    """A connection to a PBX; `id` is pbx/link."""

    id: str


class TrunkItem(TrunkView, frozen=True, kw_only=True, tag_field="kind", tag="trunk"):
    """A registration of the PBX at a provider; `id` is pbx/trunk."""

    id: str


class QueueItem(QueueView, frozen=True, kw_only=True, tag_field="kind", tag="queue"):
    """A queue; `id` is pbx/queue."""

    id: str


class MemberItem(MemberView, frozen=True, kw_only=True, tag_field="kind", tag="member"):
    """A member; `id` is pbx/queue/interface."""

    id: str


class CallerItem(CallerView, frozen=True, kw_only=True, tag_field="kind", tag="caller"):
    """A waiting caller; `id` is pbx/queue/uniqueid."""

    id: str


class AgentItem(AgentView, frozen=True, kw_only=True, tag_field="kind", tag="agent"):
    """An agent; `id` is pbx/agent."""

    id: str


class StreamItem(StreamView, frozen=True, kw_only=True, tag_field="kind", tag="stream"):
    """A stream; `id` is pbx/stream. `meters` are there for viewers who ask for them, and change once a second."""

    id: str


Item = LinkItem | TrunkItem | QueueItem | MemberItem | CallerItem | AgentItem | StreamItem


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """An item that is no more, or that the filter no longer lets through."""

    kind: str
    id: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """Everything that the filter lets through. It replaces what the viewer has.

    Attributes:
        epoch: This run of the connector and this filter; sequence numbers of another epoch mean nothing.
        sequence: State of the numbers.
        at: Seconds since the epoch.
        items: All items.
    """

    epoch: str
    sequence: int
    at: float
    items: tuple[Item, ...]


class Delta(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    """What changed since `after`.

    Attributes:
        after: A viewer whose last number is below it has lost something and resumes.
        sequence: State of the numbers, from now on the viewer's last.
        changed: Items as they are now, each whole.
        removed: Items that are no more.
        events: What happened, in order.
    """

    epoch: str
    after: int
    sequence: int
    at: float
    changed: tuple[Item, ...]
    removed: tuple[Removed, ...]
    events: tuple[AnyHappening, ...]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Nothing changed, and the connector is well. Sent when nothing else was for a while."""

    epoch: str
    sequence: int
    at: float


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """The viewer's message cannot be used; the connection is closed after it."""

    detail: str
    remedy: str


ToViewer = Snapshot | Delta | Heartbeat | Fault
FromViewer = Subscribe
