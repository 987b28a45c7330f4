"""This machine: the ports of the settings, file descriptors, and whether the bots are there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import resource
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp

from connector.check.findings import Cause, Findings
from connector.config import HttpSettings, MediaSettings, ProfileSettings, Settings
from connector.media.worker import bind

HEALTH_DEADLINE_S = 2.0

OTHER_DESCRIPTORS = 128
"""Logs, the connections to the PBXs (at most 32 of ARI each) and the readers of the pages; one more to each stream."""


async def connector_runs(settings: HttpSettings) -> bool:
    """Whether what listens at the settings' HTTP port is a connector: it answers `/healthz` as ours does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls_certificate else "http"
    url = (
        f"{scheme}://[{host}]:{settings.port}/healthz" if ":" in host else f"{scheme}://{host}:{settings.port}/healthz"
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HEALTH_DEADLINE_S)) as session,
            session.get(url, allow_redirects=False, ssl=False) as answer,
        ):
            return answer.status == 200 and (await answer.content.read(4096)).strip() == b'{"status": "ok"}'
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def is_loopback(host: str) -> bool:
    """Whether what goes to this host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_http(settings: HttpSettings, running: bool, findings: Findings) -> None:
    """Whether the port of the pages can be had.

    Args:
        settings: Where to listen.
        running: A connector answers there.
        findings: Gets one.
    """
    where = f"{settings.host}:{settings.port}"
    if running:
        findings.ok("http", Cause.HTTP_PORT, f"a running connector has {where}, so whether it is free was left out")
        return
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[0][4])
            listener.listen(1)
    except OSError as error:
        findings.error(
            "http",
            Cause.HTTP_PORT,
            f"{where} is taken by a process that is no connector: end it (ss -ltnp names it), or set another http.port"
            if error.errno == errno.EADDRINUSE
            else f"{where} cannot be bound ({error.strerror}): http.host must be an address of this machine",
        )
    else:
        findings.ok("http", Cause.HTTP_PORT, f"{where} is free")


def bind_media(settings: MediaSettings, running: bool, findings: Findings) -> list[socket.socket]:
    """Binds the UDP port of each media worker, or where a connector has it any other, for the exchange of tones.

    Args:
        settings: Where to bind.
        running: A connector runs on this machine.
        findings: Gets one for each port.

    Returns:
        The sockets; none where the address is of no use.
    """
    bound = []
    for number in range(settings.worker_count):
        rtp = _bind(settings.bind_host, settings.bind_port + number, running, findings)
        if rtp is None:
            break
        bound.append(rtp)
        if running and rtp.getsockname()[1] != settings.bind_port + number:
            break  # one port of our own is as good as another
    return bound


def _bind(host: str, port: int, running: bool, findings: Findings) -> socket.socket | None:
    where = f"UDP {host}:{port}"
    try:
        rtp = bind(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            findings.error(
                "media",
                Cause.MEDIA_PORT,
                f"{where} cannot be bound ({error.strerror}): media.bind_host must be an address of this machine",
            )
            return None
        rtp = bind(host, 0)
        other = f"the tones below go over UDP {rtp.getsockname()[1]}"
        if running:
            findings.ok(
                "media",
                Cause.MEDIA_PORT,
                f"the running connector has {where}: {other}, so whether a firewall lets the ports of the workers "
                "through was left out",
            )
        else:
            findings.error(
                "media",
                Cause.MEDIA_PORT,
                f"{where} is taken by a process that is no connector: end it (ss -lunp names it), or set another "
                f"media.bind_port; {other}",
            )
    else:
        findings.ok("media", Cause.MEDIA_PORT, f"{where} is free")
    return rtp


def check_descriptors(settings: MediaSettings, findings: Findings) -> None:
    """Whether this user may open as many files as there can be streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_streams + OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        findings.ok("media", Cause.FILE_DESCRIPTORS, f"{settings.max_streams} streams fit into the open files allowed")
        return
    way = f"`ulimit -n {needed}`, LimitNOFILE={needed} in the systemd unit"
    if hard != resource.RLIM_INFINITY and hard < needed:
        way += " (root has to, the hard limit is lower)"
    findings.error(
        "media",
        Cause.FILE_DESCRIPTORS,
        f"{soft} open files are allowed and media.max_streams = {settings.max_streams} needs {needed}: "
        f"raise the limit ({way}), or lower max_streams",
    )


async def check_bots(settings: Settings, findings: Findings) -> None:
    """Whether something listens where each profile's bot should, all at once; no WebSocket is opened."""
    reasons = await asyncio.gather(*(_connect(profile) for profile in settings.profile.values()))
    for (name, profile), reason in zip(settings.profile.items(), reasons, strict=True):
        subject, where = f"profile.{name}", _host_port(profile.url)
        if reason:
            findings.warning(subject, Cause.BOT, f"{reason}; until then its calls go on in the dialplan")
        else:
            findings.ok(subject, Cause.BOT, f"something listens at {where[0]}:{where[1]}")
    if not settings.profile:
        findings.warning(
            "profile", Cause.BOT, "no bot is set, so every call goes on in the dialplan: add a [profile.NAME] with url"
        )


async def _connect(profile: ProfileSettings) -> str:
    """What is wrong with the way to a bot, empty if nothing."""
    host, port = _host_port(profile.url)
    secure = urlsplit(profile.url).scheme == "wss"
    at, deadline_s = f"{host}:{port}", profile.connect_timeout_ms / 1000
    tls = ssl.create_default_context() if secure else None
    try:
        async with asyncio.timeout(deadline_s):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except TimeoutError:
        return f"no connection to the bot at {at} within {deadline_s:g} s: check host, port and firewall"
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of the bot at {at} is not trusted ({error.verify_message}): check name and CA"
    except ssl.SSLError as error:
        return f"the bot at {at} does not speak TLS ({error.reason}): check the port, or use ws:// in its url"
    except socket.gaierror as error:
        return f"the bot's host {host!r} has no address ({error.strerror}): check url and DNS"
    except ConnectionRefusedError:
        return f"nothing listens at {at}: start the bot, or correct the url"
    except OSError as error:
        return f"the bot at {at} cannot be reached ({error.strerror or error}): check url, route and firewall"
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    return ""


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
