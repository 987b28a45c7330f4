"""A Stasis application and a media worker whose every step waits for the test: orders that no real one repeats."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from connector.asterisk.ari import Ari, AriError, AriNotFound, ExternalMedia
from connector.asterisk.ari_models import (
    Application,
    Bridge,
    CallerID,
    Channel,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    DialplanCEP,
    RTPstat,
    StasisEnd,
    StasisStart,
)
from connector.asterisk.pbx_facts import RtpRange
from connector.config import Settings
from connector.dialects.base import Track
from connector.dialects.commands import Command, Notice
from connector.media.control import Address, EndCause, OpenStream, StreamEnded, StreamStats
from connector.media.engine import MediaEngine, StreamFailed
from connector.media.quality import Quality
from connector.net.credentials import Secrets
from connector.net.fetch import Fetcher
from connector.net.reach import origin_of
from connector.records import StreamBegan, StreamRecord
from connector.streams.admission import Admission
from connector.streams.book import ProfileBook
from connector.streams.dialling import Dialler
from connector.streams.manager import StreamManager
from connector.streams.recordings import Recordings
from connector.streams.taps import Taps
from connector.telemetry.metrics import StreamCounters

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = CallerID(name="", number="")


def channel(channel_id: str) -> Channel:
    return Channel(
        id=channel_id,
        name=f"PJSIP/{channel_id}",
        state="Ring",
        caller=CallerID(name="Alice", number="100"),
        connected=NOBODY,
        accountcode="",
        dialplan=DialplanCEP(context="in", exten="s", priority=1, app_name="Stasis", app_data=""),
        creationtime=NOW,
        language="en",
    )


class FakeAri:
    """What Asterisk holds, and a journal of what was asked of it. A step named in `held` waits until it is let go."""

    app = "connector"

    def __init__(self) -> None:
        self.up: dict[str, str] = {}
        """Channels: id to where it is, `app` or `dialplan`."""
        self.bridges_up: set[str] = set()
        self.results: dict[str, str] = {}
        self.variables: dict[str, dict[str, str]] = {}
        self.digits = ""
        self.dialplan_has = "1"
        self.asked: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.fails: set[str] = set()
        self.snooped: dict[str, tuple[str, str]] = {}
        """Snoop channels: what they listen to, and to which side."""
        self.phone_sends = 0
        """Packets that Asterisk has of every phone."""
        self.left_behind = ""
        """RTPAUDIOQOSBRIDGED of media channels whose caller has gone."""
        self.talks: dict[str, list[str]] = {}
        """Bridges of calls that are not ours, with their channels."""
        self.on_media: Callable[[str], None] = lambda channel_id: None

    def hold(self, step: str) -> asyncio.Event:
        """Makes a step wait; returns what lets it go."""
        self.held[step] = asyncio.Event()
        return self.held[step]

    async def reach(self, step: str) -> None:
        """Waits until a step was asked for."""
        async with asyncio.timeout(5):
            await self.reached.setdefault(step, asyncio.Event()).wait()

    async def _step(self, step: str, channel_id: str = "") -> None:
        self.asked.append(step)
        self.reached.setdefault(step, asyncio.Event()).set()
        await asyncio.sleep(0)
        if step in self.held:
            await self.held[step].wait()
        if step in self.fails:
            raise AriError("POST", f"/{step}", 500, "as the test says")
        if channel_id and channel_id not in self.up:
            raise AriNotFound("POST", f"/{step}", 404, "Channel not found")

    async def get_variable(self, channel_id: str, variable: str) -> str:
        await self._step("get_variable", channel_id)
        if variable.startswith("DIALPLAN_EXISTS"):
            return self.dialplan_has
        if variable == "RTPAUDIOQOSBRIDGED":
            return self.left_behind
        return "4711"

    async def set_variable(self, channel_id: str, variable: str, value: str) -> None:
        await self._step("set_variable", channel_id)
        self.variables.setdefault(channel_id, {})[variable] = value
        if variable == "CONNECTOR_RESULT":
            self.results[channel_id] = value

    async def continue_in_dialplan(
        self, channel_id: str, *, context: str = "", extension: str = "", priority: int = 0
    ) -> None:
        await self._step("continue", channel_id)
        self.up[channel_id] = f"{context},{extension},{priority}" if context else "dialplan"

    async def send_dtmf(self, channel_id: str, digits: str) -> None:
        await self._step("send_dtmf", channel_id)
        self.digits += digits

    async def start_bridge_music(self, bridge_id: str) -> None:
        await self._step("start_music")

    async def stop_bridge_music(self, bridge_id: str) -> None:
        await self._step("stop_music")

    async def answer(self, channel_id: str) -> None:
        await self._step("answer", channel_id)

    async def rtp_statistics(self, channel_id: str) -> RTPstat:
        await self._step("rtp_statistics", channel_id)
        return RTPstat(rxcount=self.phone_sends, txcount=0)

    async def create_bridge(self, bridge_id: str, *, name: str) -> None:
        await self._step("create_bridge")
        self.bridges_up.add(bridge_id)

    async def external_media(self, channel_id: str, *, external_host: str, format: str) -> ExternalMedia:  # noqa: A002
        await self._step("external_media")
        self.up[channel_id] = "app"
        self.on_media(channel_id)
        return ExternalMedia(channel(channel_id), "127.0.0.1", 40_000)

    async def snoop(self, channel_id: str, snoop_id: str, *, spy: str, whisper: str) -> None:
        await self._step("snoop", channel_id)
        self.up[snoop_id] = "app"
        self.snooped[snoop_id] = (channel_id, spy)
        self.on_media(snoop_id)

    async def add_channel(self, bridge_id: str, channels: list[str]) -> None:
        await self._step("add_channel")

    async def hangup(self, channel_id: str, *, missing_ok: bool = False) -> None:
        await self._step("hangup")
        self.up.pop(channel_id, None)

    async def delete_bridge(self, bridge_id: str, *, missing_ok: bool = False) -> None:
        await self._step("delete_bridge")
        self.bridges_up.discard(bridge_id)

    async def application(self) -> Application:
        await self._step("application")
        inside = [channel_id for channel_id, place in self.up.items() if place == "app"]
        return Application(name=self.app, channel_ids=inside, bridge_ids=[], endpoint_ids=[], device_names=[])

    async def channel(self, channel_id: str) -> Channel:
        await self._step("channel", channel_id)
        return channel(channel_id)

    async def channels(self) -> list[Channel]:
        await self._step("channels")
        return [channel(channel_id) for channel_id in self.up]

    async def bridges(self) -> list[Bridge]:
        await self._step("bridges")
        return [
            Bridge(
                id=bridge_id,
                technology="simple_bridge",
                bridge_type="mixing",
                bridge_class="stasis",
                creator="Stasis",
                name=bridge_id,
                channels=self.talks.get(bridge_id, []),
            )
            for bridge_id in (*self.bridges_up, *self.talks)
        ]


class FakeHandle:
    """A stream of the fake worker."""

    def __init__(self, request: OpenStream) -> None:
        self.request = request
        self.ended: asyncio.Future[StreamEnded] = asyncio.get_running_loop().create_future()
        self.stats = StreamStats()
        self.stream_id = request.stream_id
        self.quality: Quality | None = None
        self.attached: Address | None = None
        self.heard_tracks: list[Track | None] = []
        self.rtp = Address("127.0.0.1", 32_000)
        self.digits = ""
        self.notices: list[Notice] = []
        self.commands: asyncio.Queue[Command] = asyncio.Queue()

    @property
    def remote(self) -> Address | None:
        return self.attached

    @property
    def peer(self) -> str:
        return origin_of(self.request.url)

    def attach(self, remote: Address, track: Track | None = None) -> None:
        self.attached = remote
        self.heard_tracks.append(track)

    def send_dtmf(self, digit: str) -> None:
        self.digits += digit

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def close(self, cause: EndCause) -> None:
        self.end(cause)

    def end(self, cause: EndCause) -> None:
        if not self.ended.done():
            self.ended.set_result(StreamEnded(self.request.stream_id, cause, "", self.stats))


class FakeEngine:
    """A worker whose bot answers when the test says so."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.handles: list[FakeHandle] = []
        self.dialling = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails: StreamFailed | None = None
        self.given_up = 0
        self.has_room = True

    async def open(self, request: OpenStream, *, near: Any = None) -> FakeHandle:
        self.dialling.set()
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.fails is not None:
            raise self.fails
        handle = FakeHandle(request)
        self.handles.append(handle)
        return handle


