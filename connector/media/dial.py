"""How a bot is reached: name, TCP, TLS and WebSocket upgrade under one deadline, every failure mapped to its cause.

No compression (it costs more than it saves on 20 ms of audio), no proxy, no redirects (the headers may hold secrets,
and the profile names the bot: not the bot another), TCP_NODELAY.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiofastnet
from picows import WSHandshakeError
from picows.url import parse_url

from connector.dialects.base import Upgrade
from connector.media.botsocket import HARD_LIMIT_EXTRA_BYTES, BotSocket, SocketUser
from connector.media.control import EndCause
from connector.media.fastpath import FastPath
from connector.media.grpcsocket import SCHEMES, GrpcFailed, GrpcSocket
from connector.media.upgrade import UpgradeProtocol
from connector.net.reach import ANYWHERE, Forbidden, Reach

SEND_BUFFER_BYTES = 32_768
"""Of the kernel, each stream: two seconds of base64 audio. The default would hide minutes of stale audio there."""


class DialFailed(Exception):
    """The bot was not reached.

    Attributes:
        cause: For the counter.
        detail: One sentence for the operator.
    """

    def __init__(self, cause: EndCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


def new_socket(user: SocketUser, url: str, max_message_bytes: int, fast: FastPath | None) -> BotSocket | GrpcSocket:
    """What an address is to be dialled for."""
    if urlsplit(url).scheme in SCHEMES:
        return GrpcSocket(user)
    return BotSocket(user, max_message_bytes + HARD_LIMIT_EXTRA_BYTES, fast)


async def dial_unless(
    unwanted: asyncio.Future[Any],
    upgrade: Upgrade,
    listener: BotSocket | GrpcSocket,
    *,
    tls: ssl.SSLContext,
    timeout_s: float,
    max_message_bytes: int,
    reach: Reach = ANYWHERE,
) -> bool:
    """`dial`, for as long as the connection is wanted.

    Args:
        unwanted: Resolves when it is not.
        upgrade: The request.
        listener: As for `dial`.
        tls: As for `dial`.
        timeout_s: As for `dial`.
        max_message_bytes: As for `dial`.
        reach: As for `dial`.

    Returns:
        Whether it is open; if not, nothing is left of it.

    Raises:
        DialFailed: As `dial` does.
    """
    headers = dict(upgrade.headers)
    if upgrade.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(upgrade.subprotocols)
    dialling = asyncio.create_task(
        dial(
            upgrade.url,
            listener,
            headers=headers,
            tls=tls,
            timeout_s=timeout_s,
            max_message_bytes=max_message_bytes,
            reach=reach,
        )
    )
    reached = False
    try:
        await asyncio.wait((dialling, unwanted), return_when=asyncio.FIRST_COMPLETED)
        if not unwanted.done():
            await dialling
            reached = True
        return reached
    finally:
        if not reached:
            dialling.cancel()
            (failure,) = await asyncio.gather(dialling, return_exceptions=True)
            if failure is None:  # it was opened in that same moment
                listener.abort()


async def dial(
    url: str,
    listener: BotSocket | GrpcSocket,
    *,
    headers: Mapping[str, str],
    tls: ssl.SSLContext,
    timeout_s: float,
    max_message_bytes: int,
    reach: Reach = ANYWHERE,
) -> None:
    """Opens a WebSocket to a bot, or a gRPC stream to a server.

    Args:
        url: ws:// or wss://; grpc:// or grpc+plain:// for a `GrpcSocket`.
        listener: Takes the connection over.
        headers: Of the upgrade request.
        tls: For wss://, one for all: each of its own would hold all the certificate authorities.
        timeout_s: Bound of DNS, TCP, TLS and upgrade together.
        max_message_bytes: What is to be read; longer by a megabyte ends the connection.
        reach: Where the connection may go.

    Raises:
        DialFailed: With BOT_DNS, BOT_REFUSED (TCP), BOT_TLS, BOT_FORBIDDEN, BOT_UNAVAILABLE (5xx), BOT_REJECTED
            (another answer than 101) or BOT_TIMEOUT (the server took the connection and did not finish the handshake).
    """
    # The outer bound also covers what may not be cancelled in time, such as a name server that does not answer.
    stage = _Stage()
    try:
        async with asyncio.timeout(timeout_s):
            if isinstance(listener, GrpcSocket):
                stage.timeout_cause, stage.waits_for = EndCause.BOT_REFUSED, "gRPC connection"
                await listener.open(url, headers, reach)
                return
            sock = await _connect_tcp(url, stage, reach)
            await _handshake(sock, url, listener, headers, tls, max_message_bytes + HARD_LIMIT_EXTRA_BYTES)
    except TimeoutError:
        raise DialFailed(stage.timeout_cause, f"no {stage.waits_for} within {timeout_s:g} s") from None
    except GrpcFailed as failure:
        raise DialFailed(failure.cause, failure.detail) from failure
    except WSHandshakeError as error:
        status = getattr(error.response, "status", None)
        # An answer that cannot be read has a status too when its first line could be.
        cause, detail = EndCause.BOT_REJECTED, f"the server's answer is no WebSocket upgrade: {error.args[0]}"
        if status not in (None, 101):
            detail = f"the server answered the upgrade with HTTP {status:d}"
            cause = EndCause.BOT_UNAVAILABLE if status >= 500 else EndCause.BOT_REJECTED
        raise DialFailed(cause, detail) from error
    except ssl.SSLError as error:
        raise DialFailed(EndCause.BOT_TLS, f"TLS failed: {error}") from error
    except Forbidden as error:
        raise DialFailed(EndCause.BOT_FORBIDDEN, str(error)) from error
    except socket.gaierror as error:
        raise DialFailed(EndCause.BOT_DNS, f"the name of the bot cannot be resolved: {error.strerror}") from error
    except OSError as error:
        raise DialFailed(EndCause.BOT_REFUSED, _refusal(error, stage)) from error


class _Stage:
    """How far a dial has come."""

    connected = False
    waits_for = "answer of the name server"
    timeout_cause = EndCause.BOT_DNS


async def _connect_tcp(url: str, stage: _Stage, reach: Reach) -> socket.socket:
    """A connected socket: the addresses of the name one after the other, those that were checked."""
    loop = asyncio.get_running_loop()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"ws": 80, "wss": 443}[parts.scheme]
    except (KeyError, ValueError) as error:
        raise DialFailed(EndCause.BOT_REFUSED, "the url is not a ws:// or wss:// address") from error
    if not host:
        raise DialFailed(EndCause.BOT_REFUSED, "the url is not a ws:// or wss:// address")
    reach.check_host(host)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        reach.check_address(host, str(address[0]))
    stage.waits_for = "TCP connection"
    stage.timeout_cause = EndCause.BOT_REFUSED
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            stage.connected = True
            stage.waits_for = "end of the WebSocket handshake"
            stage.timeout_cause = EndCause.BOT_TIMEOUT
            return sock
    raise failure


async def _handshake(
    sock: socket.socket,
    url: str,
    listener: BotSocket,
    headers: Mapping[str, str],
    tls: ssl.SSLContext,
    max_frame_bytes: int,
) -> None:
    loop = asyncio.get_running_loop()
    bot = parse_url(url)
    protocol = UpgradeProtocol(bot, listener, headers, max_frame_bytes)
    try:
        if bot.is_secure:
            # aiofastnet's TLS costs less than the loop's, its plain TCP more (scripts/bench media).
            await aiofastnet.create_connection(loop, lambda: protocol, sock=sock, ssl=tls, server_hostname=bot.host)
        else:
            await loop.create_connection(lambda: protocol, sock=sock)
        await protocol.wait_until_handshake_complete()
    except BaseException:
        # Whoever has the connection by now sees its end, and lets go of it.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        raise
    if protocol.transport.is_disconnected:
        raise ConnectionError("no answer")


def _refusal(error: Exception, stage: _Stage) -> str:
    if stage.connected:
        return f"the server closed the connection during the handshake: {error}"
    return f"no TCP connection to the bot: {error}"
