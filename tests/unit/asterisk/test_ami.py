"""The AMI client against a scripted peer: the faults that a real Asterisk does not show on demand."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiBadValue,
    AmiBusy,
    AmiConnected,
    AmiConnectionLost,
    AmiCounter,
    AmiEvent,
    AmiItem,
    AmiLimits,
    AmiList,
    AmiListTooLong,
    AmiLost,
    AmiNotConnected,
    AmiOverflow,
    AmiRefused,
    AmiTimeout,
    PermissionDenied,
)
from connector.events import LinkState

SECRET = "gehéim"
BANNER = b"Asterisk Call Manager/11.0.0\r\n"
QUICK = {"backoff_base_s": 0.001, "backoff_cap_s": 0.002}


class Peer:
    """One connection of the fake AMI."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self) -> dict[str, str]:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        return dict(line.split(": ", 1) for line in raw.decode().strip("\r\n").split("\r\n"))

    async def expect(self, name: str) -> dict[str, str]:
        action = await self.read()
        assert action["Action"] == name
        return action

    def send(self, *lines: str) -> None:
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self, action: dict[str, str], *lines: str, response: str = "Success") -> None:
        self.send(f"Response: {response}", f"ActionID: {action['ActionID']}", *lines)

    async def login(self) -> dict[str, str]:
        self.writer.write(BANNER)
        action = await self.expect("Login")
        self.answer(action, "Message: Authentication accepted")
        return action

    async def silence(self) -> None:
        """Reads and says nothing until the client goes."""
        while await self.reader.read(4096):
            pass


Script = Callable[[Peer], Awaitable[None]]