@dataclass
class View:
    rtp_range: RtpRange | None
    rtp_channels_up: int = 0
    left: tuple[str, int] = ("", 0)
    holding: bool = False

    def held(self, uniqueid: str) -> bool:
        return self.holding

    def linkedid_of(self, uniqueid: str) -> str | None:
        return "1.1"

    def caller_of(self, linkedid: str) -> str:
        return linkedid

    def legs_of(self, linkedid: str) -> list[str]:
        return [linkedid]

    def agent_of(self, uniqueid: str) -> str:
        return ""

    def who_at(self, uniqueid: str) -> str:
        return ""

    def is_house(self, uniqueid: str) -> bool:
        return False

    def number_of(self, uniqueid: str) -> str:
        return ""

    def queue_of(self, uniqueid: str) -> str:
        return ""

    def direction(self, uniqueid: str) -> str:
        return "inbound"

    def left_queue(self, uniqueid: str) -> tuple[str, int]:
        return self.left


@dataclass
class Scene:
    """A manager between both fakes."""

    manager: StreamManager
    ari: FakeAri
    engine: FakeEngine
    admission: Admission
    view: View
    registry: CollectorRegistry
    taps: Taps
    published: list[StreamRecord]

    def enters(self, channel_id: str = "1.1", *args: str) -> None:
        """A caller comes into Stasis."""
        self.ari.up[channel_id] = "app"
        self.manager.on_event(
            StasisStart(
                application="connector", timestamp=NOW, channel=channel(channel_id), args=list(args) or ["talk"]
            )
        )

    def media_starts(self, channel_id: str) -> None:
        """The StasisStart of an ExternalMedia channel."""
        self.manager.on_event(StasisStart(application="connector", timestamp=NOW, channel=channel(channel_id), args=[]))

    def hangs_up(self, channel_id: str = "1.1") -> None:
        """The caller goes: first the request, then the end."""
        self.ari.up.pop(channel_id, None)
        self.manager.on_event(ChannelHangupRequest(application="connector", timestamp=NOW, channel=channel(channel_id)))
        self.leaves(channel_id)

    def leaves(self, channel_id: str = "1.1") -> None:
        """A channel leaves Stasis."""
        self.manager.on_event(StasisEnd(application="connector", timestamp=NOW, channel=channel(channel_id)))

    def presses(self, digit: str, channel_id: str = "1.1") -> None:
        """The caller presses a digit."""
        self.manager.on_event(
            ChannelDtmfReceived(
                application="connector", timestamp=NOW, channel=channel(channel_id), digit=digit, duration_ms=100
            )
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while True:
                if condition():
                    return
                await asyncio.sleep(0)  # what happens next is one turn of the loop away

    async def until_over(self) -> None:
        """Waits until no call is left, and holds what must be true then."""
        await self.until(lambda: not self.manager.calls and not self.manager.arriving)
        assert self.admission.active("main") == 0
        assert not self.ari.bridges_up
        assert not [channel_id for channel_id in self.ari.up if channel_id.startswith("connector-")]
        assert all(handle.ended.done() for handle in self.engine.handles)

    def count(self, name: str, **labels: str) -> float:
        wanted = {"pbx": "main", **labels}.items()
        samples = (sample for family in self.registry.collect() for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == name and wanted <= sample.labels.items())

    def ended(self, cause: str) -> float:
        return self.count("connector_streams_total", profile="talk", cause=cause)

    def refused(self, cause: str, profile: str = "talk") -> float:
        return self.count("connector_streams_refused_total", profile=profile, cause=cause)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    settings = Settings.model_validate(
        {
            "pbx": {"main": {"ami": {"secret": "s"}, "ari": {"password": "p"}}},
            "profile": {
                "talk": {"url": "ws://127.0.0.1:1/"},
                "perspectives": {"url": "ws://127.0.0.1:1/", "dialect": "ringcx"},
                "ask": {"url": "http://127.0.0.1:1/", "mode": "passthru"},
                "whom": {"url": "http://127.0.0.1:1/", "mode": "connect"},
            },
            "media": {"max_streams": 2},
        }
    )
    ari, engine, admission, view = FakeAri(), FakeEngine(), Admission(node_limit=2), View(RtpRange(10_000, 10_999))
    registry = CollectorRegistry()
    numbers = itertools.count()
    published: list[StreamRecord] = []
    shared: dict[str, Any] = {
        "pbx": "main",
        "settings": settings,
        "ari": cast(Ari, ari),
        "engine": cast(MediaEngine, engine),
        "admission": admission,
        "view": view,
        "counters": StreamCounters(registry),
        "publish": lambda item: None if isinstance(item, StreamBegan) else published.append(item),
        "clock": asyncio.get_running_loop().time,
        "new_id": lambda kind: f"connector-node1-{kind}-{next(numbers)}",
        "monotonic": asyncio.get_running_loop().time,
    }
    shared["book"] = ProfileBook(settings.profile, cast(Any, None), clock=lambda: 0.0)
    shared["dialler"] = Dialler(
        engine=cast(MediaEngine, engine),
        outgoing=settings.outgoing,
        secrets=Secrets({}, None),
        fetcher=Fetcher(max_answer_bytes=1024),
        clock=lambda: 0.0,
        monotonic=asyncio.get_running_loop().time,
        random=Random(1),
        count=lambda profile, outcome: None,
    )
    recordings = Recordings(settings.recording, tmp_path, clock=lambda: 1_000_000.0)
    manager = StreamManager(**shared, recordings=recordings, is_ours=lambda item: item.startswith("connector-node1-"))
    made = Scene(manager, ari, engine, admission, view, registry, manager.taps, published)
    # As on a healthy Asterisk: the channel's StasisStart follows the answer.
    ari.on_media = lambda channel_id: _soon(made.media_starts, channel_id)
    running = asyncio.create_task(manager.run())
    await asyncio.sleep(0)
    yield made
    for step in ari.held.values():
        step.set()
    engine.answers.set()
    manager.stop()
    async with asyncio.timeout(5):
        await running


def _soon(callback: Callable[..., Any], *args: Any) -> None:
    asyncio.get_running_loop().call_soon(callback, *args)
