"""The ARI client against a scripted server: the faults that a real Asterisk does not show on demand."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import WSMsgType, web
from pydantic import SecretStr

from connector.asterisk.ari import (
    Ari,
    AriBadAnswer,
    AriConflict,
    AriConnected,
    AriCounter,
    AriError,
    AriEvent,
    AriItem,
    AriLimits,
    AriLost,
    AriNotFound,
    AriNotInStasis,
    AriOverflow,
    AriRefused,
    AriRejected,
    AriServerError,
    AriTimeout,
    AriUnauthorized,
    AriUnreachable,
    AriUnsafeSubscription,
)
from connector.asterisk.ari_models import EVENT_TYPES, BridgeDestroyed, decode_event
from connector.events import LinkState

PASSWORD = "gehéim"
APPLICATION = {"name": "tapp", "channel_ids": [], "bridge_ids": [], "endpoint_ids": [], "device_names": []}
BRIDGE = {
    "id": "b1",
    "technology": "simple_bridge",
    "bridge_type": "mixing",
    "bridge_class": "stasis",
    "creator": "Stasis",
    "name": "",
    "channels": [],
    "new_in_23": {"a": 1},
}


def event(kind: str = "BridgeDestroyed", **fields: Any) -> str:
    body = {"type": kind, "application": "tapp", "timestamp": "2026-11-21T00:03:45.173+0000", "bridge": BRIDGE}
    return msgspec.json.encode(body | fields).decode()


Socket = web.WebSocketResponse
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def keep_open(socket: Socket) -> None:
    async for _ in socket:
        pass


class FakeAri:
    """Events connections run the scripts in turn, the last one for all further; requests get `answer`."""

    def __init__(self, *scripts: Callable[[Socket], Awaitable[None]]) -> None:
        self.scripts = list(scripts) or [keep_open]
        self.upgrades: list[web.Request] = []
        self.requests: list[web.Request] = []
        self.answer: Answer | None = None
        self.events_status = 101

    async def events(self, request: web.Request) -> web.StreamResponse:
        script = self.scripts[min(len(self.upgrades), len(self.scripts) - 1)]
        self.upgrades.append(request)
        if self.events_status != 101:
            return web.Response(status=self.events_status)
        socket = web.WebSocketResponse(autoping=self.autoping)
        await socket.prepare(request)
        await script(socket)
        return socket

    autoping = True

    async def request(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request)
        return await self.answer(request) if self.answer else web.json_response(APPLICATION)


@asynccontextmanager
async def running(
    fake: FakeAri, *, run: bool = True, limits: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Ari]:
    application = web.Application()
    application.router.add_get("/ari/events", fake.events)
    application.router.add_route("*", "/ari/{rest:.*}", fake.request)
    runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    given: dict[str, Any] = {
        "pbx": "main",
        "url": f"http://127.0.0.1:{port}/ari/",
        "username": "conn",
        "password": SecretStr(PASSWORD),
        "app": "tapp",
        "clock": lambda: 1000.0,
        "monotonic": asyncio.get_running_loop().time,
        "random": Random(1),
        "limits": AriLimits(**({"backoff_base_s": 0.001, "backoff_cap_s": 0.002} | (limits or {}))),
    }
    try:
        async with Ari(**(given | options)) as ari, asyncio.timeout(10):
            if not run:
                yield ari
                return
            task = asyncio.create_task(ari.run())
            try:
                yield ari
            finally:
                ended_by_itself = task.done()
                task.cancel()
                await asyncio.wait({task})
            assert not ended_by_itself
    finally:
        await runner.cleanup()


async def until(ari: Ari, kind: type[AriItem]) -> list[AriItem]:
    items: list[AriItem] = []
    while not items or not isinstance(items[-1], kind):
        items.append(await ari.items.get())
    return items


# -- events ---------------------------------------------------------------------------------------------------


async def test_events_come_in_order_with_the_password_in_a_header_and_never_subscribe_all() -> None:
    async def script(socket: Socket) -> None:
        for i in range(3):
            await socket.send_str(event(bridge=BRIDGE | {"id": f"b{i}"}))
        await keep_open(socket)

    fake = FakeAri(script)
    async with running(fake) as ari:
        assert await until(ari, AriConnected) == [AriConnected()]
        for i in range(3):
            item = await ari.items.get()
            assert isinstance(item, AriEvent)
            assert isinstance(item.event, BridgeDestroyed)
            assert item.event.bridge.id == f"b{i}"
            assert item.event.at == 1795219425.173
            assert item.received_at == 1000.0
        assert ari.state is LinkState.UP
    request = fake.upgrades[0]
    assert dict(request.query) == {"app": "tapp", "subscribeAll": "false"}
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(f"conn:{PASSWORD}".encode()).decode()


async def test_unknown_and_malformed_messages_are_counted_and_the_connection_stays() -> None:
    async def script(socket: Socket) -> None:
        await socket.send_str(event("ChannelVarset", variable="X", value="y"))
        for text in ("", "{", "[]", '{"type": 1}', event(bridge=None), event(timestamp="yesterday"), "[" * 100_000):
            await socket.send_str(text)
        await socket.send_str('{"type":"StasisEnd","x":' + '{"a":' * 100_000)  # exhausts the decoder's stack
        await socket.send_bytes(event().encode())
        await socket.send_str(event())
        await keep_open(socket)

    fake = FakeAri(script)
    async with running(fake) as ari:
        assert len(await until(ari, AriEvent)) == 2
        assert ari.counters[AriCounter.UNKNOWN_EVENT] == 1
        assert ari.counters[AriCounter.MALFORMED] == 9
        assert len(fake.upgrades) == 1


async def test_a_slow_consumer_gets_a_gap_and_the_reader_goes_on() -> None:
    sent = asyncio.Event()

    async def script(socket: Socket) -> None:
        for _ in range(50):
            await socket.send_str(event())
        await socket.ping(b"all read")
        assert (await socket.receive()).type is WSMsgType.PONG
        sent.set()
        await keep_open(socket)

    fake = FakeAri(script)
    fake.autoping = False
    async with running(fake, limits={"max_waiting": 10}) as ari:
        await sent.wait()
        items = await until(ari, AriOverflow)
        assert items[-1] == AriOverflow(41)
        assert ari.counters[AriCounter.DROPPED] == 41


async def test_the_deadline_of_requests_does_not_end_the_events() -> None:
    async def script(socket: Socket) -> None:
        await asyncio.sleep(0.04)
        await socket.send_str(event())
        await keep_open(socket)

    fake = FakeAri(script)
    async with running(fake, deadline_s=0.01) as ari:
        assert len(await until(ari, AriEvent)) == 2


async def test_a_closed_connection_is_opened_again() -> None:
    async def close(socket: Socket) -> None:
        await socket.close()

    fake = FakeAri(close, keep_open)
    async with running(fake) as ari:
        assert await until(ari, AriLost) == [AriConnected(), AriLost("Asterisk closed the events connection")]
        assert await until(ari, AriConnected) == [AriConnected()]


async def test_a_half_open_connection_is_found_by_the_missing_pong() -> None:
    deaf = asyncio.Event()

    async def script(_: Socket) -> None:
        await deaf.wait()  # receives nothing, so answers no ping

    fake = FakeAri(script)
    async with running(fake, limits={"heartbeat_s": 0.02}) as ari:
        items = await until(ari, AriLost)
        lost = items[-1]
        assert isinstance(lost, AriLost)
        assert "PONG" in lost.reason


async def test_the_watchdog_finds_an_ari_that_hangs_behind_an_open_socket() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    fake = FakeAri()
    fake.answer = hang
    async with running(fake, limits={"watchdog_interval_s": 0.01}, deadline_s=0.5) as ari:
        lost = (await until(ari, AriLost))[-1]
        assert isinstance(lost, AriLost)
        assert "GET /applications/tapp: no answer within 0.5 s" in lost.reason
        assert ari.counters[AriCounter.WATCHDOG] == 1
        await until(ari, AriConnected)
        assert len(fake.upgrades) >= 2


async def test_the_watchdog_finds_that_asterisk_forgot_our_application() -> None:
    async def missing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "Application not found"}, status=404)

    fake = FakeAri()
    fake.answer = missing
    async with running(fake, limits={"watchdog_interval_s": 0.01}) as ari:
        lost = (await until(ari, AriLost))[-1]
        assert isinstance(lost, AriLost)
        assert "Application not found" in lost.reason


async def test_the_watchdog_leaves_a_healthy_connection_alone() -> None:
    fake = FakeAri()
    looked = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        if len(fake.requests) == 10:
            looked.set()
        return web.json_response(APPLICATION)

    fake.answer = answer
    async with running(fake, limits={"watchdog_interval_s": 0.001}) as ari:
        await looked.wait()
        assert ari.state is LinkState.UP
        assert len(fake.upgrades) == 1


class Sleeps:
    """Records the waits between tries; after `free` of them it waits for ever."""

    def __init__(self, free: int) -> None:
        self.waits: list[float] = []
        self.free = free
        self.stopped = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) > self.free:
            self.stopped.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_password_is_retried_slowly_and_told_once(status: int) -> None:
    fake = FakeAri()
    fake.events_status = status
    sleeps = Sleeps(free=2)
    with structlog.testing.capture_logs() as logs:
        async with running(fake, sleep=sleeps) as ari:
            await sleeps.stopped.wait()
            assert sleeps.waits == [60.0, 60.0, 60.0]
            refused = await ari.items.get()
            assert isinstance(refused, AriRefused)
            assert "'conn'" in refused.reason
            assert "ari.conf" in refused.reason
            assert len(ari.items) == 0
            assert ari.state is LinkState.REFUSED
            assert ari.counters[AriCounter.REFUSED] == 3
    assert [line["event"] for line in logs] == ["ari_refused"]
    assert PASSWORD not in repr(logs)


async def test_network_faults_are_retried_with_growing_jittered_waits_and_told_once() -> None:
    fake = FakeAri()
    fake.events_status = 503
    sleeps = Sleeps(free=20)
    with structlog.testing.capture_logs() as logs:
        async with running(fake, sleep=sleeps, limits={"backoff_base_s": 0.5, "backoff_cap_s": 30.0}) as ari:
            await sleeps.stopped.wait()
            assert len(set(sleeps.waits)) == 21
            assert all(wait <= min(30.0, 0.5 * 2**n) for n, wait in enumerate(sleeps.waits))
            assert len(ari.items) == 1
            lost = await ari.items.get()
            assert isinstance(lost, AriLost)
            assert "503" in lost.reason
    assert [line["event"] for line in logs] == ["ari_down"]


async def test_an_application_taken_over_is_not_taken_back() -> None:
    async def replaced(socket: Socket) -> None:
        await socket.send_str(event())
        await socket.send_str(event("ApplicationReplaced"))
        await keep_open(socket)
        closed.set()

    closed = asyncio.Event()
    fake = FakeAri(replaced)
    sleeps = Sleeps(free=10)
    async with running(fake, sleep=sleeps) as ari:
        items = await until(ari, AriRefused)
        assert [type(item) for item in items] == [AriConnected, AriEvent, AriRefused]
        refused = items[-1]
        assert isinstance(refused, AriRefused)
        assert "another process uses the ARI application 'tapp'" in refused.reason
        await closed.wait()
        await ari.application()  # requests work on
        assert ari.state is LinkState.REFUSED
        assert sleeps.waits == []
        assert len(fake.upgrades) == 1


async def test_no_answer_to_the_upgrade_ends_at_its_deadline() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ari"
    async with (
        server,
        running(FakeAri(), url=url, limits={"connect_s": 0.02}, sleep=Sleeps(free=0), deadline_s=60) as ari,
    ):
        lost = await ari.items.get()
        assert isinstance(lost, AriLost)
        assert "within 0.02 s" in lost.reason


def test_every_event_type_is_known_by_its_name() -> None:
    assert {"StasisStart", "ApplicationReplaced", "Dial"} < set(EVENT_TYPES)
    assert decode_event('{"type": "DeviceStateChanged"}') is None


# -- requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AriRejected),
        (401, AriUnauthorized),
        (403, AriUnauthorized),
        (404, AriNotFound),
        (409, AriConflict),
        (412, AriRejected),
        (422, AriNotInStasis),
        (500, AriServerError),
        (302, AriBadAnswer),
    ],
)
async def test_each_status_is_an_error_of_its_own(status: int, kind: type[AriError]) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "what Asterisk says"}, status=status, headers={"Location": "/elsewhere"})

    fake = FakeAri()
    fake.answer = answer
    async with running(fake, run=False) as ari:
        with pytest.raises(AriError) as caught:
            await ari.set_variable("ch/1", "PIN", "1234")
        error = caught.value
        assert type(error) is kind
        assert (error.method, error.path, error.status) == ("POST", "/channels/ch%2F1/variable", status)
        assert status < 400 or "what Asterisk says" in str(error)
        assert "1234" not in str(error)
        assert PASSWORD not in str(error)
        assert len(fake.requests) == 1


async def test_missing_ok_forgives_a_404_and_nothing_else() -> None:
    status = 404

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "no"}, status=status)

    fake = FakeAri()
    fake.answer = answer
    async with running(fake, run=False) as ari:
        await ari.hangup("c", missing_ok=True)
        await ari.delete_bridge("b", missing_ok=True)
        with pytest.raises(AriNotFound):
            await ari.hangup("c")
        status = 409
        with pytest.raises(AriConflict):
            await ari.delete_bridge("b", missing_ok=True)


async def test_a_request_has_a_deadline_and_is_not_sent_again() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    fake = FakeAri()
    fake.answer = hang
    async with running(fake, run=False, deadline_s=0.5) as ari:
        with pytest.raises(AriTimeout, match=r"POST /channels/c/answer: no answer within 0\.5 s"):
            await ari.answer("c")
        assert len(fake.requests) == 1


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"name": 1}', b'{"x":' + b"[" * 100_000])
async def test_an_answer_that_cannot_be_read_is_an_error(body: bytes) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    fake = FakeAri()
    fake.answer = answer
    async with running(fake, run=False) as ari:
        with pytest.raises(AriBadAnswer):
            await ari.application()


async def test_an_endless_answer_is_given_up() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b" " * 1024 * 1024)

    fake = FakeAri()
    fake.answer = answer
    async with running(fake, run=False, deadline_s=60) as ari:
        with pytest.raises(AriBadAnswer, match="longer than 16777216 bytes"):
            await ari.application()


async def test_nobody_there_says_where_to_look() -> None:
    async with running(FakeAri(), run=False, url="http://127.0.0.1:1/ari") as ari:
        with pytest.raises(AriUnreachable, match=r"http\.conf"):
            await ari.info()


async def test_external_media_without_an_address_is_an_error() -> None:
    channel = {
        "id": "c",
        "name": "UnicastRTP/x",
        "state": "Down",
        "caller": {"name": "", "number": ""},
        "connected": {"name": "", "number": ""},
        "accountcode": "",
        "dialplan": {"context": "", "exten": "", "priority": 1, "app_name": "", "app_data": ""},
        "creationtime": "2026-11-21T00:03:45.173+0000",
        "language": "en",
        "channelvars": {"UNICASTRTP_LOCAL_PORT": "x"},
    }

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(channel)

    fake = FakeAri()
    fake.answer = answer
    async with running(fake, run=False) as ari:
        with pytest.raises(AriBadAnswer, match="no address"):
            await ari.external_media("c", external_host="127.0.0.1:4000", format="ulaw")


@pytest.mark.parametrize("source", ["deviceState:PJSIP/a", "deviceState:", "", "all", "channel:a,deviceState:b"])
async def test_subscriptions_that_can_deadlock_asterisk_are_never_sent(source: str) -> None:
    fake = FakeAri()
    async with running(fake, run=False) as ari:
        with pytest.raises(AriUnsafeSubscription, match="AMI"):
            await ari.subscribe(["channel:a", source])
        assert fake.requests == []
        await ari.subscribe(["channel:a", "bridge:b", "endpoint:PJSIP/c"])
        assert fake.requests[0].query["eventSource"] == "channel:a,bridge:b,endpoint:PJSIP/c"


@pytest.mark.parametrize("app", ["a,b", "con-nector", ""])
def test_an_application_name_that_means_something_else_is_refused(app: str) -> None:
    with pytest.raises(ValueError, match="app is"):
        Ari(
            pbx="main",
            url="http://127.0.0.1/ari",
            username="u",
            password=SecretStr("p"),
            app=app,
            clock=lambda: 0.0,
            monotonic=lambda: 0.0,
            random=Random(1),
        )
