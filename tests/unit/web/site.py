"""A server with the real state of a recorded shift, and a real database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from connector.access.accounts import Account, new_token
from connector.access.rights import Role, TokenScope
from connector.acd.apply import apply
from connector.acd.figures import Figures
from connector.acd.model import PbxState
from connector.asterisk.ami import Ami
from connector.asterisk.ari import Ari
from connector.asterisk.phone_credentials import NoCredentials, PhoneCredentials
from connector.asterisk.replay import events
from connector.asterisk.translate import Malformed
from connector.calls.acts import acts_of
from connector.calls.confirm import Confirmations
from connector.config import HttpSettings, WebhookSettings
from connector.config_people import AgentSettings
from connector.config_profiles import ProfileSettings
from connector.config_recording import RecordingSettings
from connector.events import AnyEvent, Event
from connector.records import AuditRecord, Record
from connector.store.accounts import KeptAccounts
from connector.store.aggregates import Aggregates, Target
from connector.store.database import Database
from connector.store.directory import KeptDirectory
from connector.store.keep import keep
from connector.store.profiles import KeptProfiles
from connector.store.queries import History
from connector.streams.book import ProfileBook
from connector.streams.listeners import NotListening
from connector.streams.recordedcalls import AlreadyRecorded, LiveRecording, NoSuchCall
from connector.streams.recordings import Recordings
from connector.streams.seen import LiveStream
from connector.web.audit import Audit
from connector.web.auth.build import accounts_of, sso_of
from connector.web.directory import WholeDirectory
from connector.web.happenings import AnyHappening, Happenings
from connector.web.hooks.webhooks import Webhooks
from connector.web.listen import ListenSocket
from connector.web.push.hub import Hub
from connector.web.push.socket import LiveSocket
from connector.web.recordings import RecordingFiles
from connector.web.rest.actions import ActionsApi
from connector.web.rest.api import Api
from connector.web.rest.listeners import ListenersApi
from connector.web.rest.orders import Bot
from connector.web.rest.people import Person
from connector.web.rest.phones import PhonesApi
from connector.web.rest.recordings import RecordingsApi
from connector.web.rest.shapes import ProbeResult
from connector.web.server import Web

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ami"


@cache
def recorded(name: str = "22-shift") -> tuple[AnyEvent, ...]:
    """What a real Asterisk sent in a scripted shift."""
    return tuple(
        each for each in events((FIXTURES / f"{name}.bin").read_bytes(), "main") if not isinstance(each, Malformed)
    )


class Pbxs:
    """The live state: fold events into it with `play`."""

    def __init__(self, *names: str) -> None:
        self._states = {name: PbxState(name) for name in names or ("main",)}
        self.listeners: list[Callable[[Event], object]] = []

    def states(self) -> Mapping[str, PbxState]:
        return self._states

    def play(self, *stream: AnyEvent) -> None:
        for event in stream:
            changes = apply(self._states[event.pbx], event)
            for item in (event, *changes):
                for listener in self.listeners:
                    listener(item)


class Answers:
    """Connection tests that all fail alike."""

    async def ami(self, pbx: str) -> ProbeResult:
        return ProbeResult(ok=False, detail="Connection refused.", remedy="Start Asterisk.", took_s=0.1)

    ari = sip_websocket = ami


class Recorded:
    """Records one call of any name."""

    live: LiveRecording | None = None

    def of(self, linkedid: str) -> LiveRecording | None:
        return self.live

    async def start(self, linkedid: str) -> LiveRecording:
        if self.live is not None:
            raise AlreadyRecorded
        self.live = LiveRecording(
            pbx="main", linkedid=linkedid, day="2026-01-01", file="a.wav", profile="", right="agent", paused=False
        )
        return self.live

    def pause(self, linkedid: str, paused: bool) -> LiveRecording:
        if self.live is None:
            raise NoSuchCall
        self.live = msgspec.structs.replace(self.live, paused=paused)
        return self.live

    def stop(self, linkedid: str) -> LiveRecording:
        if self.live is None:
            raise NoSuchCall
        live, self.live = self.live, None
        return live


class Unheard:
    """Nobody listens, and nobody can."""

    def all(self) -> list[Any]:
        return []

    def start(self, uniqueid: str, profile: str, parameters: Mapping[str, str]) -> Any:
        raise NotListening("unknown-profile", f"There is no profile {profile!r} that is enabled.")


class Site:
    """Everything that a server needs."""

    def __init__(
        self,
        http: HttpSettings,
        pbxs: Pbxs,
        database: Path,
        *,
        agents: Mapping[str, AgentSettings] | None = None,
        hooks: Mapping[str, WebhookSettings] | None = None,
        hub: Mapping[str, Any] | None = None,
    ) -> None:
        self.now = 1_800_000_000.0
        self.pbxs = pbxs
        self.database = Database(f"sqlite:///{database}")
        self.kept_accounts = KeptAccounts(self.database)
        self.accounts = accounts_of(http, self.kept_accounts, clock=self.clock, monotonic=lambda: self.now)
        self.figures = {name: Figures(name) for name in pbxs.states()}
        self.deeds: list[AuditRecord] = []
        self.directories: list[Sequence[Person]] = []
        people = WholeDirectory(
            agents or {},
            list(pbxs.states()),
            KeptDirectory(self.database),
            clock=self.clock,
            changed=self.directories.append,
        )
        self.webhooks = Webhooks(
            hooks or {}, database.with_suffix(".outbox"), clock=time.time, random=Random(1), first_retry_s=0.01
        )
        self.told: list[AnyHappening] = []
        self.streams: list[LiveStream] = []
        self.bots: dict[str, Bot] = {}
        self.hub = Hub(pbxs, self.streams_of, clock=self.clock, run_id="run", **{"tick_s": 0.01, **(hub or {})})
        self.happenings = Happenings(states=pbxs.states, tell=self._tell)
        pbxs.listeners += [each.take for each in self.figures.values()]
        pbxs.listeners += [self.hub.on_item, self.happenings.on_item]
        self.socket = LiveSocket(self.hub, self.accounts.still, heartbeat_s=0.05, subscribe_s=0.2, send_s=0.5)

        def state() -> dict[str, Any]:
            return {"at": self.now, "pbx": {}, "media": {"tick_late_ms": 0.0, "totals": {}}}

        self.book = ProfileBook(
            {"fixed": ProfileSettings.model_validate({"url": "wss://bot.example.com/"})},
            KeptProfiles(self.database),
            clock=self.clock,
        )
        confirmations = Confirmations()
        pbxs.listeners.append(confirmations.on_event)
        self.acts = {
            name: acts_of(state, ami=_no_ami(), ari=_no_ari(), confirmations=confirmations, monotonic=time.monotonic)
            for name, state in pbxs.states().items()
        }
        self.recordings = Recordings(RecordingSettings(), database.parent / "recordings", clock=self.clock)
        self.recorded = Recorded()
        recordings = RecordingsApi(
            {"main": cast(Any, SimpleNamespace(recorded=self.recorded))},
            self.recordings,
            pbxs,
            History(self.database),
            self.clock,
        )
        self.api = Api(
            live=pbxs,
            streams=self.streams_of,
            bot=lambda pbx, stream: self.bots.get(stream),
            figures=self.figures,
            history=History(self.database),
            directory=people,
            webhooks=self.webhooks,
            state=state,
            probes=Answers(),
            clock=self.clock,
            audit=Audit(self.deeds.append, clock=self.clock),
            profiles=self.book,
            accounts=self.accounts,
            phones=PhonesApi(people, {"main": self.read_credentials}, {"main": "wss://pbx.example/ws"}),
            acts=self.acts,
            recordings=recordings,
            listeners=ListenersApi({"main": cast(Any, SimpleNamespace(listeners=Unheard()))}, pbxs),
            sso=http.oidc.title if http.oidc.issuer else "",
        )
        self.web = Web(
            settings=http,
            registry=CollectorRegistry(),
            not_ready=list,
            accounts=self.accounts,
            sso=sso_of(http, self.accounts, Audit(self.deeds.append, clock=self.clock), monotonic=time.monotonic),
            api=self.api,
            live=self.socket,
            listen=ListenSocket(
                ActionsApi(self.acts), {}, Audit(self.deeds.append, clock=self.clock), self.accounts.still
            ),
            recordings=RecordingFiles(recordings, Audit(self.deeds.append, clock=self.clock)),
        )
        self.server = TestServer(self.web.application())

    async def token(self, role: Role, *scopes: TokenScope, **account: Any) -> dict[str, str]:
        """Headers of a program with a token of an account made for it."""
        name = f"{role}-{len(self.accounts.known().accounts)}"
        await self.kept_accounts.add(Account(name=name, role=role, **account))
        token, text = new_token(name, "test", scopes or tuple(TokenScope), now=self.now, expires_at=None)
        await self.kept_accounts.add_token(token)
        await self.accounts.refresh()
        return {"Authorization": f"Bearer {text}"}

    async def keep(self, *records: Record) -> None:
        """Writes history as the connector does."""
        aggregates = Aggregates(lambda _pbx, _queue: Target(20.0, 5.0))
        async with self.database.write() as connection:
            await keep(connection, records, aggregates)
            await aggregates.recompute(connection)

    async def read_credentials(self, interface: str) -> PhoneCredentials:
        """Stands in for the PBX: everybody's browser phone but one."""
        if interface == "PJSIP/desk":
            raise NoCredentials("PJSIP/desk is no browser phone.", "Set webrtc = yes.")
        return PhoneCredentials(user="web", username="web-user", password="p4ssw0rd-of-web", realm="")

    def streams_of(self, pbx: str) -> list[LiveStream]:
        """Those of `streams` that a PBX has."""
        return [each for each in self.streams if each.pbx == pbx]

    def clock(self) -> float:
        return self.now

    def _tell(self, happening: AnyHappening) -> None:
        self.told.append(happening)
        self.hub.on_happening(happening)
        self.webhooks.on_happening(happening)

    async def __aenter__(self) -> Site:
        await self.accounts.refresh()
        await self.server.start_server()
        self._running = {asyncio.create_task(self.hub.run()), asyncio.create_task(self.webhooks.run())}
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)
        await self.server.close()
        await self.database.close()

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")


def _no_ami() -> Ami:
    """A manager client that is not connected."""
    return Ami(
        pbx="main",
        host="127.0.0.1",
        port=1,
        username="u",
        secret=SecretStr("s"),
        clock=time.time,
        monotonic=time.monotonic,
        random=Random(1),
    )


def _no_ari() -> Ari:
    return Ari(
        pbx="main",
        url="http://127.0.0.1:1/ari",
        username="u",
        password=SecretStr("s"),
        app="connector",
        clock=time.time,
        monotonic=time.monotonic,
        random=Random(1),
    )


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
