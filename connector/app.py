"""Builds the parts, owns the order in which they start and stop; the only place that knows them all."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

import structlog

from connector.acd.agents import agent_named
from connector.acd.buckets import Day
from connector.acd.directory import people_of
from connector.acd.figures import COUNTED, RECENT_S, Figures
from connector.acd.history import linkedid_of
from connector.acd.model import PbxState
from connector.asterisk.ids import make_id, parse_id
from connector.asterisk.link import PbxLink
from connector.asterisk.phone_credentials import read_credentials
from connector.botside import BotSide
from connector.bus import Bus
from connector.calls.acts import acts_of
from connector.calls.confirm import Confirmations
from connector.config import PbxSettings, Settings
from connector.config_people import queue_settings
from connector.events import DirectoryChanged
from connector.keeping import Keeping
from connector.live import live_state
from connector.media.engine import BindFailed, MediaEngine
from connector.outgoing import new_feeds, new_tracing
from connector.pbx_clients import StartFailed, new_link
from connector.records import AgentInterval, CallRecord, Published
from connector.store.database import BadUrl
from connector.store.service import LiveView, Store
from connector.streams.admission import Admission, stream_limit
from connector.streams.assist import Assist
from connector.streams.book import ProfileBook
from connector.streams.campaign import Campaigns
from connector.streams.manager import StreamManager
from connector.streams.ondemand import OnDemand
from connector.streams.recordings import Recordings
from connector.streams.seen import Seen
from connector.telemetry.certificates import CertificatesCollector
from connector.telemetry.figures import FigureCounters, FiguresCollector
from connector.telemetry.history import HistoryCollector
from connector.telemetry.metrics import LiveCollector, QueueWaits, StreamCounters, new_registry
from connector.telemetry.recordings import RecordingCollector
from connector.telemetry.vendors import VendorCounters
from connector.web.audit import Audit
from connector.web.auth.build import accounts_of, sso_of
from connector.web.directory import WholeDirectory
from connector.web.happenings import TOLD, AnyHappening, Happenings
from connector.web.hooks.webhooks import Webhooks
from connector.web.listen import ListenSocket
from connector.web.metrics import PushCollector
from connector.web.probes import PbxProbes
from connector.web.push.hub import Hub
from connector.web.push.shelf import SHOWN
from connector.web.push.socket import LiveSocket
from connector.web.recordings import RecordingFiles
from connector.web.rest.actions import ActionsApi
from connector.web.rest.api import Api
from connector.web.rest.listeners import ListenersApi
from connector.web.rest.phones import PhonesApi
from connector.web.rest.recordings import RecordingsApi
from connector.web.server import BadCertificate, PortTaken, Web
from connector.web.vendors.build import VendorApis

log = structlog.get_logger()

HAND_BACK_DEADLINE_S = 5.0
"""For handing every call back to its dialplan at the end; longer than the deadline of one ARI request."""

FEED_DEADLINE_S = 1.0
"""For telling a broker the last of what happened."""

HISTORY_DEADLINE_S = 3.0
"""For writing the last records at the end; beyond it they go to the disk, for the next start."""


class Connector:
    """The running program.

    Args:
        settings: Validated settings.
        random: Jitter of reconnects.
    """

    def __init__(self, settings: Settings, *, random: Random | None = None) -> None:
        self._settings = settings
        self._random = random or Random()
        self._clock = time.time
        self.ready = asyncio.Event()
        """Set once the pages are served and the media worker is there; the PBXs may still be out of reach."""
        self._draining = asyncio.Event()
        self._bus: Bus[Published] = Bus()
        self.media = MediaEngine(
            bind_host=settings.media.bind_host,
            bind_port=settings.media.bind_port,
            workers=settings.media.worker_count,
            max_streams_per_worker=settings.media.max_streams_per_worker,
            fast_path=settings.media.fast_path,
            log_format=settings.log.format,
            log_level=settings.log.level,
        )
        self._admission = Admission(node_limit=settings.media.max_streams)
        self._registry = new_registry()
        self._counters = StreamCounters(self._registry)
        self._bus.handle("queue-waits", QueueWaits(self._registry).on_event, QueueWaits.takes)
        self._links = {name: new_link(name, pbx, self._bus, self._random) for name, pbx in settings.pbx.items()}
        self.figures = {name: self._count(name, link) for name, link in self._links.items()}
        """What each PBX is measured by."""
        counted = FigureCounters(self.figures, self._clock, per_agent=settings.metrics.agents)
        self._bus.handle("figure-counters", counted.on_event, FigureCounters.takes)
        self._registry.register(FiguresCollector(self.figures, counted, self.states, self._clock))
        self.store = self._store()
        self._bus.handle("history", self.store.on_event, Store.takes)
        self.book = ProfileBook(settings.profile, self.store.profiles, clock=self._clock)
        """The profiles."""
        self._keeping = Keeping(writer=self.store.writer, book=self.book, links=self._links, clock=self._clock)
        self._tracing = new_tracing(settings, self._registry, self._bus, self._linkedid_of)
        self._bots = BotSide(
            settings,
            book=self.book,
            media=self.media,
            bus=self._bus,
            counters=self._counters,
            vendor_counters=VendorCounters(self._registry),
            clock=self._clock,
            random=self._random,
            join=self._tracing.join,
        )
        self.recordings = Recordings(settings.recording, settings.store.directory / "recordings", clock=self._clock)
        self.media.on_recorded = self.recordings.on_recorded
        self.managers = {name: self._manager(name, pbx, self._links[name]) for name, pbx in settings.pbx.items()}
        self.seen = Seen(self.managers, self.book)
        """What is streamed now."""
        self.taps = {name: manager.taps for name, manager in self.managers.items()}
        """For listening to calls that are not the connector's."""
        for name, taps in self.taps.items():
            self._bus.handle(f"taps-{name}", taps.on_event)
            link = self._links[name]
            listeners, on_demand = self.managers[name].listeners, self.managers[name].on_demand
            for kind in (Assist, Campaigns):
                rule = kind(pbx=name, book=self.book, listeners=listeners, ari=link.ari, calls=link, begin=taps.begin)
                self._bus.handle(f"{kind.__name__.lower()}-{name}", rule.on_event, kind.takes)
            self._bus.handle(f"on-demand-{name}", on_demand.on_event, OnDemand.takes)
        self._registry.register(
            LiveCollector(
                links=list(self._links.values()),
                engine=self.media,
                streams=self.seen.counted,
                limits=self._stream_limits,
                clock=self._clock,
            )
        )
        self._registry.register(CertificatesCollector(list(self._links.values()), settings.http.tls_certificate))
        self._hub = Hub(self, self.seen.streams, clock=self._clock, run_id=uuid.uuid4().hex)
        self._hooks = Webhooks(settings.webhook, settings.outbox, clock=self._clock, random=self._random)
        self._registry.register(HistoryCollector(self.store.writer.stats, self.store.recoveries))
        self._registry.register(RecordingCollector(self.recordings.stats))
        self._registry.register(PushCollector(self._hub, self._hooks))
        self._feeds = new_feeds(settings, self._registry, self._bus, self._random)
        happenings = Happenings(states=self.states, tell=self._tell)
        self._bus.handle("push", self._hub.on_item, SHOWN)
        self._bus.handle("happenings", happenings.on_item, TOLD)
        self._accounts = accounts_of(settings.http, self.store.accounts, clock=self._clock, monotonic=time.monotonic)
        self.audit = Audit(self._bus.publish, clock=self._clock)
        self._directory = WholeDirectory(
            settings.agent,
            list(settings.pbx),
            self.store.directory,
            clock=self._clock,
            changed=self._keeping.people_changed,
        )
        confirmations = Confirmations()
        self._bus.handle("acts", confirmations.on_event)
        self.acts = {
            name: acts_of(
                link.state,
                ami=link.ami,
                ari=link.ari,
                confirmations=confirmations,
                monotonic=time.monotonic,
                taps=self.taps[name],
            )
            for name, link in self._links.items()
        }
        """What can be done at each PBX."""
        recordings = RecordingsApi(self.managers, self.recordings, self, self.store.history, self._clock)
        api = Api(
            live=self,
            streams=self.seen.streams,
            bot=self.seen.bot,
            figures=self.figures,
            history=self.store.history,
            directory=self._directory,
            probes=PbxProbes(settings.pbx, clock=self._clock, monotonic=time.monotonic),
            webhooks=self._hooks,
            state=self.state,
            clock=self._clock,
            audit=self.audit,
            profiles=self.book,
            accounts=self._accounts,
            phones=self._phones(),
            acts=self.acts,
            recordings=recordings,
            listeners=ListenersApi(self.managers, self),
            sso=settings.http.oidc.title if settings.http.oidc.issuer else "",
        )
        self._web = Web(
            settings=settings.http,
            registry=self._registry,
            not_ready=self.not_ready,
            accounts=self._accounts,
            api=api,
            sso=sso_of(settings.http, self._accounts, self.audit, monotonic=time.monotonic),
            live=LiveSocket(self._hub, self._accounts.still),
            listen=ListenSocket(ActionsApi(self.acts), self.taps, self.audit, self._accounts.still),
            vendors=VendorApis(
                settings,
                managers=self.managers,
                book=self.book,
                audit=self.audit,
                secrets=self._bots.secrets,
                fetcher=self._bots.fetcher,
                counters=self._bots.counters,
                states=self.states,
                monotonic=time.monotonic,
                clock=self._clock,
            ),
            recordings=RecordingFiles(recordings, self.audit),
        )

    async def run(self) -> None:
        """Runs until `drain` or cancelled; then hands every call back to its dialplan and stops the parts in order.

        Raises:
            StartFailed: A port is taken.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._run(tasks)
        except* (BindFailed, PortTaken, BadCertificate) as failures:
            raise StartFailed("; ".join(str(failure) for failure in failures.exceptions)) from None

    async def _run(self, tasks: asyncio.TaskGroup) -> None:
        store = tasks.create_task(self.store.run(), name="history")
        log.info("history_kept", directory=str(self._settings.store.directory), database=self.store.database_name)
        engine = tasks.create_task(self.media.run(), name="media-engine")
        await self.media.ready.wait()
        web_started = asyncio.Event()
        web = tasks.create_task(self._web.run(web_started), name="web")
        await web_started.wait()
        pushing = [
            tasks.create_task(self._hub.run(), name="push"),
            tasks.create_task(self._hub.watch_streams(), name="push-streams"),
            tasks.create_task(self._hooks.run(), name="webhooks"),
        ]
        pushing.append(tasks.create_task(self.recordings.run(), name="recordings"))
        pushing += [tasks.create_task(feed.run(), name="nats") for feed in self._feeds]
        pushing.append(tasks.create_task(self._bots.statuses.run(), name="status-callbacks"))
        kept = tasks.create_task(self._keeping.learn(self._directory), name="kept")
        keeping = tasks.create_task(self._keeping.run(), name="agents-kept")
        accounts = tasks.create_task(self._accounts.run(self.store.writer.up), name="accounts")
        managers = [tasks.create_task(manager.run(), name=f"streams-{name}") for name, manager in self.managers.items()]
        links = [
            tasks.create_task(link.run(self.managers[name]), name=f"link-{name}") for name, link in self._links.items()
        ]
        self.ready.set()
        try:
            await self._draining.wait()
            await self._until_drained()
        finally:
            log.info("stopping", streams=self._running_calls())
            self._admission.draining = True
            for manager in self.managers.values():
                manager.stop()
            await asyncio.wait(managers, timeout=HAND_BACK_DEADLINE_S)
            for feed in self._feeds:
                await feed.close(FEED_DEADLINE_S)
            for task in (*managers, *links, *pushing, kept, keeping, accounts, engine, web):
                task.cancel()
            await asyncio.wait((*managers, *links), timeout=HISTORY_DEADLINE_S)
            self._keeping.put_running()
            self.store.stop()
            await asyncio.wait((store, asyncio.create_task(self._tracing.close())), timeout=HISTORY_DEADLINE_S)
            store.cancel()

    @property
    def draining(self) -> bool:
        """Whether it takes no more calls."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Takes no new call from now on; `run` ends once the running ones have ended, or `node.drain_s` is over."""
        self._admission.draining = True
        self._draining.set()

    async def reload(self, settings: Settings) -> None:
        """Takes the profiles of settings that were read anew. Other sections wait for the next start.

        Args:
            settings: Validated.
        """
        await self.book.replace_fixed(settings.profile)
        waits = [
            name
            for name in type(settings).model_fields
            if name not in ("profile", "log") and getattr(settings, name) != getattr(self._settings, name)
        ]
        log.info("reloaded", profiles=len(settings.profile), wait_for_a_restart=waits)

    async def _until_drained(self) -> None:
        limit_s = self._settings.node.drain_s
        log.info("draining", streams=self._running_calls(), at_most_s=limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await self._admission.idle.wait()
        except TimeoutError:
            log.warning("drain_limit_reached", streams=self._running_calls())

    def _running_calls(self) -> int:
        return sum(len(manager.calls) for manager in self.managers.values())

    # -- what the pages show --------------------------------------------------------------------------------------

    def not_ready(self) -> list[str]:
        """What is missing, a sentence each."""
        missing = [] if self.media.ready.is_set() else ["the media worker is not running"]
        if self.draining:
            missing.append("the connector is stopping and takes no more calls")
        for link in self._links.values():
            missing += link.not_ready()
        return missing

    def state(self) -> dict[str, Any]:
        """The live state as plain values; the shape is that of docs/schemas/state.json."""
        return live_state(self._clock(), self._links, self.managers, self.media.stats)

    def states(self) -> Mapping[str, PbxState]:
        """The live state of each PBX, always the same objects."""
        return {name: link.state for name, link in self._links.items()}

    # -- who is told ----------------------------------------------------------------------------------------------

    def _tell(self, happening: AnyHappening) -> None:
        self._hub.on_happening(happening)
        self._hooks.on_happening(happening)
        for feed in self._feeds:
            feed.on_happening(happening)

    # -- what the metrics read ------------------------------------------------------------------------------------

    def _stream_limits(self) -> Mapping[str, int]:
        return {
            name: min(stream_limit(link.rtp_range, self._settings.pbx[name].max_streams), self._admission.node_limit)
            for name, link in self._links.items()
            if link.rtp_range is not None
        }

    # -- building -------------------------------------------------------------------------------------------------

    def _count(self, name: str, link: PbxLink) -> Figures:
        """Gives a PBX's live state what the settings say of queues and people, and has it counted."""
        default, queues = self._settings.queue_default, self._settings.queue
        figures = Figures(name, lambda queue: queue_settings(default, queues, queue), default)
        self._bus.handle(f"figures-{name}", figures.take, tuple(COUNTED))
        link.state.default_wrap_up_s = default.wrap_up_seconds
        link.state.wrap_up_s = {queue: queue_settings(default, queues, queue).wrap_up_seconds for queue in queues}
        people = people_of(self._settings.agent, name)
        link.tell(DirectoryChanged(pbx=name, at=self._clock(), people=people))
        return figures

    def _manager(self, name: str, pbx: PbxSettings, link: PbxLink) -> StreamManager:
        app, node = pbx.ari.app, self._settings.node.name

        def is_ours(item: str) -> bool:
            parsed = parse_id(item)
            return parsed is not None and (parsed.app, parsed.node) == (app, node)

        return StreamManager(
            pbx=name,
            settings=self._settings,
            book=self.book,
            ari=link.ari,
            engine=self.media,
            dialler=self._bots.dialler,
            admission=self._admission,
            view=link,
            counters=self._counters,
            new_id=lambda kind: make_id(app, node, kind, uuid.uuid4()),
            is_ours=is_ours,
            monotonic=time.monotonic,
            clock=self._clock,
            publish=self._bus.publish,
            recordings=self.recordings,
        )

    def _phones(self) -> PhonesApi:
        allowed = [name for name, pbx in self._settings.pbx.items() if pbx.browser_phone_credentials]
        return PhonesApi(
            self._directory,
            {name: partial(read_credentials, self._links[name].ami) for name in allowed},
            {name: pbx.sip_ws_url for name, pbx in self._settings.pbx.items()},
        )

    def _store(self) -> Store:
        live = LiveView(
            agent_of=self._agent_of,
            linkedid_of=self._linkedid_of,
            day_began=self._day_began,
            recall=self._recall,
        )
        try:
            return Store(self._settings, live=live, clock=self._clock, monotonic=time.monotonic)
        except BadUrl as error:
            raise StartFailed(f"store.url: {error}") from None

    def _day_began(self) -> float:
        """Of all queues' days, whatever their time zones, the one that began first; an hour ago at the latest."""
        now, default, queues = self._clock(), self._settings.queue_default, self._settings.queue
        days = (default, *(queue_settings(default, queues, queue) for queue in queues))
        return min(now - RECENT_S, *(Day(day).began(now) for day in days))

    def _recall(self, record: CallRecord | AgentInterval, over: bool) -> None:
        self.figures[record.pbx].recall(record, self._clock(), over)

    def _agent_of(self, pbx: str, queue: str, member: str) -> str:
        """Who the member is that queue_log names."""
        return agent_named(self._links[pbx].state, queue, member)

    def _linkedid_of(self, pbx: str, uniqueid: str) -> str | None:
        return linkedid_of(self._links[pbx].state, uniqueid)
