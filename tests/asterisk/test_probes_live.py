"""Connection tests against a real Asterisk: what works, and what each failure says."""

from __future__ import annotations

import time
from typing import Any

from pydantic import SecretStr

from connector.config import AmiSettings, AriSettings, PbxSettings
from connector.lab.asterisk import LabAsterisk
from connector.web.probes import PbxProbes
from tests.asterisk.conftest import MakeAsterisk


def probes(asterisk: LabAsterisk, ami: dict[str, Any] | None = None, ari: dict[str, Any] | None = None) -> PbxProbes:
    http = asterisk.ari_url.removesuffix("/ari").replace("http", "ws", 1)
    settings = PbxSettings(
        ami=AmiSettings(
            **{
                "port": asterisk.ami_port,
                "username": asterisk.ami_user,
                "secret": SecretStr(asterisk.ami_secret),
                **(ami or {}),
            }
        ),
        ari=AriSettings(
            **{
                "url": asterisk.ari_url,
                "username": asterisk.ari_user,
                "password": SecretStr(asterisk.ari_password),
                **(ari or {}),
            }
        ),
        sip_ws_url=f"{http}/ws",
    )
    return PbxProbes({"main": settings}, clock=time.time, monotonic=time.monotonic)


async def test_working_connections_are_said_to_work(asterisk: LabAsterisk) -> None:
    ami = await probes(asterisk).ami("main")
    assert (ami.ok, ami.remedy) == (True, "")
    assert "Asterisk Call Manager" in ami.detail
    ari = await probes(asterisk).ari("main")
    assert (ari.ok, ari.remedy) == (True, "")
    assert "Asterisk " in ari.detail


async def test_a_wrong_password_is_told_from_a_wrong_port(asterisk: LabAsterisk) -> None:
    wrong = SecretStr("not-the-secret")
    ami = await probes(asterisk, ami={"secret": wrong}).ami("main")
    assert not ami.ok
    assert "refused the login" in ami.detail
    assert "manager.conf" in ami.remedy
    ari = await probes(asterisk, ari={"password": wrong}).ari("main")
    assert not ari.ok
    assert "ari.conf" in ari.remedy
    closed = await probes(asterisk, ami={"port": 1}).ami("main")
    assert not closed.ok
    assert "cannot be used" in closed.detail
    for result in (ami, ari, closed):
        assert "not-the-secret" not in f"{result.detail}{result.remedy}"


async def test_a_port_of_another_service_is_no_manager(asterisk: LabAsterisk) -> None:
    port = int(asterisk.ari_url.rpartition(":")[2].partition("/")[0])
    result = await probes(asterisk, ami={"port": port}).ami("main")
    assert not result.ok
    assert result.took_s < 10


async def test_a_websocket_without_sip_is_told(asterisk: LabAsterisk) -> None:
    """The laboratory's Asterisk does not load the SIP transport for WebSockets."""
    result = await probes(asterisk).sip_websocket("main")
    assert not result.ok
    assert "refused the subprotocol sip (400)" in result.detail
    assert "res_pjsip_transport_websocket.so" in result.remedy


async def test_a_websocket_with_sip_is_said_to_work(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk() as pbx:
        assert "Loaded" in await pbx.cli("module load res_pjsip_transport_websocket.so")
        result = await probes(pbx).sip_websocket("main")
        assert (result.ok, result.remedy) == (True, ""), result
