"""Connection tests on connections of their own, so that they show what a new one would meet."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from connector.asterisk.ami_client import AmiClient
from connector.asterisk.ami_model import AmiActionRejected, AmiError, AmiLimits, AmiOverflow
from connector.asterisk.ami_wire import check_action
from connector.asterisk.ari_errors import AriError
from connector.asterisk.ari_rest import AriRest
from connector.asterisk.inbox import Inbox
from connector.config import PbxSettings
from connector.web.rest.shapes import ProbeResult

DEADLINE_S = 5.0
AT_ONCE = 2
"""Tests that may run at a time: Asterisk bounds logins under way (authlimit)."""

NOT_SIP = "Load res_pjsip_transport_websocket.so, and check the path: Asterisk serves it at /ws."


class _Failed(Exception):
    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail, self.remedy = detail, remedy


class PbxProbes:
    """Tests the connections of the settings.

    Args:
        settings: The PBXs by name.
        clock: Seconds since the epoch.
        monotonic: Seconds, for durations.
    """

    def __init__(
        self, settings: Mapping[str, PbxSettings], *, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def ami(self, pbx: str) -> ProbeResult:
        """Logs in to the manager interface and off again."""
        return await self._probe(self._ami(self._settings[pbx]))

    async def ari(self, pbx: str) -> ProbeResult:
        """Asks ARI for its version."""
        return await self._probe(self._ari(self._settings[pbx], pbx))

    async def sip_websocket(self, pbx: str) -> ProbeResult:
        """Opens the SIP WebSocket of browser phones (RFC 7118) and closes it."""
        return await self._probe(self._sip_websocket(self._settings[pbx], pbx))

    async def _probe(self, test: Awaitable[str]) -> ProbeResult:
        async with self._turn:
            began = self._monotonic()
            ok, remedy = True, ""
            try:
                async with asyncio.timeout(DEADLINE_S):
                    detail = await test
            except _Failed as failed:
                ok, detail, remedy = False, failed.detail, failed.remedy
            except TimeoutError:
                ok, detail = False, f"No answer within {DEADLINE_S:g} s."
                remedy = "Check that nothing between us drops the packets, and that Asterisk is not overloaded."
            return ProbeResult(ok=ok, detail=detail, remedy=remedy, took_s=round(self._monotonic() - began, 3))

    async def _ami(self, settings: PbxSettings) -> str:
        ami = settings.ami
        where = f"{ami.host}:{ami.port}"
        client = AmiClient(inbox=Inbox(100, AmiOverflow), counters=Counter(), limits=AmiLimits(), clock=self._clock)
        try:
            tls = ssl.create_default_context(cafile=ami.tls_ca_file) if ami.tls else None
            banner = await client.open(ami.host, ami.port, tls)
            secret = ami.secret.get_secret_value()
            login = check_action("Login", {"Username": ami.username, "Secret": secret, "Events": "off"})
            await client.login(login, lambda: None)
            return f"{banner} at {where} took the login of {ami.username}."
        except AmiActionRejected as error:
            raise _Failed(
                f"{where} refused the login of {ami.username}: {error.message}.",
                "Check username and secret against manager.conf, and permit/deny and the account's rights there.",
            ) from None
        except (OSError, AmiError) as error:
            raise _Failed(
                f"{where} cannot be used: {error}.",
                "Check host, port and TLS of the settings against enabled, bindaddr and port in manager.conf.",
            ) from None
        finally:
            await client.close()

    async def _ari(self, settings: PbxSettings, pbx: str) -> str:
        ari = settings.ari
        try:
            rest = AriRest(
                url=ari.url,
                username=ari.username,
                password=ari.password,
                app=ari.app,
                deadline_s=DEADLINE_S,
                tls=ssl.create_default_context(cafile=ari.tls_ca_file),
            )
            async with rest:
                info = await rest.info()
        except OSError as error:
            raise _Failed(
                f"{ari.tls_ca_file} cannot be used: {error}.", f"Correct pbx.{pbx}.ari.tls_ca_file."
            ) from None
        except AriError as error:
            raise _Failed(f"{error.message or 'It failed'} ({ari.url}).", error.remedy) from None
        version = info.system.version if info.system is not None else "of unknown version"
        return f"Asterisk {version} at {ari.url} took the login of {ari.username}."

    async def _sip_websocket(self, settings: PbxSettings, pbx: str) -> str:
        url = settings.sip_ws_url
        if not url:
            raise _Failed(
                f"pbx.{pbx}.sip_ws_url is not set.",
                "Set it to the address that browser phones use, such as wss://…/ws.",
            )
        try:
            tls = ssl.create_default_context(cafile=settings.ari.tls_ca_file)
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, protocols=("sip",), ssl=tls) as socket,
            ):
                if socket.protocol != "sip":
                    raise _Failed(f"{url} is a WebSocket, but not one for SIP.", NOT_SIP)
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 400:  # seen of 16.28 and 22.10: a WebSocket that knows no subprotocol sip
                raise _Failed(f"{url} refused the subprotocol sip (400).", NOT_SIP) from None
            raise _Failed(
                f"{url} answered {error.status} {error.message}.",
                "Check the path (Asterisk serves it at /ws) and that res_http_websocket.so is loaded.",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Failed(
                f"{url} cannot be reached: {error}.",
                "Check host and port against http.conf, and the certificate for wss://.",
            ) from None
        return f"{url} speaks SIP over WebSocket."