class FakeAmi:
    """Runs one script per connection, the last one for all further; a failing script fails the test."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.errors: list[BaseException] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()


@asynccontextmanager
async def running(
    *scripts: Script, server_tls: ssl.SSLContext | None = None, limits: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Ami, FakeAmi]]:
    """An Ami that runs against the scripts, both ended at the end."""
    fake = FakeAmi(*scripts)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=server_tls)
    fake.port = server.sockets[0].getsockname()[1]
    async with server:
        given: dict[str, Any] = {
            "pbx": "main",
            "host": "127.0.0.1",
            "port": fake.port,
            "username": "mon",
            "secret": SecretStr(SECRET),
            "clock": lambda: 1000.0,
            "monotonic": asyncio.get_running_loop().time,
            "random": Random(1),
            "limits": AmiLimits(**(QUICK | (limits or {}))),
        }
        ami = Ami(**(given | options))
        task = asyncio.create_task(ami.run())
        try:
            async with asyncio.timeout(10):
                yield ami, fake
        finally:
            ended_by_itself = task.done()
            task.cancel()
            await asyncio.wait({task})
    assert not ended_by_itself
    assert fake.errors == []


async def until(ami: Ami, kind: type[AmiItem]) -> list[AmiItem]:
    """The items up to and with the first of a kind."""
    items: list[AmiItem] = []
    while not items or not isinstance(items[-1], kind):
        items.append(await ami.items.get())
    return items


async def idle(peer: Peer) -> None:
    await peer.login()
    await peer.silence()


async def test_events_follow_the_login_even_from_one_segment() -> None:
    async def script(peer: Peer) -> None:
        peer.writer.write(BANNER)
        action = await peer.expect("Login")
        assert (action["Username"], action["Secret"], action["Events"]) == ("mon", SECRET, "agent")
        peer.send(
            "Event: BeforeLogin",
            "",
            "Response: Success",
            f"ActionID: {action['ActionID']}",
            "",
            "Event: One",
            "Variable: a",
            "Variable: b",
            "Empty: ",
        )
        await peer.silence()

    async with running(script, event_classes="agent") as (ami, _):
        assert await until(ami, AmiEvent) == [
            AmiConnected("Asterisk Call Manager/11.0.0"),
            AmiEvent({"Event": "One", "Variable": ["a", "b"], "Empty": ""}, 1000.0),
        ]
        assert ami.state is LinkState.UP


async def test_a_character_split_over_segments_stays_whole() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        raw = "Event: One\r\nName: Jürgen\r\n\r\n".encode()
        cut = raw.index("ü".encode()) + 1
        peer.writer.write(raw[:cut])
        await peer.writer.drain()
        await peer.expect("Ping")  # the client has read the first half, or this would not be a segment of its own
        peer.writer.write(raw[cut:])
        await peer.silence()

    async with running(script, limits={"ping_interval_s": 0.02}) as (ami, _):
        assert AmiEvent({"Event": "One", "Name": "Jürgen"}, 1000.0) in await until(ami, AmiEvent)


async def test_bad_messages_are_counted_and_the_link_stays() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        peer.send("Event: Long", "X: " + "x" * 3000)
        peer.send("Event: Lines", *["a: b"] * 50)
        peer.send("Neither: nor")
        peer.send("Response: Success", "ActionID: nobody", "Message: late")
        peer.writer.write(b"Event: Latin\r\nName: J\xfcrgen\r\nrubbish\r\n\r\n")
        await peer.silence()

    async with running(script, limits={"max_message_bytes": 2000, "max_lines": 20}) as (ami, fake):
        items = await until(ami, AmiEvent)
        assert items[1:] == [AmiEvent({"Event": "Latin", "Name": "J\N{REPLACEMENT CHARACTER}rgen"}, 1000.0)]
        expected = {
            "connected": 1,
            "events": 1,
            "message_too_long": 1,
            "too_many_lines": 1,
            "no_type": 1,
            "unexpected_response": 1,
            "bad_utf8": 1,
            "line_without_colon": 1,
        }
        assert {cause.value: n for cause, n in ami.counters.items() if n} == expected
        assert fake.connections == 1


async def test_a_raising_capture_or_clock_costs_a_message_and_not_the_link() -> None:
    calls = 0

    def clock() -> float:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("defect")
        return 5.0

    def capture(_: bytes) -> None:
        raise OSError("disk full")

    async def script(peer: Peer) -> None:
        await peer.login()
        peer.send("Event: One")
        peer.send("Event: Two")
        await peer.silence()

    with structlog.testing.capture_logs() as logs:
        async with running(script, clock=clock, capture=capture) as (ami, _):
            assert (await until(ami, AmiEvent))[1:] == [AmiEvent({"Event": "Two"}, 5.0)]
            assert ami.counters[AmiCounter.NOT_HANDLED] == 1
            assert ami.counters[AmiCounter.CAPTURE_FAILED] == 1
    assert [line["event"] for line in logs] == ["ami_capture_failed", "ami_up", "ami_message_not_handled"]


async def test_the_capture_gets_the_bytes_as_they_came() -> None:
    captured = bytearray()

    async def script(peer: Peer) -> None:
        await peer.login()
        peer.writer.write(b"Event: One\r\nName: J\xfcrgen\r\n\r\n")
        await peer.silence()

    async with running(script, capture=captured.extend) as (ami, _):
        await until(ami, AmiEvent)
        assert captured.startswith(BANNER)
        assert captured.endswith(b"Name: J\xfcrgen\r\n\r\n")


async def test_a_consumer_that_raises_or_stalls_leaves_the_connection_alone() -> None:
    pinged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        for i in range(30):
            peer.send("Event: E", f"N: {i}")
        peer.answer(await peer.expect("Ping"))
        await peer.expect("Ping")
        pinged.set()
        await peer.silence()

    async with running(script, limits={"max_waiting": 10, "ping_interval_s": 0.01}) as (ami, fake):

        async def consume() -> None:
            await ami.items.get()
            raise RuntimeError("defect of the consumer")

        with pytest.raises(RuntimeError):
            await consume()
        await pinged.wait()
        items = await until(ami, AmiOverflow)
        dropped = ami.counters[AmiCounter.DROPPED]
        assert [item.message["N"] for item in items if isinstance(item, AmiEvent)] == [
            str(i) for i in range(30 - dropped)
        ]
        assert items[-1] == AmiOverflow(dropped)
        assert dropped >= 19
        assert fake.connections == 1
        assert ami.state is LinkState.UP


async def test_an_action_is_answered_rejected_or_denied() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        pause = await peer.expect("QueuePause")
        assert pause["Interface"] == "PJSIP/änne"
        assert pause["Paused"] == "1"
        peer.send("Event: Between", f"ActionID: {pause['ActionID']}")  # as OriginateResponse may
        peer.answer(pause, "Message: Interface paused successfully")
        peer.answer(await peer.expect("QueuePause"), "Message: Interface not found", response="Error")
        peer.answer(await peer.expect("QueuePause"), "Message: Permission denied", response="Error")
        await peer.silence()

    async with running(script) as (ami, _):
        await until(ami, AmiConnected)
        response = await ami.action("QueuePause", Interface="PJSIP/änne", Paused=1)
        assert response.message == "Interface paused successfully"
        assert isinstance((await until(ami, AmiEvent))[-1], AmiEvent)
        with pytest.raises(AmiActionRejected, match="Interface not found"):
            await ami.action("QueuePause", Interface="x")
        with pytest.raises(PermissionDenied, match="write"):
            await ami.action("QueuePause", Interface="x")


async def test_an_action_without_answer_ends_at_its_deadline_and_is_forgotten() -> None:
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        action = await peer.expect("QueuePause")
        await answered.wait()
        peer.answer(action, "Message: too late")
        peer.answer(await peer.expect("Ping"), "Ping: Pong")
        await peer.silence()

    async with running(script, limits={"max_pending": 1}) as (ami, _):
        await until(ami, AmiConnected)
        with pytest.raises(AmiTimeout, match=r"QueuePause: no answer within 0.01 s; it may have happened"):
            await ami.action("QueuePause", 0.01)
        answered.set()
        await ami.action("Ping")
        assert ami.counters[AmiCounter.ACTION_TIMEOUT] == 1
        assert ami.counters[AmiCounter.UNEXPECTED_RESPONSE] == 1


async def test_nothing_is_sent_again_after_a_reconnect() -> None:
    second: list[str] = []

    async def first(peer: Peer) -> None:
        await peer.login()
        await peer.expect("Originate")

    async def then(peer: Peer) -> None:
        await peer.login()
        peer.send("Event: FullyBooted", "Status: Fully Booted")  # where panoramisk replays
        while True:
            action = await peer.read()
            second.append(action["Action"])
            peer.answer(action)

    async with running(first, then) as (ami, _):
        await until(ami, AmiConnected)
        with pytest.raises(AmiConnectionLost, match="the connection broke before the answer"):
            await ami.action("Originate", Channel="PJSIP/alice")
        assert await until(ami, AmiConnected) == [
            AmiLost("Asterisk closed the connection"),
            AmiConnected("Asterisk Call Manager/11.0.0"),
        ]
        await until(ami, AmiEvent)
        await ami.action("Ping")
        await ami.action("Ping")
        assert second == ["Ping", "Ping"]


async def test_a_value_with_a_line_end_is_refused_before_anything_is_written() -> None:
    received: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.login()
        while True:
            action = await peer.read()
            received.append(action["Action"])
            peer.answer(action)

    async with running(script) as (ami, _):
        await until(ami, AmiConnected)
        for text in ("x\r\nAction: Originate", "x\n", "x\r", "x\0"):
            with pytest.raises(AmiBadValue, match="Reason"):
                await ami.action("QueuePause", Interface="PJSIP/a", Reason=text)
            with pytest.raises(AmiBadValue, match="Queue"):
                await ami.request_list("QueueStatus", Queue=text)
        await ami.action("Ping")
        assert received == ["Ping"]


async def test_without_a_connection_or_with_too_many_waiting_nothing_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        await peer.silence()

    async with running(script, limits={"max_pending": 1}) as (ami, _):
        with pytest.raises(AmiNotConnected, match="nothing was sent"):
            await ami.action("Ping")
        await until(ami, AmiConnected)
        waiting = asyncio.create_task(ami.action("Slow"))
        await asyncio.sleep(0)
        with pytest.raises(AmiBusy, match="nothing was sent"):
            await ami.action("Ping")
        waiting.cancel()
        await asyncio.wait({waiting})
        with pytest.raises(AmiTimeout):
            await ami.action("Ping", 0.01)


async def test_a_list_stands_where_its_complete_event_stood() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        action = await peer.expect("QueueStatus")
        tag = f"ActionID: {action['ActionID']}"
        peer.send("Event: Live", "N: 1")
        peer.answer(action, "EventList: start", "Message: Queue status will follow")
        peer.send("Event: QueueParams", "Queue: a", tag)
        peer.send("Event: Live", "N: 2")
        peer.send("Event: QueueMemberComplete", "Queue: b", tag)
        peer.send("Event: QueueStatusComplete", "EventList: Complete", "ListItems: 2", tag)
        peer.send("Event: Live", "N: 3")
        await peer.silence()

    async with running(script) as (ami, _):
        await until(ami, AmiConnected)
        await ami.request_list("QueueStatus")
        shown: list[object] = []
        while len(shown) < 4:
            item = await ami.items.get()
            if isinstance(item, AmiEvent):
                shown.append(item.message["N"])
            elif isinstance(item, AmiList):
                shown.append([one["Queue"] for one in item.items])
        assert shown == ["1", "2", ["a", "b"], "3"]


async def test_a_list_that_fails_leaves_nothing_behind_in_the_stream() -> None:
    completed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(2):
            action = await peer.expect("QueueStatus")
            tag = f"ActionID: {action['ActionID']}"
            peer.answer(action, "EventList: start")
            for _ in range(5):
                peer.send("Event: QueueParams", "Queue: a", tag)
            await completed.wait()
            peer.send("Event: QueueParams", "Queue: late", tag)
            peer.send("Event: QueueStatusComplete", "EventList: Complete", tag)
            peer.send("Event: Live")
        peer.answer(await peer.expect("QueueStatus"), "Message: Permission denied", response="Error")
        peer.answer(await peer.expect("Ping"), "Message: no list")
        await peer.silence()

    async with running(script, limits={"max_list_items": 4}) as (ami, _):
        await until(ami, AmiConnected)
        with pytest.raises(AmiListTooLong, match="more than 4"):
            await ami.request_list("QueueStatus")
        completed.set()
        assert await until(ami, AmiEvent) == [AmiEvent({"Event": "Live"}, 1000.0)]
        completed.clear()
        with pytest.raises((AmiTimeout, AmiListTooLong)):
            await ami.request_list("QueueStatus", 0.01)
        completed.set()
        assert await until(ami, AmiEvent) == [AmiEvent({"Event": "Live"}, 1000.0)]
        with pytest.raises(PermissionDenied):
            await ami.request_list("QueueStatus")
        await ami.request_list("Ping")
        assert len(ami.items) == 0


async def test_a_list_without_end_is_given_up_at_its_deadline() -> None:
    complete = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        action = await peer.expect("QueueStatus")
        tag = f"ActionID: {action['ActionID']}"
        peer.answer(action, "EventList: start")
        peer.send("Event: QueueParams", "Queue: a", tag)
        await complete.wait()
        peer.send("Event: QueueParams", "Queue: late", tag)
        peer.send("Event: QueueStatusComplete", "EventList: Complete", tag)
        peer.send("Event: Live")
        await peer.silence()

    async with running(script) as (ami, _):
        await until(ami, AmiConnected)
        with pytest.raises(AmiTimeout):
            await ami.request_list("QueueStatus", 0.01)
        complete.set()
        assert await until(ami, AmiEvent) == [AmiEvent({"Event": "Live"}, 1000.0)]


async def test_a_half_open_link_is_found_by_the_missing_pong() -> None:
    async with running(idle, limits={"ping_interval_s": 0.01, "ping_deadline_s": 0.02}) as (ami, fake):
        items = await until(ami, AmiLost)
        assert items[-1] == AmiLost("no answer to Ping within 0.02 s")
        await until(ami, AmiConnected)
        assert fake.connections >= 2


def test_the_defaults_find_a_half_open_link_within_15_s() -> None:
    assert AmiLimits().ping_interval_s + AmiLimits().ping_deadline_s < 15


async def test_a_link_whose_peer_answers_pings_stays() -> None:
    pinged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.login()
        for _ in range(20):
            peer.answer(await peer.expect("Ping"))
        pinged.set()
        await peer.silence()

    async with running(script, limits={"ping_interval_s": 0.001, "ping_deadline_s": 5.0}) as (ami, fake):
        await pinged.wait()
        assert fake.connections == 1
        assert ami.state is LinkState.UP


async def test_shutdown_is_an_event_and_not_the_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.login()
        peer.send("Event: Shutdown", "Shutdown: Cleanly")
        peer.answer(await peer.expect("Ping"))
        peer.send("Event: After")
        await peer.silence()

    async with running(script) as (ami, fake):
        await until(ami, AmiEvent)
        await ami.action("Ping")
        assert await until(ami, AmiEvent) == [AmiEvent({"Event": "After"}, 1000.0)]
        assert fake.connections == 1


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


async def refuse(peer: Peer) -> None:
    peer.writer.write(BANNER)
    peer.answer(await peer.expect("Login"), "Message: Authentication failed", response="Error")


async def test_a_wrong_password_is_not_retried_like_a_network_fault() -> None:
    sleeps = Sleeps(free=2)
    with structlog.testing.capture_logs() as logs:
        async with running(refuse, sleep=sleeps) as (ami, fake):
            await sleeps.stopped.wait()
            assert sleeps.waits == [60.0, 60.0, 60.0]
            assert fake.connections == 3
            assert ami.state is LinkState.REFUSED
            assert ami.counters[AmiCounter.REFUSED] == 3
            assert ami.counters[AmiCounter.LOST] == 0
            assert len(ami.items) == 1
            refused = await ami.items.get()
            assert isinstance(refused, AmiRefused)
            assert "'mon' (Authentication failed)" in refused.reason
            assert "manager.conf" in refused.reason
    assert [line["event"] for line in logs] == ["ami_refused"]
    assert SECRET not in repr(logs)


async def test_network_faults_are_retried_with_growing_jittered_waits_and_told_once() -> None:
    async def cut(peer: Peer) -> None:
        peer.writer.write(BANNER)

    sleeps = Sleeps(free=30)
    limits = {"backoff_base_s": 0.5, "backoff_cap_s": 30.0}
    with structlog.testing.capture_logs() as logs:
        async with running(cut, sleep=sleeps, limits=limits) as (ami, fake):
            await sleeps.stopped.wait()
            assert fake.connections == 31
            ceilings = [min(30.0, 0.5 * 2**n) for n in range(31)]
            assert all(0 <= wait <= ceiling for wait, ceiling in zip(sleeps.waits, ceilings, strict=True))
            assert len(set(sleeps.waits)) == 31
            assert max(sleeps.waits) > 10
            assert ami.counters[AmiCounter.LOST] == 31
            assert len(ami.items) == 1
    assert [line["event"] for line in logs] == ["ami_down"]


async def test_only_a_connection_that_held_starts_the_backoff_anew() -> None:
    async def login_and_cut(peer: Peer) -> None:
        await peer.login()

    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    now = iter([0.0, 1.0, 1.0, 2.0, 2.0, 100.0, 100.0, 101.0, 101.0])
    sleeps = Sleeps(free=3)
    limits = {"backoff_base_s": 0.5, "backoff_cap_s": 30.0}
    async with running(login_and_cut, sleep=sleeps, limits=limits, random=Highest(), monotonic=lambda: next(now)) as _:
        await sleeps.stopped.wait()
    assert sleeps.waits == [0.5, 1.0, 0.5, 1.0]


async def test_a_refused_port_a_silent_peer_and_another_protocol_say_what_is_wrong() -> None:
    async def mute(peer: Peer) -> None:
        await peer.silence()

    async def ssh(peer: Peer) -> None:
        peer.writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await peer.silence()

    async def no_login(peer: Peer) -> None:
        peer.writer.write(BANNER)
        await peer.silence()

    async def reason(script: Script, **options: Any) -> str:
        limits = {"connect_s": 0.05, "login_s": 0.05}
        async with running(script, sleep=Sleeps(free=0), limits=limits, **options) as (ami, _):
            item = await ami.items.get()
        assert isinstance(item, AmiLost)
        return item.reason

    assert "cannot connect" in await reason(mute, port=1)
    assert "no AMI banner within 0.05 s" in await reason(mute)
    assert "'SSH-2.0-OpenSSH_9.2'" in await reason(ssh)
    assert "Login: no answer within 0.05 s" in await reason(no_login)


def test_a_secret_that_cannot_be_sent_is_refused_at_once_and_not_shown() -> None:
    with pytest.raises(AmiBadValue, match="Secret") as caught:
        Ami(
            pbx="main",
            host="127.0.0.1",
            port=5038,
            username="mon",
            secret=SecretStr("geheim\r\n"),
            clock=lambda: 0.0,
            monotonic=lambda: 0.0,
            random=Random(1),
        )
    assert "geheim" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=pbx", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path)]
    command += ["-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.with_suffix(".crt"), certificate)
    return context


async def test_tls_to_a_trusted_certificate(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")))
    async with running(idle, server_tls=server_context(certificate), tls=trusting) as (ami, _):
        await until(ami, AmiConnected)
        assert ami.certificate_expires_at is not None
        assert ami.certificate_expires_at > time.time()
        with pytest.raises(AmiTimeout):
            await ami.action("Ping", 0.01)


async def test_an_untrusted_certificate_needs_a_person(certificate: Path) -> None:
    sleeps = Sleeps(free=0)
    options: dict[str, Any] = {"tls": ssl.create_default_context(), "sleep": sleeps}
    async with running(idle, server_tls=server_context(certificate), **options) as (ami, _):
        item = await ami.items.get()
        assert isinstance(item, AmiRefused)
        assert "certificate is not trusted" in item.reason
        assert sleeps.waits in ([], [60.0])
