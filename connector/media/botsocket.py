"""Dialling a bot: TCP, TLS and WebSocket under one deadline, every failure mapped to its cause."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, InvalidURI, WebSocketException

from connector.media.control import EndCause

SEND_BUFFER_BYTES = 32_768
"""Of the kernel, each stream: two seconds of base64 audio. The default would hide minutes of stale audio there."""
WRITE_LIMIT_BYTES = 8_192
"""Of the process, each stream: beyond, messages wait in the outbox, where the oldest can still be dropped."""
HARD_LIMIT_EXTRA_BYTES = 1 << 20
"""A message so much longer than allowed is not even read to be counted: the connection is closed with 1009."""
RECEIVE_QUEUE_MESSAGES = 64
CLOSE_TIMEOUT_S = 1.0


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


class _NoRedirects(connect):
    """The headers may hold secrets, and the profile names the bot: it is not for the bot to name another."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout_s: float,
    max_message_bytes: int,
    ping_interval_s: float,
    ping_timeout_s: float,
) -> ClientConnection:
    """Opens a WebSocket to a bot: no compression (it costs more than it saves on 20 ms of audio), TCP_NODELAY.

    Args:
        url: ws:// or wss://.
        headers: Of the upgrade request.
        timeout_s: Bound of DNS, TCP, TLS and upgrade together.
        max_message_bytes: What is to be read; longer by a megabyte ends the connection.
        ping_interval_s: How often the bot is pinged.
        ping_timeout_s: Without a pong for so long the connection is lost.

    Raises:
        DialFailed: With BOT_REFUSED (DNS, TCP, TLS), BOT_REJECTED (another answer than 101) or BOT_TIMEOUT (the
            server took the connection and did not finish the handshake).
    """
    # The outer bound also covers what may not be cancelled in time, such as a name server that does not answer.
    stage = _Stage()
    try:
        async with asyncio.timeout(timeout_s):
            sock = await _connect_tcp(url, stage)
            return await _handshake(
                sock,
                url,
                additional_headers=dict(headers),
                max_size=max_message_bytes + HARD_LIMIT_EXTRA_BYTES,
                ping_interval=ping_interval_s,
                ping_timeout=ping_timeout_s,
            )
    except TimeoutError:
        cause = EndCause.BOT_TIMEOUT if stage.connected else EndCause.BOT_REFUSED
        raise DialFailed(cause, f"no {stage.waits_for} within {timeout_s:g} s") from None
    except InvalidStatus as error:
        detail = f"the server answered the upgrade with HTTP {error.response.status_code}"
        raise DialFailed(EndCause.BOT_REJECTED, detail) from error
    except InvalidURI as error:
        raise DialFailed(EndCause.BOT_REFUSED, "the url is not a ws:// or wss:// address") from error
    except ssl.SSLError as error:
        raise DialFailed(EndCause.BOT_REFUSED, f"TLS failed: {error}") from error
    except (ConnectionClosed, EOFError, OSError) as error:
        raise DialFailed(EndCause.BOT_REFUSED, _refusal(error, stage)) from error
    except InvalidMessage as error:
        # websockets reports a connection that was closed without an answer in the same way as one that is not HTTP.
        if isinstance(error.__cause__, EOFError | OSError):
            raise DialFailed(EndCause.BOT_REFUSED, "the server closed the connection without an answer") from error
        raise DialFailed(EndCause.BOT_REJECTED, f"the server's answer is not HTTP: {error}") from error
    except WebSocketException as error:
        raise DialFailed(EndCause.BOT_REJECTED, f"the server's answer is no WebSocket upgrade: {error}") from error
    except Exception as error:
        # websockets 17 fails with an AssertionError when the server talks before it is asked. What a peer sends must
        # not look like a defect of ours, whatever the library makes of it.
        raise DialFailed(EndCause.BOT_REJECTED, f"the server's answer is no WebSocket upgrade: {error!r}") from error


class _Stage:
    """How far a dial has come."""

    connected = False
    waits_for = "answer of the name server"


async def _connect_tcp(url: str, stage: _Stage) -> socket.socket:
    """A connected socket: the addresses of the name one after the other."""
    loop = asyncio.get_running_loop()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"ws": 80, "wss": 443}[parts.scheme]
    except (KeyError, ValueError) as error:
        raise InvalidURI(url, str(error)) from error
    if not host:
        raise InvalidURI(url, "no host")
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    stage.waits_for = "TCP connection"
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
            return sock
    raise failure


async def _handshake(sock: socket.socket, url: str, **options: Any) -> ClientConnection:
    try:
        return await _NoRedirects(
            url,
            sock=sock,
            compression=None,
            open_timeout=None,
            close_timeout=CLOSE_TIMEOUT_S,
            max_queue=RECEIVE_QUEUE_MESSAGES,
            write_limit=WRITE_LIMIT_BYTES,
            proxy=None,
            **options,
        )
    except BaseException:
        # Before there is a transport nobody else closes it; afterwards this changes nothing.
        with contextlib.suppress(OSError):
            sock.close()
        raise


def _refusal(error: Exception, stage: _Stage) -> str:
    if stage.connected:
        return f"the server closed the connection during the handshake: {error!r}"
    if isinstance(error, socket.gaierror):
        return f"the name of the bot cannot be resolved: {error.strerror}"
    return f"no TCP connection to the bot: {error}"
