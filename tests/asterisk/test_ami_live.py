"""The ordinary path of the AMI client, on the real Asterisk."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiConnected,
    AmiCounter,
    AmiEvent,
    AmiItem,
    AmiLimits,
    AmiList,
    AmiLost,
    AmiNotConnected,
    AmiRefused,
    PermissionDenied,
)
from connector.events import LinkState
from connector.lab.asterisk import LabAsterisk


@asynccontextmanager
async def running(asterisk: LabAsterisk, **options: Any) -> AsyncIterator[Ami]:
    given: dict[str, Any] = {
        "pbx": "main",
        "host": "127.0.0.1",
        "port": asterisk.ami_port,
        "username": asterisk.ami_user,
        "secret": SecretStr(asterisk.ami_secret),
        "clock": time.time,
        "monotonic": time.monotonic,
        "random": Random(1),
    }
    ami = Ami(**(given | options))
    task = asyncio.create_task(ami.run())
    try:
        async with asyncio.timeout(30):
            yield ami
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(ami: Ami, kind: type[AmiItem]) -> AmiItem:
    while not isinstance(item := await ami.items.get(), kind):
        pass
    return item


async def test_login_lists_and_pings(asterisk: LabAsterisk) -> None:
    limits = AmiLimits(ping_interval_s=0.01, ping_deadline_s=5.0)
    captured = bytearray()
    async with running(asterisk, limits=limits, capture=captured.extend) as ami:
        connected = await ami.items.get()
        assert isinstance(connected, AmiConnected)
        assert connected.banner.startswith("Asterisk Call Manager/")
        assert (await ami.action("Ping")).fields["Ping"] == "Pong"

        await ami.request_list("QueueStatus")
        queues = await until(ami, AmiList)
        assert isinstance(queues, AmiList)
        assert {item["Event"] for item in queues.items} <= {"QueueParams", "QueueMember", "QueueEntry"}
        assert "QueueParams" in {item["Event"] for item in queues.items}

        await ami.request_list("CoreShowChannels")
        channels = await until(ami, AmiList)
        assert isinstance(channels, AmiList)
        assert channels.name == "CoreShowChannels"
        while captured.count(b"Ping: Pong") < 5:
            await ami.action("Ping")
        assert ami.state is LinkState.UP
        faults = {cause: n for cause, n in ami.counters.items() if n}
        assert set(faults) <= {AmiCounter.CONNECTED, AmiCounter.EVENTS}


async def test_what_the_account_may_not_do_is_denied_and_what_is_wrong_rejected(asterisk: LabAsterisk) -> None:
    async with running(asterisk) as ami:
        await until(ami, AmiConnected)
        with pytest.raises(PermissionDenied, match=r"manager\.conf"):
            await ami.action("Originate", Channel="Local/x@y", Application="Hangup")
        with pytest.raises(AmiActionRejected, match="Invalid/unknown command"):
            await ami.action("NoSuchAction")
        assert (await ami.action("Ping")).fields["Ping"] == "Pong"


async def test_the_longest_line_is_read_whole(asterisk: LabAsterisk) -> None:
    async with running(asterisk) as ami:
        await until(ami, AmiConnected)
        # A queue of a name that Asterisk would cut short or take for a second header gives another answer than none.
        await ami.request_list("QueueStatus", Queue="x" * (1024 - len("Queue: \r\n")))
        queues = await until(ami, AmiList)
        assert isinstance(queues, AmiList)
        assert queues.items == ()


async def test_a_wrong_secret_is_refused(asterisk: LabAsterisk) -> None:
    async with running(asterisk, secret=SecretStr("wrong")) as ami:
        refused = await ami.items.get()
        assert isinstance(refused, AmiRefused)
        assert "Authentication failed" in refused.reason
        assert ami.state is LinkState.REFUSED


async def test_events_carry_asterisks_time(asterisk: LabAsterisk) -> None:
    async with running(asterisk) as ami, running(asterisk) as other:
        await until(ami, AmiConnected)
        await until(other, AmiConnected)
        # The account may not originate, so the console makes a channel.
        await asterisk.cli("channel originate Local/s@default application Hangup")
        for one in (ami, other):
            event = await until(one, AmiEvent)
            assert isinstance(event, AmiEvent)
            while event.message["Event"] == "FullyBooted":  # the login's own, without one
                event = await until(one, AmiEvent)
                assert isinstance(event, AmiEvent)
            stamp = event.message["Timestamp"]
            assert isinstance(stamp, str)
            assert abs(event.received_at - float(stamp)) < 5


async def test_a_port_of_another_protocol_is_named(asterisk: LabAsterisk) -> None:
    port = int(asterisk.ari_url.rsplit(":", 1)[1].split("/")[0])
    async with running(asterisk, port=port, limits=AmiLimits(connect_s=0.2)) as ami:
        lost = await ami.items.get()
        assert isinstance(lost, AmiLost)
        assert "no AMI banner" in lost.reason


async def test_asterisk_killed_and_started_again(make_asterisk: Callable[..., LabAsterisk]) -> None:
    limits = AmiLimits(backoff_base_s=0.05, backoff_cap_s=0.1)
    async with make_asterisk(phones=0) as pbx, running(pbx, limits=limits) as ami:
        await until(ami, AmiConnected)
        await pbx.kill()
        lost = await until(ami, AmiLost)
        assert isinstance(lost, AmiLost)
        with pytest.raises(AmiNotConnected, match="nothing was sent"):
            await ami.action("Ping")
        await pbx.start()
        await until(ami, AmiConnected)
        await ami.request_list("QueueStatus")
        assert isinstance(await until(ami, AmiList), AmiList)
        assert ami.counters[AmiCounter.CONNECTED] == 2
