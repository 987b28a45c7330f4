"""The ARI client on the real Asterisk: requests, events, refusals, a second process with the same application."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from pydantic import SecretStr

from connector.asterisk.ari import (
    Ari,
    AriConnected,
    AriCounter,
    AriEvent,
    AriItem,
    AriLimits,
    AriLost,
    AriNotFound,
    AriNotInStasis,
    AriRefused,
    AriUnauthorized,
    AriUnreachable,
)
from connector.asterisk.ari_models import (
    BridgeDestroyed,
    ChannelDestroyed,
    ChannelEnteredBridge,
    ChannelLeftBridge,
    Event,
    StasisEnd,
    StasisStart,
)
from connector.asterisk.ids import Kind, make_id
from connector.events import LinkState
from connector.lab.asterisk import LabAsterisk

E = TypeVar("E", bound=Event)


@asynccontextmanager
async def running(asterisk: LabAsterisk, *, run: bool = True, **options: Any) -> AsyncIterator[Ari]:
    given: dict[str, Any] = {
        "pbx": "main",
        "url": asterisk.ari_url,
        "username": asterisk.ari_user,
        "password": SecretStr(asterisk.ari_password),
        "app": f"test_{uuid4().hex[:8]}",
        "clock": time.time,
        "monotonic": time.monotonic,
        "random": Random(1),
    }
    async with Ari(**(given | options)) as ari, asyncio.timeout(30):
        if not run:
            yield ari
            return
        task = asyncio.create_task(ari.run())
        try:
            yield ari
        finally:
            task.cancel()
            await asyncio.wait({task})


async def until(ari: Ari, kind: type[AriItem]) -> AriItem:
    while not isinstance(item := await ari.items.get(), kind):
        pass
    return item


async def event(ari: Ari, kind: type[E]) -> E:
    while True:
        item = await until(ari, AriEvent)
        assert isinstance(item, AriEvent)
        if isinstance(item.event, kind):
            return item.event


def new_id(kind: Kind) -> str:
    return make_id("test", "n1", kind, uuid4())


async def test_the_life_of_an_external_media_channel(asterisk: LabAsterisk) -> None:
    async with running(asterisk, limits=AriLimits(watchdog_interval_s=0.01)) as ari:
        await until(ari, AriConnected)
        assert (await ari.application()).name == ari.app
        media_id, bridge_id = new_id(Kind.EXTERNAL_MEDIA), new_id(Kind.BRIDGE)
        bridge = await ari.create_bridge(bridge_id, name="ours")
        assert (bridge.id, bridge.name, bridge.bridge_type) == (bridge_id, "ours", "mixing")
        media = await ari.external_media(
            media_id, external_host="127.0.0.1:9", format="ulaw", variables={"CONV": "ü & +1 %41"}
        )
        assert media.local_host == "127.0.0.1"
        assert media.local_port % 2 == 0
        started = await event(ari, StasisStart)
        assert started.channel.id == media_id
        assert abs(started.at - time.time()) < 5

        await ari.add_channel(bridge_id, [media_id])
        entered = await event(ari, ChannelEnteredBridge)
        assert entered.bridge.channels == [media_id]
        assert [one.channels for one in await ari.bridges() if one.id == bridge_id] == [[media_id]]

        assert await ari.get_variable(media_id, "CONV") == "ü & +1 %41"
        await ari.set_variable(media_id, "CONV", "a+b c&d=ü")
        assert await ari.get_variable(media_id, "CONV") == "a+b c&d=ü"
        with pytest.raises(AriNotFound):
            await ari.get_variable(media_id, "NOT_SET")
        await ari.start_silence(media_id)
        await ari.stop_silence(media_id)
        await ari.answer(media_id)
        await ari.send_dtmf(media_id, "1")

        await ari.remove_channel(bridge_id, [media_id])
        await event(ari, ChannelLeftBridge)
        assert media_id in [one.id for one in await ari.channels()]
        assert (await ari.channel(media_id)).name.startswith("UnicastRTP/")
        await ari.subscribe([f"channel:{media_id}", f"bridge:{bridge_id}"])
        await ari.hangup(media_id, reason="normal")
        await event(ari, StasisEnd)
        assert (await event(ari, ChannelDestroyed)).channel.id == media_id
        await ari.hangup(media_id, missing_ok=True)
        with pytest.raises(AriNotFound):
            await ari.hangup(media_id)
        with pytest.raises(AriNotFound):
            await ari.continue_in_dialplan(media_id)
        await ari.delete_bridge(bridge_id)
        assert (await event(ari, BridgeDestroyed)).bridge.id == bridge_id
        await ari.delete_bridge(bridge_id, missing_ok=True)
        assert ari.counters[AriCounter.MALFORMED] == 0
        assert ari.counters[AriCounter.WATCHDOG] == 0


async def test_a_channel_outside_stasis_is_not_bridged(asterisk: LabAsterisk) -> None:
    async with running(asterisk) as ari:
        await until(ari, AriConnected)
        bridge_id, media_id = new_id(Kind.BRIDGE), new_id(Kind.EXTERNAL_MEDIA)
        await ari.create_bridge(bridge_id)
        await ari.external_media(media_id, external_host="127.0.0.1:9", format="ulaw")
        await event(ari, StasisStart)
        await ari.subscribe([f"channel:{media_id}"])
        # The lab's dialplan rings there and never answers, so the channel stays without being in Stasis.
        await ari.continue_in_dialplan(media_id, context="from-phones", extension="ring", priority=1)
        await event(ari, StasisEnd)
        with pytest.raises(AriNotInStasis) as caught:
            await ari.add_channel(bridge_id, [media_id])
        assert caught.value.status == 422
        await ari.hangup(media_id)
        await event(ari, ChannelDestroyed)
        await ari.delete_bridge(bridge_id)


async def test_what_asterisk_is(asterisk: LabAsterisk) -> None:
    async with running(asterisk, run=False) as ari:
        info = await ari.info()
        assert info.system is not None
        assert info.system.version.split(".")[0] in ("16", "22")
        assert info.status is not None
        assert (await ari.module("chan_rtp.so")).status == "Running"
        assert "res_ari.so" in [one.name for one in await ari.modules()]
        assert isinstance(await ari.applications(), list)
        with pytest.raises(AriNotFound):
            await ari.module("no_such.so")
        with pytest.raises(AriNotFound):
            await ari.application()


async def test_a_wrong_password_is_refused(asterisk: LabAsterisk) -> None:
    async with running(asterisk, password=SecretStr("wrong")) as ari:
        assert isinstance(await ari.items.get(), AriRefused)
        assert ari.state is LinkState.REFUSED
        with pytest.raises(AriUnauthorized, match=r"ari\.conf"):
            await ari.info()


async def test_a_second_process_with_our_application_makes_us_stop(asterisk: LabAsterisk) -> None:
    async with running(asterisk) as ari:
        await until(ari, AriConnected)
        async with running(asterisk, app=ari.app) as thief:
            await until(thief, AriConnected)
            refused = await until(ari, AriRefused)
            assert isinstance(refused, AriRefused)
            assert "another process" in refused.reason
            # The one that came later works; had we come back, it would be deaf.
            media_id = new_id(Kind.EXTERNAL_MEDIA)
            await thief.external_media(media_id, external_host="127.0.0.1:9", format="ulaw")
            assert (await event(thief, StasisStart)).channel.id == media_id
            await thief.hangup(media_id)
            await event(thief, StasisEnd)
            assert thief.state is LinkState.UP
            assert ari.counters[AriCounter.CONNECTED] == 1


async def test_asterisk_killed_and_started_again(make_asterisk: Callable[..., LabAsterisk]) -> None:
    limits = AriLimits(backoff_base_s=0.05, backoff_cap_s=0.1)
    async with make_asterisk(phones=0) as pbx, running(pbx, limits=limits) as ari:
        await until(ari, AriConnected)
        await pbx.kill()
        assert isinstance(await until(ari, AriLost), AriLost)
        with pytest.raises(AriUnreachable):
            await ari.info()
        await pbx.start()
        await until(ari, AriConnected)
        assert (await ari.application()).name == ari.app
