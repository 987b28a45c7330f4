"""One PBX: its AMI and ARI connections, what they tell folded into the live state, and how far that can be trusted.

One task consumes each connection's items in order, so the state never needs a lock. After every (re)connect of AMI the
lists are asked for; each takes effect where its Complete event stood in the stream, while later events wait their turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from connector.acd.apply import apply, tick
from connector.acd.directory import device_of_channel
from connector.acd.lines import registers
from connector.acd.model import PbxState
from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiConnected,
    AmiError,
    AmiEvent,
    AmiItem,
    AmiList,
    AmiLost,
    AmiOverflow,
    AmiRefused,
)
from connector.asterisk.ari import Ari, AriConnected, AriError, AriEvent, AriLost, AriOverflow, AriRefused
from connector.asterisk.ari_models import Event as AriMessage
from connector.asterisk.pbx_facts import RtpRange, read_rtp_range
from connector.asterisk.snapshot import legs_snapshot, queues_snapshot
from connector.asterisk.snapshot_lines import contacts_snapshot, endpoints_snapshot, trunks_snapshot
from connector.asterisk.translate import Malformed, Message, translate
from connector.bus import Bus
from connector.events import AnyEvent, ContactChanged, EventsMissed, LinkChanged, LinkState
from connector.records import Derived, Published

log = structlog.get_logger()

RESYNC_RETRY_S = 5.0
"""Before a resync that failed on a live connection is tried again."""

RESYNC_PAUSE_S = 1.0
"""Between two resyncs; what asks for one meanwhile is served by the next."""

TICK_S = 1.0
"""How often the live state is told the time."""

CONTACTS_PAUSE_S = 5.0
"""How long news of registrations are gathered before all are read: an event does not tell address and user agent."""

STRANGERS_MAX = 1_000
"""Names of unknown queues that are remembered, so that each asks for one resync."""

WITHOUT_RTP = frozenset({"Local", "Snoop", "Message", "Announcer", "Recorder", "CBAnn", "CBRec", "Bridge"})
"""Channel technologies that hold no RTP port."""


LISTS: dict[str, Callable[[tuple[Message, ...], str, float], tuple[AnyEvent, tuple[Malformed, ...]]]] = {
    "QueueStatus": queues_snapshot,
    "CoreShowChannels": legs_snapshot,
    "PJSIPShowRegistrationsOutbound": trunks_snapshot,
    "DBGetTree": contacts_snapshot,
}
"""How the answer to each list action is read."""


class AriConsumer(Protocol):
    """Who handles the calls in our Stasis application."""

    def on_connected(self) -> None:
        """The events connection is up (again), or events were dropped: look at what is there."""
        ...

    def on_event(self, event: AriMessage) -> None:
        """One event, in order."""
        ...


class PbxLink:
    """Keeps one PBX connected and its state current.

    Args:
        pbx: Name in the settings.
        ami: Its manager client.
        ari: Its ARI client.
        bus: Gets every event after it was applied, then what followed from it.
        clock: Seconds since the epoch.
        reconcile_s: How often the lists are read though nothing asks for it.
    """

    def __init__(
        self,
        *,
        pbx: str,
        ami: Ami,
        ari: Ari,
        bus: Bus[Published],
        clock: Callable[[], float],
        reconcile_s: float = 600.0,
    ) -> None:
        self.pbx = pbx
        self.ami = ami
        self.ari = ari
        self.state = PbxState(pbx)
        self.rtp_range: RtpRange | None = None
        """Its RTP ports; None until read. Kept over a lost connection: the file rarely changes."""
        self.asterisk_version = ""
        """As ARI tells it, for example 22.10.1; empty until read."""
        self.resyncs: Counter[str] = Counter()
        """Snapshots asked for, by cause: connected, overflow, reload, unknown_queue, reconcile."""
        self.malformed: Counter[str] = Counter()
        """AMI messages of ours that could not be read, by cause."""
        self.last_event_at: float | None = None
        """When the last AMI event came, by our clock."""
        self.event_lag_s = 0.0
        """How much later than Asterisk's own Timestamp the last event came; 0 where it sends none."""
        self._bus = bus
        self._clock = clock
        self._reconcile_s = reconcile_s
        self._resync_wanted = asyncio.Event()
        self._lost_at: dict[str, float] = {}
        self._strangers: set[str] = set()
        self._contacts_wanted = asyncio.Event()
        self._refused_lists: set[str] = set()
        self._drift_logged: set[str] = set()

    async def run(self, consumer: AriConsumer) -> None:
        """Runs both connections until cancelled.

        Args:
            consumer: Gets the ARI events.
        """
        self._changed("ami", LinkState.DOWN, "not connected yet")
        self._changed("ari", LinkState.DOWN, "not connected yet")
        async with self.ari, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.ami.run(), name=f"{self.pbx}-ami")
            tasks.create_task(self.ari.run(), name=f"{self.pbx}-ari")
            tasks.create_task(self._consume_ami(), name=f"{self.pbx}-ami-items")
            tasks.create_task(self._consume_ari(consumer), name=f"{self.pbx}-ari-items")
            tasks.create_task(self._resync_when_wanted(), name=f"{self.pbx}-resync")
            tasks.create_task(self._read_contacts_when_wanted(), name=f"{self.pbx}-contacts")
            tasks.create_task(self._let_time_pass(), name=f"{self.pbx}-time")

    def tell(self, event: AnyEvent) -> None:
        """Applies an event that comes from elsewhere, such as a change of the directory."""
        self._apply(event)

    @property
    def rtp_channels_up(self) -> int:
        """Channels up on this PBX that hold RTP ports, as far as AMI has told."""
        return sum(track.leg.channel.partition("/")[0] not in WITHOUT_RTP for track in self.state.legs.values())

    def direction(self, uniqueid: str) -> str:
        """Of the call that a channel is part of, as far as AMI has told."""
        track = self.state.legs.get(uniqueid)
        call = self.state.calls.get(track.leg.linkedid) if track is not None else None
        return call.direction.value if call is not None else "unknown"

    def linkedid_of(self, uniqueid: str) -> str | None:
        """Of a channel that is up, as far as AMI has told: the name of its call."""
        track = self.state.legs.get(uniqueid)
        return None if track is None else track.leg.linkedid

    def caller_of(self, linkedid: str) -> str:
        """Uniqueid of the caller's channel in a call: who talks to an agent of a queue, else who called."""
        call = self.state.calls.get(linkedid)
        if call is None:
            return ""
        talking = (visit.uniqueid for visit in reversed(call.visits) if visit.talking and visit.uniqueid in call.legs)
        return next(talking, next(iter(call.legs), ""))

    def legs_of(self, linkedid: str) -> list[str]:
        """Uniqueids of the channels of a call, in order of appearance, without those of listeners."""
        call, legs = self.state.calls.get(linkedid), self.state.legs
        found = [] if call is None else [each for each in call.legs if each in legs]
        return [each for each in found if not legs[each].leg.channel.startswith(("Snoop/", "UnicastRTP/"))]

    def agent_of(self, uniqueid: str) -> str:
        """Id of the agent whose device a channel is; empty if nobody's."""
        track = self.state.legs.get(uniqueid)
        return "" if track is None else track.agent

    def who_at(self, uniqueid: str) -> str:
        """Name of the agent at a channel; its device where it is nobody's; empty if there is no such channel."""
        track = self.state.legs.get(uniqueid)
        agent = None if track is None else self.state.agents.get(track.agent)
        if track is None or agent is not None:
            return "" if agent is None else agent.name
        return device_of_channel(track.leg.channel)

    def is_house(self, uniqueid: str) -> bool:
        """Whether a channel is one of a phone of the house: an agent's, or one that is registered here."""
        track = self.state.legs.get(uniqueid)
        return track is not None and (bool(track.agent) or registers(self.state, device_of_channel(track.leg.channel)))

    def queue_of(self, uniqueid: str) -> str:
        """The queue that the call of a channel is in or is answered from; empty if it is of none."""
        call = self.state.calls.get(self.linkedid_of(uniqueid) or "")
        visits = () if call is None else reversed(call.visits)
        return next((each.queue for each in visits if each.talking or each.uniqueid in self.state.where), "")

    def number_of(self, uniqueid: str) -> str:
        """Of the caller on a channel that is up; empty if it is not known."""
        track = self.state.legs.get(uniqueid)
        return "" if track is None else track.leg.number

    def left_queue(self, uniqueid: str) -> tuple[str, int]:
        """The queue that a channel left last without having been answered, and its position there; or nothing."""
        track = self.state.legs.get(uniqueid)
        call = None if track is None else self.state.calls.get(track.leg.linkedid)
        visits = [] if call is None else [visit for visit in call.visits if visit.uniqueid == uniqueid]
        if not visits or visits[-1].connected_at is not None or not visits[-1].left_from:
            return "", 0
        return visits[-1].queue, visits[-1].left_from

    def held(self, uniqueid: str) -> bool:
        """Whether a device holds the call that a channel belongs to, as far as AMI has told."""
        legs = self.state.legs
        track = legs.get(uniqueid)
        call = None if track is None else self.state.calls.get(track.leg.linkedid)
        return call is not None and any(legs[leg].held_since is not None for leg in call.legs if leg in legs)

    def not_ready(self) -> list[str]:
        """What is missing before the state and the streams of this PBX can be relied on."""
        missing = [
            f"pbx.{self.pbx}: {name.upper()} is {link.state}: {link.detail}"
            for name, link in self.state.links.items()
            if link.state is not LinkState.UP
        ]
        if not missing and not self.state.queues_current:
            missing.append(f"pbx.{self.pbx}: the queues were not read yet")
        return missing

    # -- AMI ------------------------------------------------------------------------------------------------------

    async def _consume_ami(self) -> None:
        async for item in self.ami.items:
            self._take(item)

    def _take(self, item: AmiItem) -> None:
        match item:
            case AmiEvent():
                self._notice(item)
                event = translate(item.message, self.pbx, item.received_at)
                self.last_event_at = item.received_at
                if isinstance(event, Malformed):
                    self._note_malformed(event)
                elif event is not None:
                    self.event_lag_s = max(0.0, item.received_at - event.at)
                    self._apply(event)
                    if event.__class__ is ContactChanged:
                        self._notice_contact(event)
            case AmiList():
                self._take_list(item)
            case AmiConnected():
                self._up("ami", item.banner)
                self._want_resync("connected")
            case AmiOverflow():
                log.warning("ami_events_dropped", pbx=self.pbx, dropped=item.dropped)
                self._apply(EventsMissed(pbx=self.pbx, at=self._clock(), dropped=item.dropped))
                self._want_resync("overflow")
            case AmiLost():
                stopped = f"Asterisk said that it stops ({item.reason})"
                self._changed("ami", LinkState.DOWN, stopped if self.state.stopping else item.reason)
            case AmiRefused():
                self._changed("ami", LinkState.REFUSED, item.reason)

    def _take_list(self, item: AmiList) -> None:
        snapshot, malformed = LISTS[item.name](item.items, self.pbx, item.received_at)
        for fault in malformed:
            self._note_malformed(fault)
        self._apply(snapshot)
        self._strangers -= self.state.queues.keys()
        for kind in self.state.drift.keys() - self._drift_logged:
            self._drift_logged.add(kind)
            log.warning("state_drift", pbx=self.pbx, kind=kind, hint="own state was wrong and has been corrected")

    def _notice(self, item: AmiEvent) -> None:
        """Asks for the lists where an event shows that the configuration is another now.

        Reload comes for `core reload` and `module reload` alone, to a login with class system. `queue reload` sends
        nothing at all (16.28 and 22.10), so a queue that nobody knows is the first sign of it.
        """
        queue = item.message.get("Queue")
        if queue is None:
            if item.message.get("Event") == "Reload":
                self._want_resync("reload")
        elif (
            queue.__class__ is str
            and queue not in self.state.queues
            and queue not in self._strangers
            and self.state.queues_current
            and len(self._strangers) < STRANGERS_MAX
        ):
            self._strangers.add(str(queue))
            self._want_resync("unknown_queue")

    def _notice_contact(self, event: ContactChanged) -> None:
        line = self.state.endpoints.get(event.endpoint)
        contact = line.contacts.get(event.contact) if line is not None else None
        if contact is not None and not contact.address:
            self._contacts_wanted.set()

    def _note_malformed(self, fault: Malformed) -> None:
        cause = str(fault.cause)
        if not self.malformed[cause]:
            log.warning("ami_message_malformed", pbx=self.pbx, cause=cause, field=fault.field, ami_event=fault.event)
        self.malformed[cause] += 1

    def _want_resync(self, cause: str) -> None:
        self.resyncs[cause] += 1
        self._resync_wanted.set()

    async def _resync_when_wanted(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._reconcile_s):
                    await self._resync_wanted.wait()
            except TimeoutError:
                if self.ami.state is not LinkState.UP:
                    continue
                self.resyncs["reconcile"] += 1
            self._resync_wanted.clear()
            try:
                # First what the bots need: a PBX without app_queue refuses the second.
                self.rtp_range = await read_rtp_range(self.ami)
                await self.ami.request_list("QueueStatus")
                await self.ami.request_list("CoreShowChannels")
                await self._read_lines()
                await asyncio.sleep(RESYNC_PAUSE_S)
            except (AmiError, ValueError) as error:
                if self.ami.state is not LinkState.UP:
                    continue  # the next connect asks again
                log.warning("resync_failed", pbx=self.pbx, error=str(error))
                await asyncio.sleep(RESYNC_RETRY_S)
                self._resync_wanted.set()

    async def _read_lines(self) -> None:
        """Endpoints, and who is registered where."""
        if self.ari.state is LinkState.UP:
            await self._read_endpoints()
        await self._if_allowed(self.ami.request_list("PJSIPShowRegistrationsOutbound"))
        await self._read_contacts()

    async def _read_contacts(self) -> None:
        await self._if_allowed(self.ami.request_list("DBGetTree", Family="registrar/contact"))

    async def _if_allowed(self, reading: Awaitable[None]) -> None:
        """Reads what a PBX may be without, such as one that has no PJSIP; that is told once."""
        try:
            await reading
        except AmiActionRejected as error:
            if error.action not in self._refused_lists:
                self._refused_lists.add(error.action)
                log.info("list_refused", pbx=self.pbx, action=error.action, error=str(error))

    async def _read_contacts_when_wanted(self) -> None:
        while True:
            await self._contacts_wanted.wait()
            await asyncio.sleep(CONTACTS_PAUSE_S)
            self._contacts_wanted.clear()
            try:
                await self._read_contacts()
            except AmiError as error:
                log.debug("contacts_not_read", pbx=self.pbx, error=str(error))  # the next resync reads them

    # -- ARI ------------------------------------------------------------------------------------------------------

    async def _consume_ari(self, consumer: AriConsumer) -> None:
        async for item in self.ari.items:
            match item:
                case AriEvent():
                    consumer.on_event(item.event)
                case AriConnected():
                    self._up("ari", f"application {self.ari.app}")
                    await self._read_version()
                    await self._read_endpoints()
                    consumer.on_connected()
                case AriOverflow():
                    log.warning("ari_events_dropped", pbx=self.pbx, dropped=item.dropped)
                    consumer.on_connected()
                case AriLost():
                    self._changed("ari", LinkState.DOWN, item.reason)
                case AriRefused():
                    self._changed("ari", LinkState.REFUSED, item.reason)

    async def _read_version(self) -> None:
        try:
            info = await self.ari.info()
        except AriError as error:
            log.warning("asterisk_version_unknown", pbx=self.pbx, error=str(error))
            return
        if info.system is not None:
            self.asterisk_version = info.system.version

    async def _read_endpoints(self) -> None:
        try:
            found = await self.ari.endpoints()
        except AriError as error:
            log.warning("endpoints_unknown", pbx=self.pbx, error=str(error))
            return
        listed = ((endpoint.technology, endpoint.resource, endpoint.state) for endpoint in found)
        self._apply(endpoints_snapshot(listed, self.pbx, self._clock()))

    # -- both -----------------------------------------------------------------------------------------------------

    def _up(self, link: str, detail: str) -> None:
        lost_at = self._lost_at.pop(link, None)
        self._changed(link, LinkState.UP, detail, 0.0 if lost_at is None else self._clock() - lost_at)

    def _changed(self, link: str, state: LinkState, detail: str, gap_s: float = 0.0) -> None:
        known = self.state.links.get(link)
        if state is not LinkState.UP and known is not None and known.state is LinkState.UP:
            self._lost_at[link] = self._clock()
        self._apply(LinkChanged(pbx=self.pbx, at=self._clock(), link=link, state=state, detail=detail, gap_s=gap_s))

    async def _let_time_pass(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            # By Asterisk's clock as far as we know it: a deadline must not overtake the events before it.
            self._publish(tick(self.state, self._clock() - self.event_lag_s))

    def _apply(self, event: AnyEvent) -> None:
        changes = apply(self.state, event)
        self._bus.publish(event)
        self._publish(changes)

    def _publish(self, changes: list[Derived]) -> None:
        for change in changes:
            self._bus.publish(change)
